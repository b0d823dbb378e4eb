package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// oracle counts, by the numbers in the lines alone and with a consumer that shares no code with shiplog,
// which lines stand in a topic, how often and in what order.
type oracle struct {
	t      *testing.T
	source string
	client *kgo.Client

	times     []int // by line
	total     int   // records
	foreign   int   // records that are no line of this source
	disorders int   // lines that stand behind a later line of their partition, and were not there before
	last      map[int32]int
	order     []int // the lines as they came
}

// newOracle reads the topic from its start, committed records only.
func newOracle(t *testing.T, source string, tp *topic) *oracle {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(tp.brokers...), kgo.ConsumeTopics(tp.name),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &oracle{t: t, source: source, client: cl, last: map[int32]int{}}
}

// read takes in everything that stands in the topic by now.
func (o *oracle) read(tp *topic) {
	o.t.Helper()
	want := int64(-1)
	until(o.t, "the end of "+tp.name, func() bool { want = tp.ends(); return want >= 0 })
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	for int64(o.total) < want {
		fetches := o.client.PollFetches(ctx)
		if ctx.Err() != nil {
			o.t.Fatalf("read %d of %d records of %s in %s", o.total, want, tp.name, patience)
		}
		fetches.EachRecord(o.add)
	}
}

func (o *oracle) add(r *kgo.Record) {
	o.total++
	n, ok := number(o.source, r.Value)
	if !ok {
		if o.foreign++; o.foreign <= 3 {
			o.t.Logf("a record that is no line of %s: %.200q", o.source, r.Value)
		}
		return
	}
	for n >= len(o.times) {
		o.times = append(o.times, make([]int, 1<<14)...)
	}
	if last, ok := o.last[r.Partition]; o.times[n] == 0 && ok && n < last {
		o.disorders++
	}
	o.last[r.Partition] = max(o.last[r.Partition], n)
	o.times[n]++
	o.order = append(o.order, n)
}

func (o *oracle) arrived(n int) bool { return n < len(o.times) && o.times[n] > 0 }

// distinct is how many lines are there at least once.
func (o *oracle) distinct() (n int) {
	for _, times := range o.times {
		n += min(times, 1)
	}
	return n
}

// repeats counts the arrivals beyond the first of each line.
func (o *oracle) repeats() (n int) {
	for _, times := range o.times {
		n += max(times-1, 0)
	}
	return n
}

// missing lists the lines that did not arrive, of those that were written.
func (o *oracle) missing(written int) (list []int) {
	for n := range written {
		if !o.arrived(n) {
			list = append(list, n)
		}
	}
	return list
}

// allowed is what a mode may lose, repeat or disorder in a scene.
type allowed struct {
	lost, repeats int
	disorder      bool
	taken         int    // of the lost, those that stand in no file: no audit can miss them
	kept          int    // records in the failure log that are no numbered lines
	copied        int    // of the repeats, those in copies of a file, which audit takes for files of their own
	torn          int    // records that are pieces of lines, which copytruncate cut
	gone          int64  // bytes of lines that are no numbered ones and were dropped
	note          string // for the table
}

// reckon reads the topic of a source, compares it with what was written, lets audit say the same, and
// adds a row to the table. Everything must be drained and replayed.
func (s *scene) reckon(src *source, may allowed) {
	s.t.Helper()
	src.read(src.topic)
	written := src.w.count()
	missing, repeats := src.missing(written), src.repeats()
	row := row{fault: s.fault, mode: src.name, written: written, lost: len(missing), repeats: repeats, note: may.note}
	if len(missing) > may.lost {
		s.t.Errorf("%s: %d of %d lines are lost, allowed %d: %s", src.name, len(missing), written, may.lost, ranges(missing))
	}
	if repeats > may.repeats {
		s.t.Errorf("%s: %d repeats, allowed %d", src.name, repeats, may.repeats)
	}
	if src.spread {
		src.disorders = 0
	}
	if src.disorders > 0 && !may.disorder && src.mode == "sync" {
		s.t.Errorf("%s: %d lines are out of order", src.name, src.disorders)
	}
	if src.foreign > may.torn {
		s.t.Errorf("%s: %d records are no line that was written, allowed %d", src.name, src.foreign, may.torn)
	}
	row.audit = s.audit(src, written, may)
	row.allowed = may
	row.failed = s.t.Failed()
	theTable.add(row)
}

// report is what the tests need of audit's report.
type report struct {
	Verdict    string
	Lines      int64
	Missing    int64 `json:"missing_bytes"`
	Duplicates int64 `json:"duplicate_lines"`
	Disorders  int64 `json:"order_violations"`
	InLog      int64 `json:"failure_log_lines"`
	Files      []struct {
		InBoth int64 `json:"failure_log_lines_in_topic"`
	}
}

// audit runs the command and compares what it finds with what the oracle counted. It gives the verdict.
func (s *scene) audit(src *source, written int, may allowed) string {
	s.t.Helper()
	code, out, errs := command(s.t, "audit", "-c", s.config, "--json", "--source", src.name,
		"--files", filepath.Join(s.logs(src.name), s.spec.audited), "--failure-log", s.data)
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Errorf("%s: audit: exit code %d, %v\n%s\n%s", src.name, code, err, out, errs)
		return "none"
	}
	inBoth := int64(0)
	for _, f := range r.Files {
		inBoth += f.InBoth
	}
	lost := int64(len(src.missing(written)) - may.taken)
	want := fmt.Sprintf("%d lines, %d repeats, %d bytes missing", src.distinct()+src.foreign+may.copied, src.repeats()-may.copied, (lost-(r.InLog-inBoth-int64(may.kept)))*lineBytes+may.gone)
	got := fmt.Sprintf("%d lines, %d repeats, %d bytes missing", r.Lines, r.Duplicates, r.Missing)
	if got != want {
		s.t.Errorf("%s: audit counts %s; the oracle counts %s", src.name, got, want)
	}
	if src.mode == "sync" && (r.Disorders > 0) != (src.disorders > 0) {
		s.t.Errorf("%s: audit counts %d order violations; the oracle counts %d", src.name, r.Disorders, src.disorders)
	}
	verdict, exit := "complete", 0
	switch {
	case r.Missing > 0:
		verdict, exit = "gaps", 1
	case r.Duplicates > 0:
		verdict, exit = "duplicates", 2
	}
	if r.Verdict != verdict || code != exit {
		s.t.Errorf("%s: audit says %s with exit code %d, want %s and %d", src.name, r.Verdict, code, verdict, exit)
	}
	return r.Verdict
}

func wantCount(t *testing.T, what string, got int64, want int) {
	t.Helper()
	if got != int64(want) {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// ranges writes the first stretches of a sorted list of numbers.
func ranges(list []int) string {
	text := ""
	for i, k := 0, 0; i < len(list); k++ {
		if k == 5 {
			return text + ", ..."
		}
		from := list[i]
		for i++; i < len(list) && list[i] == list[i-1]+1; i++ {
		}
		text += fmt.Sprintf(" %d-%d", from, list[i-1])
	}
	return text
}
