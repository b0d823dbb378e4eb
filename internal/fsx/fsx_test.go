package fsx_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWriteFileAtomicReplacesContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	for _, want := range []string{"one", "a longer second one", ""} {
		if err := fsx.WriteFileAtomic(fsx.OS, name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, name); got != want {
			t.Errorf("content is %q, want %q", got, want)
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != fsx.FileMode {
		t.Errorf("mode is %v, want %v: it may hold payloads", got, fsx.FileMode)
	}
}

func TestWriteFileAtomicReplacesALeftoverOfACrash(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(name+fsx.TempSuffix, []byte("longer than what comes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fsx.WriteFileAtomic(fsx.OS, name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "new" {
		t.Errorf("content is %q, want %q", got, "new")
	}
}

// TestWriteFileAtomicFailsWhole makes each step fail in turn: the error is told, the name holds the
// old content or the new one, and the next try succeeds.
func TestWriteFileAtomicFailsWhole(t *testing.T) {
	ops := []fsxtest.Op{
		fsxtest.OpOpen, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpClose, fsxtest.OpRename, fsxtest.OpSyncDir,
	}
	for _, op := range ops {
		t.Run(string(op), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "state.json")
			fsys := fsxtest.New()
			mustWrite(t, fsys, name, "old")
			fsys.FailNth(op, 1, syscall.ENOSPC)
			err := fsx.WriteFileAtomic(fsys, name, []byte("new"))
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), name) {
				t.Errorf("error is %v, want one that names the file and wraps ENOSPC", err)
			}
			if got := content(t, name); got != "old" && op != fsxtest.OpSyncDir {
				t.Errorf("content is %q, want the old one", got)
			}
			if _, err := os.Stat(name + fsx.TempSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the temporary file was left behind: %v", err)
			}
			mustWrite(t, fsys, name, "new")
		})
	}
}

// TestWriteFileAtomicSurvivesACrash tears the write at each byte, and lets the power fail after
// each outcome: what was acknowledged is there, whole.
func TestWriteFileAtomicSurvivesACrash(t *testing.T) {
	const old, next = "the old content", "the new content, longer"
	for cut := range int64(len(next) + 1) {
		name := filepath.Join(t.TempDir(), "state.json")
		fsys := fsxtest.New()
		mustWrite(t, fsys, name, old)
		fsys.TearWrite(cut, syscall.EIO)
		want := old
		if fsx.WriteFileAtomic(fsys, name, []byte(next)) == nil {
			want = next
		}
		if err := fsys.Crash(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, name); got != want {
			t.Errorf("torn at %d: content is %q, want %q", cut, got, want)
		}
	}
}

func TestOSMakesPrivateFolders(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a", "b")
	if err := fsx.OS.MkdirAll(name); err != nil {
		t.Fatal(err)
	}
	info, err := fsx.OS.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != fsx.DirMode {
		t.Errorf("mode is %v, want %v", got, fsx.DirMode)
	}
}

func mustWrite(t *testing.T, fsys fsx.FS, name, data string) {
	t.Helper()
	if err := fsx.WriteFileAtomic(fsys, name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := fsx.ReadFile(fsx.OS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
