package failedlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestFiltersNeitherLoseNorRepeatTheOthers(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 12)
	for i := range rs {
		rs[i].Error.Class = []string{"retriable", "too_large", "unknown_outcome"}[i%3]
	}
	fill(t, root, "app", rs[:6], rs[6:])
	fill(t, root, "other", records("other", 0, 2))
	var b broker
	app := Filter{Source: "app"}
	class := app
	class.Classes = []string{"too_large"}
	stats := replay(t, root, ReplayOptions{Filter: class, BatchRecords: 1}, &b)
	if stats.Delivered != 4 || stats.Filtered != 8 {
		t.Errorf("by class: %+v", stats)
	}
	diff(t, "left", held(t, root, "app"), payloads([]Record{rs[0], rs[2], rs[3], rs[5], rs[6], rs[8], rs[9], rs[11]}))
	since := app
	since.Since, since.Until = rs[3].Time, rs[6].Time
	if stats := replay(t, root, ReplayOptions{Filter: since}, &b); stats.Delivered != 2 || stats.Lines != 8 {
		t.Errorf("by time: %+v", stats)
	}
	replay(t, root, ReplayOptions{Filter: app}, &b)
	diff(t, "sent", b.got, payloads([]Record{rs[1], rs[4], rs[7], rs[10], rs[3], rs[5], rs[0], rs[2], rs[6], rs[8], rs[9], rs[11]}))
	diff(t, "files", names(t, root, "app"), []string(nil))
	diff(t, "of the other source", held(t, root, "other"), payloads(records("other", 0, 2)))
}

func TestWhatIsDoneBetweenOthersIsSentOnce(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 40)
	for i := range rs {
		rs[i].Error.Class = []string{"x", "y", "y", "x", "z"}[i%5]
	}
	fill(t, root, "app", rs)
	var b broker
	for _, class := range []string{"x", "y", "z"} {
		replay(t, root, ReplayOptions{Filter: Filter{Classes: []string{class}}, BatchRecords: 3}, &b)
	}
	if n := repeats(t, b.got, payloads(rs)); n != 0 {
		t.Errorf("%d records were sent twice", n)
	}
}

func TestDryRunAndToTopicLeaveTheLogAsItIs(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 5))
	before := tree(t, root)
	var b broker
	if stats := replay(t, root, ReplayOptions{DryRun: true}, &b); stats.Selected != 5 || len(b.got) > 0 {
		t.Errorf("dry run: %+v, sent %d", stats, len(b.got))
	}
	if stats := replay(t, root, ReplayOptions{ToTopic: "copy"}, &b); stats.Delivered != 5 {
		t.Errorf("to another topic: %+v", stats)
	}
	diff(t, "topics", b.topics, map[string]int{"copy": 5})
	delete(before, lockName)
	after := tree(t, root)
	delete(after, lockName)
	diff(t, "files", after, before)

	fails := broker{verdict: func(string, *Record) error { return &Failure{Class: "retriable"} }}
	if stats := replay(t, root, ReplayOptions{ToTopic: "copy"}, &fails); stats.FailedAgain != 5 {
		t.Errorf("failing to another topic: %+v", stats)
	}
	replay(t, root, ReplayOptions{ToTopic: "copy", Consume: true}, &fails)
	must(t, each(fsx.OS, root, "", func(e *Entry) error {
		if e.Record.Topic != "logs" || e.Record.Attempts != 2 {
			t.Errorf("what failed again is %+v, want its own topic and 2 attempts", e.Record)
		}
		return nil
	}))
	replay(t, root, ReplayOptions{ToTopic: "copy", Consume: true}, &b)
	diff(t, "topics", b.topics, map[string]int{"copy": 10})
	diff(t, "files", names(t, root, "app"), []string(nil))
}

func TestBadLinesAreKeptAsideAndNoReasonToStop(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 4))
	path := filepath.Join(root, "app", "00000000000000000001.jsonl")
	data, err := os.ReadFile(path)
	must(t, err)
	lines := strings.SplitAfter(string(data), "\n")
	// Edited by hand: a broken line, an empty one, and a last one that lost its newline and its end.
	edited := lines[0] + "oops\n" + lines[1] + "\n" + lines[2] + lines[3][:20]
	must(t, os.WriteFile(path, []byte(edited), 0o600))
	var b broker
	var bad []string
	stats := replay(t, root, ReplayOptions{BatchRecords: 2, OnBad: func(l BadLine) {
		bad = append(bad, strings.TrimPrefix(l.Error(), root))
	}}, &b)
	if stats.Bad != 3 || stats.Delivered != 3 || stats.Seen != 6 {
		t.Errorf("got %+v", stats)
	}
	diff(t, "sent", b.got, payloads(records("app", 0, 3)))
	diff(t, "reported", bad, []string{
		"/app/00000000000000000001.jsonl:2: not a record: invalid character 'o' looking for beginning of value",
		"/app/00000000000000000001.jsonl:4: not a record: unexpected end of JSON input",
		"/app/00000000000000000001.jsonl:6: not a record: unexpected end of JSON input",
	})
	got := tree(t, root)
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.bad"})
	diff(t, "kept aside", got["app/00000000000000000001.bad"], "oops\n\n"+lines[3][:20]+"\n")
}

// TestSegmentTornAtEachByteOfItsLastRecord cuts a sealed segment at each byte of its last record: the record is set
// aside as far as it is there, and counts as one only when all of it but the newline is.
func TestSegmentTornAtEachByteOfItsLastRecord(t *testing.T) {
	rec := record("app", 2)
	last := rec.AppendJSON(nil)
	for cut := range len(last) + 1 {
		root := ramDir(t)
		fill(t, root, "app", records("app", 0, 3))
		path := filepath.Join(root, "app", "00000000000000000001.jsonl")
		info, err := os.Stat(path)
		must(t, err)
		must(t, os.Truncate(path, info.Size()-int64(len(last)+1)+int64(cut)))
		want, aside, bad := 2, string(last[:cut])+"\n", []int{3}
		switch cut {
		case 0:
			aside, bad = "", nil
		case len(last):
			want, aside, bad = 3, "", nil
		}
		var b broker
		var reported []int
		replay(t, root, ReplayOptions{OnBad: func(l BadLine) { reported = append(reported, l.Line) }}, &b)
		what := fmt.Sprintf("cut at %d: ", cut)
		diff(t, what+"sent", b.got, payloads(records("app", 0, want)))
		diff(t, what+"reported", reported, bad)
		diff(t, what+"kept aside", tree(t, root)["app/00000000000000000001.bad"], aside)
		if t.Failed() {
			return
		}
	}
}

func TestWhatCannotBeReplayedStaysWithoutKeepingTheSegment(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 6)
	rs[2].NotReplayable, rs[2].Oversize = true, &Oversize{1 << 30, "ff"}
	rs[5].NotReplayable = true
	fill(t, root, "app", rs)
	var b broker
	replay(t, root, ReplayOptions{Filter: Filter{Since: rs[1].Time}}, &b)
	diff(t, "files while others are left", names(t, root, "app"), []string{"00000000000000000001.done", "00000000000000000001.jsonl"})
	if stats := replay(t, root, ReplayOptions{}, &b); stats.NotReplayable != 2 || stats.Delivered != 1 {
		t.Errorf("got %+v", stats)
	}
	diff(t, "left", held(t, root, "app"), payloads([]Record{rs[2], rs[5]}))
	want := []string{"00000000000000000001.r1.jsonl"}
	diff(t, "files", names(t, root, "app"), want)
	if stats := replay(t, root, ReplayOptions{}, &b); stats.NotReplayable != 2 || stats.Selected != 0 {
		t.Errorf("the second time: %+v", stats)
	}
	diff(t, "files the second time", names(t, root, "app"), want)
}

func TestMaxAttemptsLeavesWhatWasTriedOften(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 2)
	rs[0].Attempts = 5
	fill(t, root, "app", rs)
	var b broker
	if stats := replay(t, root, ReplayOptions{MaxAttempts: 5}, &b); stats.Exhausted != 1 || stats.Delivered != 1 {
		t.Errorf("got %+v", stats)
	}
	diff(t, "left", held(t, root, "app"), payloads(rs[:1]))
}

// TestNameOfWhatFailedAgainIsNotGivenTwice: the progress of a segment that stays may speak of a retry
// segment that is long gone; a new one of that name would be cut to the old one's length.
func TestNameOfWhatFailedAgainIsNotGivenTwice(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 4)
	rs[3].Error.Class = "y"
	fill(t, root, "app", rs)
	fails := &broker{verdict: func(string, *Record) error { return &Failure{Class: "x"} }}
	onlyX := Filter{Until: rs[3].Time}
	replay(t, root, ReplayOptions{Filter: onlyX}, fails)
	replay(t, root, ReplayOptions{Filter: onlyX}, &broker{})
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.done", "00000000000000000001.jsonl"})
	err, died := killable(ReplayOptions{FS: &killer{fsxtest.New(), 8}, Dir: root}, fails)
	if !died {
		t.Fatalf("did not die: %v", err)
	}
	diff(t, "files", names(t, root, "app"), []string{
		"00000000000000000001.claimed.jsonl", "00000000000000000001.done", "00000000000000000001.r2.retry.jsonl",
	})
	replay(t, root, ReplayOptions{}, &broker{})
	diff(t, "files at the end", names(t, root, "app"), []string(nil))
}

func TestProgressOfAnEditedSegmentCountsForNothing(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 4)
	fill(t, root, "app", rs)
	replay(t, root, ReplayOptions{Filter: Filter{Until: rs[2].Time}}, &broker{})
	path := filepath.Join(root, "app", "00000000000000000001.jsonl")
	data, err := os.ReadFile(path)
	must(t, err)
	// The first line is taken out by hand, so that the offsets of the others move.
	_, rest, _ := strings.Cut(string(data), "\n")
	must(t, os.WriteFile(path, []byte(rest), 0o600))
	diff(t, "held", held(t, root, "app"), payloads(rs[1:]))
	var b broker
	replay(t, root, ReplayOptions{}, &b)
	diff(t, "sent", b.got, payloads(rs[1:]))
	diff(t, "files", names(t, root, "app"), []string(nil))
}
