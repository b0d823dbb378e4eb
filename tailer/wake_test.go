package tailer

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shiplog/tailer/internal/watch"
)

// fakeWatch is a watch whose events the test makes, or swallows.
type fakeWatch struct {
	mu             sync.Mutex
	dead           bool
	armed, stopped int
	wake           func()
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

func (w *fakeWatch) Stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped++
	return true
}

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
		done := r.runs(ctx)
		r.next()
		r.tl.Want()
		time.Sleep(5 * time.Second)
		for range 2 * manyWakes {
			w.event(false)
			synctest.Wait()
		}
		if w.stopped != 1 {
			t.Errorf("the watch was stopped %d times, want once", w.stopped)
		}
		cancel()
		r.ended(done, context.Canceled)
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

// Where files cannot be watched they are polled, and the log says so once for all of them; not where a watch
// is only not wanted.
func TestThatFilesCannotBeWatchedIsSaidOnce(t *testing.T) {
	for err, want := range map[error]int{fmt.Errorf("%w: inotify_init1: too many open files", watch.ErrUnavailable): 1, watch.ErrEnough: 0} {
		r := newRig(t, "*.log")
		r.cfg.Poll = false
		r.append("a.log", "1")
		r.append("b.log", "2")
		r.start()
		r.tl.arm = func(*os.File, func()) (watcher, error) { return nil, err }
		r.ticks(5)
		r.append("a.log", "3")
		r.ticks(3)
		r.want("a.log", "1", "3")
		if n := r.logs.FilterMessage(notWatched).Len(); n != want {
			t.Errorf("%v: said %d times, want %d", err, n, want)
		}
		r.stop()
	}
}
