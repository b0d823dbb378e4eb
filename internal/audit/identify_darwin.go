package audit

import (
	"fmt"
	"os"
	"syscall"

	"shiplog/internal/batch"
)

// identify gives a file's identity, with generation 0, in the terms of batch.FileID.
func identify(f *os.File) (batch.FileID, error) {
	info, err := f.Stat()
	if err != nil {
		return batch.FileID{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return batch.FileID{}, fmt.Errorf("stat %s: no inode number", f.Name())
	}
	return batch.FileID{Dev: uint64(st.Dev), Inode: st.Ino, Birth: st.Birthtimespec.Nano()}, nil
}
