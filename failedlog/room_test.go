package failedlog

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// bound is a MaxBytes that n records of these tests take, and a little more.
func bound(n int) int64 { return int64(n)*int64(len(encode(records("app", 1, 2)))) + 40 }

func TestFullLogBlocksUntilThereIsRoom(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(8)})
	for n := range 8 {
		must(t, l.Append(records("app", n, n+1)))
	}
	if err := l.Append(records("app", 8, 9)); !errors.Is(err, ErrFull) {
		t.Fatalf("error is %v, want ErrFull", err)
	}
	diff(t, "held", held(t, root, "app"), payloads(records("app", 0, 8)))
	if l.Evicted() != 0 {
		t.Errorf("%d evicted under block", l.Evicted())
	}
	must(t, l.Seal())
	replay(t, root, ReplayOptions{Filter: Filter{Until: record("app", 2).Time}}, &broker{})
	must(t, l.Append(records("app", 8, 9)))
}

func TestFullLogDropsTheOldestAndCountsItsLines(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(16), DropOldest: true})
	for n := 0; n < 40; n += 2 { // two records fill a segment, an eighth of the bound
		must(t, l.Append(records("app", n, n+2)))
		if l.Size() > bound(16) {
			t.Fatalf("size is %d, want at most %d", l.Size(), bound(16))
		}
	}
	if l.Evicted() != 24 {
		t.Errorf("%d lines evicted, want 24", l.Evicted())
	}
	diff(t, "held", held(t, root, "app"), payloads(records("app", 24, 40)))
}

func TestOneBatchBeyondTheBoundIsRefusedWithoutEviction(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(8), DropOldest: true})
	must(t, l.Append(records("app", 0, 1)))
	if err := l.Append(records("app", 1, 20)); !errors.Is(err, ErrFull) {
		t.Errorf("error is %v, want ErrFull", err)
	}
	if l.Evicted() != 0 {
		t.Errorf("%d evicted in vain", l.Evicted())
	}
}

func TestEvictionLeavesClaimsAloneAndCountsOnlyWhatIsNotDone(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(24) + 300, DropOldest: true})
	for n := 0; n < 24; n += 3 {
		must(t, l.Append(records("app", n, n+3)))
		must(t, l.Seal())
	}
	// Two of the second segment are done; the first is in a replay's hands while we write.
	replay(t, root, ReplayOptions{Filter: Filter{Since: record("app", 3).Time, Until: record("app", 5).Time}}, &broker{})
	b := broker{before: func(batch int) {
		if batch == 1 {
			must(t, l.Append(records("app", 24, 27)))
		}
	}}
	replay(t, root, ReplayOptions{BatchRecords: 3, Filter: Filter{Until: record("app", 3).Time}}, &b)
	diff(t, "sent", b.got, payloads(records("app", 0, 3)))
	if l.Evicted() != 1 {
		t.Errorf("%d evicted, want the one of the second segment that was not done", l.Evicted())
	}
	diff(t, "held", held(t, root, "app"), payloads(records("app", 6, 27)))
	for _, name := range names(t, root, "app") {
		if s, ok := parseDone(name); ok && s.Seq == 2 {
			t.Errorf("%s is left", name)
		}
	}
}

func TestEvictionTakesBackTheClaimsOfADeadReplay(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(8), DropOldest: true})
	for n := range 8 {
		must(t, l.Append(records("app", n, n+1)))
		must(t, l.Seal())
	}
	segs, err := List(fsx.OS, root, "app")
	must(t, err)
	for _, s := range segs {
		must(t, os.Rename(s.Path(), s.in(StateClaimed)))
	}
	must(t, l.Append(records("app", 8, 9)))
	if l.Evicted() != 1 {
		t.Errorf("%d evicted, want 1", l.Evicted())
	}
	lock, err := lockRoot(t.Context(), fsx.OS, root, 0)
	must(t, err)
	segs, err = List(fsx.OS, root, "app")
	must(t, err)
	for _, s := range segs {
		if s.State == StateSealed {
			must(t, os.Rename(s.Path(), s.in(StateClaimed)))
		}
	}
	must(t, l.Seal())
	// Now a replay lives that holds them; what was just written goes instead.
	must(t, l.Append(records("app", 9, 10)))
	must(t, l.Append(records("app", 10, 11)))
	must(t, lock.Unlock())
	segs, err = List(fsx.OS, root, "app")
	must(t, err)
	claimed := 0
	for _, s := range segs {
		if s.State == StateClaimed {
			claimed++
		}
	}
	if claimed != 7 {
		t.Errorf("%d of 7 claims are left", claimed)
	}
}

func TestEvictionThatACrashCutShortIsFinishedAtOpen(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 3), records("app", 3, 5))
	segs, err := List(fsx.OS, root, "app")
	must(t, err)
	must(t, os.Rename(segs[0].Path(), segs[0].in(StateEvicted)))
	l := openLog(t, fsx.OS, root, "app", Options{})
	if l.Evicted() != 3 {
		t.Errorf("%d evicted, want 3", l.Evicted())
	}
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000002.jsonl"})
}

func TestRecordsOfAGroupWhoseSegmentIsRemovedAreNotAnsweredFor(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{MaxBytes: bound(3)})
	l.opt.SegmentBytes = bound(8)
	m := &member{buf: encode(records("app", 0, 2))}
	must(t, l.write(m))
	l.pending = append(l.pending, m)
	must(t, os.Remove(l.cur.seg.Path()))
	if err := l.makeRoom(bound(2)); err != nil { // looks at the folder
		t.Error(err)
	}
	l.flush()
	if m.err == nil {
		t.Error("no error for records that are nowhere")
	}
}

func TestSequenceNumbersAreNotUsedAgainWhileAnythingOfThemIsThere(t *testing.T) {
	for _, name := range []string{
		"00000000000000000009.jsonl", "00000000000000000009.claimed.jsonl", "00000000000000000009.r3.jsonl",
		"00000000000000000009.done", "00000000000000000009.bad", "00000000000000000009.r1.bad",
	} {
		root := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(root, "app"), 0o700))
		must(t, os.WriteFile(filepath.Join(root, "app", name), []byte("x\n"), 0o600))
		l := openLog(t, fsx.OS, root, "app", Options{})
		must(t, l.Append(records("app", 0, 1)))
		if l.cur.seg.Seq != 10 {
			t.Errorf("beside %s the next segment is %d, want 10", name, l.cur.seg.Seq)
		}
	}
}

func TestANameThatIsTakenIsPassedOver(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 1), records("app", 1, 2))
	l := openLog(t, fsx.OS, root, "app", Options{})
	l.seq = 0 // as when the segments were being renamed while the folder was listed
	must(t, l.Append(records("app", 2, 3)))
	must(t, l.Seal())
	diff(t, "held", held(t, root, "app"), payloads(records("app", 0, 3)))
}

func TestTornWriteLeavesNothingBehindAShorterOne(t *testing.T) {
	root := t.TempDir()
	fsys := fsxtest.New()
	l := openLog(t, fsys, root, "app", Options{Fsync: true})
	fsys.TearWrite(900, syscall.ENOSPC)
	if err := l.Append(records("app", 0, 9)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error is %v, want ENOSPC", err)
	}
	fsys.Heal()
	must(t, l.Append(records("app", 9, 10)))
	must(t, l.Seal())
	diff(t, "held", held(t, root, "app"), payloads(records("app", 9, 10)))
}

// TestWhatCouldNotBeSyncedNorCutIsCutLater: until then nothing is written behind it, or it would
// come to count.
func TestWhatCouldNotBeSyncedNorCutIsCutLater(t *testing.T) {
	root := t.TempDir()
	fsys := fsxtest.New()
	l := openLog(t, fsys, root, "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 1)))
	fsys.FailNth(fsxtest.OpSync, 1, syscall.EIO)
	fsys.FailFrom(fsxtest.OpTruncate, 1, syscall.EIO)
	for range 2 {
		if err := l.Append(records("app", 1, 2)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("error is %v, want EIO", err)
		}
	}
	fsys.Heal()
	must(t, l.Append(records("app", 2, 3)))
	diff(t, "held", held(t, root, "app"), payloads([]Record{record("app", 0), record("app", 2)}))
}
