package tailer

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/fsid"
)

// testPatience bounds how long a test waits for something before it fails; it decides no result else.
// Most of these tests run in a bubble of package synctest, where waiting takes no time.
const testPatience = 20 * time.Second

// runs starts the loop and gives its result. The rig's tailer must not be driven by hand then.
func (r *rig) runs(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	tl := r.tl
	go func() { done <- tl.Run(ctx) }()
	return done
}

// next asks for a batch and waits for it; nil when there will be none any more.
func (r *rig) next() *batch.Batch {
	r.t.Helper()
	r.tl.Want()
	select {
	case b, ok := <-r.tl.Batches():
		if !ok {
			return nil
		}
		r.receive(b)
		b.Release()
		return b
	case <-time.After(testPatience):
		r.t.Fatal("no batch")
		return nil
	}
}

// rest takes batches until there will be no more.
func (r *rig) rest() {
	r.t.Helper()
	for r.next() != nil {
	}
}

func (r *rig) ended(done <-chan error, want error) {
	r.t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			r.t.Errorf("Run = %v, want %v", err, want)
		}
	case <-time.After(testPatience):
		r.t.Fatal("Run does not return")
	}
}

// bubble runs a test where time passes only while everybody waits.
func bubble(t *testing.T, include string, test func(r *rig)) {
	t.Helper()
	dir := newRig(t, include) // the folder is cleaned up outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, include)
		r.dir, r.cfg.Include = dir.dir, dir.cfg.Include
		test(r)
		r.tl = nil // Run has given everything back
		if used := r.pool.Used(8 << 20); used != 0 {
			t.Errorf("%d bytes of the pool are still out", used)
		}
	})
}

func TestRunShipsWhatIsAppended(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.append("a.log", "one")
		r.start()
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.next()
		r.append("a.log", "two")
		r.next()
		r.append("b.log", "new file")
		r.next()
		cancel()
		r.ended(done, context.Canceled)
		r.want("a.log", "one", "two")
		r.want("b.log", "new file")
	})
}

func TestCutShortWithABatchOnOffer(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.append("a.log", "one")
		r.start()
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.tl.Want()
		synctest.Wait()
		cancel()
		r.ended(done, context.Canceled)
		r.want("a.log")
		select {
		case _, ok := <-r.tl.Batches():
			t.Errorf("Batches gave something (open %v) after it was cut short", ok)
		default:
		}
	})
}

func TestOneBatchAWant(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.cfg.MaxBatchLines = 1
		r.append("a.log", "1", "2", "3")
		r.start()
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.next()
		select {
		case <-r.tl.Batches():
			t.Error("a batch that nobody asked for")
		case <-time.After(time.Minute):
		}
		r.next()
		cancel()
		r.ended(done, context.Canceled)
		r.want("a.log", "1", "2")
	})
}

func TestOnceShipsWhatIsThereAndCloses(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.cfg.Once = true
		r.append("a.log", seq("a", 1, 1000)...)
		r.write("b.log", "one\nhalf")
		r.write("empty.log", "")
		r.start()
		r.tl.open = func(root *fsid.Root, path string) (*os.File, fsid.Identity, error) {
			if path == r.path("a.log") || path == r.path("b.log") || path == r.path("empty.log") {
				return fsid.Open(root, path)
			}
			return nil, fsid.Identity{}, syscall.EACCES
		}
		r.append("unreadable.log", "x")
		done := r.runs(context.Background())
		r.rest()
		r.ended(done, nil)
		r.want("a.log", seq("a", 1, 1000)...)
		r.want("b.log", "one", "half")
	})
}

func TestOnceGoesOnWhereItWas(t *testing.T) {
	bubble(t, "app.log", func(r *rig) {
		r.cfg.Once = true
		r.append("app.log", "1")
		r.start()
		done := r.runs(context.Background())
		r.rest()
		r.ended(done, nil)
		r.tl = nil
		r.seen = time.Now()
		r.append("app.log", "2")
		r.rename("app.log", "app.log.1")
		r.write("app.log", "3\nhalf")
		r.start()
		done = r.runs(context.Background())
		r.rest()
		r.ended(done, nil)
		r.want("app.log", "1", "2", "3", "half")
	})
}

func TestDrainWaitsUntilFilesAreQuietAndLeavesHalfLines(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.append("a.log", "one")
		r.start()
		done := r.runs(context.Background())
		r.next()
		began := time.Now()
		r.tl.Drain(time.Second)
		r.tl.Want()
		time.Sleep(700 * time.Millisecond)
		r.append("a.log", "two")
		r.next()
		time.Sleep(700 * time.Millisecond)
		r.write("a.log", "three\nhalf")
		r.append("new.log", "new")
		r.rest()
		r.ended(done, nil)
		r.want("a.log", "one", "two", "three")
		r.want("new.log", "new")
		if took := time.Since(began); took < 2400*time.Millisecond || took > 4*time.Second {
			t.Errorf("drained after %v", took)
		}
	})
}

func TestDrainLooksOnceMoreBeforeItEnds(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.append("a.log", "one")
		r.start()
		done := r.runs(context.Background())
		r.next()
		time.Sleep(300 * time.Millisecond) // between two scans
		r.append("new.log", "new")
		r.tl.Drain(0)
		r.rest()
		r.ended(done, nil)
		r.want("new.log", "new")
	})
}

func TestDrainWithoutDemandWaitsForIt(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.append("a.log", "one")
		r.start()
		done := r.runs(context.Background())
		r.tl.Drain(0)
		select {
		case <-done:
			t.Fatal("drained with an unread file")
		case <-time.After(time.Minute):
		}
		r.rest()
		r.ended(done, nil)
		r.want("a.log", "one")
	})
}

func TestStarvedReaderGoesOnWhenMemoryIsFreed(t *testing.T) {
	bubble(t, "*.log", func(r *rig) {
		r.pool = batch.NewPool(0)
		r.cfg.Quota = r.pool.Source(64 << 10)
		r.append("a.log", "one")
		r.start()
		held := r.cfg.Quota.TryGet(64 << 10)
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.tl.Want()
		time.Sleep(10*time.Second + 300*time.Millisecond)
		r.want("a.log")
		held.Release()
		freed := time.Now()
		r.next()
		if took := time.Since(freed); took > 0 {
			t.Errorf("it took %v to see that memory was freed", took)
		}
		r.want("a.log", "one")
		cancel()
		r.ended(done, context.Canceled)
		r.pool = batch.NewPool(8 << 20)
	})
}
