package audit

import (
	"slices"
	"sort"
)

// span is the bytes [from, to) of one file.
type span struct{ from, to int64 }

// blockLen bounds how many spans one block holds, and so what an insertion in the middle moves.
const blockLen = 256

// spans is a set of bytes of one file, kept as disjoint spans that do not touch, in order. Lines that
// follow each other melt into one span, so that a file which is covered without a gap takes one span
// however long it is. The spans lie in blocks: lines of many partitions come out of order, and an
// insertion must not move everything behind it.
type spans struct {
	blocks [][]span // none is empty
	bytes  int64
}

// empty says that nothing is in the set.
func (s *spans) empty() bool { return len(s.blocks) == 0 }

// first is the set's first byte, end the byte behind its last one.
func (s *spans) first() int64 { return s.blocks[0][0].from }

func (s *spans) end() int64 {
	last := s.blocks[len(s.blocks)-1]
	return last[len(last)-1].to
}

// count is how many spans the set takes.
func (s *spans) count() int {
	n := 0
	for _, b := range s.blocks {
		n += len(b)
	}
	return n
}

// find gives the place of the first span that ends at pos or behind it; b is len(s.blocks) when there
// is none.
func (s *spans) find(pos int64) (b, i int) {
	n := len(s.blocks)
	if n == 0 {
		return 0, 0
	}
	// Nearly all that comes belongs at the end.
	if last := s.blocks[n-1]; last[0].from <= pos {
		b = n - 1
	} else {
		b = sort.Search(n, func(k int) bool { blk := s.blocks[k]; return blk[len(blk)-1].to >= pos })
	}
	if b == n {
		return b, 0
	}
	blk := s.blocks[b]
	if last := len(blk) - 1; blk[last].to < pos {
		return b + 1, 0
	} else if last == 0 || blk[last-1].to < pos {
		return b, last
	}
	return b, sort.Search(len(blk), func(k int) bool { return blk[k].to >= pos })
}

// overlaps says whether any byte of [from, to) is in the set.
func (s *spans) overlaps(from, to int64) bool {
	b, i := s.find(from + 1)
	return b < len(s.blocks) && s.blocks[b][i].from < to
}

// has says whether the byte at pos is in the set.
func (s *spans) has(pos int64) bool { return s.overlaps(pos, pos+1) }

// add puts [from, to) into the set. An empty span changes nothing.
func (s *spans) add(from, to int64) {
	if from >= to {
		return
	}
	b, i := s.find(from)
	if b == len(s.blocks) || s.blocks[b][i].from > to {
		s.insert(b, i, span{from, to})
		s.bytes += to - from
		return
	}
	at := &s.blocks[b][i]
	s.bytes -= at.to - at.from
	at.from, at.to = min(at.from, from), max(at.to, to)
	s.absorb(b, i)
	s.bytes += s.blocks[b][i].to - s.blocks[b][i].from
}

// insert puts a span before the place (b, i), which touches no other one.
func (s *spans) insert(b, i int, v span) {
	if b == len(s.blocks) {
		if b == 0 || len(s.blocks[b-1]) == blockLen {
			s.blocks = append(s.blocks, append(make([]span, 0, 4), v))
			return
		}
		s.blocks[b-1] = append(s.blocks[b-1], v)
		return
	}
	blk := slices.Insert(s.blocks[b], i, v)
	s.blocks[b] = blk
	if len(blk) > blockLen {
		half := slices.Clone(blk[blockLen/2:])
		s.blocks[b] = blk[: blockLen/2 : blockLen/2]
		s.blocks = slices.Insert(s.blocks, b+1, half)
	}
}

// absorb melts the spans behind (b, i) into it that it reaches now.
func (s *spans) absorb(b, i int) {
	at := &s.blocks[b][i]
	blk := s.blocks[b]
	j := i + 1
	for ; j < len(blk) && blk[j].from <= at.to; j++ {
		at.to = max(at.to, blk[j].to)
		s.bytes -= blk[j].to - blk[j].from
	}
	more := j == len(blk)
	s.blocks[b] = slices.Delete(blk, i+1, j)
	for more && b+1 < len(s.blocks) {
		next := s.blocks[b+1]
		k := 0
		for ; k < len(next) && next[k].from <= at.to; k++ {
			at.to = max(at.to, next[k].to)
			s.bytes -= next[k].to - next[k].from
		}
		if more = k == len(next); more {
			s.blocks = slices.Delete(s.blocks, b+1, b+2)
		} else {
			s.blocks[b+1] = slices.Delete(next, 0, k)
		}
	}
}

// each calls fn for every span in order, until it returns false.
func (s *spans) each(fn func(span) bool) {
	for _, blk := range s.blocks {
		for _, v := range blk {
			if !fn(v) {
				return
			}
		}
	}
}

// holes calls fn for each stretch of [from, to) that is not in the set, in order.
func (s *spans) holes(from, to int64, fn func(span)) {
	b, i := s.find(from + 1)
	for ; b < len(s.blocks) && from < to; b, i = b+1, 0 {
		for _, v := range s.blocks[b][i:] {
			if v.from >= to {
				break
			}
			if v.from > from {
				fn(span{from, v.from})
			}
			from = max(from, v.to)
		}
	}
	if from < to {
		fn(span{from, to})
	}
}
