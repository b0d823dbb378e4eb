// Package fsid finds, opens and identifies log files safely: the application that writes a log folder
// must not be able to make shiplog read another file, block on a FIFO or open a device. In come glob
// patterns and paths, out come open regular files and who they are. It knows nothing of their content.
package fsid

import (
	"errors"
	"os"

	"shiplog/internal/batch"
)

// Identity names an inode: what stays the same when a file is renamed.
type Identity struct {
	Dev   uint64
	Inode uint64
	Birth int64 // birth time in nanoseconds since 1970, 0 where the file system does not tell
}

// FileID makes the name of a generation of this file.
func (id Identity) FileID(gen uint32) batch.FileID {
	return batch.FileID{Dev: id.Dev, Inode: id.Inode, Birth: id.Birth, Gen: gen}
}

// Info is what a stat tells.
type Info struct {
	Identity
	Size    int64
	Links   uint64 // 0 when the file was deleted while it is held open
	MTime   int64  // nanoseconds since 1970
	Regular bool
}

// ErrNotRegular is what errors.Is finds in the error for a path that is no regular file, a symbolic
// link that may not be followed included, or that leads out of its root.
var ErrNotRegular = errors.New("not a regular file")

// Root is the folder that a pattern starts from; files below it are opened without following
// symbolic links. The path to the root itself is the administrator's and may contain some.
type Root struct {
	Dir    string // absolute
	Follow bool   // symbolic links are allowed below it
}

// Open opens the regular file at path, which must lie below the root, for reading. It never blocks.
func Open(root *Root, path string) (*os.File, Identity, error) { panic("not yet") }

// Stat tells what an open file is now.
func Stat(f *os.File) (Info, error) { panic("not yet") }

// Lstat tells what stands at a path, without following a symbolic link.
func Lstat(path string) (Info, error) { panic("not yet") }

// Candidate is a file that the patterns match.
type Candidate struct {
	Path string
	Root *Root
}

// Glob finds the files of a source. One goroutine may use it at a time.
type Glob struct{}

// NewGlob takes patterns with `**` as doublestar has them; relative ones start from the working folder.
func NewGlob(include, exclude []string, follow bool) (*Glob, error) { panic("not yet") }

// Match lists the regular files that are there now, sorted by path, each once. A folder that is not
// there is no error. Folders that cannot be read are reported in the error, beside what was found.
func (g *Glob) Match() ([]Candidate, error) { panic("not yet") }

// Has says whether the patterns match an absolute path, whether or not a file is there.
func (g *Glob) Has(path string) bool { panic("not yet") }

// Siblings lists the regular files beside path that may be rotated forms of it: `<name>*`,
// `<stem>*<ext>*`, and the extra globs (relative ones start from the file's folder), sorted, without path itself.
func Siblings(path string, extra []string) ([]string, error) { panic("not yet") }
