package failedlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"shiplog/internal/fsx"
)

// sourceDirs gives the folders of the sources, or of the one that is named.
func sourceDirs(fsys fsx.FS, root, source string) ([]string, error) {
	if source != "" {
		return []string{filepath.Join(root, source)}, nil
	}
	entries, err := fsys.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list failure log: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(root, e.Name()))
		}
	}
	return dirs, nil
}

// oldestFirst merges the segments of several sources by the time of their first records. Within a
// source the order stays.
func oldestFirst(fsys fsx.FS, segs []Segment) []Segment {
	var queues [][]Segment
	for i, s := range segs {
		if i == 0 || s.Dir != segs[i-1].Dir {
			queues = append(queues, nil)
		}
		last := &queues[len(queues)-1]
		*last = append(*last, s)
	}
	if len(queues) < 2 {
		return segs
	}
	heads := make([]time.Time, len(queues))
	for i, q := range queues {
		heads[i] = firstTime(fsys, q[0])
	}
	out := make([]Segment, 0, len(segs))
	for len(out) < len(segs) {
		best := -1
		for i, q := range queues {
			if len(q) > 0 && (best < 0 || heads[i].Before(heads[best])) {
				best = i
			}
		}
		out = append(out, queues[best][0])
		if queues[best] = queues[best][1:]; len(queues[best]) > 0 {
			heads[best] = firstTime(fsys, queues[best][0])
		}
	}
	return out
}

// firstTime is the time of a segment's first record, or when the file was written last where that
// cannot be told.
func firstTime(fsys fsx.FS, s Segment) time.Time {
	f, err := openSegment(fsys, s)
	if err != nil {
		return s.ModTime
	}
	defer f.Close() //nolint:errcheck // opened for reading
	found := s.ModTime
	err = scan(f, s, nil, func(e *Entry) error {
		if e.Err != nil {
			return nil
		}
		found = e.Record.Time
		return io.EOF
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return s.ModTime
	}
	return found
}
