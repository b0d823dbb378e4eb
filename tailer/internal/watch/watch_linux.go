package watch

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	nxwatch "github.com/nxadm/tail/watch"
	"golang.org/x/sys/unix"
	"gopkg.in/tomb.v1"
)

// Watch is one watched descriptor.
type Watch struct {
	path    string
	node    node
	tomb    tomb.Tomb
	stopped chan struct{} // closed by Stop
	done    chan struct{} // closed when the forwarding goroutine has ended
	dead    atomic.Bool
	once    sync.Once
}

// probe asks once whether an inotify instance can be had. nxadm/tail ends the process when it
// cannot get one, so it must never be asked first.
var probe = sync.OnceValue(func() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w", err)
	}
	return unix.Close(fd)
})

// Available says whether this process can watch files at all; the error says why not.
func Available() error { return probe() }

// The file systems whose changes may be made by another machine or process, so that no event comes,
// and where a stat may fail (ESTALE), at which nxadm/tail would end the process.
var remote = map[int64]bool{
	unix.NFS_SUPER_MAGIC: true, unix.SMB_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true,
	unix.SMB2_SUPER_MAGIC: true, unix.FUSE_SUPER_MAGIC: true, unix.V9FS_MAGIC: true,
	unix.AFS_SUPER_MAGIC: true, unix.CODA_SUPER_MAGIC: true, unix.CEPH_SUPER_MAGIC: true,
}

// Arm watches the open file f: wake is called, on another goroutine, after changes to it. wake must
// not block. The caller looks at the file after Arm returned, since what happened before is not
// reported. Stop must be called, and must have returned, before f is closed.
func Arm(f *os.File, wake func()) (*Watch, error) {
	if err := probe(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	n, err := identify(f)
	if err != nil {
		return nil, err
	}
	if !claim(n) {
		return nil, ErrEnough
	}
	w := &Watch{
		path: fmt.Sprintf("/proc/self/fd/%d", f.Fd()), node: n,
		stopped: make(chan struct{}), done: make(chan struct{}),
	}
	changes, err := nxwatch.NewInotifyFileWatcher(w.path).ChangeEvents(&w.tomb, 0)
	if err != nil {
		unclaim(n)
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	go w.forward(changes, wake)
	return w, nil
}

func identify(f *os.File) (node, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return node{}, fmt.Errorf("fstatfs %s: %w", f.Name(), err)
	}
	if remote[int64(fs.Type)] {
		return node{}, fmt.Errorf("%w: its file system is a remote one", ErrUnavailable)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return node{}, fmt.Errorf("fstat %s: %w", f.Name(), err)
	}
	return node{uint64(st.Dev), st.Ino}, nil
}

// forward passes events on until Stop, or until the watch has ended by itself.
func (w *Watch) forward(changes *nxwatch.FileChanges, wake func()) {
	defer close(w.done)
	for {
		select {
		case <-changes.Modified:
			wake()
		case <-changes.Truncated:
			wake()
		case <-changes.Deleted: // a rename ends nxadm/tail's goroutine
			w.dead.Store(true)
			wake()
			return
		case <-w.stopped:
			return
		}
	}
}

// Alive is false after the watch has ended by itself, as it does at a rename: Stop it then, and Arm
// the file again.
func (w *Watch) Alive() bool { return !w.dead.Load() }

// stopWait is how long Stop waits for nxadm/tail to let go of the descriptor.
const stopWait = time.Second

// Stop ends the watch and returns once its descriptor may be closed. It says false when nxadm/tail
// did not let go: the number must not be used again then, so leave the descriptor open.
func (w *Watch) Stop() bool {
	released := true
	w.once.Do(func() {
		close(w.stopped)
		w.tomb.Kill(nil)
		<-w.done
		released = w.released()
		if released {
			unclaim(w.node)
		}
	})
	return released
}

// released waits until the path has no events. Closing the descriptor earlier would let its number,
// and so the path, be used again, and a new watch on it would be removed by the old one's end.
func (w *Watch) released() bool {
	deadline := time.Now().Add(stopWait)
	for pause := 10 * time.Microsecond; nxwatch.Events(w.path) != nil; pause *= 2 {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(min(pause, 10*time.Millisecond))
	}
	return true
}
