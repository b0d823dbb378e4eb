package tailer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shiplog/tailer/internal/fsid"
)

// entry is a regular file that was seen at a path.
type entry struct {
	path string
	root *fsid.Root
	info fsid.Info
}

// stat tells what stands at a path: a regular file, behind symbolic links only if those are followed.
func stat(root *fsid.Root, path string) (fsid.Info, bool) {
	info, err := fsid.Lstat(path)
	if err == nil && !info.Regular && root.Follow {
		target, lerr := filepath.EvalSymlinks(path)
		if lerr != nil {
			return info, false
		}
		info, err = fsid.Lstat(target)
	}
	return info, err == nil && info.Regular
}

// renameTries is how often a file is looked for that is renamed while it is opened.
const renameTries = 4

// openEntry opens a file that was seen, also when it was renamed within its folder since. It gives where
// it stands now. What cannot be found any more is fs.ErrNotExist.
func (t *Tailer) openEntry(e entry) (*os.File, entry, error) {
	for range renameTries {
		f, id, err := t.open(e.root, e.path)
		switch {
		case err == nil && id == e.info.Identity:
			return f, e, nil
		case err == nil:
			_ = f.Close() // another file by now
		case !errors.Is(err, fs.ErrNotExist):
			return nil, e, err
		}
		if at, ok := t.inFolder(dirOf(e.path), e.info.Identity); ok {
			e.path = at
		}
	}
	return nil, e, fmt.Errorf("open %s: renamed or gone: %w", e.path, fs.ErrNotExist)
}

// inFolder looks anew where a file stands in a folder.
func (t *Tailer) inFolder(dir string, node fsid.Identity) (string, bool) {
	t.dirs.fresh(dir)
	e, ok := t.dirs.list(dir, t.scans).of(node)
	return e.path, ok
}

// now looks again at a file that was seen, also when it was renamed within its folder since.
func (t *Tailer) now(e entry) (entry, bool) {
	for range renameTries {
		if info, ok := stat(e.root, e.path); ok && info.Identity == e.info.Identity {
			e.info = info
			return e, true
		}
		if at, ok := t.inFolder(dirOf(e.path), e.info.Identity); ok {
			e.path = at
		}
	}
	return e, false
}

// siblings lists what may be rotated forms of a path, sorted by path. Files of other sources and live
// logs of our own are not among them.
func (t *Tailer) siblings(path string) []entry {
	var out []entry
	for _, e := range t.beside(path) {
		if e.path == path || e.info.Size == 0 || t.cfg.Claimed(e.path) || otherFormat(e.path) {
			continue
		}
		if t.glob.Has(e.path) && !rotatedName(path, e.path) {
			continue
		}
		out = append(out, e)
	}
	return out
}

// beside lists the files whose name may be that of a rotated form of the path.
func (t *Tailer) beside(path string) []entry {
	dir := filepath.Dir(path)
	if len(t.cfg.Rotated) > 0 {
		return t.besideAnd(path)
	}
	name := filepath.Base(path)
	ext := filepath.Ext(name)
	stem := filepath.Join(dir, strings.TrimSuffix(name, ext))
	all := t.dirs.list(dir, t.scans).entries
	i, _ := slices.BinarySearchFunc(all, stem, func(e entry, s string) int { return cmp.Compare(e.path, s) })
	var out []entry
	for ; i < len(all) && strings.HasPrefix(all[i].path, stem); i++ {
		if strings.Contains(all[i].path[len(stem):], ext) {
			out = append(out, t.below(path, all[i]))
		}
	}
	return out
}

// below gives a file beside a path the root of that path: the application that writes there must not be
// able to lead us elsewhere by a link on the way.
func (t *Tailer) below(path string, e entry) entry {
	if s := t.series[path]; s != nil && dirOf(e.path) == dirOf(path) {
		e.root = s.root
	}
	return e
}

// besideAnd is beside with the patterns of the configuration, which may name other folders.
func (t *Tailer) besideAnd(path string) []entry {
	paths, err := fsid.Siblings(path, t.cfg.Rotated)
	if err != nil {
		t.warnOnce(path, "cannot look for rotated files", err)
	}
	var out []entry
	for _, p := range paths {
		all := t.dirs.list(filepath.Dir(p), t.scans).entries
		i, ok := slices.BinarySearchFunc(all, p, func(e entry, s string) int { return cmp.Compare(e.path, s) })
		if ok {
			out = append(out, t.below(path, all[i]))
		}
	}
	return out
}

// firstSeen is the scan at which an entry first stood in its folder.
func (t *Tailer) firstSeen(e entry) int64 {
	return t.dirs.list(filepath.Dir(e.path), t.scans).first[e.info.Identity]
}

// compressed says that a path is that of a file that we can read compressed.
func compressed(path string) bool { return strings.HasSuffix(path, ".gz") }

// otherFormat says that a path is that of a compressed file which we cannot read.
func otherFormat(path string) bool {
	switch filepath.Ext(path) {
	case ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip", ".7z", ".br":
		return true
	}
	return false
}

// rotatedName says that other is named as rotators name an older form of path: app.log.1, app.log-20240102,
// app.log.old, app-2024-01-02T03.log, with .gz or not. It decides about files that an include pattern
// matches too, and which could as well be logs of their own, such as app.error.log.
func rotatedName(path, other string) bool {
	return slices.Contains(basesOf(other), path)
}

// basesOf lists the paths of which a path may be the rotated form.
func basesOf(path string) []string {
	dir, name := filepath.Split(path)
	name = strings.TrimSuffix(name, ".gz")
	var out []string
	for i := len(name) - 1; i > 0; i-- {
		if isJoint(name[i]) && isRotation(name[i+1:]) {
			out = append(out, dir+name[:i])
		}
	}
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for i := len(stem) - 1; i > 0 && ext != ""; i-- {
		if isJoint(stem[i]) && isRotation(stem[i+1:]) {
			out = append(out, dir+stem[:i]+ext)
		}
	}
	return out
}

func isJoint(c byte) bool { return c == '.' || c == '-' || c == '_' || c == '@' }

// isRotation says that part of a name is a number, a date, or one of the words for an older file.
func isRotation(part string) bool {
	switch part {
	case "old", "bak", "backup", "prev", "orig", "copy", "rotated":
		return true
	}
	digits := 0
	for _, c := range []byte(part) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case isJoint(c), c == 'T', c == 'Z', c == ':', c == '+':
		default:
			return false
		}
	}
	return digits > 0
}

// older orders rotated files of one path by age, the oldest first: by the time of the last write, which
// renaming and gzip keep; where that is the same, as the clock of a file system is coarse, by name.
func older(a, b entry) int {
	return cmp.Or(
		cmp.Compare(a.info.MTime, b.info.MTime),
		olderName(a.path, b.path),
		cmp.Compare(a.info.Birth, b.info.Birth),
		cmp.Compare(a.path, b.path),
	)
}

// olderName compares the digits of two names: app.log.2 is older than app.log.1, and app-20260101.log is
// older than app-20260102.log.
func olderName(a, b string) int {
	const date = 6 // digits that a date has at least
	da, db := digits(a), digits(b)
	if len(da) >= date && len(db) >= date {
		return cmp.Compare(da, db)
	}
	return cmp.Or(cmp.Compare(len(db), len(da)), cmp.Compare(db, da))
}

// digits gives the digits in the name at the end of a path, without leading zeros.
func digits(path string) string {
	return strings.TrimLeft(strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, filepath.Base(path)), "0")
}
