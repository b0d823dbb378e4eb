package cut

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shiplog/internal/batch"
)

func text(s string) io.ReaderAt { return strings.NewReader(s) }

func TestALineIsWhatStandsBeforeItsEnd(t *testing.T) {
	hole := strings.Repeat("\x00", 10_000)
	tests := []struct {
		name, in string
		values   []string
		empty    int64
		nulLines int64
		nulBytes int64
	}{
		{name: "two lines", in: "a\nbc\n", values: []string{"a", "bc"}},
		{name: "one carriage return goes", in: "a\r\nb\r\r\n\r\n", values: []string{"a", "b\r"}, empty: 1},
		{name: "a carriage return inside stays", in: "a\rb\n", values: []string{"a\rb"}},
		{name: "empty lines are skipped", in: "\n\na\n\n", values: []string{"a"}, empty: 3},
		{name: "byte order mark at the beginning", in: "\xef\xbb\xbfa\n\xef\xbb\xbfb\n", values: []string{"a", "\xef\xbb\xbfb"}},
		{name: "only a byte order mark", in: "\xef\xbb\xbf\na\n", values: []string{"a"}, empty: 1},
		{name: "line of NULs", in: "\x00\x00\na\n\x00\r\n", values: []string{"a"}, nulLines: 2},
		{name: "NULs elsewhere stay", in: "a\x00b\x00\n", values: []string{"a\x00b\x00"}},
		{name: "hole before a line", in: "\x00\x00a\nb\n", values: []string{"a", "b"}, nulBytes: 2},
		{name: "hole behind a byte order mark", in: "\xef\xbb\xbf\x00a\n", values: []string{"a"}, nulBytes: 1},
		{name: "large hole before a line", in: "x\n" + hole + "a\nb\n", values: []string{"x", "a", "b"}, nulBytes: 10_000},
		{name: "large hole alone on a line", in: hole + "\na\n", values: []string{"a"}, nulLines: 1},
		{name: "large hole and a carriage return alone on a line", in: "a\n" + hole + "\r\nb\n", values: []string{"a", "b"}, nulLines: 1},
		{name: "large hole before a carriage return", in: hole + "\rb\n", values: []string{"\rb"}, nulBytes: 10_000},
		{name: "half a line at the end", in: "a\nhalf", values: []string{"a", "half"}},
		{name: "half a line ends in a carriage return", in: "half\r", values: []string{"half"}},
		{name: "a hole at the end", in: "a\n\x00\x00", values: []string{"a"}, nulLines: 1},
		{name: "a large hole at the end", in: "a\n" + hole, values: []string{"a"}, nulLines: 1},
	}
	for _, tt := range tests {
		for _, size := range []int{1 << 20, 2048, 64, 1} {
			c := New(Options{MaxLineBytes: 1000}, testFile, batch.Pos{})
			got := drain(t, c, text(tt.in), size, true)
			want := outcome{
				Values: tt.values, NULBytes: tt.nulBytes, End: int64(len(tt.in)),
				Skipped: [batch.NumSkips]int64{tt.empty, tt.nulLines},
			}
			if d := diff(reference([]byte(tt.in), c.opt, true), got); d != "" {
				t.Errorf("%s, blocks of %d, against the reference (-want +got):\n%s", tt.name, size, d)
			}
			got.Lines = nil
			if d := diff(want, got); d != "" {
				t.Errorf("%s, blocks of %d (-want +got):\n%s", tt.name, size, d)
			}
		}
	}
}

func TestHalfALineWaits(t *testing.T) {
	c := New(Options{MaxLineBytes: 100}, testFile, batch.Pos{})
	b := newBatch(4096)
	res, err := c.Fill(text("one\ntw"), b, 4096, false)
	if err != nil || !res.AtEOF || res.Partial != 2 || res.Consumed != 4 {
		t.Fatalf("got %+v, %v", res, err)
	}
	res, err = c.Fill(text("one\ntwo"), b, 4096, false)
	if err != nil || !res.AtEOF || res.Partial != 3 || res.Consumed != 0 || len(b.Runs) != 1 {
		t.Fatalf("still half: got %+v, %v, %d runs", res, err, len(b.Runs))
	}
	res, err = c.Fill(text("one\ntwo\nthree\n"), b, 4096, false)
	if err != nil || res.Consumed != 10 || len(b.Lines) != 3 || string(b.Value(1)) != "two" {
		t.Fatalf("whole: got %+v, %v, %d lines", res, err, len(b.Lines))
	}
}

func TestTheRestOfAHalfLineIsALineOfItsOwn(t *testing.T) {
	c := New(Options{MaxLineBytes: 100}, testFile, batch.Pos{})
	first := drain(t, c, text("one\ntw"), 4096, true)
	second := drain(t, c, text("one\ntwo\n"), 4096, true)
	want := []string{"one", "tw", "o"}
	if d := cmp.Diff(want, append(first.Values, second.Values...)); d != "" {
		t.Error(d)
	}
}

func TestALineThatDoesNotFitAsksForALargerBlock(t *testing.T) {
	in := "short\n" + strings.Repeat("x", 5000) + "\n"
	c := New(Options{MaxLineBytes: 8192}, testFile, batch.Pos{})
	b := newBatch(2048)
	if res, err := c.Fill(text(in), b, 2048, false); err != nil || len(b.Lines) != 1 || !res.More {
		t.Fatalf("got %+v, %v", res, err)
	}
	res, err := c.Fill(text(in), b, 2048, false)
	if err != nil || res.Need < 5001 || res.Consumed != 0 || len(b.Runs) != 1 {
		t.Fatalf("got %+v, %v", res, err)
	}
	b = newBatch(res.Need)
	if _, err := c.Fill(text(in), b, res.Need, false); err != nil || len(b.Lines) != 1 || len(b.Value(0)) != 5000 {
		t.Fatalf("got %v, %d lines", err, len(b.Lines))
	}
}

func TestTheLongestLineThatIsAllowedIsNotOversize(t *testing.T) {
	for _, over := range []int{0, 1} {
		for _, end := range []string{"\n", "\r\n", "", "\r"} {
			in := strings.Repeat("x", 5000+over) + end
			for _, size := range []int{64, 4096, 1 << 16} {
				c := New(Options{MaxLineBytes: 5000}, testFile, batch.Pos{})
				o := drain(t, c, text(in), size, true)
				if len(o.Values) != 1-over || len(o.Oversize) != over {
					t.Errorf("5000+%d bytes and %q, blocks of %d: %d lines, %d oversize", over, end, size, len(o.Values), len(o.Oversize))
				}
			}
		}
	}
}

func TestMaxLinesBoundsTheBatch(t *testing.T) {
	c := New(Options{MaxLineBytes: 100, MaxLines: 2}, testFile, batch.Pos{})
	b := newBatch(4096)
	r := text("a\nb\nc\n")
	if res, err := c.Fill(r, b, 4096, false); err != nil || len(b.Lines) != 2 || !res.More || res.AtEOF {
		t.Fatalf("got %+v, %v, %d lines", res, err, len(b.Lines))
	}
	if res, err := c.Fill(r, b, 4096, false); err != nil || len(b.Runs) != 1 || !res.More {
		t.Fatalf("full batch: got %+v, %v, %d runs", res, err, len(b.Runs))
	}
	b = newBatch(4096)
	if res, err := c.Fill(r, b, 4096, false); err != nil || len(b.Lines) != 1 || !res.AtEOF {
		t.Fatalf("next batch: got %+v, %v, %d lines", res, err, len(b.Lines))
	}
}

func TestRunsOfManyFilesShareABlock(t *testing.T) {
	b := newBatch(1 << 16)
	const files = 20
	var cutters []*Cutter
	var want []string
	value := func(i, round int) string { return strings.Repeat(string(rune('a'+i)), 700+round) }
	for round := range 2 { // in the second round what is read back lands where other files' lines are
		for i := range files {
			if round == 0 {
				cutters = append(cutters, New(Options{MaxLineBytes: 1000}, &batch.File{Path: value(i, 0)[:1]}, batch.Pos{}))
			}
			r := text(value(i, 0) + "\n" + value(i, 1) + "\n")
			if _, err := cutters[i].Fill(r, b, 1000, false); err != nil {
				t.Fatal(err)
			}
			want = append(want, value(i, round))
		}
	}
	var got []string
	for i := range b.Lines {
		got = append(got, string(b.Value(i)))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(b.Runs) != 2*files || len(b.Buf) > files*1403+batch.FingerprintBytes {
		t.Errorf("%d runs in %d bytes", len(b.Runs), len(b.Buf))
	}
}

func TestCarriageReturnsInALongLineThatGrows(t *testing.T) {
	in := "xxxxxx\ry\r\rzz\r\r\nnext\n"
	opt := Options{MaxLineBytes: 4}
	for step := 1; step < 5; step++ {
		c := New(opt, testFile, batch.Pos{})
		var got outcome
		for n := 0; n < len(in); {
			n = min(n+step, len(in))
			o := drain(t, c, text(in[:n]), 4096, false)
			got.Values, got.Lines = append(got.Values, o.Values...), append(got.Lines, o.Lines...)
			got.Oversize, got.End = append(got.Oversize, o.Oversize...), o.End
		}
		if d := diff(reference([]byte(in), opt, false), got); d != "" {
			t.Errorf("%d bytes at a time (-want +got):\n%s", step, d)
		}
	}
}

func TestAnOversizeLineThatChangesIsHashedAnew(t *testing.T) {
	opt := Options{MaxLineBytes: 10}
	c := New(opt, testFile, batch.Pos{})
	for n := 100; n < 103; n++ { // more than once, so that it is known to be too long
		drain(t, c, text(strings.Repeat("old", n)), 4096, false)
	}
	in := strings.Repeat("new", 200) + "\n"
	if d := diff(reference([]byte(in), opt, false), drain(t, c, text(in), 4096, false)); d != "" {
		t.Error(d)
	}
}

func TestABatchIsUntouchedWhenThereIsNothingNew(t *testing.T) {
	c := New(Options{MaxLineBytes: 100}, testFile, batch.Pos{})
	b := newBatch(4096)
	r := text("some line\n")
	if _, err := c.Fill(r, b, 4096, false); err != nil {
		t.Fatal(err)
	}
	before := string(b.Buf)
	res, err := c.Fill(r, b, 4096, false)
	if err != nil || !res.AtEOF || res.More || len(b.Runs) != 1 || string(b.Buf) != before {
		t.Errorf("got %+v, %v, %d runs, block %q", res, err, len(b.Runs), b.Buf)
	}
}

func TestChangeBeforeTheOffsetIsSeen(t *testing.T) {
	long := strings.Repeat("a line of text\n", 500)
	tests := []struct{ name, before, after string }{
		{"shorter", "one\ntwo\n", "one\n"},
		{"empty", "one\ntwo\n", ""},
		{"same size, other end", "one\ntwo\n", "one\ntwx\n"},
		{"longer, other end", "one\ntwo\n", "three\nfour\nfive\n"},
		{"long, last kilobyte differs by a byte", long, long[:len(long)-1000] + "X" + long[len(long)-999:] + "new\n"},
		{"half a line, then truncated", "one\nhal", "on"},
		{"half a line, then written anew", "one\nhal", "xxx\nother\n"},
	}
	for _, tt := range tests {
		c := New(Options{MaxLineBytes: 100}, testFile, batch.Pos{})
		drain(t, c, text(tt.before), 1<<16, false)
		b := newBatch(1 << 16)
		var err error
		for range 3 { // what was seen of a half line may have to be given up first
			if _, err = c.Fill(text(tt.after), b, 1<<16, false); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrChanged) || len(b.Runs) != 0 {
			t.Errorf("%s: got %v and %d runs", tt.name, err, len(b.Runs))
		}
	}
}

func TestAHalfLineThatChangesIsReadAgain(t *testing.T) {
	for _, start := range []string{"", "one\n"} {
		c := New(Options{MaxLineBytes: 1000}, testFile, batch.Pos{})
		drain(t, c, text(start+"half"), 1<<16, false)
		o := drain(t, c, text(start+"other\nline\n"), 1<<16, false)
		if d := cmp.Diff([]string{"other", "line"}, o.Values); d != "" {
			t.Error(d)
		}
		if ok, err := Matches(text(start+"other\nline\n"), c.Pos()); !ok || err != nil {
			t.Errorf("after %q the position does not match what was read: %v", start, err)
		}
	}
}

// failing gives bytes up to a place, and an error from there on.
type failing struct {
	data []byte
	err  error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(f.data).ReadAt(p, off)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func TestAReadErrorComesAfterTheLinesBeforeIt(t *testing.T) {
	broken := errors.New("input/output error")
	for _, rest := range []string{"", "half"} {
		c := New(Options{MaxLineBytes: 100}, testFile, batch.Pos{})
		b := newBatch(4096)
		r := failing{[]byte("one\ntwo\n" + rest), broken}
		if res, err := c.Fill(r, b, 4096, true); err != nil || len(b.Lines) != 2 || res.AtEOF {
			t.Fatalf("got %+v, %v, %d lines", res, err, len(b.Lines))
		}
		if res, err := c.Fill(r, b, 4096, true); !errors.Is(err, broken) || len(b.Runs) != 1 || res.AtEOF {
			t.Fatalf("got %+v, %v, %d runs", res, err, len(b.Runs))
		}
		o := drain(t, c, text("one\ntwo\n"+rest+"\n"), 4096, true)
		if o.End != int64(9+len(rest)) {
			t.Errorf("after the error: got %+v", o)
		}
	}
}

func TestLineStart(t *testing.T) {
	const in = "one\ntwo\nhalf"
	for _, tt := range []struct {
		offset int64
		window int
		want   int64
	}{{12, 100, 8}, {8, 100, 8}, {6, 100, 4}, {2, 100, 0}, {0, 100, 0}, {12, 2, 12}, {6, 6, 4}} {
		if got, err := LineStart(text(in), tt.offset, tt.window); got != tt.want || err != nil {
			t.Errorf("from %d, %d back: got %d, %v, want %d", tt.offset, tt.window, got, err, tt.want)
		}
	}
	if _, err := LineStart(text(in), 100, 10); !errors.Is(err, ErrChanged) {
		t.Errorf("beyond the end: %v", err)
	}
}
