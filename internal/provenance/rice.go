package provenance

import (
	"encoding/binary"
	"math/bits"
)

// The columns of Spans, in the order in which they stand in the header. Each is a byte, the parameter
// k, and a Golomb-Rice code for each record, the highest bit first, filled up with zeros to a whole byte.
// The code of v is v>>k in ones and a zero, then the k low bits of v. Where v>>k is 16 or more, it is 16
// ones, then 6 bits with the bit length of v less 1, then these bits.
const columns = 3

const (
	escape = 16 // ones
	maxK   = 48
)

// column gives a span's number in column c.
func (s *Span) column(c int) uint64 {
	switch c {
	case 0:
		return uint64(s.Gap)
	case 1:
		return uint64(s.Skipped)
	}
	return zigzag(s.Extra)
}

func (s *Span) setColumn(c int, v uint64) {
	switch c {
	case 0:
		s.Gap = int64(v) // what is too large for it turns negative, which sound refuses
	case 1:
		s.Skipped = int64(v)
	default:
		s.Extra = unzigzag(v)
	}
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// histogram counts numbers by their bit length.
type histogram [65]int32

func (h *histogram) add(v uint64) { h[bits.Len64(v)]++ }

// longest is the bit length of the largest number: 0 says that all are zero.
func (h *histogram) longest() uint {
	for length := uint(len(h) - 1); length > 0; length-- {
		if h[length] > 0 {
			return length
		}
	}
	return 0
}

// parameter gives the k that makes the column smallest, near enough.
func (h *histogram) parameter() uint {
	best, smallest, longest := uint(0), int64(-1), h.longest()
	for k := range min(longest+1, maxK+1) {
		var size int64
		for length, n := range h[:longest+1] {
			size += int64(n) * codeSize(uint(length), k)
		}
		if smallest < 0 || size < smallest {
			best, smallest = k, size
		}
	}
	return best
}

// codeSize is about how many bits the code of a number of so many bits takes.
func codeSize(length, k uint) int64 {
	switch {
	case length <= k:
		return int64(1 + k)
	case length-k > 5:
		return escape + 6 + int64(length)
	}
	ones := 3 << (length - k) / 4 // from 1<<(length-k-1) to twice that
	if ones >= escape {
		return escape + 6 + int64(length)
	}
	return int64(ones) + 1 + int64(k)
}

// appendColumn appends column c of the spans, but for the first gap, which is none.
func appendColumn(dst []byte, spans []Span, c int, k uint) []byte {
	w := bitWriter{p: append(dst, byte(k))}
	if c == 0 {
		spans = spans[1:]
	}
	for i := range spans {
		w.rice(spans[i].column(c), k)
	}
	return w.close()
}

// bitWriter appends bits, the highest first.
type bitWriter struct {
	p   []byte
	acc uint64 // the last n bits of it are to be written
	n   uint
}

func (w *bitWriter) rice(v uint64, k uint) {
	if q := v >> k; q < escape {
		w.put((1<<q-1)<<1, uint(q)+1)
		w.put(v&(1<<k-1), k)
		return
	}
	length := uint(bits.Len64(v))
	w.put(1<<escape-1, escape)
	w.put(uint64(length-1), 6)
	if length > 32 {
		w.put(v>>32, length-32)
		v, length = v&(1<<32-1), 32
	}
	w.put(v, length)
}

// put appends the low n bits of v; all others must be 0. n is at most 56.
func (w *bitWriter) put(v uint64, n uint) {
	if w.n+n > 64 {
		w.flush()
	}
	w.acc = w.acc<<n | v
	w.n += n
}

// flush writes the whole bytes.
func (w *bitWriter) flush() {
	whole := w.n / 8
	w.p = binary.BigEndian.AppendUint64(w.p, w.acc<<(64-w.n))[:uint(len(w.p))+whole]
	w.n -= whole * 8
}

func (w *bitWriter) close() []byte {
	w.put(0, (8-w.n%8)%8)
	if w.n > 0 {
		w.flush()
	}
	return w.p
}

// column reads column c into the spans, and says whether it was well formed. The memory it takes is
// bounded by the header's size: each record has at least one bit.
func (d *decoder) column(h *Header, c int) bool {
	n := h.Records
	if c == 0 {
		n--
	}
	if len(d.p) == 0 || d.p[0] > maxK || n < 1 || n > 8*(len(d.p)-1) {
		return false
	}
	if len(h.Spans) == 0 {
		if cap(h.Spans) < h.Records {
			h.Spans = make([]Span, h.Records)
		}
		h.Spans = h.Spans[:h.Records]
		clear(h.Spans)
	}
	k := uint(d.p[0])
	r := bitReader{p: d.p[1:]}
	any := uint64(0)
	for i := h.Records - n; i < h.Records; i++ {
		v := r.rice(k)
		h.Spans[i].setColumn(c, v)
		any |= v
	}
	d.p = r.p[r.close():]
	return !r.bad && any != 0
}

// bitReader reads what bitWriter wrote.
type bitReader struct {
	p   []byte
	at  int    // the next byte of p
	acc uint64 // bits that were read ahead, the next one at the top
	n   uint
	bad bool
}

func (r *bitReader) fill() {
	if r.at+8 <= len(r.p) {
		take := (64 - r.n) / 8
		next := binary.BigEndian.Uint64(r.p[r.at:])
		if take < 8 {
			next &= ^uint64(0) << (64 - 8*take)
		}
		r.acc |= next >> r.n
		r.at, r.n = r.at+int(take), r.n+8*take
		return
	}
	for r.n <= 56 && r.at < len(r.p) {
		r.acc |= uint64(r.p[r.at]) << (56 - r.n)
		r.at, r.n = r.at+1, r.n+8
	}
}

// take gives the next n bits, at most 56.
func (r *bitReader) take(n uint) uint64 {
	if r.n < n {
		r.fill()
		if r.n < n {
			r.bad = true
			return 0
		}
	}
	v := r.acc >> (64 - n) // 0 for n = 0
	r.acc, r.n = r.acc<<n, r.n-n
	return v
}

func (r *bitReader) rice(k uint) uint64 {
	if r.n <= escape {
		r.fill()
	}
	ones := uint(bits.LeadingZeros64(^r.acc))
	if ones < escape {
		r.take(ones + 1)
		return uint64(ones)<<k | r.take(k)
	}
	r.take(escape)
	length := uint(r.take(6)) + 1
	if length <= 32 {
		return r.take(length)
	}
	high := r.take(length - 32)
	return high<<32 | r.take(32)
}

// close checks that nothing but zeros fills up the last byte, and says where the next column begins.
func (r *bitReader) close() int {
	if r.take(r.n%8) != 0 {
		r.bad = true
	}
	return r.at - int(r.n/8)
}
