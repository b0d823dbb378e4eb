package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file reads shiplog's provenance header with nothing but the description of its format in
// docs/PROVENANCE.md. Copy it into a consumer of yours.

// A place is where a record's line stands. File and Offset together name the line for good.
type place struct {
	Source   string
	File     string // device, inode, birth time and generation
	Offset   int64
	Length   int64 // in the file, newline included
	Replayed bool
}

// header is one header that is at work in a partition: it speaks of its own record and of those behind.
type header struct {
	place
	records int
	end     int64 // of the last record's line
	extra   int64
	gaps    []uint64 // nil: all 0
	extras  []uint64 // nil: all 0; zigzag
	next    int      // which record comes next
	at      int64    // the Kafka offset of that record
}

// places finds the place of each record. It must see the records of a partition in their order.
type places map[int32]*header

// of gives the place of a record; false when it is not known: the record is of another program, the
// header of a newer format, or the records before it were not seen.
func (p places) of(r *kgo.Record) (place, bool) {
	for _, h := range r.Headers {
		if h.Key == "shiplog" {
			parsed, err := parse(h.Value)
			if err != nil {
				delete(p, r.Partition)
				return place{}, false
			}
			parsed.at = r.Offset
			p[r.Partition] = parsed
		}
	}
	h := p[r.Partition]
	if h == nil || h.next == h.records || h.at != r.Offset {
		delete(p, r.Partition)
		return place{}, false
	}
	h.Length = int64(len(r.Value)) + 1 + h.extra
	if h.gaps != nil {
		h.Offset += int64(h.gaps[h.next])
	}
	if h.extras != nil {
		h.Length += int64(h.extras[h.next]>>1) ^ -int64(h.extras[h.next]&1)
	}
	found := h.place
	h.Offset += h.Length
	h.next, h.at = h.next+1, h.at+1
	if found.Length < 0 || h.Offset > h.end || h.next == h.records && h.Offset != h.end {
		delete(p, r.Partition)
		return place{}, false
	}
	return found, true
}

var errMalformed = errors.New("malformed provenance header")

// parse reads a header of version 1.
func parse(p []byte) (h *header, err error) {
	if len(p) < 2 || p[0] != 1 || p[1]&0xc0 != 0 {
		return nil, errMalformed
	}
	flags := p[1]
	r := &reader{p: p[2:]}
	h = &header{place: place{Replayed: flags&1 != 0}}
	h.Source = string(r.bytes(r.uvarint()))
	dev, inode, birth, gen := r.uvarint(), r.uvarint(), r.varint(), r.uvarint()
	h.File = fmt.Sprintf("%x-%x-%x-%x", dev, inode, birth, gen)
	h.Offset = int64(r.uvarint())
	h.end = h.Offset + int64(r.uvarint())
	h.records = int(r.uvarint())
	if flags&2 != 0 {
		r.uvarint() // skipped lines behind the last record
	}
	if flags&4 != 0 {
		h.extra = r.varint()
	}
	if r.failed || h.records < 1 || h.records > 1<<20 || h.Offset < 0 || h.end < h.Offset {
		return nil, errMalformed
	}
	if flags&8 != 0 {
		h.gaps = r.column(h.records, 1) // the first record has no gap before it
	}
	if flags&16 != 0 {
		r.column(h.records, 0) // skipped lines before each record
	}
	if flags&32 != 0 {
		h.extras = r.column(h.records, 0)
	}
	if r.failed || len(r.p) > 0 {
		return nil, errMalformed
	}
	return h, nil
}

// reader takes one field after the other.
type reader struct {
	p      []byte
	failed bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.p)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.p, r.failed = nil, true
		return
	}
	r.p = r.p[n:]
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.p)) {
		r.failed = true
		return nil
	}
	out := r.p[:n]
	r.p = r.p[n:]
	return out
}

// column reads a number for each record from the first on: a byte k, then Golomb-Rice codes.
func (r *reader) column(records, first int) []uint64 {
	if len(r.p) == 0 || r.p[0] > 48 || records > 8*len(r.p)+1 {
		r.failed = true
		return nil
	}
	k := int(r.p[0])
	b := bitReader{p: r.p[1:]}
	out := make([]uint64, records)
	for i := first; i < records; i++ {
		ones := 0
		for ones < 16 && b.take(1) == 1 {
			ones++
		}
		if ones < 16 {
			out[i] = uint64(ones)<<k | b.take(k)
		} else {
			out[i] = b.take(int(b.take(6)) + 1)
		}
	}
	r.failed = r.failed || b.at > 8*len(b.p)
	r.p = b.p[min((b.at+7)/8, len(b.p)):]
	return out
}

// bitReader reads bits, the highest of each byte first.
type bitReader struct {
	p  []byte
	at int
}

func (b *bitReader) take(n int) (v uint64) {
	for ; n > 0; n-- {
		bit := uint64(0)
		if b.at < 8*len(b.p) {
			bit = uint64(b.p[b.at/8]) >> (7 - b.at%8) & 1
		} else if b.at > math.MaxInt32 {
			return 0
		}
		v, b.at = v<<1|bit, b.at+1
	}
	return v
}
