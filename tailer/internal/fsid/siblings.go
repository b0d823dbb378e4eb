package fsid

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Siblings lists the regular files that may be rotated forms of the file at path: in its folder
// `<name>*` and `<stem>*<ext>*`, and what the extra globs match, where relative ones start from the
// file's folder. The list is sorted, without path itself, and holds no symbolic links. A folder that is
// not there is no error; one that cannot be read is named in the error, beside what was found.
func Siblings(path string, extra []string) ([]string, error) {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var found []string
	errs := []error{err}
	for _, e := range entries {
		if e.Type().IsRegular() && siblingName(name, e.Name()) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	for _, p := range extra {
		more, err := matching(p, dir)
		found, errs = append(found, more...), append(errs, err)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	found = slices.DeleteFunc(found, func(s string) bool { return s == path })
	return found, errors.Join(errs...)
}

// siblingName says whether other looks like a rotated form of name: app.log.1, app.log-20260102.gz,
// app-20260102.log, app.1.log.gz. Names are taken literally.
func siblingName(name, other string) bool {
	if other == name {
		return false
	}
	if strings.HasPrefix(other, name) {
		return true
	}
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if ext == "" || stem == "" {
		return false
	}
	rest, ok := strings.CutPrefix(other, stem)
	return ok && strings.Contains(rest, ext)
}

// matching lists the regular files that a glob matches.
func matching(glob, base string) ([]string, error) {
	full, err := absPattern(glob, filepath.Clean(base))
	if err != nil {
		return nil, err
	}
	dir, rest := doublestar.SplitPattern(full)
	var found []string
	dirs := &folders{root: dir, known: map[string]*listing{}}
	err = doublestar.GlobWalk(dirs, rest, func(rel string, d fs.DirEntry) error {
		if d.Type().IsRegular() {
			found = append(found, filepath.Join(dir, rel))
		}
		return nil
	}, doublestar.WithNoFollow())
	return found, errors.Join(append(dirs.errs, err)...)
}
