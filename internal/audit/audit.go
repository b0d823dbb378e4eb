package audit

import (
	"slices"

	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// Options says what an audit looks at.
type Options struct {
	Topic  string
	Source string // only lines of this source; "" is all
	// Windowed says that the topic is read only from one time to another.
	Windowed bool
	// StartAtEnd says that files may begin anywhere: shiplog was told not to send what stood in them
	// before.
	StartAtEnd bool
}

// Audit takes in the batches of a topic and keeps, for each file, which of its bytes they cover. Its
// memory grows with the number of files and of gaps, not with the number of lines. One goroutine may
// use it.
type Audit struct {
	opt    Options
	files  map[fileKey]*file
	order  []*file // as they came
	bounds []kafka.Bound
	next   map[int32]int64 // offset behind the last batch, by partition

	count Counts
	notes []string
	disk  bool // files on disk were compared
	log   bool // a failure log was read

	// Of the batch at hand:
	header provenance.Header
	lines  []span
}

// Counts is what an audit read, of whatever file.
type Counts struct {
	Batches int64 `json:"batches"`
	Records int64 `json:"records"`
	// Other is records of other sources, when one source is asked for.
	Other int64 `json:"other_sources"`
	// Unmarked is records that no header speaks of.
	Unmarked int64 `json:"without_header"`
	// Foreign is records whose header is of another version, or makes no sense.
	Foreign int64 `json:"unreadable_header"`
	// Misfit is records that their header does not fit, so that their place is not known.
	Misfit int64 `json:"misfit"`
	// Short is runs that hold less records than their header says, without a hole in the offsets:
	// whoever wrote them left records out, or put them into other batches.
	Short int64 `json:"short_runs"`
	// Removed is offsets that hold no record: compaction and deleted records leave such holes.
	Removed int64 `json:"removed"`
	// Legacy is batches in the format from before Kafka 0.11.
	Legacy int64 `json:"legacy_batches"`
	// Transactions is markers of transactions, which shiplog does not use.
	Transactions int64 `json:"transaction_markers"`
}

type fileKey struct {
	source string
	id     batch.FileID
}

// New begins an audit of what lies within the bounds.
func New(opt Options, bounds []kafka.Bound) *Audit {
	return &Audit{opt: opt, bounds: bounds, files: make(map[fileKey]*file), next: make(map[int32]int64)}
}

func (a *Audit) file(source string, id batch.FileID) *file {
	key := fileKey{source, id}
	f := a.files[key]
	if f == nil {
		f = &file{fileKey: key, ends: make(map[int32]int64)}
		a.files[key] = f
		a.order = append(a.order, f)
	}
	return f
}

// Add takes in the next batch of its partition.
func (a *Audit) Add(b *kafka.AuditBatch) error {
	a.count.Batches++
	if next, ok := a.next[b.Partition]; ok && b.Offset > next {
		a.count.Removed += b.Offset - next
	}
	a.next[b.Partition] = b.Offset + int64(b.Span)
	switch {
	case b.Legacy:
		a.count.Legacy++
		return nil
	case b.Control:
		a.count.Transactions++
		return nil
	}
	n := len(b.Lengths)
	a.count.Records += int64(n)
	a.count.Removed += int64(b.Span - n)
	done := 0
	for k := range b.Marks {
		mark := &b.Marks[k]
		a.count.Unmarked += int64(mark.Index - done)
		limit := n
		if k+1 < len(b.Marks) {
			limit = b.Marks[k+1].Index
		}
		if err := a.header.Parse(mark.Value); err != nil {
			a.count.Foreign += int64(limit - mark.Index)
			done = limit
			continue
		}
		done = a.place(b, mark.Index, limit)
	}
	a.count.Unmarked += int64(n - done)
	return nil
}

// place takes in the records of one header, from first on, and gives the index behind them.
func (a *Audit) place(b *kafka.AuditBatch, first, limit int) int {
	h := &a.header
	end := first
	for origin := b.Position(first); end < limit && b.Position(end)-origin < int64(h.Records); end++ {
	}
	if a.opt.Source != "" && h.Source != a.opt.Source {
		a.count.Other += int64(end - first)
		return end
	}
	f := a.file(h.Source, h.File)
	at := place{partition: b.Partition, position: b.Offset + b.Position(first), replayed: h.Replayed}
	f.saw(b.Time)
	if h.Replayed {
		f.replayed += int64(end - first)
	}
	if last := b.Position(end-1) - b.Position(first); last == int64(end-first-1) && end-first < h.Records {
		a.count.Short++
	}
	lengths := b.Lengths[first:end]
	if len(h.Spans) == 0 && end-first == h.Records && h.Tail == 0 && sum(lengths)+int64(h.Records)*(1+h.Extra) == h.Bytes {
		a.contiguous(f, at, lengths)
		return end
	}
	a.scattered(f, at, b, first, end)
	return end
}

func sum(lengths []int32) int64 {
	var n int64
	for _, l := range lengths {
		n += int64(max(l, 0))
	}
	return n
}

// contiguous takes in lines that follow each other without a gap: one range, unless some of it is
// there already.
func (a *Audit) contiguous(f *file, at place, lengths []int32) {
	h := &a.header
	whole := span{h.Offset, h.Offset + h.Bytes}
	if !f.have.overlaps(whole.from, whole.to) {
		f.fresh(at, whole, int64(h.Records))
		return
	}
	pos := h.Offset
	for _, l := range lengths {
		to := pos + int64(max(l, 0)) + 1 + h.Extra
		f.line(at, span{pos, to})
		pos = to
	}
}

// scattered takes in lines with gaps between them, or records of which some are missing.
func (a *Audit) scattered(f *file, at place, b *kafka.AuditBatch, first, end int) {
	h := &a.header
	placed := a.forward(f, b, first, end)
	if hole := first + placed; hole < end {
		placed += a.backward(b, first, hole, end)
	}
	if h.Tail > 0 && placed == h.Records {
		f.skip(span{h.Offset + h.Bytes, h.Offset + h.Bytes + h.Tail})
	}
	a.count.Misfit += int64(end - first - placed)
	f.misfit += int64(end - first - placed)
	for i := 0; i < len(a.lines); {
		run, n := a.lines[i], int64(1)
		for i++; i < len(a.lines) && a.lines[i].from == run.to; i++ {
			run.to, n = a.lines[i].to, n+1
		}
		if !f.have.overlaps(run.from, run.to) {
			f.fresh(at, run, n)
			continue
		}
		for _, l := range a.lines[i-int(n) : i] {
			f.line(at, l)
		}
	}
}

// forward places the records up to the first one that is missing, and gives how many these are.
func (a *Audit) forward(f *file, b *kafka.AuditBatch, first, end int) int {
	a.lines = a.lines[:0]
	walk := a.header.Walk()
	for i := first; i < end; i++ {
		if b.Position(i)-b.Position(first) != int64(i-first) {
			break
		}
		r, ok := walk.Next(int(max(b.Lengths[i], 0)))
		if !ok {
			break
		}
		if r.Skipped > 0 {
			f.skip(span{r.Offset - r.Skipped, r.Offset})
		}
		a.lines = append(a.lines, span{r.Offset, r.End()})
	}
	return len(a.lines)
}

// backward places the records behind the last one that is missing: where the last one ends is known.
// The length of what is missing is not, so that only from there a place can be told.
func (a *Audit) backward(b *kafka.AuditBatch, first, hole, end int) (placed int) {
	h := &a.header
	origin := b.Position(first)
	if b.Position(hole)-origin == int64(hole-first) {
		return 0 // nothing is missing: a value was changed
	}
	want, to, from := int64(h.Records)-1, h.Offset+h.Bytes, len(a.lines)
	for i := end - 1; i >= hole && b.Position(i)-origin == want; i-- {
		length, gap := int64(max(b.Lengths[i], 0))+1+h.Extra, int64(0)
		if len(h.Spans) > 0 {
			length += h.Spans[want].Extra
			gap = h.Spans[want].Gap
		}
		if length < 0 || to-length < h.Offset {
			break
		}
		a.lines = append(a.lines, span{to - length, to})
		to -= length + gap
		want--
		placed++
	}
	slices.Reverse(a.lines[from:])
	return placed
}
