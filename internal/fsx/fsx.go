// Package fsx is the narrow door to the disk for everything that shiplog keeps: the checkpoint, the
// failure log, the lock of data_dir. It offers one way to replace a file durably (write, fsync,
// rename, fsync the directory) and one way to lock a folder. The FS interface exists so that tests
// can make every step fail (package fsxtest). It must never know what the files mean; the log files
// that shiplog ships are not read through it.
package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Modes of what shiplog keeps: payloads of applications are in it, so nobody else may read it.
const (
	FileMode fs.FileMode = 0o600
	DirMode  fs.FileMode = 0o700
)

// FS is the part of a file system that shiplog needs. All methods are safe for concurrent use.
// Errors are those of package os, so errors.Is works with fs.ErrNotExist, syscall.ENOSPC and so on.
type FS interface {
	// OpenFile opens as os.OpenFile does, with FileMode for a file that it makes. It opens regular files
	// only and follows no symbolic link at the end of the name: else the error is an *UnsafeError.
	OpenFile(name string, flag int) (File, error)
	Rename(oldname, newname string) error
	Remove(name string) error
	// MkdirAll makes the folder and its parents with DirMode.
	MkdirAll(name string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the folder's entries durable: files made, renamed or removed in it before.
	SyncDir(name string) error
	// Lock takes the lock file at name, which it makes when needed (its folder too), and writes the
	// process id into it. It does not wait: when the lock is held, the error is a *LockedError. The
	// kernel frees the lock when the process ends, however it ends. The file stays: removing it would
	// let two processes hold the "same" lock.
	Lock(name string) (*FileLock, error)
}

// File is an open file. As with os.File, ReadAt, WriteAt, Sync and Stat may be called at once, and
// Read, Write and Seek share one position.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	// Sync returns nil only when everything written before is durable. After an error nothing is
	// known of what was written since the last good Sync: it must be written again.
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Name() string
}

// OS is the file system of the machine. For what shiplog keeps in data_dir see OpenPrivate.
var OS FS = osFS{}

type osFS struct{}

func (osFS) open(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|openFlags, FileMode)
	if errors.Is(err, syscall.ELOOP) {
		err = linkWithin(name)
	}
	return regular(f, err)
}

func (o osFS) OpenFile(name string, flag int) (File, error) { return asFile(o.open(name, flag)) }
func (o osFS) Lock(name string) (*FileLock, error)          { return lock(name, o.MkdirAll, o.open) }

func (osFS) Rename(oldname, newname string) error       { return os.Rename(oldname, newname) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) MkdirAll(name string) error                 { return os.MkdirAll(name, DirMode) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadFile reads a whole file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// TempSuffix ends the name of the file that WriteFileAtomic writes before it renames it. A crash
// can leave such a file behind; the next write of the same name replaces it.
const TempSuffix = ".tmp"

// WriteFileAtomic replaces the file by data, so that after a crash at any moment the name holds
// either the old content or the new one, whole. It returns nil only when the new content is
// durable. After an error the old content may still be there, or the new one may be there but not
// yet durable: write again. Only one goroutine may write a name at a time.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	tmp := name + TempSuffix
	if err := writeSynced(fsys, tmp, data); err != nil {
		// The reason matters, not whether the leftover could be taken away too.
		_ = fsys.Remove(tmp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		_ = fsys.Remove(tmp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write %s: sync folder: %w", name, err)
	}
	return nil
}

// writeSynced makes a file with that content and has it on disk when it returns nil.
func writeSynced(fsys FS, name string, data []byte) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
