package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

func TestSavedPositionsComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	s := openStore(t, fsx.OS, dir)
	app, other := tracker(t, s, "app"), tracker(t, s, "other")
	a, b := testFile(1, 0, "/log/a"), testFile(2, 3, "/log/b\xff\xfe")
	app.Settle(app.Begin(&batch.Batch{Runs: []batch.Run{run1(a, 0, 100), run1(b, 0, 2000)}}))
	app.Begin(oneRun(a, 100, 150)) // never settled
	app.SetPartition("/log/a", 4)
	other.Settle(other.Begin(oneRun(a, 0, 7)))
	mustSave(t, s)

	s = openStore(t, fsx.OS, dir)
	for id, was := range map[string]*Tracker{"app": app, "other": other} {
		again := tracker(t, s, id)
		if diff := cmp.Diff(was.States(), again.States()); diff != "" {
			t.Errorf("states of %s (-saved +loaded):\n%s", id, diff)
		}
	}
	again := tracker(t, s, "app")
	if p, ok := again.Partition("/log/a"); !ok || p != 4 {
		t.Errorf("partition is %d, %v, want 4", p, ok)
	}
	again.Settle(again.Begin(oneRun(a, 100, 180)))
	wantOffset(t, again, a, 180)
}

func TestSourceGivesTheSameTrackerEachTime(t *testing.T) {
	s := openStore(t, fsx.OS, t.TempDir())
	first := tracker(t, s, "app")
	if again := tracker(t, s, "app"); again != first {
		t.Error("two trackers of one source")
	}
}

func TestSaveWritesOnlyWhatChanged(t *testing.T) {
	fsys := fsxtest.New()
	s := openStore(t, fsys, t.TempDir())
	app, other := tracker(t, s, "app"), tracker(t, s, "other")
	a := testFile(1, 0, "/a")
	steps := []struct {
		name   string
		change func()
		want   int
	}{
		{"nothing known", func() {}, 0},
		{"two settles of one source", func() { settle(app, a, 0, 10); settle(app, a, 10, 20) }, 1},
		{"nothing new", func() {}, 0},
		{"begun, not settled", func() { app.Begin(oneRun(a, 20, 30)) }, 0},
		{"both", func() { app.SetPartition("/a", 1); settle(other, a, 0, 10) }, 2},
		{"the file was renamed", func() { app.Begin(oneRun(testFile(1, 0, "/b"), 30, 40)) }, 1},
		{"the partition again", func() { app.SetPartition("/a", 1) }, 0},
	}
	for _, step := range steps {
		before := fsys.Count(fsxtest.OpRename)
		step.change()
		mustSave(t, s)
		if got := fsys.Count(fsxtest.OpRename) - before; got != step.want {
			t.Errorf("%s: %d files written, want %d", step.name, got, step.want)
		}
	}
}

func TestSourceIDMustBeAFileName(t *testing.T) {
	s := openStore(t, fsx.OS, t.TempDir())
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".hidden"} {
		if _, err := s.Source(id); err == nil {
			t.Errorf("source id %q was taken", id)
		}
	}
}

func TestOpenWithoutAFolder(t *testing.T) {
	fsys := fsxtest.New()
	fsys.FailNth(fsxtest.OpMkdir, 1, syscall.EROFS)
	if _, err := Open(fsys, filepath.Join(t.TempDir(), "x"), nil); !errors.Is(err, syscall.EROFS) {
		t.Errorf("error is %v, want EROFS", err)
	}
}

func TestFormIsJSONWithALineAFile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, fsx.OS, dir)
	tr := tracker(t, s, "app")
	settle(tr, testFile(1, 0, "/a"), 0, 10)
	settle(tr, testFile(2, 0, "/b"), 0, 20)
	tr.SetPartition("/a", 3)
	mustSave(t, s)
	name := filepath.Join(dir, "app.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) {
		t.Errorf("not valid JSON:\n%s", data)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	want := []string{
		`"files":[`,
		`{"path":"/a","id":"1-1-5-0","offset":10,"head":"0000000000000007","head_len":9,` +
			`"tail":"0000000000000137","tail_len":10,"seen":"0001-01-01T00:00:00Z"},`,
		`{"path":"/b","id":"1-2-5-0","offset":20,"head":"0000000000000007","head_len":9,` +
			`"tail":"000000000000026d","tail_len":20,"seen":"0001-01-01T00:00:00Z"}],`,
		`"partitions":[`,
		`{"path":"/a","partition":3}]}`,
	}
	if diff := cmp.Diff(want, lines[1:]); diff != "" {
		t.Errorf("form on disk (-want +got):\n%s", diff)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
	}
}

func openStore(t *testing.T, fsys fsx.FS, dir string) *Store {
	t.Helper()
	s, err := Open(fsys, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tracker(t *testing.T, s *Store, id string) *Tracker {
	t.Helper()
	tr, err := s.Source(id)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func settle(tr *Tracker, f *batch.File, from, to int64) { tr.Settle(tr.Begin(oneRun(f, from, to))) }

func mustSave(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
}

// savedFile is what a store writes for one file at offset 100.
func savedFile(t *testing.T, f *batch.File) []byte {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, fsx.OS, dir)
	settle(tracker(t, s, "app"), f, 0, 100)
	mustSave(t, s)
	data, err := os.ReadFile(filepath.Join(dir, "app.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func savedSize(t *testing.T, f *batch.File) int64 { return int64(len(savedFile(t, f))) }

func wantPaths(t *testing.T, tr *Tracker, want ...string) {
	t.Helper()
	var got []string
	for _, s := range tr.States() {
		got = append(got, s.Path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
