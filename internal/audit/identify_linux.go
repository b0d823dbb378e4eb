package audit

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"shiplog/internal/batch"
)

// identify gives an open file's identity, with generation 0, as the tailer does.
func identify(f *os.File) (batch.FileID, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return batch.FileID{}, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	id := batch.FileID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}
