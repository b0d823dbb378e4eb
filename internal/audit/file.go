package audit

// maxExamples bounds how many single places are kept of what is only counted.
const maxExamples = 20

// place is where a run of lines stands in the topic.
type place struct {
	partition int32
	position  int64
	replayed  bool
}

// file is what is known of one generation of one file.
type file struct {
	fileKey
	have  spans // bytes that the topic covers, and skipped lines
	twice spans // of these, what it covers more than once

	lines, bytes       int64 // each once
	dupLines, dupBytes int64 // how much is there once more, each time counted
	replayed           int64 // records from the failure log
	skipped            int64 // bytes of skipped lines
	misfit             int64
	disorders          int64
	examples           []Disorder
	ends               map[int32]int64 // how far each partition has come
	earliest, latest   int64           // times of its batches
	failed             spans           // in the failure log
	failedLines        int64
	failedAndThere     int64
	disk               *DiskFile
	diskGaps           []Gap
	looked             int64 // up to where the file on disk was looked at
	waiting, blank     int64 // bytes
}

// Disorder is a place where a partition goes back in a file to lines that it had not brought before.
type Disorder struct {
	Partition int32 `json:"partition"`
	Position  int64 `json:"position"` // offset in Kafka
	Offset    int64 `json:"offset"`   // of the line in its file
	Behind    int64 `json:"behind"`   // how far the partition had come in the file
}

func (f *file) saw(t int64) {
	if f.latest == 0 && f.earliest == 0 {
		f.earliest, f.latest = t, t
	}
	f.earliest, f.latest = min(f.earliest, t), max(f.latest, t)
}

// fresh takes in lines of which nothing was there before.
func (f *file) fresh(at place, s span, lines int64) {
	f.have.add(s.from, s.to)
	f.lines += lines
	f.bytes += s.to - s.from
	f.advance(at, s, true)
}

// line takes in one line that may be there already.
func (f *file) line(at place, s span) {
	if !f.have.overlaps(s.from, s.to) {
		f.fresh(at, s, 1)
		return
	}
	f.dupLines++
	f.dupBytes += s.to - s.from
	f.have.add(s.from, s.to)
	f.twice.add(s.from, s.to)
	f.advance(at, s, false)
}

// skip takes in lines that are never shipped.
func (f *file) skip(s span) {
	before := f.have.bytes
	f.have.add(s.from, s.to)
	f.skipped += f.have.bytes - before
}

// advance checks the order within a partition. Lines that come again go back rightly: a restart does
// so. So do lines from the failure log.
func (f *file) advance(at place, s span, fresh bool) {
	end, known := f.ends[at.partition]
	if fresh && !at.replayed && known && s.from < end {
		f.disorders++
		if len(f.examples) < maxExamples {
			f.examples = append(f.examples, Disorder{at.partition, at.position, s.from, end})
		}
	}
	if s.to > end || !known {
		f.ends[at.partition] = s.to
	}
}

// Failed accounts for a line that a failure log holds.
func (f *file) fail(s span) {
	f.failedLines++
	if f.have.has(s.from) {
		f.failedAndThere++
	}
	f.failed.add(s.from, s.to)
}

// gaps calls fn for what neither the topic nor the failure log holds, from the start of what is known
// to its end, or to to.
func (f *file) gaps(from, to int64, fn func(span)) {
	f.have.holes(from, to, func(h span) { f.failed.holes(h.from, h.to, fn) })
}

// end is how far the file is known.
func (f *file) end() int64 {
	end := int64(0)
	if !f.have.empty() {
		end = f.have.end()
	}
	if !f.failed.empty() {
		end = max(end, f.failed.end())
	}
	return end
}

// begin is where the known part of the file begins.
func (f *file) begin() int64 {
	switch {
	case f.have.empty() && f.failed.empty():
		return 0
	case f.have.empty():
		return f.failed.first()
	case f.failed.empty():
		return f.have.first()
	}
	return min(f.have.first(), f.failed.first())
}
