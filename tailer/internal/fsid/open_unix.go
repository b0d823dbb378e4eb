//go:build linux || darwin

package fsid

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC

// openFollowing opens a path whose symbolic links may be followed.
func openFollowing(path string) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openFlags, 0) })
	return newFile(fd, path, err)
}

// openSteps opens a path below a root folder one component at a time, following no symbolic link:
// for systems without openat2.
func openSteps(root *Root, rel, path string) (*os.File, error) {
	dir, err := openRoot(root)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	for _, name := range parts[:len(parts)-1] {
		next, err := retry(func() (int, error) {
			return unix.Openat(dir, name, dirFlags|unix.O_NOFOLLOW, 0)
		})
		if err != nil {
			err = linkError(dir, name, path, err)
		}
		closeFD(dir)
		if err != nil {
			return nil, err
		}
		dir = next
	}
	defer closeFD(dir)
	name := parts[len(parts)-1]
	fd, err := retry(func() (int, error) { return unix.Openat(dir, name, openFlags|unix.O_NOFOLLOW, 0) })
	if err != nil {
		err = linkError(dir, name, path, err)
	}
	return newFile(fd, path, err)
}

// linkError tells a symbolic link from other reasons why name could not be opened: systems differ in
// what they answer.
func linkError(dir int, name, path string, err error) error {
	var st unix.Stat_t
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EMLINK) {
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return &Error{Path: path, Kind: KindSymlink}
		}
	}
	return err
}

// newFile makes a file of a descriptor, and a speaking error of a bare one.
func newFile(fd int, path string, err error) (*os.File, error) {
	var known *Error
	switch {
	case errors.As(err, &known):
		return nil, err
	case errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EOPNOTSUPP):
		return nil, &Error{Path: path, Kind: KindSocket}
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	// O_NONBLOCK was for the opening. Some file systems take it to heart in reads too.
	if err := unix.SetNonblock(fd, false); err != nil {
		closeFD(fd)
		return nil, &os.PathError{Op: "fcntl", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// closeFD closes a descriptor that nothing was written to: there is nothing to lose.
func closeFD(fd int) { _ = unix.Close(fd) }

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		fd, err := call()
		if err != unix.EINTR {
			return fd, err
		}
	}
}
