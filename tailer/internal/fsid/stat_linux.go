package fsid

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stat tells what an open file is now.
func Stat(f *os.File) (Info, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err == nil {
		return fromStatx(&st), nil
	}
	if err != unix.ENOSYS && err != unix.EPERM { // before Linux 4.11, or a sandbox
		return Info{}, &os.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	var old unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &old); err != nil {
		return Info{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return fromStat(&old), nil
}

// Lstat tells what stands at a path, without following a symbolic link.
func Lstat(path string) (Info, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err == nil {
		return fromStatx(&st), nil
	}
	if err != unix.ENOSYS && err != unix.EPERM {
		return Info{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	var old unix.Stat_t
	if err := unix.Lstat(path, &old); err != nil {
		return Info{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return fromStat(&old), nil
}

func fromStatx(st *unix.Statx_t) Info {
	info := Info{
		Identity: Identity{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino},
		Size:     int64(st.Size),
		Links:    uint64(st.Nlink),
		MTime:    st.Mtime.Sec*int64(time.Second) + int64(st.Mtime.Nsec),
		Regular:  st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.Birth = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return info
}

func fromStat(st *unix.Stat_t) Info {
	return Info{
		Identity: Identity{Dev: st.Dev, Inode: st.Ino},
		Size:     st.Size,
		Links:    uint64(st.Nlink),
		MTime:    st.Mtim.Nano(),
		Regular:  st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
}
