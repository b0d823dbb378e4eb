package watch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// nxadm/tail starts these two once in a process, for good.
		goleak.IgnoreTopFunction("github.com/nxadm/tail/watch.(*InotifyTracker).run"),
		goleak.IgnoreAnyFunction("github.com/fsnotify/fsnotify.(*Watcher).readEvents"),
	)
}

// patience bounds how long a test waits for an event before it fails; it decides no result else.
const patience = 10 * time.Second

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func arm(t *testing.T, f *os.File) (*Watch, chan struct{}) {
	t.Helper()
	woken := make(chan struct{}, 1)
	w, err := Arm(f, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Stop() })
	return w, woken
}

func await(t *testing.T, woken <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-woken:
	case <-time.After(patience):
		t.Fatalf("no event after %s", what)
	}
}

func write(t *testing.T, f *os.File) {
	t.Helper()
	if _, err := f.WriteString("x\n"); err != nil {
		t.Fatal(err)
	}
}

func TestWakesOnAppendTruncateAndUnlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f := open(t, path)
	w, woken := arm(t, f)
	write(t, f)
	await(t, woken, "an append")
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	await(t, woken, "a truncation")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await(t, woken, "an unlink")
	if !w.Alive() {
		t.Error("the watch ended at an unlink though the descriptor is open")
	}
}

func TestEndsAtARenameAndCanBeArmedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f := open(t, path)
	w, woken := arm(t, f)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	await(t, woken, "a rename")
	if w.Alive() {
		t.Fatal("the watch claims to be alive after a rename")
	}
	if !w.Stop() {
		t.Fatal("the watch did not let go")
	}
	_, woken = arm(t, f)
	write(t, f)
	await(t, woken, "an append to the renamed file")
}

// A descriptor's number that is used again at once must not meet the end of the watch before it:
// without the wait in Stop nearly every new watch is dead.
func TestDescriptorNumberUsedAgain(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		before, err := os.Create(filepath.Join(dir, "before.log"))
		if err != nil {
			t.Fatal(err)
		}
		w, _ := arm(t, before)
		if !w.Stop() {
			t.Fatalf("round %d: the watch did not let go", i)
		}
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		f := open(t, filepath.Join(dir, "a.log"))
		w, woken := arm(t, f)
		write(t, f)
		await(t, woken, "an append")
		if !w.Stop() {
			t.Fatalf("round %d: the watch did not let go", i)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondDescriptorOfOneFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	w, _ := arm(t, open(t, path))
	if _, err := Arm(open(t, path), func() {}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("error = %v, want ErrUnavailable", err)
	}
	w.Stop()
	_, woken := arm(t, open(t, path))
	write(t, open(t, path))
	await(t, woken, "an append after the first watch was stopped")
}

func TestStopTwiceIsHarmless(t *testing.T) {
	w, _ := arm(t, open(t, filepath.Join(t.TempDir(), "a.log")))
	if !w.Stop() || !w.Stop() {
		t.Fatal("Stop of an idle watch must say that the descriptor may be closed")
	}
}
