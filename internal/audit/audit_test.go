package audit

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

var testFile = batch.FileID{Dev: 1, Inode: 2, Birth: 3}

// topic makes batches as a shipper would.
type topic struct {
	audit *Audit
	next  map[int32]int64
}

func newTopic(opt Options) *topic {
	opt.Topic = "t"
	return &topic{audit: New(opt, []kafka.Bound{{Partition: 0, Until: 1}}), next: make(map[int32]int64)}
}

// sent is one line that goes into a batch.
type sent struct {
	from, to, skipped int64
	value             int // length
	removed           bool
}

func line(from, to int64) sent { return sent{from: from, to: to, value: int(to - from - 1)} }

// send gives the audit a batch of lines under one header.
func (tp *topic) send(t require, partition int32, replayed bool, lines ...sent) {
	var b provenance.Builder
	b.Begin("s", testFile)
	if replayed {
		b.Replayed()
	}
	out := kafka.AuditBatch{Partition: partition, Offset: tp.next[partition], Time: 1000, Span: len(lines)}
	tp.next[partition] += int64(len(lines))
	for i, l := range lines {
		b.Add(provenance.Range{Offset: l.from, Length: l.to - l.from, Skipped: l.skipped}, l.value)
		if !l.removed {
			out.Lengths = append(out.Lengths, int32(l.value))
			out.Deltas = append(out.Deltas, int32(i))
		}
	}
	if len(out.Deltas) == len(lines) {
		out.Deltas = nil
	}
	out.Marks = []kafka.Mark{{Value: b.Header().Append(nil)}}
	if err := tp.audit.Add(&out); err != nil {
		t.Fatalf("Add: %v", err)
	}
}

type require interface {
	Fatalf(format string, args ...any)
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name string
		send func(*topic)
		want Verdict
		file File
	}{
		{"complete", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10), line(10, 20))
			tp.send(t, 1, false, line(20, 30))
		}, VerdictComplete, File{Lines: 3, Bytes: 30, Ends: 30}},
		{"a record left out by the producer", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10), line(20, 30))
		}, VerdictGaps, File{Lines: 2, Bytes: 20, Ends: 30, GapCount: 1, MissingBytes: 10, Gaps: []Gap{{From: 10, To: 20}}}},
		{"a record taken out of its batch", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10), sent{from: 10, to: 17, value: 6, removed: true}, line(17, 30), line(30, 40))
		}, VerdictGaps, File{Lines: 3, Bytes: 33, Ends: 40, GapCount: 1, MissingBytes: 7, Gaps: []Gap{{From: 10, To: 17}}}},
		{"the head of the file is missing", func(tp *topic) {
			tp.send(t, 0, false, line(5, 10))
		}, VerdictGaps, File{Lines: 1, Bytes: 5, Begins: 5, Ends: 10, GapCount: 1, MissingBytes: 5, Gaps: []Gap{{From: 0, To: 5}}}},
		{"a batch twice", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10), line(10, 20))
			tp.send(t, 0, false, line(10, 20), line(20, 30))
		}, VerdictDuplicates, File{Lines: 3, Bytes: 30, Ends: 30, Duplicates: Duplicates{Lines: 1, Bytes: 10, Count: 1, Ranges: []Range{{10, 20}}}}},
		{"two batches swapped", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10))
			tp.send(t, 0, false, line(20, 30))
			tp.send(t, 0, false, line(10, 20))
		}, VerdictComplete, File{Lines: 3, Bytes: 30, Ends: 30, DisorderCount: 1, Disorders: []Disorder{{Position: 2, Offset: 10, Behind: 30}}}},
		{"replayed later", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10))
			tp.send(t, 0, false, line(20, 30))
			tp.send(t, 0, true, line(10, 20))
		}, VerdictComplete, File{Lines: 3, Bytes: 30, Ends: 30, Replayed: 1}},
		{"other partitions in between", func(tp *topic) {
			tp.send(t, 0, false, line(0, 10), line(20, 30))
			tp.send(t, 1, false, line(10, 20), line(30, 40))
		}, VerdictComplete, File{Lines: 4, Bytes: 40, Ends: 40}},
		{"skipped lines are accounted for", func(tp *topic) {
			tp.send(t, 0, false, sent{from: 3, to: 10, skipped: 3, value: 6}, sent{from: 11, to: 20, skipped: 1, value: 30})
		}, VerdictComplete, File{Lines: 2, Bytes: 16, Ends: 20, Skipped: 4}},
		{"skipped lines behind the last one", func(tp *topic) {
			h := provenance.Header{Source: "s", File: testFile, Records: 2, Bytes: 20, Tail: 5}
			_ = tp.audit.Add(&kafka.AuditBatch{Span: 2, Time: 1000, Lengths: []int32{9, 9}, Marks: []kafka.Mark{{Value: h.Append(nil)}}})
			tp.send(t, 0, false, line(25, 30))
		}, VerdictComplete, File{Lines: 3, Bytes: 25, Ends: 30, Skipped: 5}},
		{"values that were changed have no place", func(tp *topic) {
			h := provenance.Header{Source: "s", File: testFile, Records: 2, Bytes: 20}
			_ = tp.audit.Add(&kafka.AuditBatch{Span: 2, Time: 1000, Lengths: []int32{9, 7}, Marks: []kafka.Mark{{Value: h.Append(nil)}}})
		}, VerdictComplete, File{Lines: 1, Bytes: 10, Ends: 10, Misfit: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tp := newTopic(Options{})
			tt.send(tp)
			r := tp.audit.Report()
			if r.Verdict != tt.want {
				t.Errorf("verdict %s, want %s", r.Verdict, tt.want)
			}
			got := r.Files[0]
			got.Source, got.ID, got.Earliest, got.Latest = "", "", tt.file.Earliest, tt.file.Latest
			if d := cmp.Diff(tt.file, got); d != "" {
				t.Errorf("file (-want +got):\n%s", d)
			}
		})
	}
}

func TestStartIsNotAGapWhereItCannotBeKnown(t *testing.T) {
	for name, tp := range map[string]*topic{
		"start_at: end": newTopic(Options{StartAtEnd: true}),
		"retention":     {audit: New(Options{Topic: "t"}, []kafka.Bound{{Start: 7, From: 7, Until: 9, End: 9}}), next: map[int32]int64{0: 7}},
	} {
		tp.send(t, 0, false, line(50, 60))
		r := tp.audit.Report()
		if r.Verdict != VerdictComplete || !strings.Contains(strings.Join(r.Unknown, "\n"), "of 1 files the start is not known") {
			t.Errorf("%s: %s, unknown %q", name, r.Verdict, r.Unknown)
		}
	}
}

func TestWhatCannotBeKnownIsSaid(t *testing.T) {
	a := New(Options{Topic: "t", Source: "s", Windowed: true}, []kafka.Bound{{Start: 1, From: 1, Until: 100}})
	good := provenance.Header{Source: "other", File: testFile, Records: 1, Bytes: 5}
	for _, b := range []*kafka.AuditBatch{
		{Offset: 1, Span: 1, Legacy: true},
		{Offset: 2, Span: 1, Control: true},
		{Offset: 9, Span: 5, Lengths: []int32{1, 2, 4}, Marks: []kafka.Mark{{Index: 1, Value: []byte("\x09?")}, {Index: 2, Value: good.Append(nil)}}},
	} {
		if err := a.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	r := a.Report()
	want := Counts{Batches: 3, Records: 3, Other: 1, Unmarked: 1, Foreign: 1, Removed: 8, Legacy: 1, Transactions: 1}
	if d := cmp.Diff(want, r.Read); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	if r.Verdict != VerdictNothing {
		t.Errorf("verdict %s", r.Verdict)
	}
	all := strings.Join(r.Unknown, "\n")
	for _, want := range []string{"1 records carry no provenance header", "this version cannot read", "8 offsets hold no record",
		"before Kafka 0.11", "1 of 1 partitions no longer begin", "with --from or --until"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not said in:\n%s", want, all)
		}
	}
}

// TestAuditAgainstModel sends lines of one file in random batches, with losses, repetitions, splits
// over partitions and records taken out, and compares with a model that has one entry a line.
func TestAuditAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tp := newTopic(Options{})
		n := rapid.IntRange(1, 120).Draw(t, "lines")
		all := make([]sent, n)
		pos := int64(0)
		for i := range all {
			width := int64(rapid.IntRange(1, 9).Draw(t, "width"))
			all[i] = sent{from: pos, to: pos + width, value: int(width) - 1}
			if rapid.IntRange(0, 9).Draw(t, "rewritten") == 0 {
				all[i].value += 13
			}
			pos += width
		}
		m := model{times: make([]int, n), ends: map[int32]int64{}}
		for range rapid.IntRange(1, 25).Draw(t, "batches") {
			first := rapid.IntRange(0, n-1).Draw(t, "first")
			partition := int32(rapid.IntRange(0, 2).Draw(t, "partition"))
			replayed := rapid.IntRange(0, 5).Draw(t, "replayed") == 0
			var picked []int
			for i := first; i < n && len(picked) < 20; i++ {
				if len(picked) == 0 || rapid.IntRange(0, 3).Draw(t, "in") > 0 {
					picked = append(picked, i)
				}
			}
			removed := -1
			if len(picked) > 1 && rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				removed = rapid.IntRange(1, len(picked)-1).Draw(t, "removed")
			}
			lines := make([]sent, len(picked))
			for k, i := range picked {
				lines[k] = all[i]
				lines[k].removed = k == removed
			}
			tp.send(t, partition, replayed, lines...)
			m.send(all, picked, removed, partition, replayed)
		}
		m.compare(t, all, tp.audit.Report())
	})
}

type model struct {
	times     []int // how often each line is there
	ends      map[int32]int64
	disorders int64
	dups      int64
}

func (m *model) send(all []sent, picked []int, removed int, partition int32, replayed bool) {
	inRun, end := false, int64(-1)
	for k, i := range picked {
		if k == removed {
			continue
		}
		l := all[i]
		if m.times[i]++; m.times[i] > 1 {
			m.dups++
			inRun = false
		} else {
			// Lines that follow each other without a gap, all of them new, are one place out of order.
			last, known := m.ends[partition]
			if known && l.from < last && !replayed && !(inRun && l.from == end) {
				m.disorders++
			}
			inRun = true
		}
		end = l.to
		m.ends[partition] = max(m.ends[partition], l.to)
	}
}

func (m *model) compare(t *rapid.T, all []sent, r *Report) {
	f := r.Files[0]
	var lines, bytes int64
	var gaps []Gap
	var twice []Range
	end := int64(0)
	for i, l := range all {
		if m.times[i] > 0 {
			lines, bytes, end = lines+1, bytes+l.to-l.from, l.to
		}
		if k := len(twice); m.times[i] > 1 {
			if k > 0 && twice[k-1].To == l.from {
				twice[k-1].To = l.to
			} else {
				twice = append(twice, Range{l.from, l.to})
			}
		}
		if k := len(gaps); m.times[i] == 0 {
			if k > 0 && gaps[k-1].To == l.from {
				gaps[k-1].To = l.to
			} else {
				gaps = append(gaps, Gap{From: l.from, To: l.to})
			}
		}
	}
	gaps = slices.DeleteFunc(gaps, func(g Gap) bool { return g.From >= end })
	if f.Lines != lines || f.Bytes != bytes || f.Ends != end || f.Duplicates.Lines != m.dups {
		t.Fatalf("lines %d bytes %d end %d duplicates %d, want %d %d %d %d", f.Lines, f.Bytes, f.Ends, f.Duplicates.Lines, lines, bytes, end, m.dups)
	}
	if d := cmp.Diff(gaps, f.Gaps); d != "" && len(gaps)+len(f.Gaps) > 0 {
		t.Fatalf("gaps (-want +got):\n%s", d)
	}
	if d := cmp.Diff(twice, f.Duplicates.Ranges); d != "" && len(twice)+len(f.Duplicates.Ranges) > 0 {
		t.Fatalf("duplicates (-want +got):\n%s", d)
	}
	if (f.DisorderCount > 0) != (m.disorders > 0) {
		t.Fatalf("order violations %d, want %d", f.DisorderCount, m.disorders)
	}
}
