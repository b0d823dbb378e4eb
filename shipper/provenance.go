package shipper

import (
	"math"
	"slices"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// Memory of the provenance headers.
const (
	headerChunk = 4 << 10 // bytes of headers in one piece
	headerTight = 256     // a piece with less room than this is full
	// spanRoom is kept free in a record batch for each line that does not simply follow the one before
	// it. It is what such a line takes on average; where it takes more, the part is cut.
	spanRoom = 2
	// headerRoom is kept free for each header: its key, two lengths, and what is not its source.
	headerRoom = len(provenance.Key) + provenance.MaxFixed + 6
	// maxTrails bounds the memory of skipped lines.
	maxTrails = 4096
)

var provenanceKey = []byte(provenance.Key)

// stamper writes into the records of a part where they came from. It belongs to the source's
// goroutine.
type stamper struct {
	source string
	files  func(*batch.File) *fileView
	each   bool // every record has a header of its own
	build  provenance.Builder
	extend kafka.Extender
	buf    []byte
	trails map[batch.FileID]trail
}

// trail is a stretch of skipped lines that the next line of the file lies behind, unless lines were
// read in between.
type trail struct{ from, to int64 }

// newStamper gives nil where there are to be no headers.
func newStamper(s *Source) *stamper {
	if s.cfg.Provenance != config.ProvenanceBatch && s.cfg.Provenance != config.ProvenanceRecord {
		return nil
	}
	return &stamper{
		source: s.cfg.ID, each: s.cfg.Provenance == config.ProvenanceRecord, files: s.prep.file,
		trails: make(map[batch.FileID]trail),
	}
}

// room is how many bytes are to be kept free for what the header says of one more line.
func (st *stamper) room(p *part, l *batch.Line, f *fileView, value int) int {
	if st == nil {
		return 0
	}
	extra := int64(l.Length) - int64(value)
	switch {
	case st.each || p == nil || p.after.file != f:
		return headerRoom + len(st.source)
	case p.after.end != l.Offset || p.after.extra != extra:
		return spanRoom
	}
	return 0
}

// after says what a line must be like for the header to need no word about it.
type after struct {
	file  *fileView
	end   int64
	extra int64
}

// begin notes the skipped lines of a new block. They lie before a line of this block or of a later
// one, whose record then says that they were skipped and not lost.
func (st *stamper) begin(blk *block) {
	if st == nil {
		return
	}
	blk.stamp = st
	for i := range blk.b.Runs {
		r := &blk.b.Runs[i]
		t, known := st.trails[r.File.ID]
		if !known || t.to != r.Start {
			t = trail{r.Start, r.Start}
		}
		t.to = r.End.Offset
		if r.First < r.Last || len(r.Oversize) > 0 {
			blk.lead(i, t.from)
			t.from = t.to - blk.tail(i)
		}
		st.keep(r, t)
	}
}

// keep keeps a trail as long as it may be of use.
func (st *stamper) keep(r *batch.Run, t trail) {
	if t.from >= t.to || r.Finished {
		delete(st.trails, r.File.ID)
		return
	}
	if len(st.trails) >= maxTrails {
		clear(st.trails) // these skipped lines are not told from lost ones then
	}
	st.trails[r.File.ID] = t
}

// lead notes that the skipped lines before the first line of a run begin before the run.
func (blk *block) lead(run int, from int64) {
	if from == blk.b.Runs[run].Start {
		return
	}
	if blk.leads == nil {
		blk.leads = make(map[int]int64)
	}
	blk.leads[run] = from
}

// tail is how many bytes behind the last line of a run are skipped lines.
func (blk *block) tail(run int) int64 {
	r := &blk.b.Runs[run]
	if n := len(r.Oversize); r.First == r.Last || n > 0 && r.Oversize[n-1].Offset > blk.b.Lines[r.Last-1].Offset {
		return 0
	}
	return r.End.Offset - blk.lineRange(run, r.Last-1).End()
}

// lineRange is what a line took of its file.
func (blk *block) lineRange(run, line int) provenance.Range {
	b, r := blk.b, &blk.b.Runs[run]
	l := &b.Lines[line]
	at := provenance.Range{Offset: l.Offset, Length: int64(l.Length)}
	if l.Length == math.MaxUint32 { // longer than it can say; such a line ends its run
		at.Length = r.End.Offset - l.Offset
	}
	from := r.Start
	if line > r.First {
		from = b.Lines[line-1].Offset + int64(b.Lines[line-1].Length)
	} else if lead, ok := blk.leads[run]; ok {
		from = lead
	}
	if from < l.Offset && !slices.ContainsFunc(r.Oversize, func(o batch.Oversize) bool { return from <= o.Offset && o.Offset < l.Offset }) {
		at.Skipped = l.Offset - from
	}
	return at
}

// stamp gives a part its headers: the first record of each stretch of records that come from one file,
// one behind the other, has one. It is done anew for every part that is cut from another.
func (st *stamper) stamp(p *part) {
	if st == nil {
		return
	}
	if p.plain && !st.each {
		st.stampPlain(p)
		return
	}
	runs := p.blk.b.Runs
	first, run, last := 0, 0, 0
	for i, line := range p.lines {
		run = p.blk.runOf(run, int(line))
		at := p.blk.lineRange(run, int(line))
		if i > 0 && (st.each || runs[run].File.ID != runs[last].File.ID || at.Offset < st.build.End()) {
			st.close(p, first, i, last)
			first = i
		}
		if i == first {
			st.build.Begin(st.source, runs[run].File.ID)
		}
		st.build.Add(at, p.rb.ValueBytes(i))
		last = run
	}
	st.close(p, first, len(p.lines), last)
}

// stampPlain stamps a part whose records need no look at each: they follow each other.
func (st *stamper) stampPlain(p *part) {
	first, last := int(p.lines[0]), int(p.lines[len(p.lines)-1])
	run := p.blk.runOf(0, first)
	st.build.Begin(st.source, p.blk.b.Runs[run].File.ID)
	st.build.Add(p.blk.lineRange(run, first), p.rb.ValueBytes(0))
	run = p.blk.runOf(run, last)
	if !st.build.Follow(len(p.lines)-1, p.blk.lineRange(run, last).End()) {
		p.plain = false
		st.stamp(p)
		return
	}
	st.close(p, 0, len(p.lines), run)
}

// runOf finds the run of a line, from a run on.
func (blk *block) runOf(run, line int) int {
	for line >= blk.b.Runs[run].Last {
		run++
	}
	return run
}

// close writes the header of the records first to end-1, the last of which is of the given run.
func (st *stamper) close(p *part, first, end, run int) {
	if int(p.lines[end-1]) == p.blk.b.Runs[run].Last-1 {
		st.build.Tail(p.blk.tail(run))
	}
	if cap(st.buf)-len(st.buf) < headerTight {
		st.buf = make([]byte, 0, headerChunk)
	}
	start := len(st.buf)
	st.buf = st.build.Header().Append(st.buf)
	value := st.buf[start:len(st.buf):len(st.buf)]
	if cap(st.buf) > headerChunk {
		st.buf = nil // it grew, for one long header
	}
	headers := st.files(p.blk.b.Runs[run].File).headers
	p.rb.SetHeaders(first, st.extend.With(headers, provenanceKey, value))
}

// stamped stamps the parts of a block. One that is larger than a record batch may be, for what the
// headers took beyond the room that was kept for them, is cut.
func (st *stamper) stamped(parts []*part, most int) []*part {
	if st == nil {
		return parts
	}
	for i := 0; i < len(parts); i++ {
		p := parts[i]
		st.stamp(p)
		if p.rb.Size() > most && p.rb.Len() > 1 {
			p.lines = slices.Clone(p.lines) // the halves share them, and each gives them back
			parts = slices.Replace(parts, i, i+1, p.halves()...)
			i--
		}
	}
	return parts
}
