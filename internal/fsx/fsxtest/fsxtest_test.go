package fsxtest_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestFailNthFailsOnce(t *testing.T) {
	f := fsxtest.New()
	dir := t.TempDir()
	f.FailNth(fsxtest.OpStat, 2, syscall.EIO)
	for i, want := range []error{nil, syscall.EIO, nil} {
		if _, err := f.Stat(dir); !errors.Is(err, want) {
			t.Errorf("call %d: %v, want %v", i+1, err, want)
		}
	}
	if got := f.Count(fsxtest.OpStat); got != 3 {
		t.Errorf("count is %d, want 3", got)
	}
}

func TestFailFromLastsUntilHeal(t *testing.T) {
	f := fsxtest.New()
	dir := t.TempDir()
	f.FailFrom(fsxtest.OpReadDir, 1, syscall.EIO)
	f.Only(func(path string) bool { return !strings.Contains(path, "spared") })
	for range 2 {
		if _, err := f.ReadDir(dir); !errors.Is(err, syscall.EIO) {
			t.Errorf("error is %v, want EIO", err)
		}
	}
	if _, err := f.ReadDir(filepath.Join(dir, "spared")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want the real one", err)
	}
	f.Heal()
	if _, err := f.ReadDir(dir); err != nil {
		t.Errorf("after Heal: %v", err)
	}
}

func TestTearWriteCutsAtTheByte(t *testing.T) {
	f := fsxtest.New()
	name := filepath.Join(t.TempDir(), "log")
	file := open(t, f, name)
	f.TearWrite(5, syscall.ENOSPC)
	write(t, file, "abc")
	if n, err := file.Write([]byte("defg")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("torn write: %d, %v, want 2, ENOSPC", n, err)
	}
	if n, err := file.Write([]byte("h")); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write after it: %d, %v, want 0, ENOSPC", n, err)
	}
	wantContent(t, name, "abcde")
}

func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	f := fsxtest.New()
	dir := t.TempDir()
	name := filepath.Join(dir, "log")
	file := open(t, f, name)
	write(t, file, "synced")
	check(t, file.Sync(), f.SyncDir(dir))
	write(t, file, " and not")
	check(t, file.Close(), f.Crash())
	wantContent(t, name, "synced")
}

func TestCrashLosesEntriesOfUnsyncedFolders(t *testing.T) {
	f := fsxtest.New()
	dir := t.TempDir()
	kept, made, gone := filepath.Join(dir, "kept"), filepath.Join(dir, "made"), filepath.Join(dir, "gone")
	for _, name := range []string{kept, gone} {
		file := open(t, f, name)
		write(t, file, name)
		check(t, file.Sync(), file.Close())
	}
	check(t, f.SyncDir(dir))
	file := open(t, f, made)
	write(t, file, "new")
	check(t, file.Sync(), file.Close(), f.Rename(made, kept), f.Remove(gone), f.Crash())
	wantContent(t, kept, kept)
	wantContent(t, gone, gone)
	if _, err := os.Stat(made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file whose entry was never synced is there: %v", err)
	}
}

func TestCrashKeepsARenameThatWasSynced(t *testing.T) {
	f := fsxtest.New()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	file := open(t, f, a)
	write(t, file, "content")
	check(t, file.Sync(), f.Rename(a, b), f.SyncDir(dir))
	write(t, file, " lost")
	check(t, file.Close(), f.Crash())
	wantContent(t, b, "content")
}

func open(t *testing.T, f fsx.FS, name string) fsx.File {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	check(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func write(t *testing.T, file fsx.File, s string) {
	t.Helper()
	_, err := file.Write([]byte(s))
	check(t, err)
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	check(t, err)
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(name), got, want)
	}
}
