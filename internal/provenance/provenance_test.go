package provenance

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"shiplog/internal/batch"
)

var testFile = batch.FileID{Dev: 0xfd01, Inode: 1_234_567, Birth: 1_771_891_200_123_456_789, Gen: 3}

// piece is a record that was added to a Builder.
type piece struct {
	r     Range
	value int
}

// build encodes what was added.
func build(pieces []piece, tail int64, replayed bool) []byte {
	var b Builder
	b.Begin("app", testFile)
	if replayed {
		b.Replayed()
	}
	for _, p := range pieces {
		b.Add(p.r, p.value)
	}
	b.Tail(tail)
	return b.Header().Append(nil)
}

// walk gives the ranges of all records.
func walk(h *Header, pieces []piece) ([]Range, bool) {
	w := h.Walk()
	var got []Range
	for _, p := range pieces {
		r, ok := w.Next(p.value)
		if !ok {
			return got, false
		}
		got = append(got, r)
	}
	_, more := w.Next(0)
	return got, !more && w.Left() == 0
}

func ranges(pieces []piece) []Range {
	var out []Range
	for _, p := range pieces {
		out = append(out, p.r)
	}
	return out
}

// drawPieces makes records as the shipper finds them: contiguous, with lines missing between, with
// values that are not the line.
func drawPieces(t *rapid.T) []piece {
	n := rapid.IntRange(1, 200).Draw(t, "n")
	at := rapid.Int64Range(0, 1<<62).Draw(t, "offset")
	sparse, odd := rapid.IntRange(0, 100).Draw(t, "sparse"), rapid.IntRange(0, 100).Draw(t, "odd")
	base := rapid.Int64Range(-60, 60).Draw(t, "base")
	maxGap := rapid.SampledFrom([]int64{1, 300, 1 << 20, 1 << 40}).Draw(t, "maxGap")
	var pieces []piece
	for i := range n {
		p := piece{value: rapid.IntRange(64, 4096).Draw(t, "value")}
		if rapid.IntRange(0, 99).Draw(t, "gap?") < sparse {
			gap := rapid.Int64Range(0, maxGap).Draw(t, "gap")
			p.r.Skipped = rapid.Int64Range(0, gap).Draw(t, "skipped")
			if i > 0 {
				at += gap
			}
		}
		p.r.Skipped = min(p.r.Skipped, at)
		p.r.Offset, p.r.Length = at, int64(p.value)+1+base
		if rapid.IntRange(0, 99).Draw(t, "odd?") < odd {
			p.r.Length = rapid.Int64Range(0, 1<<20).Draw(t, "length")
		}
		at = p.r.End()
		pieces = append(pieces, p)
	}
	return pieces
}

func TestWhatWasBuiltIsParsed(t *testing.T) {
	var h Header // used again, as a consumer does
	rapid.Check(t, func(t *rapid.T) {
		pieces := drawPieces(t)
		tail, replayed := rapid.Int64Range(0, 1000).Draw(t, "tail"), rapid.Bool().Draw(t, "replayed")
		p := build(pieces, tail, replayed)
		if err := h.Parse(p); err != nil {
			t.Fatalf("%x: %v", p, err)
		}
		last := pieces[len(pieces)-1].r
		if h.Source != "app" || h.File != testFile || h.Records != len(pieces) || h.Tail != tail || h.Replayed != replayed ||
			h.Offset != pieces[0].r.Offset || h.Bytes != last.End()-h.Offset {
			t.Fatalf("got %+v", h)
		}
		got, ok := walk(&h, pieces)
		if d := cmp.Diff(ranges(pieces), got); d != "" || !ok {
			t.Fatalf("ok %v (-want +got):\n%s", ok, d)
		}
		if again := h.Append(nil); string(again) != string(p) {
			t.Fatalf("encoded again:\n%x, was\n%x", again, p)
		}
	})
}

func TestContiguousRecordsNeedNoSpans(t *testing.T) {
	pieces := contiguous(1000, 0)
	p := build(pieces, 0, false)
	h, err := Parse(p)
	if err != nil || len(h.Spans) > 0 || len(p) > 40 {
		t.Errorf("%d bytes, %d spans, %v", len(p), len(h.Spans), err)
	}
	p = build(contiguous(1000, -30), 0, false) // each value is 30 bytes longer than its line
	if h, err = Parse(p); err != nil || len(h.Spans) > 0 || h.Extra != -30 || len(p) > 40 {
		t.Errorf("%d bytes, %+v, %v", len(p), h, err)
	}
}

// contiguous gives records whose lines follow each other, each longer than its value by so much.
func contiguous(n int, extra int64) []piece {
	var pieces []piece
	at := int64(5_000_000_000)
	for i := range n {
		p := piece{value: 200 + i%150}
		p.r = Range{Offset: at, Length: int64(p.value) + 1 + extra}
		at = p.r.End()
		pieces = append(pieces, p)
	}
	return pieces
}

// keyed gives the records of one of so many partitions that the lines of a file are spread over.
func keyed(n, partitions int) []piece {
	var pieces []piece
	seed := uint32(1)
	for _, p := range contiguous(n*partitions, 0) {
		seed = seed*1664525 + 1013904223
		if int(seed>>16)%partitions == 0 {
			pieces = append(pieces, p)
		}
	}
	return pieces
}

func TestAKeyedRecordTakesTwoBytes(t *testing.T) {
	for _, partitions := range []int{2, 3, 12, 50} {
		pieces := keyed(2000, partitions)
		p := build(pieces, 0, false)
		perLine := float64(len(p)) / float64(len(pieces))
		t.Logf("%d partitions: %.2f bytes a line", partitions, perLine)
		if perLine > 2 {
			t.Errorf("%d partitions: %.2f bytes a line", partitions, perLine)
		}
	}
}

func TestAFewOddLinesCostLittle(t *testing.T) {
	pieces := contiguous(1000, 0)
	at := int64(0)
	for i := range pieces { // the first and every 100th line was cut to max_line_bytes
		pieces[i].r.Offset = at
		if i%100 == 0 {
			pieces[i].r.Length += 5 << 20
		}
		at = pieces[i].r.End()
	}
	if p := build(pieces, 0, false); len(p) > 300 {
		t.Errorf("%d bytes", len(p))
	}
}

func TestParseRefusesAllElse(t *testing.T) {
	good := build(keyed(100, 3), 7, false)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(good)
	other[0] = 2
	if _, err := Parse(other); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "2") {
		t.Errorf("version 2: %v", err)
	}
	for n := range good {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(good), err)
		}
	}
	base := Header{Source: "a", Records: 2, Bytes: 20}
	for name, change := range map[string]func(*Header){
		"no records":         func(h *Header) { h.Records = 0 },
		"too many records":   func(h *Header) { h.Records = MaxRecords + 1 },
		"gap beyond the end": func(h *Header) { h.Spans = []Span{{}, {Gap: 21}} },
		"skipped beyond gap": func(h *Header) { h.Spans = []Span{{}, {Gap: 2, Skipped: 3}} },
		"skipped before 0":   func(h *Header) { h.Spans = []Span{{Skipped: 3}, {}} },
		"offset too high":    func(h *Header) { h.Offset = math.MaxInt64 },
		"negative":           func(h *Header) { h.Offset = -1 },
		"negative gap":       func(h *Header) { h.Spans = []Span{{}, {Gap: -1}} },
	} {
		h := base
		change(&h)
		if got, err := Parse(h.Append(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, p := range map[string][]byte{
		"trailing byte": append(slices.Clone(good), 0),
		"unknown flag":  append([]byte{good[0], good[1] | 0x80}, good[2:]...),
	} {
		if _, err := Parse(p); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNextRefusesWhatCannotBelong(t *testing.T) {
	pieces := contiguous(3, 0)
	h, err := Parse(build(pieces, 0, false))
	if err != nil {
		t.Fatal(err)
	}
	w := h.Walk()
	if _, ok := w.Next(pieces[0].value); !ok {
		t.Fatal("the first record was refused")
	}
	if r, ok := w.Next(100_000); ok { // a record that is not of this header
		t.Errorf("got %+v", r)
	}
	if _, ok := w.Next(pieces[1].value); ok || w.Left() != 0 {
		t.Error("goes on after that")
	}
	w = h.Walk()
	w.Next(pieces[0].value)
	w.Next(pieces[1].value)
	if _, ok := w.Next(pieces[2].value - 1); ok {
		t.Error("the last record does not end where the header says")
	}
}

// The example in docs/PROVENANCE.md.
func TestTheDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/PROVENANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("the bytes `([0-9a-f ]+)`").FindSubmatch(doc)
	if text == nil {
		t.Fatal("no example")
	}
	p, err := hex.DecodeString(strings.ReplaceAll(string(text[1]), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(p)
	want := Header{Source: "app", File: batch.FileID{Dev: 2, Inode: 7}, Offset: 100, Bytes: 30, Records: 3}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if string(want.Append(nil)) != string(p) {
		t.Errorf("encoded as %x", want.Append(nil))
	}
}

func TestParseIsBounded(t *testing.T) {
	h := Header{Source: "a", Records: MaxRecords, Bytes: 1 << 40}
	p := h.Append(nil)
	p[1] |= flagSkips
	p = append(p, 0, 0x80) // a column of one byte for a million records
	if n := testing.AllocsPerRun(10, func() {
		if _, err := Parse(p); err == nil {
			t.Error("no error")
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func TestNoAllocationAHeader(t *testing.T) {
	pieces := keyed(500, 4)
	var b Builder
	var h Header
	dst := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() {
		b.Begin("app", testFile)
		for _, p := range pieces {
			b.Add(p.r, p.value)
		}
		dst = b.Header().Append(dst[:0])
		if err := h.Parse(dst); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(build(contiguous(3, 0), 0, false))
	f.Add(build(contiguous(3, -12), 5, true))
	f.Add(build(keyed(20, 3), 0, false))
	f.Add(build(keyed(2, 1), math.MaxInt32, true))
	f.Add(build(keyed(500, 12), 1, false))
	f.Add(build([]piece{{Range{Offset: 1<<62 - 1, Length: 1 << 61, Skipped: 1 << 40}, 1 << 30}, {Range{Offset: 3 << 61, Length: 1, Skipped: 5}, 0}}, 9, false))
	f.Add([]byte{Version, 0})
	f.Add([]byte{Version + 1, 0, 1, 'a'})
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := Parse(p)
		if err != nil {
			return
		}
		again, err := Parse(h.Append(nil))
		if d := cmp.Diff(h, again); d != "" || err != nil {
			t.Errorf("%+v became %+v: %v", h, again, err)
		}
		w := h.Walk()
		end := h.Offset
		for {
			r, ok := w.Next(10)
			if !ok {
				break
			}
			if r.Offset < end || r.Length < 0 || r.End() > h.Offset+h.Bytes {
				t.Fatalf("%+v gives %+v behind %d", h, r, end)
			}
			end = r.End()
		}
	})
}

func BenchmarkHeader(b *testing.B) {
	for _, partitions := range []int{1, 12} {
		pieces := keyed(3000, partitions)
		b.Run(fmt.Sprintf("build/partitions=%d", partitions), func(b *testing.B) {
			var build Builder
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				build.Begin("app", testFile)
				for _, p := range pieces {
					build.Add(p.r, p.value)
				}
				dst = build.Header().Append(dst[:0])
			}
			n := float64(len(pieces))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/line")
			b.ReportMetric(float64(len(dst))/n, "bytes/line")
		})
		b.Run(fmt.Sprintf("parse/partitions=%d", partitions), func(b *testing.B) {
			p := build(pieces, 0, false)
			var h Header
			b.ReportAllocs()
			for b.Loop() {
				if err := h.Parse(p); err != nil {
					b.Fatal(err)
				}
				w := h.Walk()
				for _, q := range pieces {
					w.Next(q.value)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(pieces)), "ns/line")
		})
	}
}
