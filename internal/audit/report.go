package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Verdict is what an audit comes to.
type Verdict string

// The verdicts, the worst first.
const (
	VerdictGaps       Verdict = "gaps"       // lines are missing
	VerdictDuplicates Verdict = "duplicates" // none is missing, some are there more than once
	VerdictComplete   Verdict = "complete"   // each line is there once
	VerdictNothing    Verdict = "nothing"    // no record says where it came from
)

// Report is what an audit found.
type Report struct {
	Topic      string      `json:"topic"`
	Source     string      `json:"source,omitempty"`
	Verdict    Verdict     `json:"verdict"`
	Lines      int64       `json:"lines"` // each once
	Bytes      int64       `json:"bytes"`
	Gaps       int64       `json:"gaps"`
	Missing    int64       `json:"missing_bytes"`
	Duplicates int64       `json:"duplicate_lines"`
	Disorders  int64       `json:"order_violations"`
	Replayed   int64       `json:"replayed_lines"`
	InLog      int64       `json:"failure_log_lines"`
	Read       Counts      `json:"read"`
	Partitions []Partition `json:"partitions"`
	Files      []File      `json:"files"`
	// Unknown says in words what the audit could not know.
	Unknown []string `json:"unknown,omitempty"`
}

// Partition is what of a partition was read.
type Partition struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	From      int64 `json:"from"`
	Until     int64 `json:"until"`
}

// File is what was found of one generation of one file.
type File struct {
	Source string `json:"source"`
	ID     string `json:"file_id"`
	Path   string `json:"path,omitempty"` // where it was found on disk
	Lines  int64  `json:"lines"`          // each once
	Bytes  int64  `json:"bytes"`
	Begins int64  `json:"begins"`
	Ends   int64  `json:"ends"`
	// Gaps are what is missing, at most 10,000 of them; GapCount and MissingBytes count all.
	Gaps         []Gap      `json:"gaps,omitempty"`
	GapCount     int64      `json:"gap_count"`
	MissingBytes int64      `json:"missing_bytes"`
	Duplicates   Duplicates `json:"duplicates"`
	// Disorders are places where a partition goes back in the file, at most 20 of them.
	Disorders     []Disorder `json:"order_violations,omitempty"`
	DisorderCount int64      `json:"order_violation_count"`
	Replayed      int64      `json:"replayed_lines"`
	Skipped       int64      `json:"skipped_bytes"` // empty lines and NUL bytes
	Misfit        int64      `json:"misfit_records,omitempty"`
	InLog         int64      `json:"failure_log_lines"`
	// InBoth is how many of the lines in the failure log stand in the topic, too.
	InBoth   int64     `json:"failure_log_lines_in_topic,omitempty"`
	Size     *int64    `json:"size,omitempty"`    // on disk
	Waiting  int64     `json:"waiting,omitempty"` // bytes on disk that wait for their newline
	Earliest time.Time `json:"earliest"`          // of its record batches
	Latest   time.Time `json:"latest"`
}

// Gap is bytes of a file that nothing accounts for. Lines are known only from the file itself.
type Gap struct {
	From      int64 `json:"from"`
	To        int64 `json:"to"`
	Lines     int64 `json:"lines,omitempty"`
	FirstLine int64 `json:"first_line,omitempty"` // from 1
	LastLine  int64 `json:"last_line,omitempty"`
}

// Range is bytes of a file.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Duplicates is what of a file stands in the topic more than once.
type Duplicates struct {
	Lines  int64   `json:"lines"` // each repetition counts
	Bytes  int64   `json:"bytes"`
	Count  int64   `json:"range_count"`
	Ranges []Range `json:"ranges,omitempty"` // at most 10,000
}

// maxGaps bounds how many ranges of one file a report lists.
const maxGaps = 10_000

func (a *Audit) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// headKnown says that the audit saw the topic from its first record on, and that files begin at their
// beginning: what is missing at a file's start is a gap then.
func (a *Audit) headKnown() bool {
	if a.opt.StartAtEnd {
		return false
	}
	for _, b := range a.bounds {
		if b.From > 0 {
			return false
		}
	}
	return true
}

// Report says what was found. Nothing may be taken in after it.
func (a *Audit) Report() *Report {
	r := &Report{Topic: a.opt.Topic, Source: a.opt.Source, Read: a.count, Partitions: []Partition{}, Files: []File{}}
	for _, b := range a.bounds {
		r.Partitions = append(r.Partitions, Partition(b))
	}
	for _, f := range a.order {
		x := f.report(a.headKnown())
		r.Lines += x.Lines
		r.Bytes += x.Bytes
		r.Gaps += x.GapCount
		r.Missing += x.MissingBytes
		r.Duplicates += x.Duplicates.Lines
		r.Disorders += x.DisorderCount
		r.Replayed += x.Replayed
		r.InLog += x.InLog
		r.Files = append(r.Files, x)
	}
	slices.SortStableFunc(r.Files, func(x, y File) int {
		return cmp.Or(cmp.Compare(x.Source, y.Source), x.Earliest.Compare(y.Earliest), cmp.Compare(x.ID, y.ID))
	})
	switch {
	case r.Gaps > 0:
		r.Verdict = VerdictGaps
	case r.Duplicates > 0:
		r.Verdict = VerdictDuplicates
	case r.Lines == 0:
		r.Verdict = VerdictNothing
	default:
		r.Verdict = VerdictComplete
	}
	r.Unknown = append(a.notes, a.unknown(r)...)
	return r
}

func (f *file) report(head bool) File {
	x := File{
		Source: f.source, ID: f.id.String(), Lines: f.lines, Bytes: f.bytes, Begins: f.begin(), Ends: f.end(),
		Duplicates: Duplicates{Lines: f.dupLines, Bytes: f.dupBytes}, Disorders: f.examples, DisorderCount: f.disorders,
		Replayed: f.replayed, Skipped: f.skipped + f.blank, Misfit: f.misfit, InLog: f.failedLines, InBoth: f.failedAndThere,
		Waiting: f.waiting,
	}
	if f.earliest != 0 || f.latest != 0 {
		x.Earliest, x.Latest = time.UnixMilli(f.earliest).UTC(), time.UnixMilli(f.latest).UTC()
	}
	f.twice.each(func(s span) bool {
		if x.Duplicates.Count++; x.Duplicates.Count <= maxGaps {
			x.Duplicates.Ranges = append(x.Duplicates.Ranges, Range{s.from, s.to})
		}
		return true
	})
	if f.disk != nil {
		x.Path, x.Size = f.disk.Path, &f.disk.Size
	}
	f.reportGaps(&x, head)
	return x
}

// reportGaps lists the gaps as the file on disk shows them, as far as it was looked at, and the others
// as they are.
func (f *file) reportGaps(x *File, head bool) {
	from := int64(0)
	if !head {
		from = x.Begins
	}
	for _, g := range f.diskGaps {
		x.addGap(g)
	}
	looked := int64(0)
	if f.disk != nil {
		looked = f.looked
	}
	f.gaps(max(from, looked), x.Ends, func(h span) { x.addGap(Gap{From: h.from, To: h.to}) })
}

func (f *File) addGap(g Gap) {
	f.GapCount++
	f.MissingBytes += g.To - g.From
	if f.GapCount <= maxGaps {
		f.Gaps = append(f.Gaps, g)
	}
}

// unknown says what a topic does not tell.
func (a *Audit) unknown(r *Report) []string {
	var out []string
	say := func(n int64, format string, args ...any) {
		if n != 0 {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	c := a.count
	say(c.Unmarked, "%d records carry no provenance header (another producer, or provenance: off)", c.Unmarked)
	say(c.Foreign, "%d records have a provenance header that this version cannot read", c.Foreign)
	say(c.Misfit, "%d records do not fit their header (values were changed, or records beside them are missing): their place is not known", c.Misfit)
	say(c.Short, "%d runs hold less records than their header says: which ones are missing is not known, so the gap is shown at the run's end", c.Short)
	say(c.Removed, "%d offsets hold no record any more (compaction or deleted records): lines may be missing by that", c.Removed)
	say(c.Legacy, "%d batches are in the format from before Kafka 0.11, which has no headers", c.Legacy)
	retained := 0
	for _, b := range a.bounds {
		if b.Start > 0 {
			retained++
		}
	}
	say(int64(retained), "%d of %d partitions no longer begin at offset 0 (retention or deleted records): what stood there counts as missing where other partitions still hold what came around it",
		retained, len(a.bounds))
	if a.opt.Windowed {
		out = append(out, "with --from or --until, lines near the edges may stand outside, and before a file's first line in the window nothing is known")
	}
	if !a.headKnown() && r.Lines > 0 {
		late := 0
		for i := range r.Files {
			if r.Files[i].Begins > 0 {
				late++
			}
		}
		say(int64(late), "of %d files the start is not known", late)
	}
	if !a.log && r.Gaps > 0 {
		out = append(out, "lines may stand in the failure log: name it with --failure-log")
	}
	if r.Gaps > 0 {
		out = append(out, "lines that a policy drops (on_oversize: drop, on_invalid_json: drop, async losses) look like gaps: shiplog's counters say how many there were")
	}
	if !a.disk {
		out = append(out, "what a file holds behind its last line in the topic is not known: --files compares")
	}
	return out
}
