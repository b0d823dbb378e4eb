package fsid

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const maxLinks = 40 // as many as the kernel follows

// openRoot opens the folder that a pattern starts from, one component at a time: what counts is whose the
// link is that is followed, not the one that stood there before.
func openRoot(root *Root) (int, error) {
	dir, err := openDir(unix.AT_FDCWD, "/", 0)
	rest := strings.Split(root.Dir, "/")
	for links := 0; err == nil && len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		next, openErr := openDir(dir, name, unix.O_NOFOLLOW)
		if openErr == nil {
			closeFD(dir)
			dir = next
			continue
		}
		var target string
		target, next, err = follow(dir, name, root, openErr)
		if links++; err == nil && links > maxLinks {
			err = unix.ELOOP
		}
		switch {
		case err != nil:
		case next >= 0:
			closeFD(dir)
			dir = next
		default:
			if strings.HasPrefix(target, "/") {
				closeFD(dir)
				dir, err = openDir(unix.AT_FDCWD, "/", 0)
			}
			rest = append(strings.Split(target, "/"), rest...)
		}
	}
	if err == nil {
		return dir, nil
	}
	if dir >= 0 {
		closeFD(dir)
	}
	if known, ok := err.(*Error); ok { //nolint:errorlint // follow gives it as it is
		return -1, known
	}
	return -1, &os.PathError{Op: "open", Path: root.Dir, Err: err}
}

func openDir(dir int, name string, flag int) (int, error) {
	return retry(func() (int, error) { return unix.Openat(dir, name, dirFlags|flag, 0) })
}

// follow says where a link leads, as a path, or as an open folder where only the kernel knows: in /proc. It
// gives why back for what is no link.
func follow(dir int, name string, root *Root, why error) (target string, open int, err error) {
	link, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return "", -1, err
	}
	defer closeFD(link)
	var st unix.Stat_t
	if err := unix.Fstat(link, &st); err != nil {
		return "", -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", -1, why
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(link, &fs); err == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		open, err = openDir(dir, name, 0)
		return "", open, err
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return "", -1, &Error{Path: root.Dir, Kind: KindForeignLink}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", buf)
	if err != nil {
		return "", -1, err
	}
	return string(buf[:n]), -1, nil
}
