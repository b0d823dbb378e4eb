package checkpoint

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"shiplog/internal/batch"
)

// identify gives a file's identity, with generation 0, in the terms of batch.FileID.
func identify(f *os.File) (batch.FileID, error) {
	var st unix.Statx_t
	const flags = unix.AT_EMPTY_PATH
	if err := unix.Statx(int(f.Fd()), "", flags, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return batch.FileID{}, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	id := batch.FileID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}
