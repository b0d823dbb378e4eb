package provenance

import (
	"encoding/binary"

	"shiplog/internal/batch"
)

// Builder makes the header of records that are added one by one, each behind the one before in the
// file. It keeps its memory from header to header.
type Builder struct {
	h     Header
	end   int64
	extra int64 // of the first record; Spans are relative to it
	mixed bool  // not all records have that
}

// Begin begins a header.
func (b *Builder) Begin(source string, file batch.FileID) {
	b.h = Header{Source: source, File: file, Spans: b.h.Spans[:0]}
	b.mixed = false
}

// Replayed marks the header as one of records from the failure log.
func (b *Builder) Replayed() { b.h.Replayed = true }

// Len is how many records were added.
func (b *Builder) Len() int { return b.h.Records }

// End is where the last record that was added ends.
func (b *Builder) End() int64 { return b.end }

// Tail says that so many bytes right behind the last record were skipped lines.
func (b *Builder) Tail(skipped int64) { b.h.Tail = skipped }

// Add adds a record with a value of so many bytes. Its range must not begin before End.
func (b *Builder) Add(r Range, valueBytes int) {
	extra := r.Length - int64(valueBytes) - 1
	if b.h.Records == 0 {
		b.h.Offset, b.end, b.extra = r.Offset, r.Offset, extra
	}
	if r.Offset == b.end && extra == b.extra && r.Skipped == 0 && len(b.h.Spans) == 0 {
		b.h.Records++
		b.end = r.End()
		return
	}
	for len(b.h.Spans) < b.h.Records { // the first that is not like the others
		b.h.Spans = append(b.h.Spans, Span{})
	}
	b.h.Spans = append(b.h.Spans, Span{Gap: r.Offset - b.end, Skipped: r.Skipped, Extra: extra - b.extra})
	b.mixed = b.mixed || extra != b.extra
	b.h.Records++
	b.end = r.End()
}

// Follow adds n more records, each right behind the one before it and with lines as much longer than
// their values as the first one's is, the last of which ends at end. It is false, and nothing was added,
// when the records so far are not of that kind.
func (b *Builder) Follow(n int, end int64) bool {
	if b.h.Records == 0 || len(b.h.Spans) > 0 {
		return false
	}
	b.h.Records += n
	b.end = end
	return true
}

// Header gives the header of what was added. It is good until the next Begin.
func (b *Builder) Header() *Header {
	b.h.Bytes = b.end - b.h.Offset
	if b.mixed {
		b.center()
	}
	b.h.Extra = b.extra
	return &b.h
}

// center makes the most common extra the one that the spans are relative to.
func (b *Builder) center() {
	most, votes := int64(0), 0
	for i := range b.h.Spans {
		switch e := b.h.Spans[i].Extra; {
		case votes == 0:
			most, votes = e, 1
		case e == most:
			votes++
		default:
			votes--
		}
	}
	if most == 0 {
		return
	}
	for i := range b.h.Spans {
		b.h.Spans[i].Extra -= most
	}
	b.extra += most
}

// MaxFixed is how many bytes a header without Spans takes at most, beside its source.
const MaxFixed = 2 + 2 + 3*binary.MaxVarintLen64 + 5 + 2*9 + 3 + 9 + binary.MaxVarintLen64
