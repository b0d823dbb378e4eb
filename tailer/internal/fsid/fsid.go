// Package fsid finds, opens and identifies log files safely: the application that writes a log folder
// must not be able to make shiplog read another file, block on a FIFO or touch a device. In come glob
// patterns and paths, out come open regular files and who they are. It knows nothing of their content,
// and keeps no file open itself.
package fsid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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

// Of is the identity of the inode that a FileID names.
func Of(id batch.FileID) Identity { return Identity{Dev: id.Dev, Inode: id.Inode, Birth: id.Birth} }

// Info is what a stat tells.
type Info struct {
	Identity
	Size    int64
	Links   uint64 // 0 when the file was deleted while it is held open
	MTime   int64  // nanoseconds since 1970
	Regular bool
}

// ErrNotRegular is what errors.Is finds in every Error: the path is no regular file that may be read.
var ErrNotRegular = errors.New("not a regular file")

// Kind is what stands at a path instead of a regular file.
type Kind uint8

// The kinds of things that are not opened.
const (
	KindOther Kind = iota
	KindDirectory
	KindSymlink
	KindFIFO
	KindSocket
	KindDevice
	KindOutside     // not below the root
	KindForeignLink // the way to the root leads over a link of another user
)

// String names the kind as a sentence about the path goes on.
func (k Kind) String() string {
	switch k {
	case KindDirectory:
		return "is a directory"
	case KindSymlink:
		return "is a symbolic link, or lies behind one (see follow_symlinks)"
	case KindFIFO:
		return "is a FIFO"
	case KindSocket:
		return "is a socket"
	case KindDevice:
		return "is a device"
	case KindForeignLink:
		return "lies behind a symbolic link that belongs to another user (see follow_symlinks)"
	case KindOutside:
		return "is outside of the folder that its pattern starts from"
	}
	return "is not a regular file"
}

// Error says why a path is not opened. errors.Is finds ErrNotRegular in it.
type Error struct {
	Path string
	Kind Kind
}

func (e *Error) Error() string { return fmt.Sprintf("open %s: %s", e.Path, e.Kind) }

// Is makes an Error an ErrNotRegular.
func (e *Error) Is(target error) bool { return target == ErrNotRegular }

// kindOf tells what a mode is; ok means a regular file.
func kindOf(mode fs.FileMode) (kind Kind, ok bool) {
	switch t := mode.Type(); {
	case t.IsRegular():
		return 0, true
	case t.IsDir():
		return KindDirectory, false
	case t&fs.ModeSymlink != 0:
		return KindSymlink, false
	case t&fs.ModeNamedPipe != 0:
		return KindFIFO, false
	case t&fs.ModeSocket != 0:
		return KindSocket, false
	case t&fs.ModeDevice != 0:
		return KindDevice, false
	}
	return KindOther, false
}

// Root is the folder that a pattern starts from; files below it are opened without following
// symbolic links. The path to the root itself is the administrator's and may contain some, if they
// belong to root or to this user: in a folder of the application, "/srv/app/logs" may become one.
type Root struct {
	Dir    string // absolute and clean
	Follow bool   // symbolic links are allowed below it, and out of it
}

// rel is the path below the root.
func (r *Root) rel(path string) (string, error) {
	rel, err := filepath.Rel(r.Dir, path)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", &Error{Path: path, Kind: KindOutside}
	}
	return rel, nil
}

// Open opens the regular file at an absolute path below the root for reading. It never blocks. When
// something else stands there it gives an *Error; otherwise its errors are those of the system.
func Open(root *Root, path string) (*os.File, Identity, error) {
	rel, err := root.rel(path)
	if err != nil {
		return nil, Identity{}, err
	}
	// Opening a device can have effects, so it is looked at first; the check that counts is the one on
	// the open descriptor.
	stat := os.Lstat
	if root.Follow {
		stat = os.Stat
	}
	fi, err := stat(path)
	if err != nil {
		return nil, Identity{}, err
	}
	if kind, ok := kindOf(fi.Mode()); !ok {
		return nil, Identity{}, &Error{Path: path, Kind: kind}
	}
	f, err := openBelow(root, rel, path)
	if err != nil {
		return nil, Identity{}, err
	}
	id, err := identify(f, path)
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, Identity{}, err
	}
	return f, id, nil
}

// identify tells who an open file is, if it is a regular one.
func identify(f *os.File, path string) (Identity, error) {
	info, err := Stat(f)
	if err != nil {
		return Identity{}, err
	}
	if info.Regular {
		return info.Identity, nil
	}
	kind := KindOther
	if fi, err := f.Stat(); err == nil {
		kind, _ = kindOf(fi.Mode())
	}
	return Identity{}, &Error{Path: path, Kind: kind}
}
