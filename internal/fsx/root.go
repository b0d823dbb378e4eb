package fsx

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Root is the file system below one folder that it holds open: whatever becomes of the folder's name, it
// stays that folder, and no symbolic link leads out of it. Names are those of the whole file system
// and must lie below the folder.
type Root struct {
	dir  string
	root *os.Root
}

// OpenPrivate opens the folder dir, an absolute path, which it makes with DirMode where it is not there. It gives an
// *UnsafeError when another user could change what is in it: when group or others may write to it, when it
// belongs to somebody else than this user or root, or when the way to it leads over somebody else's
// symbolic link. What may let others put another folder in its place for the next start, a folder on the
// way that they can write to, comes back as warnings.
func OpenPrivate(dir string) (r *Root, warnings []string, err error) {
	dir = filepath.Clean(dir)
	if _, err := walk(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err // before anything is made behind somebody's link
	}
	if err := os.MkdirAll(dir, DirMode); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	w, err := walk(dir)
	var fi fs.FileInfo
	if err == nil {
		fi, err = root.Stat(".")
	}
	if err == nil {
		err = checkPrivate(dir, fi)
	}
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return &Root{dir, root}, w.warnings, nil
}

// Close gives the folder back. Files that were opened stay open.
func (r *Root) Close() error { return r.root.Close() }

// CheckPrivate gives an *UnsafeError when what stands at a name is no folder, or one that others could
// write to. A name that is not there is in order.
func (r *Root) CheckPrivate(name string) error {
	rel, err := r.rel(name)
	if err != nil {
		return err
	}
	fi, err := r.root.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return r.named(err, name)
	}
	return checkPrivate(name, fi)
}

// rel is a name below the folder.
func (r *Root) rel(name string) (string, error) {
	rel, err := filepath.Rel(r.dir, name)
	if err != nil || !filepath.IsLocal(rel) {
		return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("not below " + r.dir)}
	}
	return rel, nil
}

// named puts the whole name into an error, which has only the end of it.
func (r *Root) named(err error, name string) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return &fs.PathError{Op: strings.TrimSuffix(pe.Op, "at"), Path: name, Err: pe.Err}
	}
	return err
}

// do calls f with the name below the folder.
func (r *Root) do(name string, f func(rel string) error) error {
	rel, err := r.rel(name)
	if err != nil {
		return err
	}
	return r.named(f(rel), name)
}

func (r *Root) open(name string, flag int) (f *os.File, err error) {
	err = r.do(name, func(rel string) error {
		if fi, err := r.root.Lstat(rel); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
			return linkWithin(name) // the folder's own links do not lead out of it, but are none of ours
		}
		f, err = r.root.OpenFile(rel, flag|openFlags, FileMode)
		return err
	})
	return regular(f, err)
}

// OpenFile implements FS.
func (r *Root) OpenFile(name string, flag int) (File, error) { return asFile(r.open(name, flag)) }

// Lock implements FS.
func (r *Root) Lock(name string) (*FileLock, error) {
	return lock(name, r.MkdirAll, r.open)
}

// Rename implements FS.
func (r *Root) Rename(oldname, newname string) error {
	to, err := r.rel(newname)
	if err != nil {
		return err
	}
	err = r.do(oldname, func(from string) error { return r.root.Rename(from, to) })
	if le := (*os.LinkError)(nil); errors.As(err, &le) {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: le.Err}
	}
	return err
}

// Remove implements FS.
func (r *Root) Remove(name string) error { return r.do(name, r.root.Remove) }

// MkdirAll implements FS.
func (r *Root) MkdirAll(name string) error {
	return r.do(name, func(rel string) error { return r.root.MkdirAll(rel, DirMode) })
}

// Stat implements FS.
func (r *Root) Stat(name string) (fi fs.FileInfo, err error) {
	err = r.do(name, func(rel string) error { fi, err = r.root.Stat(rel); return err })
	return fi, err
}

// ReadDir implements FS.
func (r *Root) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = r.do(name, func(rel string) error {
		d, err := r.root.Open(rel)
		if err != nil {
			return err
		}
		list, err = d.ReadDir(-1)
		return errors.Join(err, d.Close())
	})
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return list, err
}

// SyncDir implements FS.
func (r *Root) SyncDir(name string) error {
	return r.do(name, func(rel string) error {
		d, err := r.root.Open(rel)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	})
}

// openFlags: no link is followed, and nobody waits for the other end of a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// regular closes what is no regular file.
func regular(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &UnsafeError{f.Name(), "is no regular file", "see what it is, then move it away"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// asFile makes a File of a file: a nil *os.File in a File would not be nil.
func asFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}
