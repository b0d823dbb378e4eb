package fsid

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bothWays runs a test with openat2 and without, as on an old kernel.
func bothWays(t *testing.T, test func(t *testing.T, open func(*Root, string) (*os.File, Identity, error))) {
	t.Run("as the system can", func(t *testing.T) { test(t, Open) })
	t.Run("step by step", func(t *testing.T) {
		test(t, func(root *Root, path string) (*os.File, Identity, error) {
			rel, err := root.rel(path)
			if err != nil {
				return nil, Identity{}, err
			}
			f, err := openSteps(root, rel, path)
			if err != nil {
				return nil, Identity{}, err
			}
			id, err := identify(f, path)
			if err != nil {
				f.Close()
				return nil, Identity{}, err
			}
			return f, id, nil
		})
	})
}

func TestOpenGivesRegularFiles(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(*Root, string) (*os.File, Identity, error)) {
		dir := t.TempDir()
		path := write(t, filepath.Join(dir, "a", "b", "app.log"), "hello")
		f, id, err := open(&Root{Dir: dir}, path)
		must(t, err)
		defer f.Close()
		if got, err := io.ReadAll(f); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		info, err := Stat(f)
		must(t, err)
		at, err := Lstat(path)
		must(t, err)
		if info != at || info.Identity != id || info.Size != 5 || info.Links != 1 || !info.Regular || id.Inode == 0 {
			t.Errorf("open says %+v, stat %+v, lstat %+v", id, info, at)
		}
	})
}

func TestOpenRefusesAllElse(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(*Root, string) (*os.File, Identity, error)) {
		root, other := t.TempDir(), t.TempDir()
		in := func(name string) string { return filepath.Join(root, name) }
		secret := write(t, filepath.Join(other, "secret"), "root:x:0:0")
		write(t, in("real/app.log"), "x")
		must(t, os.Symlink(secret, in("link.log")))
		must(t, os.Symlink("real/app.log", in("inside.log")))
		must(t, os.Symlink(other, in("folder")))
		must(t, os.Symlink("real", in("near")))
		must(t, os.Symlink("nowhere", in("dangling.log")))
		must(t, unix.Mkfifo(in("fifo.log"), 0o600))
		l, err := net.Listen("unix", in("sock.log"))
		must(t, err)
		defer l.Close()
		must(t, os.Mkdir(in("dir.log"), 0o755))
		tests := []struct {
			path string
			kind Kind
		}{
			{in("link.log"), KindSymlink},
			{in("inside.log"), KindSymlink},
			{in("dangling.log"), KindSymlink},
			{in("folder/secret"), KindSymlink},
			{in("near/app.log"), KindSymlink},
			{in("fifo.log"), KindFIFO},
			{in("sock.log"), KindSocket},
			{in("dir.log"), KindDirectory},
			{secret, KindOutside},
			{in("../" + filepath.Base(other) + "/secret"), KindOutside},
			{root, KindOutside},
		}
		for _, tt := range tests {
			f, _, err := open(&Root{Dir: root}, tt.path)
			var refused *Error
			if !errors.As(err, &refused) || refused.Kind != tt.kind || !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: got %v, want: %s", strings.TrimPrefix(tt.path, root), err, tt.kind)
			}
			if f != nil {
				f.Close()
			}
		}
		if _, _, err := open(&Root{Dir: root}, in("none.log")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing file: got %v", err)
		}
	})
}

func TestOpenRefusesADevice(t *testing.T) {
	var refused *Error
	if _, _, err := Open(&Root{Dir: "/dev"}, "/dev/null"); !errors.As(err, &refused) || refused.Kind != KindDevice {
		t.Errorf("got %v", err)
	}
}

func TestLinksAreFollowedWhenAllowed(t *testing.T) {
	root, other := t.TempDir(), t.TempDir()
	target := write(t, filepath.Join(other, "app.log"), "x")
	link := filepath.Join(root, "app.log")
	must(t, os.Symlink(target, link))
	f, id, err := Open(&Root{Dir: root, Follow: true}, link)
	must(t, err)
	defer f.Close()
	if want, err := Lstat(target); err != nil || want.Identity != id {
		t.Errorf("got %+v, want %+v, %v", id, want.Identity, err)
	}
	fifo := filepath.Join(root, "fifo")
	must(t, unix.Mkfifo(filepath.Join(other, "fifo"), 0o600))
	must(t, os.Symlink(filepath.Join(other, "fifo"), fifo))
	if _, _, err := Open(&Root{Dir: root, Follow: true}, fifo); !errors.Is(err, ErrNotRegular) {
		t.Errorf("FIFO behind a link: got %v", err)
	}
}

// A writer that swaps a file for a link, a folder for a link and a file for a FIFO as fast as it can
// must never get another file opened.
func TestARaceForALinkIsNotWon(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(*Root, string) (*os.File, Identity, error)) {
		root, other := t.TempDir(), t.TempDir()
		secret := write(t, filepath.Join(other, "app.log"), "secret")
		path := write(t, filepath.Join(root, "d", "app.log"), "log")
		real := filepath.Join(root, "real")
		must(t, os.Rename(filepath.Join(root, "d"), real))
		dir := filepath.Join(root, "d")
		done, swapped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(swapped)
			tmp := filepath.Join(root, "tmp")
			for {
				select {
				case <-done:
					return
				default:
				}
				_ = os.Symlink(other, tmp)
				_ = os.Rename(tmp, dir) // a folder behind a link
				_ = os.Remove(dir)
				_ = os.Rename(real, dir) // the real folder
				_ = os.Symlink(secret, tmp)
				_ = os.Rename(path, filepath.Join(dir, "kept"))
				_ = os.Rename(tmp, path) // a file behind a link
				_ = os.Remove(path)
				_ = unix.Mkfifo(path, 0o600)
				_ = os.Rename(filepath.Join(dir, "kept"), path)
				_ = os.Rename(dir, real)
			}
		}()
		opened, refused := 0, 0
		for range 3000 {
			f, _, err := open(&Root{Dir: root}, path)
			if err != nil {
				refused++
				continue
			}
			opened++
			got, _ := io.ReadAll(f)
			f.Close()
			if string(got) != "log" {
				t.Errorf("opened a file that holds %q", got)
				break
			}
		}
		close(done)
		<-swapped
		if opened == 0 || refused == 0 {
			t.Logf("opened %d, refused %d: the race was not tight", opened, refused)
		}
	})
}

func TestIdentityStaysWithTheInode(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "app.log"), "one")
	f, id, err := Open(&Root{Dir: dir}, path)
	must(t, err)
	defer f.Close()
	must(t, os.Rename(path, path+".1"))
	moved, err := Lstat(path + ".1")
	must(t, err)
	write(t, path, "two")
	fresh, err := Lstat(path)
	must(t, err)
	if moved.Identity != id || fresh.Identity == id {
		t.Errorf("opened %+v, renamed %+v, new %+v", id, moved.Identity, fresh.Identity)
	}
	if Of(id.FileID(3)) != id {
		t.Errorf("%+v does not survive being a FileID", id)
	}
	must(t, os.Remove(path+".1"))
	if info, err := Stat(f); err != nil || info.Links != 0 || info.Identity != id {
		t.Errorf("deleted: %+v, %v", info, err)
	}
}

func TestOpenedFilesAreReadInTheOrdinaryWay(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(&Root{Dir: dir}, write(t, filepath.Join(dir, "a"), ""))
	must(t, err)
	defer f.Close()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %x, %v: O_NONBLOCK is still on", flags, err)
	}
	flags, err = unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %x, %v: children would inherit it", flags, err)
	}
}

func BenchmarkStat(b *testing.B) {
	f, err := os.Open(write(b, filepath.Join(b.TempDir(), "a"), "x"))
	must(b, err)
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Stat(f); err != nil {
			b.Fatal(err)
		}
	}
}
