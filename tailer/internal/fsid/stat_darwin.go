package fsid

import (
	"os"

	"golang.org/x/sys/unix"
)

// Stat tells what an open file is now.
func Stat(f *os.File) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Info{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return fromStat(&st), nil
}

// Lstat tells what stands at a path, without following a symbolic link.
func Lstat(path string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Info{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return fromStat(&st), nil
}

func fromStat(st *unix.Stat_t) Info {
	return Info{
		Identity: Identity{Dev: uint64(st.Dev), Inode: st.Ino, Birth: st.Btim.Nano()},
		Size:     st.Size,
		Links:    uint64(st.Nlink),
		MTime:    st.Mtim.Nano(),
		Regular:  st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
}
