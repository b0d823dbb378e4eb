package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// TestTornSaveKeepsTheOldCheckpoint cuts a save at each byte, and then the power: the next start
// finds the old positions, or the new ones, whole.
func TestTornSaveKeepsTheOldCheckpoint(t *testing.T) {
	a := testFile(1, 0, "/log/app.log")
	size := savedSize(t, a)
	for cut := range size + 1 {
		fsys := fsxtest.New()
		dir := t.TempDir()
		s := openStore(t, fsys, dir)
		tr := tracker(t, s, "app")
		settle(tr, a, 0, 100)
		mustSave(t, s)
		settle(tr, a, 100, 200)
		fsys.TearWrite(cut, syscall.ENOSPC)
		want := int64(100)
		if s.Save() == nil {
			want = 200
		}
		if err := fsys.Crash(); err != nil {
			t.Fatal(err)
		}
		wantOffset(t, tracker(t, openStore(t, fsx.OS, dir), "app"), a, want)
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", cut, size)
		}
	}
}

// TestTruncatedFileIsSetAside damages the file itself, which no crash does: cut at any byte it is
// never taken for whole, the source starts empty, and the file is kept.
func TestTruncatedFileIsSetAside(t *testing.T) {
	a := testFile(1, 0, "/log/app.log")
	whole := savedFile(t, a)
	for cut := range len(whole) - 1 { // the last byte is a newline
		wantSetAside(t, whole[:cut])
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", cut, len(whole))
		}
	}
}

func TestCorruptFileIsSetAside(t *testing.T) {
	whole := string(savedFile(t, testFile(1, 0, "/log/app.log")))
	change := func(from, to string) string {
		if !strings.Contains(whole, from) {
			t.Fatalf("no %s in %s", from, whole)
		}
		return strings.Replace(whole, from, to, 1)
	}
	line := whole[strings.Index(whole, "{\"path\""):strings.Index(whole, "],")]
	tests := map[string]string{
		"binary":                 "\x00\x01\x02",
		"a list":                 "[]",
		"null":                   "null",
		"no version":             "{}",
		"a later version":        change(`"version":1`, `"version":2`),
		"something behind it":    whole + "{}",
		"offset is text":         change(`"offset":100`, `"offset":"100"`),
		"offset below zero":      change(`"offset":100`, `"offset":-1`),
		"offset too large":       change(`"offset":100`, `"offset":9223372036854775808`),
		"more tail than offset":  change(`"tail_len":100`, `"tail_len":101`),
		"tail_len below zero":    change(`"tail_len":100`, `"tail_len":-1`),
		"head_len too large":     change(`"head_len":9`, `"head_len":1025`),
		"head_len below zero":    change(`"head_len":9`, `"head_len":-1`),
		"head is no hash":        change(`"head":"0`, `"head":"g`),
		"no path":                change(`/log/app.log`, ``),
		"no id":                  change(`1-1-5-0`, `0-0-0-0`),
		"id is no id":            change(`1-1-5-0`, `1-1-5`),
		"a file twice":           change(line, line+","+line),
		"a partition below zero": change(`"partitions":[`, `"partitions":[{"path":"/a","partition":-1}`),
		"a partition of no path": change(`"partitions":[`, `"partitions":[{"path":"","partition":1}`),
		"two partitions of a path": change(`"partitions":[`,
			`"partitions":[{"path":"/a","partition":1},{"path":"/a","partition":2}`),
		"seen in the year 10000": change(`"seen":"0001`, `"seen":"9999-12-31T23:59:59-01:00","x":"0001`),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) { wantSetAside(t, []byte(data)) })
	}
}

// wantSetAside starts a source on a damaged checkpoint: loud, empty, kept, and never in the way.
func wantSetAside(t *testing.T, data []byte) {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "app.json")
	if err := os.WriteFile(name, data, fsx.FileMode); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.ErrorLevel)
	s, err := Open(fsx.OS, dir, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	tr := tracker(t, s, "app")
	if got := tr.States(); len(got) != 0 {
		t.Errorf("states are %v, want none", got)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["source"] != "app" {
		t.Errorf("logged %v, want one error that names the source", logs.All())
	}
	aside, err := filepath.Glob(name + ".corrupt-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v, want one file", aside, err)
	}
	if got, err := os.ReadFile(aside[0]); err != nil || string(got) != string(data) {
		t.Errorf("set aside: %q, %v, want what was there", got, err)
	}
	settle(tr, testFile(1, 0, "/a"), 0, 10)
	mustSave(t, s)
	wantOffset(t, tracker(t, openStore(t, fsx.OS, dir), "app"), testFile(1, 0, "/a"), 10)
}

// TestCorruptFileThatCannotBeMovedIsNoCrashLoop: the source starts all the same.
func TestCorruptFileThatCannotBeMovedIsNoCrashLoop(t *testing.T) {
	fsys := fsxtest.New()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.json"), []byte("{"), fsx.FileMode); err != nil {
		t.Fatal(err)
	}
	fsys.FailNth(fsxtest.OpRename, 1, syscall.EROFS)
	tr := tracker(t, openStore(t, fsys, dir), "app")
	if got := tr.States(); len(got) != 0 {
		t.Errorf("states are %v, want none", got)
	}
}

// TestUnreadableFileIsAnError: to go on as if there were none would send everything again.
func TestUnreadableFileIsAnError(t *testing.T) {
	for _, op := range []fsxtest.Op{fsxtest.OpOpen, fsxtest.OpRead} {
		fsys := fsxtest.New()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "app.json"), []byte("{}"), fsx.FileMode); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, fsys, dir)
		fsys.FailNth(op, 1, syscall.EACCES)
		if _, err := s.Source("app"); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "app") {
			t.Errorf("%s fails: error is %v, want one that names the source and wraps EACCES", op, err)
		}
	}
}
