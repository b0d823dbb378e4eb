package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestListShowsEverySource(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, fsx.OS, dir)
	app := tracker(t, s, "app")
	settle(app, testFile(1, 0, "/a"), 0, 10)
	app.SetPartition("/a", 2)
	mustSave(t, s)
	for name, data := range map[string]string{
		"bad.json": "{", "app.json.corrupt-1": "", "app.json.tmp": "", "note.txt": "",
	} {
		writeFile(t, filepath.Join(dir, name), data)
	}

	list, err := List(fsx.OS, dir)
	if err != nil || len(list) != 2 {
		t.Fatalf("listed %v, %v, want two sources", list, err)
	}
	if got := list[0]; got.Source != "app" || got.Err != nil || got.Time.IsZero() ||
		!cmp.Equal(got.States, app.States()) || got.Partitions["/a"] != 2 {
		t.Errorf("first is %+v, want what app saved", got)
	}
	if got := list[1]; got.Source != "bad" || got.Err == nil {
		t.Errorf("second is %+v, want an error", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "bad.json")); err != nil {
		t.Errorf("to list a corrupt file moved it: %v", err)
	}
}

func TestListOfNoFolderIsEmpty(t *testing.T) {
	list, err := List(fsx.OS, filepath.Join(t.TempDir(), "none"))
	if len(list) != 0 || err != nil {
		t.Errorf("got %v, %v, want nothing", list, err)
	}
}

func TestResetOfAPath(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, fsx.OS, dir)
	tr := tracker(t, s, "app")
	for _, f := range []*batch.File{testFile(1, 0, "/a"), testFile(1, 1, "/a"), testFile(2, 0, "/b")} {
		settle(tr, f, 0, 10)
		tr.SetPartition(f.Path, 1)
	}
	mustSave(t, s)

	for _, dryRun := range []bool{true, false} {
		gone, err := Reset(fsx.OS, dir, "app", "/a", dryRun)
		if err != nil || len(gone) != 2 || gone[0].Path != "/a" || gone[1].Path != "/a" {
			t.Fatalf("dry run %v: reset %v, %v, want both generations of /a", dryRun, gone, err)
		}
	}
	tr = tracker(t, openStore(t, fsx.OS, dir), "app")
	wantPaths(t, tr, "/b")
	if _, ok := tr.Partition("/a"); ok {
		t.Error("the partition of /a is still there")
	}
	if _, ok := tr.Partition("/b"); !ok {
		t.Error("the partition of /b is gone")
	}
	_, err := Reset(fsx.OS, dir, "app", "/c", false)
	if err == nil || !strings.Contains(err.Error(), "it knows: /b") {
		t.Errorf("error is %v, want one that says which files there are", err)
	}
}

func TestResetOfASource(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, fsx.OS, dir)
	settle(tracker(t, s, "app"), testFile(1, 0, "/a"), 0, 10)
	mustSave(t, s)
	writeFile(t, filepath.Join(dir, "bad.json"), "{")

	if gone, err := Reset(fsx.OS, dir, "app", "", true); err != nil || len(gone) != 1 {
		t.Errorf("dry run: %v, %v, want one entry", gone, err)
	}
	for _, id := range []string{"app", "bad"} {
		if _, err := Reset(fsx.OS, dir, id, "", false); err != nil {
			t.Errorf("reset of %s: %v", id, err)
		}
		if _, err := Reset(fsx.OS, dir, id, "", false); err == nil || !strings.Contains(err.Error(), id) {
			t.Errorf("second reset of %s: %v, want an error that names it", id, err)
		}
	}
}

func TestSeek(t *testing.T) {
	const log = "first\nsecond\nthird\nhalf"
	tests := []struct {
		name  string
		known int64 // settled so far; -1: the file is not known
		to    Target
		want  int64
		lines int64
		says  string
	}{
		{"back to the beginning", 13, Beginning, 0, 2, "2 lines (13 bytes) will be sent again"},
		{"to the end, before the half line", 6, End, 19, 2, "2 lines (13 bytes) will be skipped"},
		{"into a line", 0, 9, 6, 1, "1 line (6 bytes) will be skipped"},
		{"to where it is", 6, 6, 6, 0, "nothing changes"},
		{"a file not known, to its end", -1, End, 19, 3, "3 lines (19 bytes) will be skipped"},
		{"a file not known, to its beginning", -1, Beginning, 0, 0, "it will be read from its beginning"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
			writeFile(t, path, log)
			if tc.known >= 0 {
				know(t, dir, path, tc.known)
			}
			for _, dryRun := range []bool{true, false} {
				got, err := Seek(fsx.OS, dir, "app", path, tc.to, dryRun)
				if err != nil {
					t.Fatal(err)
				}
				want := Change{
					Source: "app", Path: path, ID: realID(t, path), New: tc.known < 0,
					From: max(tc.known, 0), To: tc.want, Lines: tc.lines,
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("change (-want +got):\n%s", diff)
				}
				if !strings.Contains(got.String(), tc.says) {
					t.Errorf("says %q, want %q in it", got, tc.says)
				}
			}
			states := tracker(t, openStore(t, fsx.OS, dir), "app").States()
			if len(states) != 1 || states[0].Seen.IsZero() || states[0].Finished {
				t.Fatalf("states are %v, want the one file, seen, not finished", states)
			}
			want := batch.Pos{
				Offset: tc.want, Head: batch.Hash([]byte(log)), HeadLen: len(log),
				Tail: batch.Hash([]byte(log[:tc.want])), TailLen: int(tc.want),
			}
			if diff := cmp.Diff(want, states[0].Pos); diff != "" {
				t.Errorf("position (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSeekInALongFile goes over the bounds of blocks and of fingerprints.
func TestSeekInALongFile(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
	line := strings.Repeat("x", blockSize+blockSize/2) + "\n"
	log := strings.Repeat(line, 3)
	writeFile(t, path, log)
	change, err := Seek(fsx.OS, dir, "app", path, Target(len(log)-2), false)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(2 * len(line))
	if change.To != want || change.Lines != 2 {
		t.Errorf("moved to %d over %d lines, want %d over 2", change.To, change.Lines, want)
	}
	pos := tracker(t, openStore(t, fsx.OS, dir), "app").States()[0].Pos
	if pos.HeadLen != batch.FingerprintBytes || pos.TailLen != batch.FingerprintBytes ||
		pos.Tail != batch.Hash([]byte(log[want-batch.FingerprintBytes:want])) {
		t.Errorf("position is %+v", pos)
	}
}

// TestSeekInAFileWrittenAnew: the entry at that inode speaks of bytes that are gone, so the
// position belongs to a new generation, and the old entry stays.
func TestSeekInAFileWrittenAnew(t *testing.T) {
	for name, content := range map[string]string{"shorter": "new\n", "other bytes": "a new beginning\nline\n"} {
		t.Run(name, func(t *testing.T) {
			dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
			writeFile(t, path, "first\nsecond\n")
			know(t, dir, path, 13)
			writeFile(t, path, content)
			change, err := Seek(fsx.OS, dir, "app", path, End, false)
			if err != nil {
				t.Fatal(err)
			}
			if !change.New || change.ID.Gen != 1 || change.From != 0 || len(change.Others) != 1 {
				t.Errorf("change is %+v, want a new generation beside the old one", change)
			}
			if got := len(tracker(t, openStore(t, fsx.OS, dir), "app").States()); got != 2 {
				t.Errorf("%d entries, want 2", got)
			}
		})
	}
}

// TestSeekAfterARotation: the entry of the rotated file stays, and is named.
func TestSeekAfterARotation(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
	writeFile(t, path, "first\nsecond\n")
	know(t, dir, path, 6)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "third\n")
	change, err := Seek(fsx.OS, dir, "app", path, End, false)
	if err != nil {
		t.Fatal(err)
	}
	if !change.New || len(change.Others) != 1 || change.Others[0].Pos.Offset != 6 {
		t.Errorf("change is %+v, want a new entry and the old one named", change)
	}
}

func TestSeekRefuses(t *testing.T) {
	dir, logs := t.TempDir(), t.TempDir()
	path := filepath.Join(logs, "app.log")
	writeFile(t, path, "line\n")
	fifo := filepath.Join(logs, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, source, path string
		to                 Target
		want               string
	}{
		{"behind the end", "app", path, 6, "not within"},
		{"below zero", "app", path, -2, "not within"},
		{"no such file", "app", path + "x", End, "no such file"},
		{"a folder", "app", logs, End, "not a regular file"},
		{"a FIFO", "app", fifo, End, "not a regular file"},
		{"no source id", "../app", path, End, "source id"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Seek(fsx.OS, dir, tc.source, tc.path, tc.to, false)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
	if list, err := List(fsx.OS, dir); len(list) != 0 || err != nil {
		t.Errorf("a refused seek left %v, %v", list, err)
	}
}

// TestEditLeavesACorruptCheckpointAlone: only the daemon sets it aside, and only a whole reset
// removes it.
func TestEditLeavesACorruptCheckpointAlone(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
	writeFile(t, path, "line\n")
	writeFile(t, filepath.Join(dir, "app.json"), "{")
	_, seekErr := Seek(fsx.OS, dir, "app", path, End, false)
	_, resetErr := Reset(fsx.OS, dir, "app", path, false)
	for _, err := range []error{seekErr, resetErr} {
		if err == nil || !strings.Contains(err.Error(), "checkpoint of source app") {
			t.Errorf("error is %v, want one that names the source", err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "app.json")); err != nil || string(data) != "{" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func TestEditReportsAFailedSave(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "app.log")
	writeFile(t, path, "line\nline\n")
	know(t, dir, path, 5)
	fsys := fsxtest.New()
	fsys.FailFrom(fsxtest.OpSync, 1, syscall.ENOSPC)
	fsys.FailFrom(fsxtest.OpRemove, 1, syscall.ENOSPC)
	_, seekErr := Seek(fsys, dir, "app", path, End, false)
	_, resetErr := Reset(fsys, dir, "app", path, false)
	_, allErr := Reset(fsys, dir, "app", "", false)
	for i, err := range []error{seekErr, resetErr, allErr} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("edit %d: error is %v, want ENOSPC", i, err)
		}
	}
	wantPaths(t, tracker(t, openStore(t, fsx.OS, dir), "app"), path)
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]Target{"beginning": Beginning, "end": End, "0": 0, "1234": 1234} {
		if got, err := ParseTarget(s); got != want || err != nil {
			t.Errorf("%q is %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "start", "12x", "1e3"} {
		if got, err := ParseTarget(s); err == nil {
			t.Errorf("%q is %d, want an error", s, got)
		}
	}
}

// know saves a checkpoint of source app for the real file at path, settled up to offset, finished
// and never seen, so that a seek has something to mend.
func know(t *testing.T, dir, path string, offset int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pos, err := posAt(f, offset)
	if err != nil {
		t.Fatal(err)
	}
	c := content{States: []batch.State{{ID: realID(t, path), Path: path, Pos: pos, Finished: true}}}
	if err := store(fsx.OS, filepath.Join(dir, "app.json"), "app", c); err != nil {
		t.Fatal(err)
	}
}

// realID is the identity of a file as a plain stat tells it, birth time aside.
func realID(t *testing.T, path string) batch.FileID {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Ino != id.Inode || fmt.Sprint(st.Dev) != fmt.Sprint(id.Dev) {
		t.Fatalf("identity is %v, stat says %+v", id, info.Sys())
	}
	return id
}

func writeFile(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
}
