package fsxtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"shiplog/internal/fsx"
)

// journal remembers what would be gone if the machine lost power now: bytes of files that were not
// synced, and entries of folders that were not. It takes files to be append-only, which is how
// shiplog writes: after a crash a file has its length of the last Sync. Called under FS.mu.
type journal struct {
	files map[uint64]*tracked // by inode
	undo  []undo              // oldest first
}

// tracked is a file that was opened through the FS.
type tracked struct {
	path   string
	synced int64 // how many of its bytes are durable
}

// undo takes one change of a folder back.
type undo struct {
	dir  string
	back func() error
}

// Crash makes the folder what it would be after a loss of power: unsynced bytes and unsynced
// entries are gone. Close the files of the "process that died" before it; faults stay as they are.
func (f *FS) Crash() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := &f.crash
	var errs []error
	for i := len(j.undo) - 1; i >= 0; i-- {
		errs = append(errs, j.undo[i].back())
	}
	for _, t := range j.files {
		info, err := os.Stat(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Size() > t.synced {
			err = os.Truncate(t.path, t.synced)
		}
		errs = append(errs, err)
	}
	*j = journal{files: map[uint64]*tracked{}}
	return errors.Join(errs...)
}

// opened begins to track a file. What was there before the FS first saw it counts as durable.
func (j *journal) opened(name string, file fsx.File, made, truncated bool) error {
	ino, size, err := inode(file.Stat())
	if err != nil {
		return err
	}
	switch t := j.files[ino]; {
	case made:
		j.files[ino] = &tracked{path: name}
		j.undo = append(j.undo, undo{filepath.Dir(name), func() error { return os.Remove(name) }})
	case t == nil:
		j.files[ino] = &tracked{path: name, synced: size}
	case truncated:
		t.synced = 0
	}
	return nil
}

// sized sets how many bytes of a file are durable, or lowers it (shrink) after a truncation.
func (j *journal) sized(file fsx.File, shrink bool) error {
	ino, size, err := inode(file.Stat())
	if err != nil {
		return err
	}
	if t := j.files[ino]; t != nil && (!shrink || size < t.synced) {
		t.synced = size
	}
	return nil
}

func (j *journal) rename(base fsx.FS, oldname, newname string) error {
	restore := j.stash(newname)
	if err := base.Rename(oldname, newname); err != nil {
		return err
	}
	j.moved(newname)
	j.undo = append(j.undo, undo{filepath.Dir(newname), func() error {
		if err := os.Rename(newname, oldname); err != nil {
			return err
		}
		j.moved(oldname)
		return restore()
	}})
	return nil
}

func (j *journal) remove(base fsx.FS, name string) error {
	restore := j.stash(name)
	if err := base.Remove(name); err != nil {
		return err
	}
	j.undo = append(j.undo, undo{filepath.Dir(name), restore})
	return nil
}

// stash keeps the durable content of a file that is about to go, and gives a way to restore it.
func (j *journal) stash(name string) func() error {
	data, err := os.ReadFile(name)
	if err != nil {
		return func() error { return nil } // no file, or a folder: nothing that a crash brings back
	}
	if ino, _, err := inode(os.Stat(name)); err == nil {
		if t := j.files[ino]; t != nil {
			data = data[:min(int64(len(data)), t.synced)]
			delete(j.files, ino) // the inode may be used again
		}
	}
	return func() error { return os.WriteFile(name, data, fsx.FileMode) }
}

// moved follows a tracked file to its new name.
func (j *journal) moved(name string) {
	if ino, _, err := inode(os.Stat(name)); err == nil && j.files[ino] != nil {
		j.files[ino].path = name
	}
}

// dirSynced makes the changes of a folder durable.
func (j *journal) dirSynced(name string) {
	kept := j.undo[:0]
	for _, u := range j.undo {
		if u.dir != filepath.Clean(name) {
			kept = append(kept, u)
		}
	}
	j.undo = kept
}

func inode(info fs.FileInfo, err error) (ino uint64, size int64, _ error) {
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("%s: no inode number", info.Name())
	}
	return st.Ino, info.Size(), nil
}
