package fsid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// settled is how old a folder's last change must be before its listing is taken for complete: the
	// clock of a file system is coarse, and a change in the same tick as a listing leaves no trace.
	settled = 2 * time.Second
	// reread is how long a listing is used at most, for file systems that do not tell of changes.
	reread = 5 * time.Second
	// maxFolders bounds what one look reads: links that lead to each other can make endless paths.
	maxFolders = 100_000
)

// folders is the file system that a pattern looks at. It remembers listings: patterns are looked up
// each second, and a folder whose time of change stands still needs no reading. It keeps the errors,
// which doublestar would swallow.
type folders struct {
	root   string
	follow bool
	known  map[string]*listing
	now    time.Time
	round  int
	reads  int // in this round
	errs   []error
}

type listing struct {
	dir      fs.FileInfo // as it was before the reading
	entries  []fs.DirEntry
	read     time.Time
	complete bool // until the folder changes
	round    int  // when it was last in use
}

func (f *folders) begin(now time.Time) {
	f.now = now
	f.round++
	f.reads = 0
	f.errs = nil
}

// end drops the folders that nobody asked for and gives the errors.
func (f *folders) end() []error {
	for name, l := range f.known {
		if l.round != f.round {
			delete(f.known, name)
		}
	}
	return f.errs
}

func (f *folders) path(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

// Open is not used: all that doublestar needs is Stat and ReadDir.
func (f *folders) Open(name string) (fs.File, error) { return os.Open(f.path(name)) }

// Stat tells what stands at a name below the root. Without follow it does not look behind a link, so
// that a pattern does not find what Open refuses.
func (f *folders) Stat(name string) (fs.FileInfo, error) {
	stat := os.Lstat
	if f.follow || name == "." { // the way to the root may lead over links
		stat = os.Stat
	}
	fi, err := stat(f.path(name))
	f.report(err)
	return fi, err
}

// ReadDir lists a folder below the root.
func (f *folders) ReadDir(name string) ([]fs.DirEntry, error) {
	fi, err := os.Stat(f.path(name))
	if err != nil {
		f.report(err)
		return nil, err
	}
	l := f.known[name]
	if l == nil {
		l = &listing{}
		f.known[name] = l
	}
	complete := l.complete && os.SameFile(l.dir, fi) && l.dir.ModTime().Equal(fi.ModTime()) && f.now.Sub(l.read) < reread
	l.dir, l.round = fi, f.round
	if complete {
		return l.entries, nil
	}
	l.complete, l.entries = false, nil
	if f.follow && f.loops(name, fi) {
		return nil, nil
	}
	if f.reads++; f.reads > maxFolders {
		err := fmt.Errorf("look for files: more than %d folders below %s", maxFolders, f.root)
		f.errs = append(f.errs[:0], err)
		return nil, err
	}
	if l.entries, err = os.ReadDir(f.path(name)); err != nil {
		f.report(err)
		return nil, err
	}
	l.read, l.complete = f.now, f.now.Sub(fi.ModTime()) > settled
	return l.entries, nil
}

// loops says that a folder is one of those that lead to it: a link goes round.
func (f *folders) loops(name string, fi fs.FileInfo) bool {
	for name != "." {
		name = path.Dir(name)
		if l := f.known[name]; l != nil && l.round == f.round && os.SameFile(l.dir, fi) {
			return true
		}
	}
	return false
}

// report remembers an error, but for what is simply not there.
func (f *folders) report(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		f.errs = append(f.errs, fmt.Errorf("look for files: %w", err))
	}
}
