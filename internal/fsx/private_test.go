package fsx_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shiplog/internal/fsx"
)

// open opens a folder as data_dir and closes it with the test.
func open(t *testing.T, dir string) (*fsx.Root, []string) {
	t.Helper()
	r, warnings, err := fsx.OpenPrivate(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, warnings
}

func wantUnsafe(t *testing.T, err error, path string, words ...string) {
	t.Helper()
	var unsafe *fsx.UnsafeError
	if !errors.As(err, &unsafe) || unsafe.Path != path {
		t.Fatalf("error is %v, want an UnsafeError of %s", err, path)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is %v, want it to say %q", err, w)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mkdir makes a folder with exactly this mode, whatever the umask.
func mkdir(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	check(t, os.MkdirAll(path, 0o700))
	check(t, os.Chmod(path, mode))
	return path
}

// private gives a folder that nobody else can write to; t.TempDir goes by the umask.
func private(t *testing.T) string { return mkdir(t, filepath.Join(t.TempDir(), "private"), 0o700) }

func TestWhatIsMadeIsPrivateWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(private(t), "a", "b")
	r, _ := open(t, dir)
	check(t, r.MkdirAll(filepath.Join(dir, "c", "d")))
	check(t, fsx.WriteFileAtomic(r, filepath.Join(dir, "c", "d", "file"), nil))
	lock, err := r.Lock(filepath.Join(dir, "e", "lock"))
	check(t, err)
	check(t, lock.Unlock())
	check(t, fsx.OS.MkdirAll(filepath.Join(dir, "f", "g")))
	check(t, fsx.WriteFileAtomic(fsx.OS, filepath.Join(dir, "f", "g", "file"), nil))
	n := 0
	check(t, filepath.WalkDir(filepath.Dir(dir), func(path string, e fs.DirEntry, err error) error {
		check(t, err)
		fi, err := e.Info()
		check(t, err)
		want := fsx.FileMode
		if e.IsDir() {
			want = fsx.DirMode
		}
		if n++; fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, fi.Mode(), want)
		}
		return nil
	}))
	if n != 10 {
		t.Errorf("looked at %d paths", n)
	}
}

func TestAFolderThatOthersCanWriteToIsRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o777, 0o770, 0o702, 0o720, 0o777 | fs.ModeSticky, 0o777 | fs.ModeSetgid} {
		dir := mkdir(t, filepath.Join(private(t), "data"), mode)
		_, _, err := fsx.OpenPrivate(dir)
		wantUnsafe(t, err, dir, "other users", "chmod go-w "+dir)
		if list, _ := os.ReadDir(dir); len(list) > 0 {
			t.Errorf("%v: %v was made in it", mode, list)
		}
		check(t, os.Chmod(dir, mode&^0o022))
		open(t, dir)
	}
}

func TestFoldersWithinAreLookedAt(t *testing.T) {
	dir := private(t)
	r, _ := open(t, dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.Symlink(mkdir(t, in("good"), 0o755), in("link")))
	check(t, os.Symlink("nowhere", in("dangling")))
	check(t, os.WriteFile(in("file"), nil, 0o600))
	mkdir(t, in("bad"), 0o770)
	for _, name := range []string{"good", "none"} {
		if err := r.CheckPrivate(in(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantUnsafe(t, r.CheckPrivate(in("link")), in("link"), "symbolic link", "rm "+in("link"))
	wantUnsafe(t, r.CheckPrivate(in("dangling")), in("dangling"), "symbolic link")
	wantUnsafe(t, r.CheckPrivate(in("file")), in("file"), "no folder")
	wantUnsafe(t, r.CheckPrivate(in("bad")), in("bad"), "chmod go-w")
}

// TestTheWayToTheFolder: in a folder that others can write to they could rename ours, unless it has the
// sticky bit. Links are followed on the way when they are ours.
func TestTheWayToTheFolder(t *testing.T) {
	base := private(t)
	shared := mkdir(t, filepath.Join(base, "it's shared"), 0o777)
	_, warnings := open(t, filepath.Join(shared, "data"))
	if got := strings.Join(warnings, "\n"); !strings.Contains(got, shared+" can be written to by other users (mode 0777)") ||
		!strings.Contains(got, `chmod go-w '`+base+`/it'\''s shared'`) {
		t.Errorf("warned %q", got)
	}
	check(t, os.Chmod(shared, 0o777|fs.ModeSticky))
	if _, warnings := open(t, filepath.Join(shared, "data")); slicesContain(warnings, shared) {
		t.Errorf("of a sticky folder it warned %q", warnings)
	}
	check(t, os.Chmod(shared, 0o777))
	link := filepath.Join(base, "link")
	check(t, os.Symlink("it's shared/../it's shared/data", link))
	if _, warnings := open(t, link); !slicesContain(warnings, shared) {
		t.Errorf("behind a link it warned %q", warnings)
	}
	check(t, os.Symlink("round", filepath.Join(base, "round")))
	if _, _, err := fsx.OpenPrivate(filepath.Join(base, "round", "data")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("links in a circle: %v", err)
	}
}

func slicesContain(list []string, part string) bool {
	return strings.Contains(strings.Join(list, "\n"), part)
}

// TestWhatBelongsToSomebodyElse needs root, who can give files away.
func TestWhatBelongsToSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder to somebody else")
	}
	base := private(t)
	mine := mkdir(t, filepath.Join(base, "mine"), 0o700)
	theirs := mkdir(t, filepath.Join(base, "theirs"), 0o700)
	check(t, os.Chown(theirs, 54321, 54321))
	_, _, err := fsx.OpenPrivate(theirs)
	wantUnsafe(t, err, theirs, "belongs to user 54321", "chown -R 0 "+theirs)
	if _, warnings := open(t, filepath.Join(theirs, "data")); !slicesContain(warnings, theirs+" belongs to user 54321") {
		t.Errorf("warned %q", warnings)
	}
	link := filepath.Join(base, "link")
	check(t, os.Symlink(mine, link))
	check(t, os.Lchown(link, 54321, 54321))
	_, _, err = fsx.OpenPrivate(filepath.Join(link, "data"))
	wantUnsafe(t, err, link, "symbolic link of user 54321")
	if list, _ := os.ReadDir(mine); len(list) > 0 {
		t.Errorf("%v was made behind the link", list)
	}
}

// TestLinksAndPipesAreNotOpened plants things where files of ours should be: nothing is written through them, and
// nobody waits.
func TestLinksAndPipesAreNotOpened(t *testing.T) {
	for name, open := range map[string]func(dir string) fsx.FS{
		"the system's": func(string) fsx.FS { return fsx.OS },
		"below data_dir": func(dir string) fsx.FS {
			r, _ := open(t, dir)
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, victim := private(t), filepath.Join(private(t), "victim")
			check(t, os.WriteFile(victim, []byte("precious"), 0o600))
			in := func(name string) string { return filepath.Join(dir, name) }
			fsys := open(dir)
			check(t, os.WriteFile(in("mine"), []byte("precious"), 0o600))
			for _, target := range []string{victim, "mine", victim + "-new"} {
				check(t, os.Symlink(target, in("state.tmp")))
				wantUnsafe(t, fsx.WriteFileAtomic(fsys, in("state"), []byte("x")), in("state.tmp"), "symbolic link")
				check(t, os.Symlink(target, in("lock"))) // a failed write takes its leftover away
				_, err := fsys.Lock(in("lock"))
				wantUnsafe(t, err, in("lock"), "symbolic link")
				_, err = fsx.ReadFile(fsys, in("lock"))
				wantUnsafe(t, err, in("lock"), "symbolic link")
				check(t, os.Remove(in("lock")))
			}
			check(t, syscall.Mkfifo(in("pipe"), 0o600))
			_, err := fsx.ReadFile(fsys, in("pipe"))
			wantUnsafe(t, err, in("pipe"), "no regular file")
			for _, path := range []string{victim, in("mine")} {
				if got := content(t, path); got != "precious" {
					t.Errorf("%s holds %q", path, got)
				}
			}
			if _, err := os.Lstat(victim + "-new"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file was made behind a link: %v", err)
			}
		})
	}
}

// TestNothingLeadsOutOfTheFolder: neither a folder's link, nor another folder in the place of ours.
func TestNothingLeadsOutOfTheFolder(t *testing.T) {
	base := private(t)
	dir, outside := filepath.Join(base, "data"), mkdir(t, filepath.Join(base, "outside"), 0o700)
	r, _ := open(t, dir)
	sub := filepath.Join(dir, "sub", "file")
	check(t, os.Symlink(outside, filepath.Dir(sub)))
	if err := fsx.WriteFileAtomic(r, sub, []byte("x")); err == nil {
		t.Error("a file was written behind a folder's link")
	}
	if err := r.MkdirAll(filepath.Join(dir, "sub", "more")); err == nil {
		t.Error("a folder was made behind a folder's link")
	}
	if _, err := r.ReadDir(filepath.Dir(sub)); err == nil {
		t.Error("a folder behind a link was listed")
	}
	for _, name := range []string{filepath.Join(outside, "x"), filepath.Join(dir, "..", "x"), base} {
		if _, err := r.OpenFile(name, os.O_RDWR|os.O_CREATE); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	check(t, os.Remove(filepath.Dir(sub)))
	check(t, os.Rename(dir, dir+"-moved"))
	check(t, os.Symlink(outside, dir))
	check(t, r.MkdirAll(filepath.Dir(sub)))
	check(t, fsx.WriteFileAtomic(r, sub, []byte("still ours")))
	if got := content(t, filepath.Join(dir+"-moved", "sub", "file")); got != "still ours" {
		t.Errorf("got %q", got)
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("%v was made outside", list)
	}
}

func TestRootIsAFileSystem(t *testing.T) {
	dir := private(t)
	r, _ := open(t, dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	check(t, r.MkdirAll(in("b/c")))
	check(t, fsx.WriteFileAtomic(r, in("b/x"), []byte("one")))
	check(t, r.Rename(in("b/x"), in("b/a")))
	list, err := r.ReadDir(in("b"))
	check(t, err)
	if len(list) != 2 || list[0].Name() != "a" || list[1].Name() != "c" {
		t.Errorf("listed %v", list)
	}
	if fi, err := r.Stat(in("b/a")); err != nil || fi.Size() != 3 {
		t.Errorf("stat: %v, %v", fi, err)
	}
	check(t, r.Remove(in("b/a")))
	check(t, r.SyncDir(in("b")))
	for _, err := range []error{
		r.Remove(in("b/a")), r.Rename(in("b/a"), in("b/z")), r.SyncDir(in("none")),
		func() error { _, err := r.Stat(in("b/a")); return err }(),
		func() error { _, err := r.OpenFile(in("b/a"), os.O_RDONLY); return err }(),
		func() error { _, err := r.ReadDir(in("none")); return err }(),
	} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error is %v, want fs.ErrNotExist with the whole name", err)
		}
	}
}
