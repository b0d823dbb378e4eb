// Package watch wakes the tailer when an idle file changes. It lays nxadm/tail's watch package over
// a descriptor that the tailer holds, so that neither a rename nor a deletion can take the watched
// file away. An open file and a function come in; calls of that function go out.
//
// It is an accelerator and nothing more: events may be missing, doubled or late, and whoever uses
// it looks at each file now and then all the same. It knows neither offsets nor rotation.
package watch

import (
	"errors"
	"fmt"
	"sync"
)

// ErrUnavailable says that the file cannot be watched and has to be polled: no inotify on this
// system or none left, a file system without events, or another descriptor of the same file is
// watched already.
var ErrUnavailable = errors.New("file cannot be watched")

// ErrEnough is an ErrUnavailable that is nobody's fault.
var ErrEnough = fmt.Errorf("%w: it is watched already, or enough others are", ErrUnavailable)

// MaxArmed bounds how many files are watched at once in the process: each one costs two goroutines
// and a watch of the user's quota. The others are polled.
const MaxArmed = 1024

// node is a file as the kernel's watch list knows it.
type node struct{ dev, inode uint64 }

// registry holds which files are watched in this process. inotify knows one watch per inode and
// process: a second one would silently take the events of the first.
var registry struct {
	sync.Mutex
	armed map[node]struct{}
}

func claim(n node) bool {
	registry.Lock()
	defer registry.Unlock()
	if registry.armed == nil {
		registry.armed = make(map[node]struct{})
	}
	if _, taken := registry.armed[n]; taken || len(registry.armed) >= MaxArmed {
		return false
	}
	registry.armed[n] = struct{}{}
	return true
}

func unclaim(n node) {
	registry.Lock()
	delete(registry.armed, n)
	registry.Unlock()
}
