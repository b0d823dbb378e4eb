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
