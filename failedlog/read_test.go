package failedlog

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"shiplog/internal/fsx"
)

func TestOpenSegmentIsReadUpToItsLastNewline(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{})
	must(t, l.Append(records("app", 0, 2)))
	half := record("app", 2)
	_, err := l.cur.file.WriteAt(half.AppendJSON(nil)[:40], l.cur.written)
	must(t, err)
	diff(t, "held", held(t, root, "app"), payloads(records("app", 0, 2)))
	stats := replay(t, root, ReplayOptions{DryRun: true}, nil)
	if stats.Lines != 2 || stats.Selected != 2 || stats.Bytes != stats.SeenBytes {
		t.Errorf("dry run: %+v, want 2 lines", stats)
	}
}

func TestSegmentIsFoundAfterItChangedItsState(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 2))
	segs, err := List(fsx.OS, root, "app")
	must(t, err)
	s := segs[0]
	must(t, os.Rename(s.Path(), s.in(StateClaimed)))
	n := 0
	count := func(*Entry) error { n++; return nil }
	must(t, Read(fsx.OS, s, count))
	if n != 2 {
		t.Errorf("read %d, want 2", n)
	}
	must(t, os.Remove(s.in(StateClaimed)))
	if err := Read(fsx.OS, s, count); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want that it is gone", err)
	}
}

func TestReadEndsAtTheCallersError(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 3))
	segs, err := List(fsx.OS, root, "")
	must(t, err)
	n := 0
	if err := Read(fsx.OS, segs[0], func(*Entry) error { n++; return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) || n != 1 {
		t.Errorf("got %v after %d", err, n)
	}
}

// TestLinesAreReadWhateverTheirLength compares with a plain split, for buffers of all sizes.
func TestLinesAreReadWhateverTheirLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(rapid.StringOf(rapid.SampledFrom([]rune("ab\n"))).Draw(t, "data"))
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		ls := newLines(bytes.NewReader(data), 0, limit)
		ls.buf = make([]byte, 0, rapid.IntRange(1, 8).Draw(t, "buffer"))
		var from int64
		for i, want := range slices.Collect(bytes.Lines(data)) {
			l, err := ls.next()
			if err != nil {
				t.Fatal(err)
			}
			text := bytes.TrimSuffix(want, []byte("\n"))
			if len(text) > limit {
				text = nil
			}
			if l.no != i+1 || l.from != from || l.to != from+int64(len(want)) || !bytes.Equal(l.bytes, text) ||
				l.whole != bytes.HasSuffix(want, []byte("\n")) || l.tooLong != (text == nil && len(want) > 1) {
				t.Fatalf("line %d of %q is %+v %q", i+1, data, l, l.bytes)
			}
			from = l.to
		}
		if _, err := ls.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
	})
}

func TestSpansAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		in := map[int64]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "adds") {
			from := rapid.Int64Range(0, 50).Draw(t, "from")
			to := from + rapid.Int64Range(0, 6).Draw(t, "len")
			s.add(from, to)
			for o := from; o < to; o++ {
				in[o] = true
			}
		}
		for o := int64(-1); o < 60; o++ {
			if s.has(o) != in[o] {
				t.Fatalf("%v has %d: %v, want %v", s, o, s.has(o), in[o])
			}
		}
		for i := 1; i < len(s); i++ {
			if s[i-1][1] >= s[i][0] {
				t.Fatalf("%v: not apart", s)
			}
		}
	})
}

func TestNamesOfSegments(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Segment
		ok   bool
	}{
		{"00000000000000000001.jsonl", Segment{Seq: 1, State: StateSealed}, true},
		{"00000000000000000001.open.jsonl", Segment{Seq: 1, State: StateOpen}, true},
		{"18446744073709551615.r12.claimed.jsonl", Segment{Seq: 1<<64 - 1, Attempt: 12, State: StateClaimed}, true},
		{"00000000000000000002.r1.retry.jsonl", Segment{Seq: 2, Attempt: 1, State: StateCollecting}, true},
		{"00000000000000000002.evicted.jsonl", Segment{Seq: 2, State: StateEvicted}, true},
		{"00000000000000000002.r1.bad", Segment{Seq: 2, Attempt: 1, State: StateBad}, true},
		{"00000000000000000002.done", Segment{}, false},
		{"1.jsonl", Segment{}, false},
		{"00000000000000000001.r0.jsonl", Segment{}, false},
		{"00000000000000000001.r01.jsonl", Segment{}, false},
		{"00000000000000000001.copy.jsonl", Segment{}, false},
		{"99999999999999999999.jsonl", Segment{}, false},
		{"notes.jsonl", Segment{}, false},
	} {
		got, ok := parseName(tt.name)
		if ok != tt.ok || (ok && got != tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
		if ok && filepath.Base(got.Path()) != tt.name {
			t.Errorf("%s: written as %s", tt.name, got.Path())
		}
	}
}

func TestExportWritesPayloadsByteForByte(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 5)
	rs[1].Payload = []byte("not \xff JSON")
	rs[2].NotReplayable = true
	rs[3].Error.Class = "invalid"
	fill(t, root, "app", rs[:3], rs[3:])
	var out bytes.Buffer
	stats, err := Export(&out, ExportOptions{Dir: root, Filter: Filter{Classes: []string{"retriable"}}})
	must(t, err)
	diff(t, "stats", stats, ExportStats{Records: 3, Filtered: 1, NotReplayable: 1})
	diff(t, "output", out.String(), strings.Join(payloads([]Record{rs[0], rs[1], rs[4]}), "\n")+"\n")
}

func TestExportInFullGivesTheRecordsAsTheyStand(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 3)
	rs[1].NotReplayable = true
	fill(t, root, "app", rs)
	path := filepath.Join(root, "app", "00000000000000000001.jsonl")
	want, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(slices.Clone(want), "junk\n"...), 0o600))
	var out bytes.Buffer
	var bad []BadLine
	stats, err := Export(&out, ExportOptions{Dir: root, Full: true, OnBad: func(b BadLine) { bad = append(bad, b) }})
	must(t, err)
	diff(t, "stats", stats, ExportStats{Records: 3, Bad: 1})
	diff(t, "output", out.String(), string(want))
	if len(bad) != 1 || bad[0].Line != 4 {
		t.Errorf("reported %v", bad)
	}
	out.Reset()
	stats, err = Export(&out, ExportOptions{Dir: root, Full: true, Limit: 1})
	must(t, err)
	if stats.Records != 1 || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("limit 1: %+v, %q", stats, out.String())
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestExportTellsThatItsReaderIsGone(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 1))
	if _, err := Export(failingWriter{}, ExportOptions{Dir: root}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
}

func TestSummaries(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 4)
	rs[3].NotReplayable, rs[3].Error.Class, rs[3].Topic = true, "too_large", "other"
	fill(t, root, "app", rs)
	fill(t, root, "web", records("web", 0, 1))
	must(t, os.WriteFile(filepath.Join(root, "app", "00000000000000000001.bad"), []byte("a\nb\n"), 0o600))
	replay(t, root, ReplayOptions{Filter: Filter{Source: "app", Until: rs[1].Time}}, &broker{})
	sums, err := Summarize(fsx.OS, root, Filter{})
	must(t, err)
	if len(sums) != 3 {
		t.Fatalf("%d summaries, want 3: %+v", len(sums), sums)
	}
	for i := range sums {
		sums[i].Segment = Segment{Dir: sums[i].Segment.Dir, Seq: 1, State: sums[i].Segment.State}
	}
	none := map[string]int64{}
	diff(t, "summaries", sums, []Summary{
		{Segment: Segment{Dir: root + "/app", Seq: 1, State: StateBad}, Bad: 2, Classes: none, Topics: none},
		{Segment: Segment{Dir: root + "/app", Seq: 1, State: StateSealed}, Records: 3, NotReplayable: 1,
			Payload: 3 * int64(len(rs[0].Payload)), Oldest: rs[1].Time, Newest: rs[3].Time,
			Classes: map[string]int64{"retriable": 2, "too_large": 1}, Topics: map[string]int64{"logs": 2, "other": 1}},
		{Segment: Segment{Dir: root + "/web", Seq: 1, State: StateSealed}, Records: 1, Payload: int64(len(rs[0].Payload)),
			Oldest: rs[0].Time, Newest: rs[0].Time, Classes: map[string]int64{"retriable": 1}, Topics: map[string]int64{"logs": 1}},
	})
}

func TestAFailureLogThatIsNotThereIsEmpty(t *testing.T) {
	root := filepath.Join(t.TempDir(), "failed")
	segs, err := List(fsx.OS, root, "")
	must(t, err)
	stats, err := Replay(t.Context(), ReplayOptions{Dir: root}, &broker{})
	must(t, err)
	sums, err := Summarize(fsx.OS, root, Filter{Source: "nobody"})
	must(t, err)
	if len(segs) > 0 || stats != (Stats{}) || len(sums) > 0 {
		t.Errorf("got %v, %+v, %v", segs, stats, sums)
	}
}
