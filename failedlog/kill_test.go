package failedlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// errKilled is the panic that ends a "process" in these tests.
var errKilled = errors.New("killed")

// killer is a file system whose process dies before its n-th change of the disk: nothing after it
// happens, no error is handled, nothing is put in order.
type killer struct {
	fsx.FS
	left int // changes that still happen; negative: never dies
}

func (k *killer) step() {
	if k.left == 0 {
		panic(errKilled)
	}
	k.left--
}

func (k *killer) Rename(a, b string) error  { k.step(); return k.FS.Rename(a, b) }
func (k *killer) Remove(name string) error  { k.step(); return k.FS.Remove(name) }
func (k *killer) SyncDir(name string) error { k.step(); return k.FS.SyncDir(name) }

func (k *killer) OpenFile(name string, flag int) (fsx.File, error) {
	if flag&os.O_CREATE != 0 {
		k.step()
	}
	f, err := k.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return &killerFile{f, k}, nil
}

type killerFile struct {
	fsx.File
	k *killer
}

// WriteAt dies in the middle of the write: half of it is there.
func (f *killerFile) WriteAt(p []byte, off int64) (int, error) {
	if f.k.left == 0 {
		_, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	f.k.step()
	return f.File.WriteAt(p, off)
}

func (f *killerFile) Sync() error               { f.k.step(); return f.File.Sync() }
func (f *killerFile) Truncate(size int64) error { f.k.step(); return f.File.Truncate(size) }

// killable runs a replay that may die; died says whether it did.
func killable(opt ReplayOptions, s Sender) (err error, died bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case errKilled:
			died = true
		default:
			panic(r)
		}
	}()
	_, err = Replay(context.Background(), opt, s)
	return err, false
}

const killBatch = 3

// picky fails records twice before they pass: those whose number is a multiple of 3, with attempts.
func picky(_ string, r *Record) error {
	if r.Offset%300 == 0 && r.Attempts < 3 {
		return &Failure{Class: "retriable", Message: "not yet"}
	}
	return nil
}

// scene is a failure log with all that a replay may meet: two sources, a line that is no record,
// records that cannot be replayed, records that fail again.
func scene(t *testing.T, root string) (want []string) {
	t.Helper()
	a, b := records("a", 0, 10), records("b", 4, 9)
	a[4].NotReplayable = true
	fill(t, root, "a", a[:7], a[7:])
	fill(t, root, "b", b)
	path := filepath.Join(root, "a", "00000000000000000001.jsonl")
	data, err := os.ReadFile(path)
	must(t, err)
	first, rest, _ := strings.Cut(string(data), "\n")
	must(t, os.WriteFile(path, []byte(first+"\nno record\n"+rest), 0o600))
	return append(payloads(slices.Delete(slices.Clone(a), 4, 5)), payloads(b)...)
}

// settle replays until nothing changes any more, and checks that the log is in order then.
func settle(t *testing.T, root string, b *broker) {
	t.Helper()
	for range 3 {
		replay(t, root, ReplayOptions{BatchRecords: killBatch}, b)
	}
	diff(t, "left", held(t, root, "a"), payloads([]Record{record("a", 4)}))
	for _, name := range append(names(t, root, "a"), names(t, root, "b")...) {
		if s, ok := parseName(name); !ok || (s.State != StateSealed && s.State != StateBad) {
			t.Errorf("%s is left", name)
		}
	}
	bad := tree(t, root)["a/00000000000000000001.bad"]
	if strings.ReplaceAll(bad, "no record\n", "") != "" || bad == "" {
		t.Errorf("kept aside is %q, want the bad line", bad)
	}
}

// repeats compares what was sent with what should have been: lost must be nothing.
func repeats(t *testing.T, got, want []string) int {
	t.Helper()
	count := map[string]int{}
	for _, p := range got {
		count[p]++
	}
	n := 0
	for _, p := range want {
		if count[p] == 0 {
			t.Errorf("lost %s", p)
		}
		n += max(0, count[p]-1)
		delete(count, p)
	}
	if len(count) > 0 {
		t.Errorf("sent what was never there: %v", count)
	}
	return n
}

// TestKilledReplayLosesNothingAndRepeatsOneBatch kills a replay before each change that it makes on
// the disk. With the power lost on top of it, a whole segment may come again.
func TestKilledReplayLosesNothingAndRepeatsOneBatch(t *testing.T) {
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprintf("power lost %v", power), func(t *testing.T) {
			steps, worst := 0, 0
			for died := true; died; steps++ {
				root := ramDir(t)
				want := scene(t, root)
				base := fsxtest.New()
				b := &broker{verdict: picky}
				opt := ReplayOptions{FS: &killer{base, steps}, Dir: root, BatchRecords: killBatch}
				var err error
				err, died = killable(opt, b)
				must(t, err)
				bound := killBatch
				if power {
					must(t, base.Crash())
					bound = 7 // the records of the longest segment
				}
				settle(t, root, b)
				n := repeats(t, b.got, want)
				if n > bound {
					t.Errorf("killed before step %d: %d records came twice, want at most %d", steps, n, bound)
				}
				worst = max(worst, n)
				if t.Failed() {
					t.Fatalf("killed before step %d", steps)
				}
			}
			if steps < 30 || worst == 0 {
				t.Errorf("only %d steps, at most %d repeats: the test looks at nothing", steps, worst)
			}
		})
	}
}

// TestReplayKilledBySenderRepeatsOneBatch dies after the sender took a batch, before its answer.
func TestReplayKilledBySenderRepeatsOneBatch(t *testing.T) {
	for kill := 1; kill <= 8; kill++ {
		root := ramDir(t)
		want := scene(t, root)
		b := &broker{verdict: picky}
		opt := ReplayOptions{Dir: root, BatchRecords: killBatch}
		dying := senderFunc(func(rs []Record) []error {
			errs := b.Send(context.Background(), rs[0].Topic, rs)
			if len(b.batches) == kill {
				panic(errKilled)
			}
			return errs
		})
		err, _ := killable(opt, dying)
		must(t, err)
		settle(t, root, b)
		if n := repeats(t, b.got, want); n > killBatch {
			t.Errorf("killed in batch %d: %d repeats, want at most %d", kill, n, killBatch)
		}
	}
}

// TestReplaySurvivesEveryDiskError lets each call of each kind fail, once or from then on, with and
// without half a write; when the disk is well again nothing is lost, and one batch a failure may
// have come twice.
func TestReplaySurvivesEveryDiskError(t *testing.T) {
	ops := []fsxtest.Op{
		fsxtest.OpOpen, fsxtest.OpRead, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpTruncate, fsxtest.OpClose,
		fsxtest.OpRename, fsxtest.OpRemove, fsxtest.OpReadDir, fsxtest.OpStat, fsxtest.OpSyncDir,
	}
	for _, op := range ops {
		for _, forGood := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s for good %v", op, forGood), func(t *testing.T) {
				hit := 0
				for n := 1; replayWithFault(t, op, n, forGood); n++ {
					hit++
				}
				if hit == 0 {
					t.Error("no call of this kind: nothing was tested")
				}
			})
		}
	}
}

// replayWithFault is one round; false when the n-th call was never made.
func replayWithFault(t *testing.T, op fsxtest.Op, n int, forGood bool) bool {
	t.Helper()
	root := ramDir(t)
	want := scene(t, root)
	fsys := fsxtest.New()
	if forGood {
		fsys.FailFrom(op, n, syscall.EIO)
	} else {
		fsys.FailNth(op, n, syscall.EIO)
	}
	b := &broker{verdict: picky}
	stats, err := Replay(t.Context(), ReplayOptions{FS: fsys, Dir: root, BatchRecords: killBatch}, b)
	hit := fsys.Count(op) >= n
	fsys.Heal()
	if !hit {
		must(t, err)
	}
	if err == nil && stats.Unanswered > 0 {
		t.Errorf("%s %d: %+v without an error", op, n, stats)
	}
	settle(t, root, b)
	if got := repeats(t, b.got, want); got > killBatch {
		t.Errorf("%s %d: %d repeats, want at most %d", op, n, got, killBatch)
	}
	return hit && !t.Failed()
}

// TestReplayTornAtEveryByte stops the disk after each byte that a replay writes.
func TestReplayTornAtEveryByte(t *testing.T) {
	for cut, torn := int64(0), true; torn; cut += 13 { // no line's length is a multiple of it
		root := ramDir(t)
		want := scene(t, root)
		fsys := fsxtest.New()
		fsys.TearWrite(cut, syscall.ENOSPC)
		b := &broker{verdict: picky}
		_, err := Replay(t.Context(), ReplayOptions{FS: fsys, Dir: root, BatchRecords: killBatch}, b)
		torn = err != nil
		if torn && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("cut at %d: error is %v", cut, err)
		}
		fsys.Heal()
		settle(t, root, b)
		if n := repeats(t, b.got, want); n > killBatch {
			t.Errorf("cut at %d: %d repeats, want at most %d", cut, n, killBatch)
		}
		if t.Failed() {
			return
		}
	}
}

// TestReplayAgainstAnOracle runs replays with random filters, verdicts, deaths and losses of power,
// beside a daemon that writes on, and compares with what must have come out.
func TestReplayAgainstAnOracle(t *testing.T) {
	dir, round := ramDir(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		root := filepath.Join(dir, fmt.Sprint(round))
		round++
		base := fsxtest.New()
		l, err := Open(base, filepath.Join(root, "app"), Options{Fsync: true, SegmentBytes: 4000})
		must(t, err)
		var want []string
		b := &broker{}
		deaths, losses, written := 0, 0, 0
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0, 1:
				rs := records("app", written, written+rapid.IntRange(1, 9).Draw(rt, "records"))
				for i := range rs {
					rs[i].Error.Class = rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "class")
				}
				written += len(rs)
				must(t, l.Append(rs))
				want = append(want, payloads(rs)...)
			case 2:
				must(t, l.Seal())
			}
			opt := ReplayOptions{FS: base, Dir: root, BatchRecords: killBatch}
			if rapid.Bool().Draw(rt, "filtered") {
				opt.Classes = []string{"x"}
			}
			mod := rapid.Int64Range(1, 5).Draw(rt, "verdict")
			b.verdict = func(_ string, r *Record) error {
				if (r.Offset/100+int64(r.Attempts))%mod == 1 {
					return &Failure{Class: "x"}
				}
				return nil
			}
			if rapid.Bool().Draw(rt, "dies") {
				opt.FS = &killer{base, rapid.IntRange(0, 40).Draw(rt, "death")}
			}
			err, died := killable(opt, b)
			must(t, err)
			if died {
				deaths++
				if rapid.Bool().Draw(rt, "power") {
					losses++
					l.cur = nil // its process died as well
					must(t, base.Crash())
					l, err = Open(base, filepath.Join(root, "app"), Options{Fsync: true, SegmentBytes: 4000})
					must(t, err)
				}
			}
		}
		must(t, l.Close())
		b.verdict = nil
		replay(t, root, ReplayOptions{FS: base}, b)
		if n := repeats(t, b.got, want); losses == 0 && n > deaths*killBatch {
			rt.Fatalf("%d repeats after %d deaths", n, deaths)
		}
		if left := names(t, root, "app"); len(left) > 0 || t.Failed() {
			rt.Fatalf("left: %v", left)
		}
	})
}

func TestClaimsOfADeadReplayAreTakenBackAtOpen(t *testing.T) {
	root := ramDir(t)
	fill(t, root, "app", records("app", 0, 9))
	b := &broker{verdict: picky}
	err, died := killable(ReplayOptions{FS: &killer{fsx.OS, 8}, Dir: root, BatchRecords: 2}, b)
	if !died {
		t.Fatalf("did not die: %v", err)
	}
	if !strings.Contains(strings.Join(names(t, root, "app"), " "), ".claimed.jsonl") {
		t.Fatalf("nothing claimed: %v", names(t, root, "app"))
	}
	openLog(t, fsx.OS, root, "app", Options{Log: zap.NewNop()})
	for _, name := range names(t, root, "app") {
		if strings.Contains(name, "claimed") || strings.Contains(name, "retry") {
			t.Errorf("%s is left", name)
		}
	}
}
