package fsid

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// noOpenat2 remembers that the kernel is older than openat2 (5.6), or that a sandbox forbids it.
var noOpenat2 atomic.Bool

// openBelow opens a path below the root. openat2 resolves it in one step in which nobody can put a
// symbolic link in its way.
func openBelow(root *Root, rel, path string) (*os.File, error) {
	if root.Follow {
		return openFollowing(path)
	}
	if noOpenat2.Load() {
		return openSteps(root, rel, path)
	}
	dir, err := openRoot(root)
	if err != nil {
		return nil, err
	}
	defer closeFD(dir)
	how := unix.OpenHow{
		Flags:   openFlags | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(dir, rel, &how) })
	switch err {
	case unix.ENOSYS, unix.EPERM: // an old container runtime answers EPERM for calls it does not know
		noOpenat2.Store(err == unix.ENOSYS)
		return openSteps(root, rel, path)
	case unix.ELOOP:
		return nil, &Error{Path: path, Kind: KindSymlink}
	case unix.EXDEV:
		return nil, &Error{Path: path, Kind: KindOutside}
	}
	return newFile(fd, path, err)
}
