package failedlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestAppendedRecordsAreReadInOrder(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 3)))
	must(t, l.Append(nil))
	must(t, l.Append(records("app", 3, 5)))
	diff(t, "of the open segment", held(t, root, "app"), payloads(records("app", 0, 5)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.open.jsonl"})
	must(t, l.Seal())
	diff(t, "of the sealed segment", held(t, root, "app"), payloads(records("app", 0, 5)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
	info, err := os.Stat(filepath.Join(root, "app", "00000000000000000001.jsonl"))
	must(t, err)
	if info.Mode().Perm() != 0o600 || l.Size() != info.Size() {
		t.Errorf("mode %v, size %d and %d, want 0600 and the same", info.Mode(), l.Size(), info.Size())
	}
}

func TestAppendOfABatchTakesOneSync(t *testing.T) {
	fsys := fsxtest.New()
	l := openLog(t, fsys, t.TempDir(), "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 1)))
	files, dirs := fsys.Count(fsxtest.OpSync), fsys.Count(fsxtest.OpSyncDir)
	must(t, l.Append(records("app", 1, 500)))
	if n := fsys.Count(fsxtest.OpSync) - files; n != 1 {
		t.Errorf("%d syncs, want 1", n)
	}
	if n := fsys.Count(fsxtest.OpSyncDir) - dirs; n != 0 {
		t.Errorf("%d syncs of the folder, want none: the segment's entry is on disk", n)
	}
}

func TestSegmentsAreSealedAtTheirSize(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{SegmentBytes: 1000})
	for i := range 5 {
		must(t, l.Append(records("app", 2*i, 2*i+2))) // about 560 bytes
	}
	must(t, l.Append(records("app", 10, 20))) // more than a segment: it stays whole
	diff(t, "held", held(t, root, "app"), payloads(records("app", 0, 20)))
	diff(t, "files", names(t, root, "app"), []string{
		"00000000000000000001.jsonl", "00000000000000000002.jsonl", "00000000000000000003.jsonl",
		"00000000000000000004.jsonl", "00000000000000000005.jsonl", "00000000000000000006.open.jsonl",
	})
}

func TestAppendStampsRecordsWithoutTime(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{})
	before := time.Now()
	must(t, l.Append([]Record{{Payload: []byte("x")}}))
	must(t, each(fsx.OS, root, "", func(e *Entry) error {
		if e.Record.Time.Before(before.Add(-time.Second)) || e.Record.Time.After(time.Now()) {
			t.Errorf("time is %v", e.Record.Time)
		}
		return nil
	}))
}

// TestTornLastLineIsCutAtOpen cuts an open segment at every byte of its last record, as a crash may.
func TestTornLastLineIsCutAtOpen(t *testing.T) {
	first := append((&records("app", 0, 1)[0]).AppendJSON(nil), '\n')
	second := append((&records("app", 1, 2)[0]).AppendJSON(nil), '\n')
	for cut := range len(second) + 1 {
		root := ramDir(t)
		must(t, os.MkdirAll(filepath.Join(root, "app"), 0o700))
		path := filepath.Join(root, "app", "00000000000000000007.open.jsonl")
		must(t, os.WriteFile(path, slices.Concat(first, second[:cut]), 0o600))
		l := openLog(t, fsxtest.New(), root, "app", Options{Fsync: true})
		must(t, l.Append(records("app", 9, 10)))
		must(t, l.Close())
		want := []string{string(record("app", 0).Payload)}
		if cut == len(second) {
			want = append(want, string(record("app", 1).Payload))
		}
		want = append(want, string(record("app", 9).Payload))
		diff(t, fmt.Sprintf("cut at %d", cut), held(t, root, "app"), want)
		diff(t, "files", names(t, root, "app"), []string{"00000000000000000007.jsonl", "00000000000000000008.jsonl"})
	}
}

func TestOpenRemovesAnEmptySegmentAndOneTornAtItsFirstLine(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "app"), 0o700))
	for name, data := range map[string]string{
		"00000000000000000003.open.jsonl": "", "00000000000000000004.open.jsonl": strings.Repeat("x", 200_000),
	} {
		must(t, os.WriteFile(filepath.Join(root, "app", name), []byte(data), 0o600))
	}
	openLog(t, fsx.OS, root, "app", Options{})
	diff(t, "files", names(t, root, "app"), []string(nil))
}

// TestAppendSurvivesEveryDiskError lets each call of each kind fail, once or for good: what Append
// answered for is there, what it did not is not, and when the disk is well again it goes on.
func TestAppendSurvivesEveryDiskError(t *testing.T) {
	for _, op := range []fsxtest.Op{
		fsxtest.OpOpen, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpTruncate, fsxtest.OpClose, fsxtest.OpRename,
		fsxtest.OpRemove, fsxtest.OpReadDir, fsxtest.OpStat, fsxtest.OpSyncDir,
	} {
		for _, forGood := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s for good %v", op, forGood), func(t *testing.T) {
				fault := func(f *fsxtest.FS, n int) {
					if forGood {
						f.FailFrom(op, n, syscall.EIO)
					} else {
						f.FailNth(op, n, syscall.EIO)
					}
				}
				for n := 1; appendWithFault(t, fmt.Sprintf("%s %d", op, n), func(f *fsxtest.FS) { fault(f, n) }, func(f *fsxtest.FS) bool {
					return f.Count(op) >= n
				}); n++ {
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// TestAppendTornAtEveryByte fills the disk after each byte.
func TestAppendTornAtEveryByte(t *testing.T) {
	for cut := int64(0); cut < 2600; cut += 13 {
		appendWithFault(t, fmt.Sprintf("cut at %d", cut), func(f *fsxtest.FS) { f.TearWrite(cut, syscall.ENOSPC) }, nil)
		// What was written can neither be synced nor cut.
		appendWithFault(t, fmt.Sprintf("no sync from %d", cut/130), func(f *fsxtest.FS) {
			f.FailFrom(fsxtest.OpSync, 1+int(cut/130), syscall.EIO)
			f.FailFrom(fsxtest.OpTruncate, 1, syscall.EIO)
		}, nil)
		// The write and the cut of it fail: the disk is at its end.
		appendWithFault(t, fmt.Sprintf("cut at %d, and no truncation", cut), func(f *fsxtest.FS) {
			f.TearWrite(cut, syscall.ENOSPC)
			f.FailFrom(fsxtest.OpTruncate, 1, syscall.EIO)
		}, nil)
		if t.Failed() {
			return
		}
	}
}

// appendWithFault is one round; hit says whether the fault was met.
func appendWithFault(t *testing.T, what string, fault func(*fsxtest.FS), hit func(*fsxtest.FS) bool) bool {
	t.Helper()
	root := ramDir(t)
	fsys := fsxtest.New()
	opt := Options{Fsync: true, SegmentBytes: 1000}
	l := openLog(t, fsys, root, "app", opt)
	fault(fsys)
	var want []string
	for i := range 6 {
		rs := records("app", i*2, i*2+2)
		switch err := l.Append(rs); {
		case err == nil:
			want = append(want, payloads(rs)...)
		case !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC):
			t.Errorf("%s: error is %v", what, err)
		}
	}
	met := hit == nil || hit(fsys)
	fsys.Heal()
	rs := records("app", 20, 22)
	if err := l.Append(rs); err != nil {
		t.Errorf("%s: the disk is well again, and still: %v", what, err)
	}
	want = append(want, payloads(rs)...)
	diff(t, what, held(t, root, "app"), want)
	// Whatever becomes of power now, what was answered for is there.
	must(t, l.cur.file.Close())
	l.cur = nil
	must(t, fsys.Crash())
	openLog(t, fsys, root, "app", opt)
	diff(t, what+", power lost", held(t, root, "app"), want)
	return met
}

// TestLogAgainstAnOracle runs random appends, faults, seals, ticks and losses of power.
func TestLogAgainstAnOracle(t *testing.T) {
	dir, round := ramDir(t), 0
	ops := []fsxtest.Op{fsxtest.OpOpen, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpTruncate, fsxtest.OpRename, fsxtest.OpSyncDir}
	rapid.Check(t, func(rt *rapid.T) {
		root := filepath.Join(dir, fmt.Sprint(round))
		round++
		fsys := fsxtest.New()
		opt := Options{Fsync: true, SegmentBytes: 1500}
		l, err := Open(fsys, filepath.Join(root, "app"), opt)
		must(t, err)
		var acked []string
		now, n := start, 0
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				rs := records("app", n, n+rapid.IntRange(1, 4).Draw(rt, "records"))
				n += len(rs)
				if l.Append(rs) == nil {
					acked = append(acked, payloads(rs)...)
				}
			case 3:
				op := rapid.SampledFrom(ops).Draw(rt, "op")
				fsys.FailNth(op, rapid.IntRange(1, 3).Draw(rt, "nth"), syscall.EIO)
			case 4:
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second}).Draw(rt, "time"))
				l.Tick(now)
			case 5:
				fsys.Heal()
				if err := l.Seal(); err != nil {
					rt.Fatalf("seal on a disk that is well: %v", err)
				}
			case 6:
				fsys.Heal()
				if l.cur != nil {
					must(t, l.cur.file.Close())
				}
				must(t, fsys.Crash())
				if l, err = Open(fsys, filepath.Join(root, "app"), opt); err != nil {
					rt.Fatal(err)
				}
			}
		}
		fsys.Heal()
		must(t, l.Close())
		got := held(t, root, "app")
		if i := slices.IndexFunc(acked, func(p string) bool { return !slices.Contains(got, p) }); i >= 0 {
			rt.Fatalf("lost %s of %v", acked[i], acked)
		}
		if !slices.Equal(got, slices.Compact(slices.Clone(got))) {
			rt.Fatalf("twice: %v", got)
		}
	})
}

// gate is a file system whose syncs wait until they are let pass.
type gate struct {
	fsx.FS
	syncs atomic.Int32
	pass  chan struct{}
}

type gateFile struct {
	fsx.File
	g *gate
}

func (g *gate) OpenFile(name string, flag int) (fsx.File, error) {
	f, err := g.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return gateFile{f, g}, nil
}

func (f gateFile) Sync() error {
	f.g.syncs.Add(1)
	<-f.g.pass
	return nil
}

// TestAppendsThatComeTogetherShareOneSync holds the first sync until twenty others wait.
func TestAppendsThatComeTogetherShareOneSync(t *testing.T) {
	root := t.TempDir()
	g := &gate{FS: fsxtest.New(), pass: make(chan struct{})}
	l := openLog(t, g, root, "app", Options{Fsync: true})
	var wg sync.WaitGroup
	call := func(n int) {
		wg.Go(func() {
			if err := l.Append(records("app", n, n+1)); err != nil {
				t.Error(err)
			}
		})
	}
	call(0)
	for g.syncs.Load() == 0 {
		runtime.Gosched()
	}
	for n := 1; n <= 20; n++ {
		call(n)
	}
	for waiting := 0; waiting < 20; runtime.Gosched() {
		l.mu.Lock()
		if l.next != nil {
			waiting = len(l.next.members)
		}
		l.mu.Unlock()
	}
	close(g.pass)
	wg.Wait()
	if n := g.syncs.Load(); n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	if got := len(held(t, root, "app")); got != 21 {
		t.Errorf("%d records, want 21", got)
	}
}

func TestOneOfAGroupMayBeTooMuchWithoutHarmToTheOthers(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsxtest.New(), root, "app", Options{Fsync: true, MaxBytes: 2000})
	small, big := &member{buf: encode(records("app", 0, 2))}, &member{buf: encode(records("app", 2, 12))}
	last := &member{buf: encode(records("app", 12, 13))}
	l.commit([]*member{small, big, last})
	if small.err != nil || !errors.Is(big.err, ErrFull) || last.err != nil {
		t.Errorf("got %v, %v, %v; want only the second to be ErrFull", small.err, big.err, last.err)
	}
	diff(t, "held", held(t, root, "app"), payloads(append(records("app", 0, 2), record("app", 12))))
}

func TestFailedSyncFailsTheWholeGroup(t *testing.T) {
	root := t.TempDir()
	fsys := fsxtest.New()
	l := openLog(t, fsys, root, "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 1)))
	fsys.FailNth(fsxtest.OpSync, 1, syscall.EIO)
	a, b := &member{buf: encode(records("app", 1, 2))}, &member{buf: encode(records("app", 2, 3))}
	l.commit([]*member{a, b})
	if !errors.Is(a.err, syscall.EIO) || !errors.Is(b.err, syscall.EIO) {
		t.Errorf("got %v, %v", a.err, b.err)
	}
	diff(t, "held", held(t, root, "app"), payloads(records("app", 0, 1)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
}

func TestClosedLogTakesNothing(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{})
	must(t, l.Append(records("app", 0, 1)))
	must(t, l.Close())
	must(t, l.Close())
	l.Tick(start)
	if err := l.Append(records("app", 1, 2)); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
}

func TestIdleSegmentIsSealed(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{SealAfter: 5 * time.Second})
	must(t, l.Append(records("app", 0, 1)))
	l.Tick(start)
	l.Tick(start.Add(3 * time.Second))
	must(t, l.Append(records("app", 1, 2)))
	l.Tick(start.Add(6 * time.Second)) // was touched: the time begins anew
	l.Tick(start.Add(10 * time.Second))
	diff(t, "after 10 s", names(t, root, "app"), []string{"00000000000000000001.open.jsonl"})
	l.Tick(start.Add(11 * time.Second))
	diff(t, "after 11 s", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
	l.Tick(start.Add(30 * time.Second))
}

func TestRemovedFolderIsMadeAgain(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 1)))
	must(t, os.RemoveAll(filepath.Join(root, "app")))
	l.Tick(start)
	must(t, l.Append(records("app", 1, 2)))
	diff(t, "held", held(t, root, "app"), payloads(records("app", 1, 2)))
}
