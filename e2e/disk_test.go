//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// disk is a small file system of a test's own.
type disk struct {
	t   *testing.T
	dir string
}

// mount puts a disk of so many KiB in the place of a folder. Where that is not allowed the test says so, in
// the table too: nothing else fills a disk without harm to others.
func (s *scene) mount(dir string, kib int) *disk {
	s.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	err := syscall.Mount("shiplog-e2e", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", kib))
	if errors.Is(err, syscall.EPERM) {
		s.notRun("a full disk needs the right to mount a tmpfs, as root has it")
	}
	if err != nil {
		s.t.Fatalf("mount a tmpfs: %v", err)
	}
	s.t.Cleanup(func() { // after shiplog has ended, and before the folder is removed
		if err := syscall.Unmount(dir, 0); err != nil {
			s.t.Errorf("unmount: %v", err)
		}
	})
	return &disk{t: s.t, dir: dir}
}

// remount changes the size, or the right to write.
func (d *disk) remount(flags uintptr, options string) {
	d.t.Helper()
	until(d.t, "a remount", func() bool { // a file that is open for writing holds it up
		err := syscall.Mount("", d.dir, "", syscall.MS_REMOUNT|flags, options)
		if err != nil && !errors.Is(err, syscall.EBUSY) {
			d.t.Fatalf("remount: %v", err)
		}
		return err == nil
	})
}

func (d *disk) readOnly() { d.remount(syscall.MS_RDONLY, "") }
func (d *disk) writable() { d.remount(0, "") }

// size makes the disk so large; what is on it stays.
func (d *disk) size(kib int) { d.remount(0, fmt.Sprintf("size=%dk", kib)) }

// fill takes up all space that is left. What shiplog writes meanwhile may leave some, so it may be called again.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	for err == nil {
		_, err = f.Write(make([]byte, 1<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatalf("fill the disk: %v", err)
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// free gives that space back.
func (d *disk) free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// says waits until shiplog has said a message so often, and no more.
func (d *daemon) says(message string, times int) {
	d.t.Helper()
	until(d.t, fmt.Sprintf("%q, %d times", message, times), func() bool { return len(d.log(message)) >= times })
	if n := len(d.log(message)); n != times {
		d.t.Errorf("shiplog said %q %d times, want %d", message, n, times)
	}
}

const (
	notSaved   = "the checkpoint cannot be saved; a crash now would repeat what is delivered from here on"
	savedAgain = "the checkpoint can be saved again"
	notLogged  = "the failure log takes no records; the source waits, nothing is skipped"
	logsAgain  = "the failure log takes records again"
)

// TestCheckpointDisk fills the disk of the checkpoint until the sources wait for it, gives space, then makes it
// read-only and kills shiplog.
func TestCheckpointDisk(t *testing.T) {
	t.Parallel()
	s := newScene(t, "disk of the checkpoint full until the sources wait; then read-only, and kill -9", spec{rate: 1500})
	d := s.mount(filepath.Join(s.data, "checkpoint"), 256)
	s.start()
	s.write()
	s.remembered()
	until(t, "the disk to be full for shiplog", func() bool { d.fill(); return s.d.said(notSaved) })
	s.d.says(notSaved, 1)
	s.flowing(1000) // the lines go on
	s.honest()
	s.waits() // 30 s later they do not
	s.honest()
	d.free()
	s.d.says(savedAgain, 1)
	s.flowing(1000)

	d.readOnly()
	s.d.says(notSaved, 2)
	s.flowing(1000)
	s.honest()
	s.d.kill()
	may := map[string]allowed{}
	for _, src := range s.sources {
		may[src.name] = s.killed(src)
	}
	s.start()
	s.d.says(notSaved, 1)
	s.flowing(1000)
	d.writable()
	s.d.says(savedAgain, 1)
	s.drain()
	for _, src := range s.sources {
		m := may[src.name]
		m.lost += s.unconfirmed(src)
		s.reckon(src, m)
	}
}

// killed says what the one kill of a scene may cost: afterKill's first figure speaks only of what came since
// the topic was read last, and here the checkpoint stands still for much longer.
func (s *scene) killed(src *source) (may allowed) {
	s.t.Helper()
	settled(src.topic)
	_, lost := s.afterKill(src)
	if src.mode == "async" {
		may.lost = lost
	}
	at := s.checkpoint(src.name)
	for _, n := range src.order {
		if !at.covers(src.w, n) {
			may.repeats++
		}
	}
	return may
}

// waits returns when no source ships any more, although all their files grow.
func (s *scene) waits() {
	s.t.Helper()
	for _, src := range s.sources {
		ends, since, written := int64(-1), time.Now(), 0
		until(s.t, src.name+" to wait for the checkpoint", func() bool {
			if now := src.topic.ends(); now != ends {
				ends, since, written = now, time.Now(), src.w.count()
			}
			return time.Since(since) > 2*time.Second && src.w.count() > written
		})
	}
}

// honest checks that every line which the checkpoint on disk covers has its outcome: it stands in the topic
// or in the failure log.
func (s *scene) honest() {
	s.t.Helper()
	for _, src := range s.sources {
		at := s.checkpoint(src.name) // first: the others only grow
		logged := s.logged(src.name)
		open := func() (n int) {
			src.read(src.topic)
			written := src.w.count()
			src.w.mu.Lock()
			defer src.w.mu.Unlock()
			for line := range written {
				if at.covers(src.w, line) && !src.arrived(line) && !logged[line] {
					n++
				}
			}
			return n
		}
		if src.mode == "async" { // sent is a promise that it will be there
			until(s.t, "what was sent", func() bool { return open() == 0 })
		} else if n := open(); n > 0 {
			s.t.Errorf("%s: the checkpoint covers %d lines that have no outcome", src.name, n)
		}
	}
}

// logged gives the lines in the failure log of a source. The last one may be half written.
func (s *scene) logged(source string) map[int]bool {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.data, "failed", source, "*.jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	lines := map[int]bool{}
	for _, name := range names {
		for text := range bytes.Lines(contents(s.t, name)) {
			var f struct{ Value json.RawMessage }
			if !bytes.HasSuffix(text, []byte("\n")) || json.Unmarshal(text, &f) != nil {
				continue // what is not on disk is not logged
			}
			if n, ok := number(source, f.Value); ok {
				lines[n] = true
			}
		}
	}
	return lines
}

// TestFailureLogDisk has no broker, so that all lines go to the failure log, and a disk below it that is
// read-only first, then writable, then full, then has room.
func TestFailureLogDisk(t *testing.T) {
	t.Parallel()
	spoolOnDisk(t, "disk of the failure log read-only, then full", "failed", true)
}

// TestDataDirDisk has everything on the disk that the failure log fills. It is never read-only: the lock keeps a
// file on it open for writing.
func TestDataDirDisk(t *testing.T) {
	t.Parallel()
	spoolOnDisk(t, "disk of the whole data_dir full", "", false)
}

func spoolOnDisk(t *testing.T, fault, below string, readOnly bool) {
	t.Helper()
	sp := spec{modes: []string{"spool"}, rate: 2500, brokers: []string{"127.0.0.1:1"}} // nobody listens there
	s := newScene(t, fault, sp)
	d := s.mount(filepath.Join(s.data, below), 3<<10)
	s.start()
	times := 0
	if readOnly {
		d.readOnly()
		s.write()
		s.d.says(notLogged, 1)
		s.honest()
		d.writable()
		s.d.says(logsAgain, 1)
		times++
	} else {
		s.write()
	}
	s.d.says(notLogged, times+1) // it fills the disk by itself
	s.honest()
	pass(time.Second)
	s.honest()
	d.size(256 << 10)
	s.d.says(logsAgain, times+1)
	have := len(s.logged("spool"))
	until(t, "more lines in the failure log", func() bool { return len(s.logged("spool")) > have+1000 })
	s.drain()
	src := s.source("spool")
	if a := s.d.account("spool"); a.number("failure_logged") != int64(src.w.count()) {
		t.Errorf("%d lines in the failure log by the account, want %d", a.number("failure_logged"), src.w.count())
	}
	s.spec.brokers = cluster(t).Proxied()
	s.configure(s.spec)
	s.replay()
	s.reckon(src, allowed{})
}
