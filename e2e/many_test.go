//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// into appends the next lines to a file of that name in the writer's folder, which it opens for that only.
func (w *writer) into(name string, lines int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf := make([]byte, 0, lines*lineBytes)
	for range lines {
		buf = append(buf, numbered(w.source, w.written)...)
		w.written++
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(w.path), name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		w.t.Error(err)
		return
	}
	_, err = f.Write(buf)
	w.check(err)
	w.check(f.Close())
}

func logName(i int) string { return fmt.Sprintf("app%06d.log", i) }

// newSpread makes a scene whose sources read many files.
func newSpread(t *testing.T, fault string, modes ...string) *scene {
	t.Helper()
	s := newScene(t, fault, spec{modes: modes, include: "app*.log"})
	for _, src := range s.sources {
		src.spread = true
	}
	return s
}

// arrive waits until all lines so far stand in the topics.
func (s *scene) arrive() {
	s.t.Helper()
	for _, src := range s.sources {
		until(s.t, "all lines of "+src.name, func() bool { return src.topic.ends() >= int64(src.w.count()) })
	}
}

// finish drains, and nothing may be lost or repeated.
func (s *scene) finish(note string) {
	s.t.Helper()
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{lost: s.unconfirmed(src), note: note})
	}
}

// TestManyFilesAtOnce makes and fills all files between two looks, again and again.
func TestManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	const files = 500
	s := newSpread(t, fmt.Sprintf("%d files written at once", files))
	s.start()
	for range pick(3, 20) {
		for i := range files {
			for _, src := range s.sources {
				src.w.into(logName(i), 10)
			}
		}
		s.arrive()
	}
	s.finish("")
}

// TestManyNewFiles makes new files all the time.
func TestManyNewFiles(t *testing.T) {
	t.Parallel()
	const perSecond = 200
	seconds := pick(5, 60)
	s := newSpread(t, fmt.Sprintf("%d new files a second, for %d s", perSecond, seconds))
	s.start()
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range seconds * perSecond {
		<-tick.C
		for _, src := range s.sources {
			src.w.into(logName(i), 5)
		}
	}
	s.finish("")
}

// TestManyOldFiles starts in a full folder; later some of its files grow. Its sources may hold only some
// hundred of them open.
func TestManyOldFiles(t *testing.T) {
	t.Parallel()
	const files = 10_000
	s := newSpread(t, fmt.Sprintf("%d files in the folder", files), "callback", "sync")
	all := func(step int) {
		for i := 0; i < files; i += step {
			for _, src := range s.sources {
				src.w.into(logName(i), 1)
			}
		}
	}
	all(1)
	s.start()
	s.arrive()
	all(10)
	s.arrive()
	s.finish("")
}

// wrapped runs shiplog from a script, which replaces itself by it.
func wrapped(script string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", script + `; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	}
}

// TestFewDescriptors lets shiplog have 64 descriptors for a thousand files, the brokers and its own.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	const files = 500
	s := newSpread(t, "64 descriptors for 1,000 files", "callback", "sync")
	s.startWith(wrapped("ulimit -n 64"))
	for range pick(2, 20) {
		for i := range files {
			for _, src := range s.sources {
				src.w.into(logName(i), 10)
			}
		}
		s.arrive()
	}
	s.finish("")
	s.d.says("max_open_files is lowered: this process may not open so many (ulimit -n, LimitNOFILE)", 1)
	for _, e := range s.d.log("") {
		if e.text("level") == "error" {
			t.Errorf("an error in the log: %v", e)
		}
	}
}

// TestNoInotify lets shiplog have no inotify instance: in a user namespace of its own, so that nobody else
// misses one.
func TestNoInotify(t *testing.T) {
	t.Parallel()
	s := newScene(t, "no inotify instance left", spec{})
	apart := func(cmd *exec.Cmd) {
		root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		group := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: root, GidMappings: group}
	}
	probe := exec.Command("true")
	if apart(probe); probe.Run() != nil {
		s.notRun("this machine lets nobody make a user namespace")
	}
	s.startWith(func(cmd *exec.Cmd) {
		wrapped("echo 0 >/proc/sys/user/max_inotify_instances || exit 1")(cmd)
		apart(cmd)
	})
	s.write()
	s.flowing(1000)
	s.endWriters()
	s.d.says("files cannot be watched; they are polled instead", len(s.sources))
	for range 3 { // from an idle file
		pass(1500 * time.Millisecond)
		for _, src := range s.sources {
			src.w.write(1)
		}
		s.arrive()
	}
	s.d.says("files cannot be watched; they are polled instead", len(s.sources))
	s.finish("")
}

// notRun says, in the table too, that a fault could not be made.
func (s *scene) notRun(why string) {
	s.t.Helper()
	theTable.add(row{fault: s.fault, mode: "-", audit: "**NOT RUN**", note: why})
	s.t.Skipf("NOT TESTED: %s", why)
}
