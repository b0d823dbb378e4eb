package failedlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"shiplog/internal/fsx"
)

// ExportOptions says what Export writes.
type ExportOptions struct {
	FS  fsx.FS // nil: fsx.OS
	Dir string // <data_dir>/failed
	Filter
	Full  bool          // whole records as they stand in the failure log, instead of payloads
	Limit int64         // at most so many records; 0: all
	OnBad func(BadLine) // each line that is no record; may be nil
}

// ExportStats is what was written and what was not.
type ExportStats struct {
	Records       int64
	Filtered      int64
	NotReplayable int64 // left out of payloads: only their start is there
	Bad           int64
}

var errLimit = errors.New("limit reached")

// Export writes records to w, oldest first within a source, and changes nothing. Payloads come byte
// for byte, each with a newline behind it. It may run beside the daemon and a replay; a record that
// a replay moves meanwhile may come twice or not at all.
func Export(w io.Writer, opt ExportOptions) (ExportStats, error) {
	var stats ExportStats
	if opt.FS == nil {
		opt.FS = fsx.OS
	}
	out := bufio.NewWriterSize(w, 64<<10)
	err := each(opt.FS, opt.Dir, opt.Source, func(e *Entry) error { return opt.entry(out, &stats, e) })
	if errors.Is(err, errLimit) {
		err = nil
	}
	return stats, errors.Join(err, out.Flush())
}

func (opt *ExportOptions) entry(w *bufio.Writer, stats *ExportStats, e *Entry) error {
	switch {
	case e.Err != nil:
		stats.Bad++
		if opt.OnBad != nil {
			opt.OnBad(BadLine{e.Segment, e.Line, e.Err})
		}
		return nil
	case !opt.Match(&e.Record):
		stats.Filtered++
		return nil
	case e.Record.NotReplayable && !opt.Full:
		stats.NotReplayable++
		return nil
	case opt.Limit > 0 && stats.Records >= opt.Limit:
		return errLimit
	}
	stats.Records++
	data := e.Record.Payload
	if opt.Full {
		data = e.Raw
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := w.WriteByte('\n'); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// each calls fn for every line that is not done, in all segments that hold records.
func each(fsys fsx.FS, root, source string, fn func(*Entry) error) error {
	segs, err := List(fsys, root, source)
	if err != nil {
		return err
	}
	for _, s := range segs {
		if s.State == StateBad || s.State == StateEvicted {
			continue
		}
		if err := Read(fsys, s, fn); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Summary is what a segment holds, for a list.
type Summary struct {
	Segment        Segment
	Records        int64 // not done
	NotReplayable  int64 // of them
	Bad            int64 // lines that are no records
	Payload        int64 // bytes
	Oldest, Newest time.Time
	Classes        map[string]int64
	Topics         map[string]int64
}

// Summarize reads what the segments hold. Lines kept aside count as Bad. Segments that go while it
// reads are left out.
func Summarize(fsys fsx.FS, root string, filter Filter) ([]Summary, error) {
	segs, err := List(fsys, root, filter.Source)
	if err != nil {
		return nil, err
	}
	var out []Summary
	for _, s := range segs {
		if s.State == StateEvicted {
			continue
		}
		sum := Summary{Segment: s, Classes: map[string]int64{}, Topics: map[string]int64{}}
		if s.State == StateBad {
			sum.Bad, _, err = countLines(fsys, s)
		} else {
			err = Read(fsys, s, func(e *Entry) error { sum.add(&filter, e); return nil })
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, err
		}
		out = append(out, sum)
	}
	return out, nil
}

func (s *Summary) add(filter *Filter, e *Entry) {
	r := &e.Record
	switch {
	case e.Err != nil:
		s.Bad++
		return
	case !filter.Match(r):
		return
	}
	s.Records++
	s.Payload += int64(len(r.Payload))
	s.Classes[r.Error.Class]++
	s.Topics[r.Topic]++
	if r.NotReplayable {
		s.NotReplayable++
	}
	if s.Oldest.IsZero() || r.Time.Before(s.Oldest) {
		s.Oldest = r.Time
	}
	if r.Time.After(s.Newest) {
		s.Newest = r.Time
	}
}
