package audit

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSpansAgainstModel compares the set with one bit a byte, for random insertions and questions.
func TestSpansAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 3000
		var s spans
		var model [size]bool
		n := rapid.IntRange(1, 900).Draw(t, "n")
		widest := rapid.IntRange(1, 40).Draw(t, "widest")
		for range n {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			to := min(from+rapid.IntRange(0, widest).Draw(t, "length"), size)
			want := false
			for _, set := range model[from:to] {
				want = want || set
			}
			if from < to && s.overlaps(int64(from), int64(to)) != want {
				t.Fatalf("overlaps(%d, %d) is not %v", from, to, want)
			}
			s.add(int64(from), int64(to))
			for i := from; i < to; i++ {
				model[i] = true
			}
		}
		compareSpans(t, &s, model[:])
		from := rapid.IntRange(0, size).Draw(t, "holes from")
		to := rapid.IntRange(from, size).Draw(t, "holes to")
		compareHoles(t, &s, model[:], from, to)
	})
}

func compareSpans(t *rapid.T, s *spans, model []bool) {
	var got = make([]bool, len(model))
	bytes, before := int64(0), int64(-1)
	s.each(func(v span) bool {
		if v.from <= before || v.from >= v.to {
			t.Fatalf("span [%d, %d) behind one that ends at %d", v.from, v.to, before)
		}
		for i := v.from; i < v.to; i++ {
			got[i] = true
		}
		bytes, before = bytes+v.to-v.from, v.to
		return true
	})
	for i := range model {
		if got[i] != model[i] || s.has(int64(i)) != model[i] {
			t.Fatalf("byte %d: in the set %v, has %v, want %v", i, got[i], s.has(int64(i)), model[i])
		}
	}
	if s.bytes != bytes {
		t.Fatalf("bytes = %d, want %d", s.bytes, bytes)
	}
	for _, b := range s.blocks {
		if len(b) == 0 || len(b) > blockLen {
			t.Fatalf("a block of %d spans", len(b))
		}
	}
}

func compareHoles(t *rapid.T, s *spans, model []bool, from, to int) {
	filled := make([]bool, len(model))
	copy(filled, model)
	s.holes(int64(from), int64(to), func(h span) {
		if h.from >= h.to || h.from < int64(from) || h.to > int64(to) {
			t.Fatalf("hole [%d, %d) in [%d, %d)", h.from, h.to, from, to)
		}
		for i := h.from; i < h.to; i++ {
			if filled[i] {
				t.Fatalf("byte %d is no hole, or twice", i)
			}
			filled[i] = true
		}
	})
	for i := from; i < to; i++ {
		if !filled[i] {
			t.Fatalf("the hole at %d was left out", i)
		}
	}
}

// TestSpansMelt makes sure that a file without gaps takes one span, in whatever order its lines come.
func TestSpansMelt(t *testing.T) {
	var s spans
	const lines, width = 100_000, 10
	for _, start := range []int{1, 3, 0, 2} { // as four partitions read one after the other would
		for i := start; i < lines; i += 4 {
			s.add(int64(i*width), int64(i+1)*width)
		}
	}
	if s.count() != 1 || s.first() != 0 || s.end() != lines*width || s.bytes != lines*width {
		t.Fatalf("%d spans from %d to %d of %d bytes", s.count(), s.first(), s.end(), s.bytes)
	}
}

// TestSpansSwallowBlocks adds one range over many blocks of single ones.
func TestSpansSwallowBlocks(t *testing.T) {
	var s spans
	for i := int64(0); i < 10*blockLen; i++ {
		s.add(i*10, i*10+1)
	}
	s.add(105, 8*blockLen*10+5)
	if want := 11 + 1 + 2*blockLen - 1; s.count() != want || s.bytes != int64(11+8*blockLen*10+5-105+2*blockLen-1) {
		t.Fatalf("%d spans of %d bytes, want %d", s.count(), s.bytes, want)
	}
	s.add(0, 1<<30)
	if s.count() != 1 || s.bytes != 1<<30 {
		t.Fatalf("%d spans of %d bytes", s.count(), s.bytes)
	}
}

func BenchmarkSpansAppend(b *testing.B) {
	var s spans
	pos := int64(0)
	for b.Loop() {
		s.add(pos, pos+100)
		pos += 100
	}
}

// BenchmarkSpansKeyed adds lines as four partitions give them, 1,000 lines apart.
func BenchmarkSpansKeyed(b *testing.B) {
	var s spans
	i := 0
	for b.Loop() {
		block, in := i/4000, i%4000
		line := int64(block*4000 + in%1000*4 + in/1000)
		s.add(line*100, line*100+100)
		i++
	}
}
