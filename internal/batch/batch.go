// Package batch holds the values that all rooms of shiplog share: a Batch of lines, where its lines
// came from, and the Pool that bounds the memory of all batches. It is a leaf: it imports the
// standard library only and knows neither files, nor Kafka, nor configuration.
package batch

import (
	"fmt"
	"time"
)

// Batch is a block of whole lines and the unit of everything behind the reader: it is sent as a
// whole, and it is settled as a whole. It has one owner at a time: the tailer while it fills it,
// then the source that ships it, until Release gives its memory back to the Pool.
type Batch struct {
	// Buf is the block. Lines point into it. Its capacity is accounted for in the Pool.
	Buf []byte
	// Lines are the lines to ship, in the order in which they were read.
	Lines []Line
	// Runs says where the bytes came from: each Run is an unbroken stretch of one file.
	// Runs[i].Lines index into Lines without gap or overlap, in order.
	Runs []Run
	// Full says that the block could not take more, so a backlog is likely.
	Full bool
	// ReadAt is the time of reading, in use as the record's timestamp.
	ReadAt time.Time
	// Scratch is for values that had to be rewritten (wrapped, enriched); it keeps its capacity
	// while the batch is reused.
	Scratch []byte

	quota *Quota
	size  int
}

// Line is one line of a Batch, without its newline.
type Line struct {
	// Start and End bound the line's bytes in Batch.Buf.
	Start, End uint32
	// Length is how many bytes of the file the line took, newline, carriage return and skipped
	// NUL bytes included.
	Length uint32
	// Truncated says that the line was cut to max_line_bytes.
	Truncated bool
	// Offset is where the line's first byte stands in the file.
	Offset int64
}

// Skip is a reason why the reader itself passed over a line.
type Skip uint8

// The reasons to skip a line.
const (
	SkipEmpty Skip = iota // nothing before the newline
	SkipNUL               // nothing but NUL bytes before the newline
	NumSkips
)

// String gives the reason as it stands in metrics and logs.
func (s Skip) String() string {
	switch s {
	case SkipEmpty:
		return "empty"
	case SkipNUL:
		return "nul"
	}
	return fmt.Sprintf("skip(%d)", uint8(s))
}

// Oversize is a line longer than max_line_bytes which was not put into Lines.
type Oversize struct {
	Offset int64    // where it begins in the file
	Length int64    // its length in bytes, without the newline
	SHA256 [32]byte // of the whole line, without the newline
	Head   []byte   // its first bytes, at most 4,096
}

// Run is an unbroken stretch [Start, End.Offset) of one file: each byte of it belongs to a line of
// the batch, to a skipped line, or to an oversize one.
type Run struct {
	File  *File
	Start int64
	// End is where the stretch ends: the file's position once the run is settled.
	End Pos
	// First and Last bound the run's lines: Batch.Lines[First:Last]. They may be equal: such a run
	// only moves the position (a file found at its end, skipped lines, a finished file).
	First, Last int
	// Skipped counts the lines that were passed over, by reason.
	Skipped [NumSkips]int64
	// NULBytes counts NUL bytes that stood before a line (the hole that copytruncate leaves under a
	// writer without O_APPEND) and were taken away. They are no lines.
	NULBytes int64
	// Oversize are the lines that were too long to be read into memory.
	Oversize []Oversize
	// Finished says that this run ends its file: rotated or deleted, and read to its end.
	Finished bool
}

// LineCount is how many lines the run accounts for: to ship, skipped and oversize.
func (r *Run) LineCount() int64 {
	n := int64(r.Last-r.First) + int64(len(r.Oversize))
	for _, s := range r.Skipped {
		n += s
	}
	return n
}

// LineCount is how many lines the batch accounts for: to ship, skipped and oversize.
func (b *Batch) LineCount() int64 {
	var n int64
	for i := range b.Runs {
		n += b.Runs[i].LineCount()
	}
	return n
}

// Value gives the bytes of line i; they stay valid until Release.
func (b *Batch) Value(i int) []byte {
	l := &b.Lines[i]
	return b.Buf[l.Start:l.End:l.End]
}

// Empty says that the batch neither holds lines nor moves a position.
func (b *Batch) Empty() bool { return len(b.Runs) == 0 }

// Release gives the memory back to the Pool. The batch must not be touched afterwards.
func (b *Batch) Release() {
	if b.quota != nil {
		b.quota.put(b)
	}
}

func (b *Batch) reset() {
	b.Buf = b.Buf[:0]
	b.Lines = b.Lines[:0]
	clear(b.Runs)
	b.Runs = b.Runs[:0]
	b.Full = false
	b.ReadAt = time.Time{}
	b.Scratch = b.Scratch[:0]
}
