package tailer

import (
	"context"
	"errors"
	"os"
	"sync"
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
		time.Sleep(10 * time.Second)
		r.want("a.log")
		held.Release()
		r.next()
		r.want("a.log", "one")
		cancel()
		r.ended(done, context.Canceled)
		r.pool = batch.NewPool(8 << 20)
	})
}

// fakeWatch is a watch whose events the test makes, or swallows.
type fakeWatch struct {
	mu    sync.Mutex
	dead  bool
	armed int
	wake  func()
}

func (w *fakeWatch) arm(_ *os.File, wake func()) (watcher, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed++
	w.dead, w.wake = false, wake
	return w, nil
}

func (w *fakeWatch) Alive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead
}

func (w *fakeWatch) Stop() bool { return true }

func (w *fakeWatch) event(end bool) {
	w.mu.Lock()
	w.dead = w.dead || end
	wake := w.wake
	w.mu.Unlock()
	wake()
}

func (w *fakeWatch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed
}

// A batch must come within a second of a write although not one event is reported.
func TestAllEventsAreSwallowed(t *testing.T) {
	bubble(t, "app.log", func(r *rig) {
		var w fakeWatch
		r.cfg.Poll = false
		r.append("app.log", "1")
		r.start()
		r.tl.arm = w.arm
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.next()
		write := func(what func()) {
			t.Helper()
			r.tl.Want()
			time.Sleep(10*time.Second + 300*time.Millisecond)
			if w.count() == 0 {
				t.Fatal("an idle file is not watched")
			}
			began := time.Now()
			what()
			r.next()
			if took := time.Since(began); took > time.Second {
				t.Errorf("the line took %v", took)
			}
		}
		write(func() { r.append("app.log", "2") })
		write(func() { r.rename("app.log", "app.log.1"); r.append("app.log.1", "3") })
		write(func() { r.append("app.log", "4") })
		write(func() { r.copytruncate("app.log", "app.log.2"); r.append("app.log", "5") })
		write(func() { r.append("app.log", "6") })
		for range 8 {
			r.tl.Want()
			time.Sleep(time.Second)
			select {
			case b := <-r.tl.Batches():
				r.receive(b)
				b.Release()
			default:
			}
		}
		cancel()
		r.ended(done, context.Canceled)
		r.want("app.log", "1", "2", "3", "4", "5", "6")
	})
}

func TestAnEventWakesAtOnce(t *testing.T) {
	bubble(t, "app.log", func(r *rig) {
		var w fakeWatch
		r.cfg.Poll = false
		r.append("app.log", "1")
		r.start()
		r.tl.arm = w.arm
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.next()
		r.tl.Want()
		time.Sleep(10*time.Second + 300*time.Millisecond)
		began := time.Now()
		r.append("app.log", "2")
		w.event(false)
		r.next()
		if took := time.Since(began); took > 0 {
			t.Errorf("the line took %v after the event", took)
		}
		// In use now, it is polled at the linger.
		for range 5 {
			began = time.Now()
			r.append("app.log", "3")
			r.next()
			if took := time.Since(began); took > 2*r.cfg.Linger {
				t.Errorf("a line of a file in use took %v", took)
			}
		}
		cancel()
		r.ended(done, context.Canceled)
	})
}

func TestAWatchThatHasEndedIsArmedAgain(t *testing.T) {
	bubble(t, "app.log", func(r *rig) {
		var w fakeWatch
		r.cfg.Poll = false
		r.append("app.log", "1")
		r.start()
		r.tl.arm = w.arm
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		r.next()
		r.tl.Want()
		time.Sleep(5 * time.Second)
		if n := w.count(); n != 1 {
			t.Fatalf("armed %d times, want once", n)
		}
		w.event(true)
		time.Sleep(5 * time.Second)
		if n := w.count(); n != 2 {
			t.Errorf("armed %d times, want twice", n)
		}
		cancel()
		r.ended(done, context.Canceled)
	})
}

// Ten thousand writes a second must not be ten thousand wake-ups.
func TestAFileThatWakesTooOftenIsPolled(t *testing.T) {
	bubble(t, "app.log", func(r *rig) {
		var w fakeWatch
		r.cfg.Poll = false
		r.append("app.log", "1")
		r.start()
		r.tl.arm = w.arm
		ctx, cancel := context.WithCancel(context.Background())
		r.runs(ctx)
		r.next()
		r.tl.Want()
		time.Sleep(5 * time.Second)
		for range 2 * manyWakes {
			w.event(false)
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		for g := range r.tl.opened {
			t.Errorf("%v is still open", g)
		}
		if len(r.tl.hot) != 1 || r.tl.hot[0].watch != nil {
			t.Errorf("a file in use is still watched")
		}
	})
}

// The real thing: inotify on the descriptor that is held.
func TestARealWatchWakes(t *testing.T) {
	r := newRig(t, "app.log")
	r.cfg.Poll = false
	r.append("app.log", "1")
	r.start()
	r.tick()
	idle := func() {
		r.now = r.now.Add(2 * hotFor)
		r.tl.poll(r.now)
		select {
		case <-r.tl.wake:
		default:
		}
	}
	woken := func(what string) {
		t.Helper()
		select {
		case <-r.tl.wake:
		case <-time.After(testPatience):
			t.Fatalf("no event after %s", what)
		}
		r.tl.takeWakes(r.now)
		r.drain()
	}
	idle()
	r.append("app.log", "2")
	woken("an append")
	r.want("app.log", "1", "2")
	idle()
	r.rename("app.log", "app.log.1")
	woken("a rename")
	idle()
	r.append("app.log.1", "3")
	woken("an append to the renamed file")
	r.want("app.log", "1", "2", "3")
}
