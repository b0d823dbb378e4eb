package failedlog

import (
	"context"
	"errors"
	"testing"
	"time"

	"shiplog/internal/fsx"
)

func TestOnlyPickedSegmentsAreLookedAt(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 6)
	fill(t, root, "app", rs[:2], rs[2:4], rs[4:])
	var b broker
	second := func(s Segment) bool { return s.Seq == 2 }
	if stats := replay(t, root, ReplayOptions{Pick: second}, &b); stats.Segments != 1 || stats.Lines != 2 || stats.Delivered != 2 {
		t.Errorf("%+v, want one segment of two lines", stats)
	}
	diff(t, "sent", b.got, payloads(rs[2:4]))
	diff(t, "left", held(t, root, "app"), payloads(append(rs[:2:2], rs[4:]...)))
}

func TestReplayAndDropWaitForTheLock(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 2), records("app", 2, 4))
	for name, work := range map[string]func(wait time.Duration) error{
		"replay": func(wait time.Duration) error {
			_, err := Replay(t.Context(), ReplayOptions{Dir: root, LockWait: wait}, &broker{})
			return err
		},
		"drop": func(wait time.Duration) error {
			_, err := Drop(DropOptions{Dir: root, LockWait: wait})
			return err
		},
	} {
		lock, err := lockRoot(t.Context(), fsx.OS, root, 0)
		must(t, err)
		var locked *fsx.LockedError
		if err := work(0); !errors.As(err, &locked) {
			t.Errorf("%s without waiting: %v, want a *fsx.LockedError", name, err)
		}
		if err := work(2 * lockPoll); !errors.As(err, &locked) {
			t.Errorf("%s after a wait in vain: %v, want a *fsx.LockedError", name, err)
		}
		done := make(chan error, 1)
		go func() { done <- work(time.Minute) }()
		select {
		case err := <-done:
			t.Errorf("%s did not wait: %v", name, err)
		case <-time.After(2 * lockPoll):
		}
		must(t, lock.Unlock())
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAWaitForTheLockEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	lock, err := lockRoot(t.Context(), fsx.OS, root, 0)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Replay(ctx, ReplayOptions{Dir: root, LockWait: time.Hour}, &broker{})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	must(t, lock.Unlock())
}
