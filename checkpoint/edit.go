package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"shiplog/internal/batch"
	"shiplog/internal/fsx"
)

// The functions of this file serve the commands `checkpoint ls | reset | seek`. Reset and Seek are
// for the holder of data_dir's lock while no daemon runs: a daemon would overwrite the change.

// Saved is what the checkpoint of one source holds.
type Saved struct {
	Source     string
	File       string // where it stands
	Time       time.Time
	States     []batch.State
	Partitions map[string]int32 // by path
	// Err says why the file could not be read or understood; it is left as it is.
	Err error
}

// List reads the checkpoints of all sources in the folder, sorted by source. A folder that is not
// there holds none.
func List(fsys fsx.FS, dir string) ([]Saved, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var list []Saved
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		s := Saved{Source: id, File: filepath.Join(dir, e.Name())}
		var c content
		c, s.Err = load(fsys, s.File)
		s.Time, s.States, s.Partitions = c.Saved, c.States, c.Partitions
		list = append(list, s)
	}
	return list, nil
}

// Reset forgets what is known of the file at path, its rotated generations and its partition
// included, or of the whole source when path is empty. The source then treats those files as
// start_at says: from the beginning means that they are sent again. It returns what was forgotten;
// with dryRun it only says so. An unreadable checkpoint can be reset as a whole.
func Reset(fsys fsx.FS, dir, source, path string, dryRun bool) ([]batch.State, error) {
	name, err := fileName(dir, source)
	if err != nil {
		return nil, err
	}
	c, err := load(fsys, name)
	if path == "" {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("source %s has no checkpoint", source)
		}
		if dryRun {
			return c.States, nil
		}
		if err := errors.Join(fsys.Remove(name), fsys.SyncDir(dir)); err != nil {
			return nil, fmt.Errorf("remove checkpoint: %w", err)
		}
		return c.States, nil
	}
	if err != nil {
		return nil, explain(source, err)
	}
	gone := entriesOf(&c, path)
	if len(gone) == 0 {
		return nil, unknownPath(source, path, &c)
	}
	if dryRun {
		return gone, nil
	}
	c.States = slices.DeleteFunc(c.States, func(s batch.State) bool { return s.Path == path })
	delete(c.Partitions, path)
	return gone, store(fsys, name, source, c)
}

// Target is where Seek sets a file's position: a byte offset, Beginning or End.
type Target int64

// The places that have a name.
const (
	Beginning Target = 0
	End       Target = -1
)

// ParseTarget reads "beginning", "end" or a byte offset.
func ParseTarget(s string) (Target, error) {
	switch s {
	case "beginning":
		return Beginning, nil
	case "end":
		return End, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("position %q: want beginning, end or an offset in bytes", s)
	}
	return Target(n), nil
}

// Change is what a Seek did, or would do.
type Change struct {
	Source, Path string
	ID           batch.FileID
	// New says that the checkpoint knew nothing of the file; From is 0 then, although start_at
	// might have begun elsewhere.
	New      bool
	From, To int64
	// Lines is how many lines stand between From and To.
	Lines int64
	// Others are entries of older generations with the same path. They stay as they are: what is
	// unread in rotated files is still sent.
	Others []batch.State
}

// String says what will be repeated or skipped.
func (c Change) String() string {
	what := "nothing changes"
	switch {
	case c.To < c.From:
		what = fmt.Sprintf("%s (%d bytes) will be sent again", lines(c.Lines), c.From-c.To)
	case c.To > c.From:
		what = fmt.Sprintf("%s (%d bytes) will be skipped", lines(c.Lines), c.To-c.From)
	case c.New:
		what = "it will be read from its beginning"
	}
	return fmt.Sprintf("source %s: %s: offset %d -> %d: %s", c.Source, c.Path, c.From, c.To, what)
}

func lines(n int64) string {
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}

// Seek sets the position of the log that stands at path now. A target within a line moves to the
// line's beginning, so that no half line is sent: End is behind the last newline. With dryRun it
// changes nothing and only says what it would do.
func Seek(fsys fsx.FS, dir, source, path string, to Target, dryRun bool) (Change, error) {
	name, err := fileName(dir, source)
	if err != nil {
		return Change{}, err
	}
	c, err := load(fsys, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Change{}, explain(source, err)
	}
	f, err := openLog(path)
	if err != nil {
		return Change{}, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	entry, isNew, err := entryFor(&c, f, path)
	if err != nil {
		return Change{}, err
	}
	change := Change{Source: source, Path: path, ID: entry.ID, New: isNew, From: entry.Pos.Offset}
	if change.To, err = targetOffset(f, to); err != nil {
		return Change{}, err
	}
	if change.Lines, err = countLines(f, min(change.From, change.To), max(change.From, change.To)); err != nil {
		return Change{}, err
	}
	change.Others = slices.DeleteFunc(entriesOf(&c, path), func(s batch.State) bool { return s.ID == entry.ID })
	if dryRun {
		return change, nil
	}
	if entry.Pos, err = posAt(f, change.To); err != nil {
		return Change{}, err
	}
	entry.Finished, entry.Seen = false, time.Now()
	c.States = append(slices.DeleteFunc(c.States, func(s batch.State) bool { return s.ID == entry.ID }), entry)
	return change, store(fsys, name, source, c)
}

// entryFor finds the entry of an open log, or makes one when the checkpoint does not know it.
func entryFor(c *content, f *os.File, path string) (entry batch.State, isNew bool, err error) {
	id, err := identify(f)
	if err != nil {
		return entry, false, err
	}
	known := false
	for _, s := range c.States {
		at := s.ID
		if at.Gen = 0; at == id && (!known || s.ID.Gen > entry.ID.Gen) {
			entry, known = s, true
		}
	}
	if known {
		same, err := recognise(f, entry.Pos)
		if same || err != nil {
			return entry, false, err
		}
		id.Gen = entry.ID.Gen + 1 // truncated or written anew since
	}
	return batch.State{ID: id, Path: path}, true, nil
}

// entriesOf gives all entries with that path.
func entriesOf(c *content, path string) []batch.State {
	var list []batch.State
	for _, s := range c.States {
		if s.Path == path {
			list = append(list, s)
		}
	}
	return list
}

func unknownPath(source, path string, c *content) error {
	var known []string
	for _, s := range c.States {
		known = append(known, s.Path)
	}
	slices.Sort(known)
	return fmt.Errorf("the checkpoint of source %s knows no file %s; it knows: %s",
		source, path, strings.Join(slices.Compact(known), ", "))
}

// explain says what to do about a checkpoint that cannot be read.
func explain(source string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("source %s has no checkpoint", source)
	}
	return fmt.Errorf("checkpoint of source %s: %w", source, err)
}

// load reads one checkpoint.
func load(fsys fsx.FS, name string) (content, error) {
	data, err := fsx.ReadFile(fsys, name)
	if err != nil {
		return content{}, err
	}
	return parse(data)
}

// store writes one checkpoint.
func store(fsys fsx.FS, name, source string, c content) error {
	c.Saved = time.Now()
	sortStates(c.States)
	data, err := encode(source, c)
	if err != nil {
		return err
	}
	if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	return fsx.WriteFileAtomic(fsys, name, data)
}
