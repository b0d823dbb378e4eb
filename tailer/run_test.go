package tailer

import (
	"context"
	"errors"
	"testing"
	"time"

	"shiplog/internal/batch"
)

// patience bounds how long a test waits for something before it fails; it decides no result else.
const testPatience = 20 * time.Second

// runs starts the loop and gives its result. The rig's tailer must not be driven by hand then.
func (r *rig) runs(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	tl := r.tl
	go func() { done <- tl.Run(ctx) }()
	return done
}

func (r *rig) next() *batch.Batch {
	r.t.Helper()
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

func result(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(testPatience):
		t.Fatal("Run does not return")
		return nil
	}
}

func TestRunShipsWhatIsAppended(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.Poll = false
	r.append("a.log", "one")
	r.start()
	ctx, cancel := context.WithCancel(context.Background())
	done := r.runs(ctx)
	r.tl.Want()
	r.next()
	r.tl.Want()
	r.append("a.log", "two")
	r.next()
	cancel()
	if err := result(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
	r.want("a.log", "one", "two")
}

func TestOnceShipsWhatIsThereAndCloses(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.Once = true
	r.append("a.log", seq("a", 1, 1000)...)
	r.write("b.log", "one\nhalf")
	r.start()
	done := r.runs(context.Background())
	for {
		r.tl.Want()
		if r.next() == nil {
			break
		}
	}
	if err := result(t, done); err != nil {
		t.Error(err)
	}
	r.want("a.log", seq("a", 1, 1000)...)
	r.want("b.log", "one", "half")
}

func TestDrainEndsWhenFilesAreQuiet(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "one")
	r.start()
	done := r.runs(context.Background())
	r.tl.Want()
	r.next()
	r.append("a.log", "two")
	r.tl.Drain(10 * time.Millisecond)
	for {
		r.tl.Want()
		if r.next() == nil {
			break
		}
	}
	if err := result(t, done); err != nil {
		t.Error(err)
	}
	r.want("a.log", "one", "two")
}
