package checkpoint

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPositionNeverPassesAnUnsettledRun(t *testing.T) {
	tr := NewTracker(nil)
	a := testFile(1, 0, "/a")
	first := tr.Begin(oneRun(a, 0, 100))
	second := tr.Begin(oneRun(a, 100, 200))
	third := tr.Begin(oneRun(a, 200, 300))

	tr.Settle(third)
	wantOffset(t, tr, a, 0)
	tr.Settle(first)
	wantOffset(t, tr, a, 100)
	tr.Settle(second)
	wantOffset(t, tr, a, 300)
}

func TestBatchSettlesItsRunsOfSeveralFiles(t *testing.T) {
	tr := NewTracker(nil)
	a, b := testFile(1, 0, "/a"), testFile(2, 0, "/b")
	both := tr.Begin(&batch.Batch{Runs: []batch.Run{run1(a, 0, 10), run1(b, 0, 20), run1(a, 10, 30)}})
	wantOffset(t, tr, a, 0)
	wantOffset(t, tr, b, 0)
	tr.Settle(both)
	wantOffset(t, tr, a, 30)
	wantOffset(t, tr, b, 20)
}

func TestSettlingTwiceHasNoEffect(t *testing.T) {
	tr := NewTracker(nil)
	a := testFile(1, 0, "/a")
	first := tr.Begin(oneRun(a, 0, 100))
	tr.Settle(first)
	second := tr.Begin(oneRun(a, 100, 200)) // takes the slot of the first
	tr.Settle(first)
	tr.Settle(Ticket{})
	wantOffset(t, tr, a, 100)
	tr.Settle(second)
	wantOffset(t, tr, a, 200)
}

func TestGenerationsOfOneInodeAreTwoFiles(t *testing.T) {
	tr := NewTracker(nil)
	old, next := testFile(1, 0, "/a"), testFile(1, 1, "/a")
	pending := tr.Begin(oneRun(old, 0, 100))
	tr.Settle(tr.Begin(oneRun(next, 0, 50)))
	wantOffset(t, tr, old, 0)
	wantOffset(t, tr, next, 50)
	tr.Settle(pending)
	wantOffset(t, tr, old, 100)
	states := tr.States()
	if len(states) != 2 || states[0].ID != old.ID || states[1].ID != next.ID {
		t.Errorf("states are %v, want the old generation, then the new one", states)
	}
}

func TestFinishedComesWithItsRun(t *testing.T) {
	tr := NewTracker(nil)
	a := testFile(1, 0, "/a")
	lines := tr.Begin(oneRun(a, 0, 100))
	last := run1(a, 100, 100)
	last.Finished = true
	tr.Settle(tr.Begin(&batch.Batch{Runs: []batch.Run{last}}))
	if tr.States()[0].Finished {
		t.Error("finished while lines before it are unsettled")
	}
	tr.Settle(lines)
	if !tr.States()[0].Finished {
		t.Error("not finished after all was settled")
	}
	tr.Settle(tr.Begin(oneRun(a, 100, 120))) // the application wrote on after the rotation
	if tr.States()[0].Finished {
		t.Error("still finished after it has grown")
	}
}

// TestNewFileIsKnownAtOnce: a file that is being read from its start must not be taken for an old
// one after a crash; a file found at its end has no position before its run is settled.
func TestNewFileIsKnownAtOnce(t *testing.T) {
	tr := NewTracker(nil)
	a, b := testFile(1, 0, "/a"), testFile(2, 0, "/b")
	tr.Begin(oneRun(a, 0, 100))
	atEnd := tr.Begin(oneRun(b, 500, 500))
	want := []batch.State{{ID: a.ID, Path: "/a", Pos: batch.Pos{Head: 7, HeadLen: 9}}}
	if diff := cmp.Diff(want, tr.States()); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	tr.Settle(atEnd)
	wantOffset(t, tr, b, 500)
	if got := len(tr.States()); got != 2 {
		t.Errorf("%d states, want 2", got)
	}
}

func TestStateCarriesTheHashesPathAndTime(t *testing.T) {
	tr := NewTracker(nil)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := oneRun(testFile(1, 0, "/a"), 0, 100)
	b.ReadAt = now
	tr.Settle(tr.Begin(b))
	moved := &batch.File{ID: b.Runs[0].File.ID, Path: "/moved"}
	b2 := oneRun(moved, 100, 150)
	b2.ReadAt = now.Add(time.Second)
	tr.Settle(tr.Begin(b2))
	want := []batch.State{{ID: moved.ID, Path: "/moved", Pos: b2.Runs[0].End, Seen: now.Add(time.Second)}}
	if diff := cmp.Diff(want, tr.States()); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestGapHoldsThePositionAndIsLoud(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	tr := NewTracker(zap.New(core))
	a := testFile(1, 0, "/a")
	tr.Settle(tr.Begin(oneRun(a, 0, 100)))
	tr.Settle(tr.Begin(oneRun(a, 120, 200)))
	tr.Settle(tr.Begin(oneRun(a, 200, 300)))
	wantOffset(t, tr, a, 100)
	if logs.Len() != 1 {
		t.Errorf("%d errors logged, want one", logs.Len())
	}
}

func TestRepeatedRunDoesNotMoveBack(t *testing.T) {
	tr := NewTracker(nil)
	a := testFile(1, 0, "/a")
	tr.Settle(tr.Begin(oneRun(a, 0, 100)))
	tr.Settle(tr.Begin(oneRun(a, 40, 60)))
	wantOffset(t, tr, a, 100)
	tr.Settle(tr.Begin(oneRun(a, 100, 130)))
	wantOffset(t, tr, a, 130)
}

func TestPartitionPins(t *testing.T) {
	tr := NewTracker(nil)
	if p, ok := tr.Partition("/a"); ok {
		t.Errorf("partition %d before one was chosen", p)
	}
	tr.SetPartition("/a", 0)
	tr.SetPartition("/b", 3)
	for path, want := range map[string]int32{"/a": 0, "/b": 3} {
		if got, ok := tr.Partition(path); !ok || got != want {
			t.Errorf("partition of %s is %d, %v, want %d", path, got, ok, want)
		}
	}
}

func TestTrackerIsSafeForConcurrentUse(t *testing.T) {
	tr := NewTracker(nil)
	tickets := make(chan Ticket, 16)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ticket := range tickets {
				tr.Settle(ticket)
				tr.States()
			}
		})
	}
	a := testFile(1, 0, "/a")
	const batches = 2000
	for i := range int64(batches) {
		tickets <- tr.Begin(oneRun(a, i*10, i*10+10))
	}
	close(tickets)
	wg.Wait()
	wantOffset(t, tr, a, batches*10)
}

func TestBeginAndSettleDoNotAllocate(t *testing.T) {
	step := steadyState(64)
	step()
	if got := testing.AllocsPerRun(1000, step); got != 0 {
		t.Errorf("%v allocations a batch, want 0", got)
	}
}

func BenchmarkTracker(b *testing.B) {
	step := steadyState(64)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// steadyState gives a step that begins a batch of runs of two files, and settles the one that was
// begun so many steps ago, or its neighbour, so that they settle out of order.
func steadyState(out int) func() {
	tr := NewTracker(nil)
	x, y := testFile(1, 0, "/x"), testFile(2, 0, "/y")
	b := &batch.Batch{Runs: make([]batch.Run, 2)}
	tickets := make([]Ticket, out)
	i := int64(0)
	step := func() {
		b.Runs[0], b.Runs[1] = run1(x, i*10, i*10+10), run1(y, i*10, i*10+10)
		at := i ^ 1
		tr.Settle(tickets[at%int64(out)])
		tickets[at%int64(out)] = tr.Begin(b)
		i++
	}
	for range 4 * out {
		step()
	}
	return step
}

func testFile(inode uint64, gen uint32, path string) *batch.File {
	return &batch.File{ID: batch.FileID{Dev: 1, Inode: inode, Birth: 5, Gen: gen}, Path: path}
}

func run1(f *batch.File, from, to int64) batch.Run {
	return batch.Run{File: f, Start: from, End: posFor(to)}
}

// posFor makes a position that differs in each field from others, so that mixed ones show.
func posFor(offset int64) batch.Pos {
	return batch.Pos{
		Offset: offset, Head: 7, HeadLen: 9,
		Tail: uint64(offset)*31 + 1, TailLen: int(min(offset, batch.FingerprintBytes)),
	}
}

func oneRun(f *batch.File, from, to int64) *batch.Batch {
	return &batch.Batch{Runs: []batch.Run{run1(f, from, to)}}
}

func wantOffset(t *testing.T, tr *Tracker, f *batch.File, want int64) {
	t.Helper()
	if got := tr.Settled(f.ID); got != want {
		t.Errorf("settled offset of %s is %d, want %d", f.Path, got, want)
	}
}

func TestFoundFileIsKnownBeforeItsFirstRun(t *testing.T) {
	tr := NewTracker(nil)
	f := testFile(1, 0, "/a")
	tr.Found(batch.State{ID: f.ID, Path: "/a", Pos: batch.Pos{Head: 7, HeadLen: 3}})
	if s := tr.States(); len(s) != 1 || s[0].Pos.HeadLen != 3 || s[0].Path != "/a" {
		t.Fatalf("states after Found: %+v", s)
	}
	tr.Found(batch.State{ID: f.ID, Path: "/a", Pos: batch.Pos{Head: 9, HeadLen: 5}})
	if s := tr.States(); s[0].Pos.HeadLen != 5 || s[0].Pos.Head != 9 {
		t.Errorf("a longer head is not kept: %+v", s)
	}
	ticket := tr.Begin(oneRun(f, 0, 100))
	tr.Found(batch.State{ID: f.ID, Path: "/a", Pos: batch.Pos{Head: 1, HeadLen: 50}})
	wantOffset(t, tr, f, 0)
	tr.Settle(ticket)
	tr.Found(batch.State{ID: f.ID, Path: "/a"})
	wantOffset(t, tr, f, 100)
}
