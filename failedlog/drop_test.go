package failedlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestDropRemovesWhatTheFilterPicksAndNothingElse(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 6)
	rs[1].Error.Class, rs[4].Error.Class = "invalid", "invalid"
	fill(t, root, "app", rs[:3], rs[3:])
	opt := DropOptions{FS: fsxtest.New(), Dir: root, Filter: Filter{Classes: []string{"invalid"}}}
	opt.DryRun = true
	before := tree(t, root)
	stats, err := Drop(opt)
	must(t, err)
	diff(t, "dry run", stats, DropStats{Records: 2, Kept: 4})
	diff(t, "files of a dry run", tree(t, root), before)
	opt.DryRun = false
	stats, err = Drop(opt)
	must(t, err)
	diff(t, "stats", stats, DropStats{Records: 2, Kept: 4})
	left := payloads([]Record{rs[0], rs[2], rs[3], rs[5]})
	diff(t, "left", held(t, root, "app"), left)
	var b broker
	replay(t, root, ReplayOptions{}, &b)
	diff(t, "sent by a later replay", b.got, left)
}

func TestDropOfAllRemovesSealedSegmentsAndLeavesTheOpenOne(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{})
	must(t, l.Append(records("app", 0, 3)))
	must(t, l.Seal())
	must(t, l.Append(records("app", 3, 5)))
	sealed := filepath.Join(root, "app", "00000000000000000001.jsonl")
	data, err := os.ReadFile(sealed)
	must(t, err)
	data = append(data, "junk\n"...)
	must(t, os.WriteFile(sealed, data, 0o600))
	bad := filepath.Join(root, "app", "00000000000000000009.bad")
	must(t, os.WriteFile(bad, []byte("kept aside\n"), 0o600))
	stats, err := Drop(DropOptions{FS: fsxtest.New(), Dir: root, Bad: true})
	must(t, err)
	diff(t, "stats", stats, DropStats{Records: 3, BadLines: 2, Segments: 2, Bytes: int64(len(data)) + 11, OpenSegments: 1})
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000002.open.jsonl"})
	diff(t, "held", held(t, root, "app"), payloads(records("app", 3, 5)))
}

func TestDropWithAFilterReportsBadLinesAndLeavesThem(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 2))
	sealed := filepath.Join(root, "app", "00000000000000000001.jsonl")
	data, err := os.ReadFile(sealed)
	must(t, err)
	must(t, os.WriteFile(sealed, append([]byte("junk\n"), data...), 0o600))
	var bad []string
	stats, err := Drop(DropOptions{FS: fsxtest.New(), Dir: root, Filter: Filter{Since: start}, OnBad: func(b BadLine) {
		bad = append(bad, b.Error())
	}})
	must(t, err)
	if stats.Records != 2 || stats.BadLines != 0 || len(bad) != 1 || !strings.Contains(bad[0], "1.jsonl:1: ") {
		t.Errorf("got %+v, reported %q", stats, bad)
	}
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.done", "00000000000000000001.jsonl"})
}
