package tailer

import (
	"fmt"
	"os"
	"testing"
	"time"

	"shiplog/tailer/internal/fsid"
)

// A rotator handles all logs of a folder at once. What is looked at for each file must not list the
// folder for each: with 2,000 files one look would take a minute and a half.
func TestManyFilesOfAFolderListItAFewTimes(t *testing.T) {
	const files, most = 200, 10
	r := newRig(t, "*.log")
	r.cfg.MaxOpenFiles = 50
	each := func(f func(name string)) {
		for i := range files {
			f(fmt.Sprintf("app%03d.log", i))
		}
		at := time.Now().Add(-500*time.Millisecond - time.Nanosecond)
		r.must(os.Chtimes(r.dir, at, at)) // the rotator was through a moment ago
	}
	look := func(what string) {
		t.Helper()
		before := r.tl.dirs.listings
		r.look()
		if n := r.tl.dirs.listings - before; n > most {
			t.Errorf("%s: the folder was listed %d times in one look, want %d at most", what, n, most)
		}
		r.drain()
	}
	each(func(name string) { r.append(name, "1") })
	r.start()
	look("new")
	r.start()
	look("restart")
	each(func(name string) { r.rename(name, name+".1"); r.append(name, "2") })
	look("renamed")
	each(func(name string) { r.copytruncate(name, name+".2"); r.append(name, "3") })
	look("copied and truncated")
	r.ticks(2)
	each(func(name string) { r.append(name, "4") })
	r.tick()
	r.wantAll(4 * files)
}

// A folder that could not be listed once, as when descriptors have run out, is listed again although
// nothing in it has changed since.
func TestAFolderThatCouldNotBeListedIsListedAgain(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/app.log.1", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, at, at); err != nil {
		t.Fatal(err)
	}
	c := dirCache{}
	c.init()
	c.readDir = func(string) ([]os.DirEntry, error) { return nil, os.ErrPermission }
	if n := len(c.list(dir, 1).entries); n != 0 {
		t.Fatalf("%d files", n)
	}
	c.readDir = os.ReadDir
	if n := len(c.list(dir, 2).entries); n != 1 {
		t.Errorf("%d files at the second look, want 1", n)
	}
}

// A look that cannot list the folder, or meets it while it is renamed, does not take a file for rotated
// that stands where it stood: its half line would be shipped in two.
func TestAFileThatIsNotListedIsNotTakenForRotated(t *testing.T) {
	r := newRig(t, "*.log")
	r.write("app.log", "1\nha")
	r.start()
	r.tick()
	whole := r.tl.glob
	var err error
	r.tl.glob, err = fsid.NewGlob([]string{r.path("none/*.log")}, nil, false)
	r.must(err)
	r.ticks(8)
	r.tl.glob = whole
	r.write("app.log", "lf\n")
	r.tick()
	r.want("app.log", "1", "half")
	if n := r.tl.counts.rotated; n != 0 {
		t.Errorf("%d files were rotated", n)
	}
}

// With too many files for max_open_files, a file that was deleted since the last look must keep its
// descriptor: nothing else leads to its unread lines.
func TestADeletedFileIsNotClosedForAnother(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.MaxOpenFiles = 1
	r.append("a.log", "a1")
	r.start()
	r.look()
	r.append("b.log", "b1")
	r.look()
	r.remove("a.log")
	r.tl.ready = []*series{r.tl.series[r.path("b.log")], r.tl.series[r.path("a.log")]} // b has its turn first
	if b := r.tl.fill(r.now); b != nil {                                               // right after the deletion: nobody has looked yet
		r.receive(b)
		b.Release()
	}
	r.ticks(10)
	r.want("a.log", "a1")
	r.want("b.log", "b1")
}

// A file that opens and cannot be read is said once, and does not keep a run that ends from ending.
func TestAFileThatCannotBeReadDoesNotHoldUpTheEnd(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.Once = true
	r.append("a.log", "a1")
	r.append("b.log", "b1")
	r.start()
	open := r.tl.open
	broken := true
	r.tl.open = func(root *fsid.Root, path string) (*os.File, fsid.Identity, error) {
		f, id, err := open(root, path)
		if err == nil && broken && path == r.path("a.log") {
			r.must(f.Close())
			f, err = os.OpenFile(path, os.O_WRONLY, 0) // every read fails
		}
		return f, id, err
	}
	r.ticks(3)
	r.want("b.log", "b1")
	if !r.tl.idle() {
		t.Errorf("the run would not end:%s", r.dump())
	}
	if n := r.logs.FilterMessageSnippet("cannot").Len(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	broken = false
	r.tick()
	r.want("a.log", "a1")
}

// Folders that come and go, as those of Pods do, leave nothing behind.
func TestRemovedFoldersAreForgotten(t *testing.T) {
	r := newRig(t, "*/app.log")
	r.must(os.Mkdir(r.path("stays"), 0o700))
	r.append("stays/app.log", "1")
	r.must(os.Mkdir(r.path("goes"), 0o700))
	r.append("goes/app.log", "1")
	r.start()
	r.tick()
	r.must(os.RemoveAll(r.path("goes")))
	r.ticks(forgetFolders + 20)
	if n := len(r.tl.dirs.dirs); n != 1 || len(r.tl.series) != 1 {
		t.Errorf("%d folders and %d paths are kept, want 1 and 1", n, len(r.tl.series))
	}
	r.append("stays/app.log", "2")
	r.tick()
	r.wantAll(3)
}
