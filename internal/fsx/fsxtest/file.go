package fsxtest

import "shiplog/internal/fsx"

// faultyFile is an open file of FS.
type faultyFile struct {
	fsx.File
	fs   *FS
	path string // the cleaned name it was opened by
}

func (f *faultyFile) Read(p []byte) (n int, err error) {
	err = f.fs.do(OpRead, f.path, func() (err error) { n, err = f.File.Read(p); return err })
	return n, err
}

func (f *faultyFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(OpRead, f.path, func() (err error) { n, err = f.File.ReadAt(p, off); return err })
	return n, err
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	err = f.fs.do(OpWrite, f.path, func() (err error) {
		n, err = f.torn(p, f.File.Write)
		return err
	})
	return n, err
}

func (f *faultyFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(OpWrite, f.path, func() (err error) {
		n, err = f.torn(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
		return err
	})
	return n, err
}

// torn writes p, or as much of it as TearWrite lets pass. Called under fs.mu.
func (f *faultyFile) torn(p []byte, write func([]byte) (int, error)) (int, error) {
	t := f.fs.tear
	if t == nil || (f.fs.match != nil && !f.fs.match(f.path)) {
		return write(p)
	}
	if int64(len(p)) <= t.left {
		t.left -= int64(len(p))
		return write(p)
	}
	n, err := write(p[:t.left])
	t.left = 0
	if err != nil {
		return n, err
	}
	return n, t.err
}

func (f *faultyFile) Sync() error {
	return f.fs.do(OpSync, f.path, func() error {
		return f.fs.crash.sized(f.File, false) // no need to wait for a real disk
	})
}

func (f *faultyFile) Truncate(size int64) error {
	return f.fs.do(OpTruncate, f.path, func() error {
		if err := f.File.Truncate(size); err != nil {
			return err
		}
		return f.fs.crash.sized(f.File, true)
	})
}

// Close closes the file even when it is told to fail, as the kernel does.
func (f *faultyFile) Close() error {
	failed := f.fs.do(OpClose, f.path, func() error { return nil })
	if err := f.File.Close(); err != nil {
		return err
	}
	return failed
}
