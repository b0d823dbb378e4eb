package failedlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"shiplog/internal/fsx"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first line of a progress file: it counts only for exactly this content, so that a
// segment that was edited by hand is sent again rather than passed over.
type header struct {
	Segment string `json:"segment"`
	Size    int64  `json:"size"`
	CRC     string `json:"crc32c"`
}

// step is one further line: what one batch has brought.
type step struct {
	Done       []span `json:"done"`
	Retry      string `json:"retry,omitempty"` // name of the segment that collects what failed again
	RetryBytes int64  `json:"retry_bytes,omitempty"`
	BadBytes   int64  `json:"bad_bytes,omitempty"`
}

// progress is what a progress file says.
type progress struct {
	done spans
	last step // the last step, for the lengths of the files beside it
	// retries is the highest <n> of the segments that have collected what failed again.
	retries int
	bytes   int64 // how far the file counts; 0: not at all
}

// contentOf computes the header that belongs to an open segment.
func contentOf(f io.ReaderAt, s Segment) (header, error) {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return header{}, fmt.Errorf("read segment %s: %w", s.Path(), err)
	}
	return header{s.Name(), n, fmt.Sprintf("%08x", sum.Sum32())}, nil
}

// parseProgress reads a progress file as far as it is whole. One that belongs to another content
// counts for nothing.
func parseProgress(data []byte, want header) progress {
	var p progress
	first, rest, ok := bytes.Cut(data, []byte{'\n'})
	var h header
	if !ok || json.Unmarshal(first, &h) != nil || h != want {
		return p
	}
	p.bytes = int64(len(first)) + 1
	for {
		raw, next, ok := bytes.Cut(rest, []byte{'\n'})
		var st step
		if !ok || json.Unmarshal(raw, &st) != nil || !st.sane(want.Size) {
			return p
		}
		for _, d := range st.Done {
			p.done.add(d[0], d[1])
		}
		if r, ok := parseBase(st.Retry); ok {
			p.retries = max(p.retries, r.Attempt)
		}
		p.last = st
		p.bytes += int64(len(raw)) + 1
		rest = next
	}
}

// sane says whether the step can be of a segment of that size.
func (st step) sane(size int64) bool {
	for _, d := range st.Done {
		if d[0] < 0 || d[0] >= d[1] || d[1] > size {
			return false
		}
	}
	return st.RetryBytes >= 0 && st.BadBytes >= 0
}

// readDone gives what is done of an open segment.
func readDone(fsys fsx.FS, s Segment, f io.ReaderAt) (spans, error) {
	if s.growing() || s.State == StateBad {
		return nil, nil
	}
	data, err := fsx.ReadFile(fsys, s.donePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	want, err := contentOf(f, s)
	if err != nil {
		return nil, err
	}
	return parseProgress(data, want).done, nil
}
