//go:build linux

package tailer

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTheOwnerOfTheFolderCannotMakeUsReadAnotherFile lets somebody who owns the log folder put links to a secret, and to a folder with
// secrets, in the place of logs, of rotated logs, of compressed ones and of folders, all the time and as fast as he
// can, beside pipes and sockets. Not one line of a secret may arrive, and nothing may hang.
func TestTheOwnerOfTheFolderCannotMakeUsReadAnotherFile(t *testing.T) {
	const race = 2 * time.Second
	r := newRig(t, "**/*.log*")
	outside := t.TempDir()
	for _, name := range []string{"app.log", "app.log.1", "app.log.1.gz"} {
		content := []byte("secret of somebody else\n")
		if strings.HasSuffix(name, ".gz") {
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, _ = w.Write(content)
			_ = w.Close()
			content = z.Bytes()
		}
		if err := os.WriteFile(filepath.Join(outside, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"d/app.log", "d/app.log.1", "e/app.log", "app.log"} {
		if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		r.append(name, "a line of the log")
	}
	links := []struct{ at, to string }{
		{"d", outside}, {"e", outside}, {"app.log", filepath.Join(outside, "app.log")}, {"d/app.log", filepath.Join(outside, "app.log")},
		{"e/app.log.1", filepath.Join(outside, "app.log.1")}, {"d/app.log.1.gz", filepath.Join(outside, "app.log.1.gz")},
	}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { stopped <- swapForLinks(r.dir, links, stop) }()
	lines, looks := 0, 0
	for end := time.Now().Add(race); time.Now().Before(end); looks++ {
		if looks%50 == 0 {
			r.start()
		}
		r.look()
		for range 1000 {
			r.tl.poll(r.now)
			b := r.tl.fill(r.now)
			if b == nil {
				break
			}
			for i := range b.Lines {
				if lines++; strings.Contains(string(b.Value(i)), "secret") {
					t.Fatalf("read %q", b.Value(i))
				}
			}
			b.Release()
		}
	}
	close(stop)
	t.Logf("%d swaps, %d looks, %d lines", <-stopped, looks, lines)
	if lines == 0 {
		t.Error("nothing was read")
	}
}

// swapForLinks exchanges, in one step each, what stands at a place for a link, and back, and puts a pipe there now and
// then; it gives how often.
func swapForLinks(dir string, links []struct{ at, to string }, stop <-chan struct{}) (swaps int) {
	for i, l := range links {
		_ = os.Symlink(l.to, filepath.Join(dir, "link"+string(rune('0'+i))))
	}
	pipe := filepath.Join(dir, "pipe")
	_ = unix.Mkfifo(pipe, 0o600)
	for {
		select {
		case <-stop:
			return swaps
		default:
		}
		for i, l := range links {
			at, link := filepath.Join(dir, l.at), filepath.Join(dir, "link"+string(rune('0'+i)))
			for range 2 { // there and back
				_ = unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE)
			}
			if swaps%7 == i {
				_ = unix.Renameat2(unix.AT_FDCWD, pipe, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE)
				_ = unix.Renameat2(unix.AT_FDCWD, pipe, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE)
			}
			swaps++
		}
	}
}
