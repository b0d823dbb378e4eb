package fsid

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTheWayToTheRootMayLeadOverOurLinks: the administrator's links are followed, those of others are not.
func TestTheWayToTheRootMayLeadOverOurLinks(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(*Root, string) (*os.File, Identity, error)) {
		base := t.TempDir()
		write(t, filepath.Join(base, "real", "logs", "app.log"), "hello")
		for link, to := range map[string]string{
			"relative": "real/logs", "absolute": filepath.Join(base, "real", "logs"), "up": "real/../real/./logs/", "chain": "relative", "part": "real",
			"round": "round", "dangling": "nowhere", "file": "real/logs/app.log",
		} {
			must(t, os.Symlink(to, filepath.Join(base, link)))
		}
		cwd := fmt.Sprintf("/proc/%d/root%s/real/logs", os.Getpid(), base) // only the kernel knows where that leads
		for _, dir := range []string{base + "/relative", base + "/absolute", base + "/up", base + "/chain", base + "/part/logs", cwd} {
			f, _, err := open(&Root{Dir: dir}, dir+"/app.log")
			if err != nil {
				t.Errorf("%s: %v", dir, err)
				continue
			}
			if got, err := io.ReadAll(f); string(got) != "hello" || err != nil {
				t.Errorf("%s: read %q, %v", dir, got, err)
			}
			f.Close()
		}
		for name, want := range map[string]error{"round": unix.ELOOP, "dangling": os.ErrNotExist, "file": unix.ENOTDIR, "none": os.ErrNotExist} {
			if _, _, err := open(&Root{Dir: filepath.Join(base, name)}, filepath.Join(base, name, "app.log")); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
		if os.Geteuid() != 0 {
			t.Skip("only root can give a link to somebody else")
		}
		must(t, os.Lchown(filepath.Join(base, "part"), 54321, 54321))
		dir := filepath.Join(base, "part", "logs")
		_, _, err := open(&Root{Dir: dir}, filepath.Join(dir, "app.log"))
		var known *Error
		if !errors.As(err, &known) || known.Kind != KindForeignLink {
			t.Errorf("somebody else's link: got %v", err)
		}
		f, _, err := Open(&Root{Dir: dir, Follow: true}, filepath.Join(dir, "app.log"))
		must(t, err)
		f.Close()
	})
}

// TestRacesAreNotWon exchanges, in one step and as fast as it goes, what stands at a place on the way for a link of an attacker: the
// file, its folder, and (root only, who can give links away) the folder that the pattern starts from.
func TestRacesAreNotWon(t *testing.T) {
	const race = 300 * time.Millisecond
	bothWays(t, func(t *testing.T, open func(*Root, string) (*os.File, Identity, error)) {
		for _, place := range []string{"root/d/app.log", "root/d", "root"} {
			if place == "root" && os.Geteuid() != 0 {
				continue
			}
			base := t.TempDir()
			write(t, filepath.Join(base, "root", "d", "app.log"), "log")
			write(t, filepath.Join(base, "other", "d", "app.log"), "secret")
			link, at := filepath.Join(base, "link"), filepath.Join(base, place)
			must(t, os.Symlink(filepath.Join(base, "other"+place[len("root"):]), link))
			if os.Geteuid() == 0 {
				must(t, os.Lchown(link, 54321, 54321))
			}
			stop, stopped := make(chan struct{}), make(chan int)
			go func() {
				swaps := 0
				for {
					select {
					case <-stop:
						stopped <- swaps
						return
					default:
						_ = unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE)
						swaps++
					}
				}
			}()
			root := &Root{Dir: filepath.Join(base, "root")}
			path := filepath.Join(base, "root", "d", "app.log")
			opened, refused := 0, 0
			for end := time.Now().Add(race); time.Now().Before(end); {
				f, _, err := open(root, path)
				if err != nil {
					refused++
					continue
				}
				opened++
				got, _ := io.ReadAll(f)
				f.Close()
				if string(got) != "log" {
					t.Errorf("%s: opened a file that holds %q", place, got)
					break
				}
			}
			close(stop)
			t.Logf("%s: opened %d, refused %d, in %d swaps", place, opened, refused, <-stopped)
		}
	})
}
