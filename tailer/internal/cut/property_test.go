package cut

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"shiplog/internal/batch"
)

// pieces are what streams are made of: all that is special to the cutter, and a little text.
var pieces = [][]byte{
	[]byte("a"), []byte("some text"), []byte("\n"), []byte("\n"), []byte("\n"), []byte("\r"), []byte("\r\n"),
	{0}, {0, 0, 0}, []byte(bom), {0xef}, bytes.Repeat([]byte("long "), 30), bytes.Repeat([]byte("x"), 3000),
	bytes.Repeat([]byte{0}, 4090), bytes.Repeat([]byte{0}, 9000), []byte("{\"a\":1}\n"),
}

// cutRandomly lets a stream grow in steps, cuts it with blocks of random sizes and starts again at
// random places where a run ended, as after a kill.
func cutRandomly(t *rapid.T, opt Options, data []byte) outcome {
	size := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1000, 20_000))
	c := New(opt, testFile, batch.Pos{})
	var got outcome
	there, want := 0, 0
	for {
		if there < len(data) && rapid.IntRange(0, 2).Draw(t, "grows") == 0 {
			there += rapid.IntRange(1, len(data)-there).Draw(t, "by")
		}
		final := there == len(data) && rapid.Bool().Draw(t, "final")
		if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
			at := c.Pos()
			c = New(opt, testFile, at)
		}
		block := max(want, size.Draw(t, "block"))
		b := newBatch(block)
		res, err := c.Fill(bytes.NewReader(data[:there]), b, block, final)
		if err != nil {
			t.Fatalf("Fill: %v", err)
		}
		got.add(t, b)
		if want = res.Need; want > opt.BlockBytes() {
			t.Fatalf("needs %d bytes", want)
		}
		if res.AtEOF && final {
			return got
		}
	}
}

func TestAnyWayToCutGivesTheSameLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opt := Options{
			MaxLineBytes: rapid.SampledFrom([]int{1, 20, 200, 2990, 3000, 10_000}).Draw(t, "max"),
			Truncate:     rapid.Bool().Draw(t, "truncate"),
			MaxLines:     rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "lines"),
		}
		data := bytes.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 40).Draw(t, "data"), nil)
		got := cutRandomly(t, opt, data)
		if d := diff(reference(data, opt, true), got); d != "" {
			t.Fatalf("of %q (-want +got):\n%s", data, d)
		}
	})
}

func TestPositionsAreRecognisedEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 40).Draw(t, "data"), nil)
		opt := Options{MaxLineBytes: 100, Truncate: rapid.Bool().Draw(t, "truncate")}
		c := New(opt, testFile, batch.Pos{})
		o := drain(t, c, bytes.NewReader(data), rapid.SampledFrom([]int{30, 2000}).Draw(t, "block"), false)
		at := c.Pos()
		want, err := PosAt(bytes.NewReader(data), o.End)
		if err != nil || at != want {
			t.Fatalf("position %+v, PosAt says %+v, %v", at, want, err)
		}
		if at.HeadLen != int(min(o.End, 1024)) || at.TailLen != at.HeadLen {
			t.Fatalf("lengths in %+v", at)
		}
		if o.End == 0 {
			return
		}
		changed := bytes.Clone(data)
		near := int(max(0, o.End-int64(at.TailLen)))
		changed[rapid.IntRange(near, int(o.End)-1).Draw(t, "byte")] ^= 1
		if ok, err := Matches(bytes.NewReader(changed), at); ok || err != nil {
			t.Fatalf("a changed tail matches, %v", err)
		}
		changed = bytes.Clone(data)
		changed[rapid.IntRange(0, at.HeadLen-1).Draw(t, "head byte")] ^= 1
		if ok, err := Matches(bytes.NewReader(changed), at); ok || err != nil {
			t.Fatalf("a changed head matches, %v", err)
		}
		if ok, err := Matches(bytes.NewReader(data[:o.End-1]), at); ok || err != nil {
			t.Fatalf("a shorter stream matches, %v", err)
		}
	})
}

func FuzzCutter(f *testing.F) {
	f.Add([]byte("a\r\n\n\x00b\nhalf"), uint16(40), uint16(10), false)
	f.Add([]byte("\xef\xbb\xbf\x00\n"), uint16(1), uint16(1), true)
	f.Add(append(bytes.Repeat([]byte{0}, 5000), "x\r\ny"...), uint16(4096), uint16(3), false)
	f.Add(bytes.Repeat([]byte("0123456789\r\n"), 50), uint16(11), uint16(9), false)
	f.Add(append(bytes.Repeat([]byte("too long "), 900), "\nshort\n\n\n"...), uint16(5000), uint16(100), true)
	f.Add(append(bytes.Repeat([]byte("too long "), 900), '\r', 0, '\n'), uint16(1), uint16(100), true)
	f.Add([]byte("\n\r\n\r\r\n\x00\n \n\xef\xbb\n"), uint16(2), uint16(0), false)
	f.Fuzz(func(t *testing.T, data []byte, size, longest uint16, truncate bool) {
		opt := Options{MaxLineBytes: int(longest) + 1, Truncate: truncate}
		want := reference(data, opt, false)
		c := New(opt, testFile, batch.Pos{})
		got := drain(t, c, bytes.NewReader(data), int(size)+1, false)
		if d := diff(want, got); d != "" {
			t.Fatalf("waiting (-want +got):\n%s", d)
		}
		rest := drain(t, New(opt, testFile, c.Pos()), bytes.NewReader(data), int(size)+1, true)
		want = reference(data, opt, true)
		got.Values, got.Lines = append(got.Values, rest.Values...), append(got.Lines, rest.Lines...)
		got.Oversize = append(got.Oversize, rest.Oversize...)
		for i, n := range rest.Skipped {
			got.Skipped[i] += n
		}
		got.NULBytes, got.End, got.Remainder = got.NULBytes+rest.NULBytes, rest.End, rest.Remainder
		if d := diff(want, got); d != "" {
			t.Fatalf("final (-want +got):\n%s", d)
		}
	})
}
