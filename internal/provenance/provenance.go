// Package provenance is the codec of the header by which a record in Kafka says which bytes of which
// file it came from. docs/PROVENANCE.md describes the format. It knows neither Kafka nor files.
package provenance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"shiplog/internal/batch"
)

// Key is the header's key in a Kafka record.
const Key = "shiplog"

// Version is the version of the format that Append writes, and its first byte.
const Version = 1

// MaxRecords is how many records one header speaks of at most, which bounds what Parse allocates.
const MaxRecords = 1 << 20

// Header says where some records in a row came from: the one that carries the header, and those right
// behind it in the same partition.
type Header struct {
	// Source is the id of the source in shiplog's configuration.
	Source string
	// File names the file: the same after a rename, a rotation and a restart.
	File batch.FileID
	// Offset is where the first record's line begins in the file.
	Offset int64
	// Bytes is how far it is from Offset to the end of the last record's line, its newline included.
	Bytes int64
	// Records is how many records the header speaks of, beginning with the one that carries it.
	Records int
	// Replayed says that the records were sent from the failure log.
	Replayed bool
	// Tail is how many bytes right behind the last record were skipped lines.
	Tail int64
	// Extra is by how many bytes each line was longer in the file than the record's value and a
	// newline: 1 with CRLF, negative where lines are wrapped or fields are added.
	Extra int64
	// Spans has one entry a record, or none when all of them would be zero.
	Spans []Span
}

// Span is what sets one record apart from those that follow each other without a gap.
type Span struct {
	// Gap is how many bytes lie between the record before and this one, which the header says nothing
	// more about: lines of other partitions, skipped or oversize ones. 0 for the first record.
	Gap int64
	// Skipped is how many bytes right before the line were lines that are never shipped: empty ones, and
	// lines of NUL bytes. They are part of Gap, but for the first record: there they end at Offset.
	Skipped int64
	// Extra comes on top of the header's Extra.
	Extra int64
}

// Range is what one record took of its file.
type Range struct {
	Offset  int64
	Length  int64 // newline included
	Skipped int64 // how many bytes right before Offset were skipped lines
}

// End is where the range ends.
func (r Range) End() int64 { return r.Offset + r.Length }

// Errors of Parse.
var (
	// ErrVersion says that the header is of another version; the record itself is as good as any.
	ErrVersion = errors.New("provenance header of an unknown version")
	// ErrMalformed says that the bytes are no provenance header.
	ErrMalformed = errors.New("malformed provenance header")
)

// The flags, the second byte.
const (
	flagReplayed = 1 << iota
	flagTail     // Tail is there
	flagExtra    // Extra is there
	flagGaps     // the column of Span.Gap is there
	flagSkips    // the column of Span.Skipped is there
	flagExtras   // the column of Span.Extra is there

	flagsKnown = 1<<iota - 1
)

// Append appends the encoded header. Records must be 1 to MaxRecords, Spans be empty or of that length, and
// no offset or length be negative.
func (h *Header) Append(dst []byte) []byte {
	dst = append(dst, Version, 0)
	flagsAt, flags := len(dst)-1, byte(0)
	for i, on := range [...]bool{h.Replayed, h.Tail != 0, h.Extra != 0} {
		if on {
			flags |= 1 << i
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.Source)))
	dst = append(dst, h.Source...)
	dst = binary.AppendUvarint(dst, h.File.Dev)
	dst = binary.AppendUvarint(dst, h.File.Inode)
	dst = binary.AppendVarint(dst, h.File.Birth)
	dst = binary.AppendUvarint(dst, uint64(h.File.Gen))
	dst = binary.AppendUvarint(dst, uint64(h.Offset))
	dst = binary.AppendUvarint(dst, uint64(h.Bytes))
	dst = binary.AppendUvarint(dst, uint64(h.Records))
	if h.Tail != 0 {
		dst = binary.AppendUvarint(dst, uint64(h.Tail))
	}
	if h.Extra != 0 {
		dst = binary.AppendVarint(dst, h.Extra)
	}
	for c := 0; c < columns && len(h.Spans) > 0; c++ {
		var numbers histogram
		for i := range h.Spans {
			numbers.add(h.Spans[i].column(c))
		}
		if numbers.longest() > 0 {
			flags |= flagGaps << c
			dst = appendColumn(dst, h.Spans, c, numbers.parameter())
		}
	}
	dst[flagsAt] = flags
	return dst
}

// Parse reads what Append wrote. What it returns shares no memory with p.
func Parse(p []byte) (Header, error) {
	var h Header
	err := h.Parse(p)
	return h, err
}

// Parse is like the function, and uses the memory of h again. After an error h is of no use.
func (h *Header) Parse(p []byte) error {
	if len(p) < 2 {
		return ErrMalformed
	}
	if p[0] != Version {
		return fmt.Errorf("%w: %d", ErrVersion, p[0])
	}
	flags := p[1]
	d := decoder{p: p[2:], bad: flags&^flagsKnown != 0}
	h.Replayed = flags&flagReplayed != 0
	if source := d.bytes(); string(source) != h.Source { // most headers are of the source before
		h.Source = string(source)
	}
	h.File.Dev, h.File.Inode, h.File.Birth = d.uvarint(math.MaxUint64), d.uvarint(math.MaxUint64), d.varint()
	h.File.Gen = uint32(d.uvarint(math.MaxUint32))
	h.Offset = int64(d.uvarint(math.MaxInt64))
	h.Bytes = int64(d.uvarint(uint64(math.MaxInt64 - h.Offset)))
	h.Records = int(d.uvarint(MaxRecords))
	h.Tail, h.Extra, h.Spans = 0, 0, h.Spans[:0]
	if flags&flagTail != 0 {
		h.Tail = int64(d.uvarint(uint64(math.MaxInt64 - h.Offset - h.Bytes)))
	}
	if flags&flagExtra != 0 {
		h.Extra = d.varint()
	}
	if d.bad || h.Records == 0 {
		return ErrMalformed
	}
	for c := range columns {
		if flags&(flagGaps<<c) != 0 && !d.column(h, c) {
			return ErrMalformed
		}
	}
	if d.bad || len(d.p) > 0 || !h.sound() {
		return ErrMalformed
	}
	return nil
}

// sound checks what must hold between the fields, so that a Walk stays within what can be counted.
func (h *Header) sound() bool {
	var gaps int64
	for i := range h.Spans {
		s := &h.Spans[i]
		if s.Gap < 0 || s.Gap > h.Bytes-gaps || s.Skipped < 0 || i == 0 && s.Skipped > h.Offset || i > 0 && s.Skipped > s.Gap {
			return false
		}
		gaps += s.Gap
	}
	return true
}

// decoder reads one field after the other; once something is wrong, all is.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) uvarint(highest uint64) uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 || v > highest {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint(uint64(len(d.p)))
	if d.bad || n > uint64(len(d.p)) {
		d.bad = true
		return nil
	}
	out := d.p[:n]
	d.p = d.p[n:]
	return out
}
