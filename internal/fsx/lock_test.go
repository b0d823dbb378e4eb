package fsx_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shiplog/internal/fsx"
)

func TestLockNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "lock")
	held, err := fsx.OS.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	var locked *fsx.LockedError
	if _, err := fsx.OS.Lock(path); !errors.As(err, &locked) {
		t.Fatalf("second lock: error is %v, want a LockedError", err)
	}
	if locked.Path != path || locked.PID != os.Getpid() {
		t.Errorf("got %+v, want path %s and pid %d", locked, path, os.Getpid())
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := fsx.OS.Lock(path)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// TestLockEndsWithItsProcess kills a real holder: what it wrote into the file must not keep the
// next one out.
func TestLockEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv("FSX_TEST_LOCK"); path != "" {
		holdLock(path)
		return
	}
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "FSX_TEST_LOCK="+path)
	stdin, err := cmd.StdinPipe() // held open: the child waits on it
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the child said %q (%v), want that it holds the lock", line, err)
	}
	var locked *fsx.LockedError
	if _, err := fsx.OS.Lock(path); !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("error is %v, want a LockedError with pid %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	lock, err := fsx.OS.Lock(path)
	if err != nil {
		t.Fatalf("lock after the holder was killed: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// holdLock is the child: it takes the lock and waits to be killed.
func holdLock(path string) {
	if _, err := fsx.OS.Lock(path); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestLockWithoutAFolderToMake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := fsx.OS.Lock(filepath.Join(file, "lock"))
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error is %v, want one that names the path", err)
	}
}
