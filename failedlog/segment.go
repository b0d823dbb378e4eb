package failedlog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"shiplog/internal/fsx"
)

// State is what may be done with a segment; it is told by the file's name.
type State string

// The states of a segment.
const (
	StateOpen       State = "open"       // the daemon appends to it
	StateSealed     State = "sealed"     // never written again; free to be claimed
	StateClaimed    State = "claimed"    // a replay or drop is at work on it
	StateCollecting State = "collecting" // a replay writes into it what failed again
	StateEvicted    State = "evicted"    // about to be removed by drop_oldest
	StateBad        State = "bad"        // lines that were no records, kept aside
)

// suffixes follow the base name; the plain .jsonl comes last because the others end with it too.
var suffixes = []struct {
	state  State
	suffix string
}{
	{StateOpen, ".open.jsonl"},
	{StateClaimed, ".claimed.jsonl"},
	{StateCollecting, ".retry.jsonl"},
	{StateEvicted, ".evicted.jsonl"},
	{StateSealed, ".jsonl"},
	{StateBad, ".bad"},
}

const (
	doneSuffix  = ".done"
	requestName = "seal.request"
	lockName    = "replay.lock"
)

// Segment names one file of the failure log.
type Segment struct {
	Dir     string // the source's folder
	Seq     uint64 // rises with time within a source
	Attempt int    // 0 for what the daemon wrote, n for <sequence>.r<n>
	State   State
	Size    int64
	ModTime time.Time
}

// Source is the id of the segment's source: the folder's name.
func (s Segment) Source() string { return filepath.Base(s.Dir) }

// Name is the segment's name without its state, such as 00000000000000000007.r1.
func (s Segment) Name() string {
	if s.Attempt == 0 {
		return fmt.Sprintf("%020d", s.Seq)
	}
	return fmt.Sprintf("%020d.r%d", s.Seq, s.Attempt)
}

// growing says that somebody may be in the middle of writing the last line.
func (s Segment) growing() bool { return s.State == StateOpen || s.State == StateCollecting }

// Path is where the segment lies in its state.
func (s Segment) Path() string { return s.in(s.State) }

// in is where the segment lies when it is in that state.
func (s Segment) in(state State) string {
	for _, e := range suffixes {
		if e.state == state {
			return filepath.Join(s.Dir, s.Name()+e.suffix)
		}
	}
	return filepath.Join(s.Dir, s.Name())
}

// donePath is where the segment's progress lies.
func (s Segment) donePath() string { return filepath.Join(s.Dir, s.Name()+doneSuffix) }

// parseName reads a file's name; ok is false for files that are no segments.
func parseName(name string) (s Segment, ok bool) {
	for _, e := range suffixes {
		base, found := strings.CutSuffix(name, e.suffix)
		if !found {
			continue
		}
		s, ok = parseBase(base)
		s.State = e.state
		return s, ok
	}
	return s, false
}

// parseBase reads <sequence> or <sequence>.r<n>.
func parseBase(base string) (s Segment, ok bool) {
	digits, attempt, retry := strings.Cut(base, ".r")
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(digits) != 20 {
		return s, false
	}
	s.Seq = seq
	if retry {
		s.Attempt, err = strconv.Atoi(attempt)
	}
	return s, err == nil && s.Name() == base // nothing that we would not write, such as r01 or r0
}

// byAge orders segments of one source: oldest first.
func byAge(a, b Segment) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.State, b.State))
}

// List gives the files of the failure log below root, of one source or (source "") of all: sources
// by name, and within each the oldest first. A failure log that is not there is an empty one.
func List(fsys fsx.FS, root, source string) ([]Segment, error) {
	if source != "" {
		return listDir(fsys, filepath.Join(root, source))
	}
	entries, err := fsys.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list failure log: %w", err)
	}
	var all []Segment
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		segs, err := listDir(fsys, filepath.Join(root, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, segs...)
	}
	return all, nil
}

// listDir gives the segments of one source, oldest first.
func listDir(fsys fsx.FS, dir string) ([]Segment, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list failure log: %w", err)
	}
	var segs []Segment
	for _, e := range entries {
		s, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed or removed since
		}
		if err != nil {
			return nil, fmt.Errorf("list failure log: %w", err)
		}
		s.Dir, s.Size, s.ModTime = dir, info.Size(), info.ModTime()
		segs = append(segs, s)
	}
	slices.SortFunc(segs, byAge)
	return segs, nil
}
