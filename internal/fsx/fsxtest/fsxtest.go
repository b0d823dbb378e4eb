// Package fsxtest is a file system for tests that fails when it is told to: at the n-th call of a
// kind, in the middle of a write, or by a crash that loses whatever was not yet synced. It works
// on real files, so give it a folder of t.TempDir.
package fsxtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"shiplog/internal/fsx"
)

// Op is a kind of call.
type Op string

// The kinds of calls.
const (
	OpOpen     Op = "open"
	OpRead     Op = "read" // Read and ReadAt
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpClose    Op = "close" // the file is closed all the same
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpReadDir  Op = "readdir"
	OpStat     Op = "stat"
	OpSyncDir  Op = "syncdir"
)

// FS is a faulty file system. Safe for concurrent use.
type FS struct {
	mu    sync.Mutex
	base  fsx.FS
	match func(path string) bool
	rules map[Op]rule
	count map[Op]int
	tear  *tear
	crash journal
}

// rule says which calls of a kind fail.
type rule struct {
	after int // calls that still pass
	once  bool
	err   error
}

// tear cuts a write short once so many bytes have been written.
type tear struct {
	left int64
	err  error
}

// New gives a file system over the real one, without faults.
func New() *FS {
	return &FS{
		base:  fsx.OS,
		rules: map[Op]rule{},
		count: map[Op]int{},
		crash: journal{files: map[uint64]*tracked{}},
	}
}

// FailNth makes the n-th call of the kind from now on (1: the next) fail with err, once.
func (f *FS) FailNth(op Op, n int, err error) { f.set(op, rule{after: n - 1, once: true, err: err}) }

// FailFrom makes the n-th call of the kind from now on and all later ones fail with err, until Heal.
func (f *FS) FailFrom(op Op, n int, err error) { f.set(op, rule{after: n - 1, err: err}) }

// TearWrite lets so many more bytes be written; the write that would go beyond stops there and
// returns err, and so does every later write, until Heal.
func (f *FS) TearWrite(bytes int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tear = &tear{left: bytes, err: err}
}

// Only confines faults to calls whose path (the old one of a rename) matches; nil means all.
func (f *FS) Only(match func(path string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.match = match
}

// Heal takes all faults away.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.rules)
	f.tear, f.match = nil, nil
}

// Count is how many calls of the kind there were, failed ones included.
func (f *FS) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[op]
}

func (f *FS) set(op Op, r rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules[op] = r
}

// check counts a call and says whether it is to fail. Called under mu.
func (f *FS) check(op Op, path string) error {
	f.count[op]++
	r, ok := f.rules[op]
	if !ok || (f.match != nil && !f.match(path)) {
		return nil
	}
	if r.after > 0 {
		r.after--
		f.rules[op] = r
		return nil
	}
	if r.once {
		delete(f.rules, op)
	}
	return &fs.PathError{Op: string(op), Path: path, Err: r.err}
}

// do runs one call under the lock, unless it is to fail. The lock makes the journal exact; tests
// do not need a fast disk.
func (f *FS) do(op Op, path string, call func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(op, path); err != nil {
		return err
	}
	return call()
}

// OpenFile implements fsx.FS.
func (f *FS) OpenFile(name string, flag int) (file fsx.File, err error) {
	name = filepath.Clean(name)
	err = f.do(OpOpen, name, func() error {
		_, statErr := f.base.Stat(name)
		base, err := f.base.OpenFile(name, flag)
		if err != nil {
			return err
		}
		file = &faultyFile{File: base, fs: f, path: name}
		return f.crash.opened(name, base, errors.Is(statErr, fs.ErrNotExist), flag&os.O_TRUNC != 0)
	})
	return file, err
}

// Rename implements fsx.FS.
func (f *FS) Rename(oldname, newname string) error {
	return f.do(OpRename, oldname, func() error {
		return f.crash.rename(f.base, filepath.Clean(oldname), filepath.Clean(newname))
	})
}

// Remove implements fsx.FS.
func (f *FS) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.crash.remove(f.base, filepath.Clean(name)) })
}

// MkdirAll implements fsx.FS.
func (f *FS) MkdirAll(name string) error {
	return f.do(OpMkdir, name, func() error { return f.base.MkdirAll(name) })
}

// ReadDir implements fsx.FS.
func (f *FS) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.do(OpReadDir, name, func() (err error) { list, err = f.base.ReadDir(name); return err })
	return list, err
}

// Stat implements fsx.FS.
func (f *FS) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(OpStat, name, func() (err error) { info, err = f.base.Stat(name); return err })
	return info, err
}

// SyncDir implements fsx.FS.
func (f *FS) SyncDir(name string) error {
	return f.do(OpSyncDir, name, func() error {
		f.crash.dirSynced(name)
		return nil // no need to wait for a real disk
	})
}

// Lock implements fsx.FS. Locks do not fail.
func (f *FS) Lock(name string) (*fsx.FileLock, error) { return f.base.Lock(name) }
