package fsid

import (
	"os"

	"golang.org/x/sys/unix"
)

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

func openBelow(root *Root, rel, path string) (*os.File, error) {
	if root.Follow {
		return openFollowing(path)
	}
	return openSteps(root, rel, path)
}

// openRoot opens the folder that a pattern starts from.
func openRoot(root *Root) (int, error) {
	dir, err := retry(func() (int, error) { return unix.Open(root.Dir, dirFlags, 0) })
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: root.Dir, Err: err}
	}
	return dir, nil
}
