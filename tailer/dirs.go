package tailer

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"shiplog/tailer/internal/fsid"
)

// dirCache lists folders, each at most once a scan, and again only when the folder has changed.
type dirCache struct {
	dirs     map[string]*dirList
	listings int // folders listed so far
	readDir  func(dir string) ([]os.DirEntry, error)
}

// dirList is the regular files of a folder, sorted by path. Sizes and times in it may be old.
type dirList struct {
	entries []entry
	places  map[fsid.Identity]int   // of the entries
	first   map[fsid.Identity]int64 // the scan at which a file was first seen there; 0 is the first of all
	changed time.Time               // the folder's own time of change
	listed  time.Time               // when it was listed last
	scan    int64                   // when it was looked at last
	read    int64                   // when it was listed last
	calm    int64                   // when two listings held the same files last
	settled bool                    // the folder had not just changed when it was listed
	whole   bool                    // nor within a tick of the clock that its time is taken from
	again   bool                    // it is to be looked at again within the scan
}

const (
	// settling is how long a folder has to stand still before its listing serves later scans.
	settling = time.Second
	// tick is more than the grain of a kernel's clock. A listing that was begun so long after the folder's
	// last change is complete for as long as that time of change stays.
	tick = 50 * time.Millisecond
)

func (c *dirCache) init() { c.dirs, c.readDir = map[string]*dirList{}, os.ReadDir }

// list gives what is in a folder at the scan of that number.
func (c *dirCache) list(dir string, scan int64) *dirList {
	d := c.dirs[dir]
	if d == nil {
		d = &dirList{}
		c.dirs[dir] = d
	}
	if d.scan == scan {
		return d
	}
	again := d.again
	d.scan, d.again = scan, false
	st, err := os.Stat(dir)
	if err == nil && st.ModTime().Equal(d.changed) {
		// When thousands of files of a folder are rotated at once, each of them asks for a fresh look: the
		// folder must not be listed once for each.
		if d.settled && !again || d.whole && again && time.Since(d.listed) < settling {
			return d
		}
	}
	// A folder's time has the grain of the kernel's clock: what happened right after it stood still
	// may have left the same time.
	c.listings++
	d.read, d.listed, d.settled, d.whole = scan, time.Now(), false, false
	names, unread := c.readDir(dir)
	if unread != nil || err != nil { // removed, or not to be read: then the glob has said so
		d.entries, d.places, d.calm = nil, nil, 0
		return d
	}
	d.fill(dir, names, scan)
	still := d.listed.Sub(st.ModTime())
	d.settled = still > settling
	d.whole = d.settled || still > tick && st.ModTime().Nanosecond() != 0 // some keep whole seconds only
	d.changed = st.ModTime()
	return d
}

// of finds a file in the folder.
func (d *dirList) of(node fsid.Identity) (entry, bool) {
	i, ok := d.places[node]
	if !ok {
		return entry{}, false
	}
	return d.entries[i], true
}

// forgetFolders is how many scans lie between two looks for folders that are gone.
const forgetFolders = 60

// forget drops the folders that were removed and that nobody asks for any more. The others are kept: which
// of their files are old is known from the first listing only.
func (c *dirCache) forget(scan int64) {
	if scan%forgetFolders != 0 {
		return
	}
	for dir, d := range c.dirs {
		if d.scan > scan-forgetFolders/2 {
			continue
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			delete(c.dirs, dir)
		}
	}
}

// changedAt says that a folder may have changed since the scan before.
func (c *dirCache) changedAt(dir string, scan int64) bool { return c.list(dir, scan).read == scan }

// fresh makes the next list read the folder again, within the same scan too.
func (c *dirCache) fresh(dir string) {
	if d := c.dirs[dir]; d != nil {
		d.again, d.scan = true, d.scan-1
	}
}

// steady lists a folder until two listings hold the same files: one that is read while files are renamed
// may miss some of them.
func (c *dirCache) steady(dir string, scan int64) {
	for range renameTries {
		d := c.list(dir, scan)
		if d.calm == scan {
			return
		}
		before, listed := d.first, d.listed
		c.fresh(dir)
		if d = c.list(dir, scan); d.listed.Equal(listed) || sameFiles(before, d.first) {
			d.calm = scan
			return
		}
	}
}

// sameFiles says that two listings hold the same files.
func sameFiles(a, b map[fsid.Identity]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for node := range a {
		if _, ok := b[node]; !ok {
			return false
		}
	}
	return true
}

// replaced takes another file that stands at the path of e for a new one: e was renamed while the folder
// was read for the first time, when everything else that is there counts as old.
func (d *dirList) replaced(e entry, scan int64) {
	for _, o := range d.entries {
		if o.path == e.path && o.info.Identity != e.info.Identity {
			d.first[o.info.Identity] = scan
		}
	}
}

// at gives what the listing has at a path, or nil.
func (d *dirList) at(path string) *fsid.Info {
	i, ok := slices.BinarySearchFunc(d.entries, path, func(e entry, s string) int { return cmp.Compare(e.path, s) })
	if !ok {
		return nil
	}
	return &d.entries[i].info
}

// fill takes over what stands in the folder.
func (d *dirList) fill(dir string, names []os.DirEntry, scan int64) {
	d.entries, d.places, d.calm = nil, nil, 0 // callers may still go through the old ones
	root := &fsid.Root{Dir: dir}
	initial := scan == 1 && d.first == nil
	first := make(map[fsid.Identity]int64, len(names))
	for _, n := range names {
		if !n.Type().IsRegular() {
			continue
		}
		e := entry{path: filepath.Join(dir, n.Name()), root: root}
		info, err := fsid.Lstat(e.path)
		if err != nil || !info.Regular {
			continue
		}
		e.info = info
		d.entries = append(d.entries, e)
		seen, known := d.first[e.info.Identity]
		switch {
		case known || initial:
			first[e.info.Identity] = seen
		default:
			first[e.info.Identity] = scan
		}
	}
	d.first = first
	slices.SortFunc(d.entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	d.places = make(map[fsid.Identity]int, len(d.entries))
	for i, e := range d.entries {
		d.places[e.info.Identity] = i
	}
}
