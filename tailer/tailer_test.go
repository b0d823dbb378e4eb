package tailer

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/fsid"
)

func TestGrowingFile(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "one", "two")
	r.start()
	r.tick()
	r.want("a.log", "one", "two")
	r.append("a.log", "three")
	r.tick()
	r.want("a.log", "one", "two", "three")
}

func TestHalfLineWaitsForItsNewline(t *testing.T) {
	r := newRig(t, "*.log")
	r.write("a.log", "one\ntw")
	r.start()
	r.ticks(10)
	r.want("a.log", "one")
	r.write("a.log", "o\n")
	r.tick()
	r.want("a.log", "one", "two")
}

func TestStartAtEndIsForFilesThatWereThereAtTheFirstLook(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.StartAtEnd = true
	r.write("old.log", "old\nha")
	r.append("remembered.log", "r1")
	r.start()
	r.tick()
	r.append("new.log", "new")
	r.write("old.log", "lf\n")
	r.tick()
	r.want("old.log", "half")
	r.want("new.log", "new")

	// After a restart the positions count, and not start_at.
	r.stop()
	r.append("old.log", "more")
	r.append("remembered.log", "r2")
	r.append("newer.log", "n")
	r.start()
	r.tick()
	r.append("newer.log", "n2")
	r.tick()
	r.want("old.log", "half", "more")
	r.want("remembered.log", "r2")
	r.want("newer.log", "n2")
}

func TestStartAtEndIsToldToTheCheckpointAtOnce(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.StartAtEnd = true
	r.append("a.log", "1", "2")
	r.start()
	r.tick()
	if len(r.order) != 1 || r.states[r.order[0]].Pos.Offset != 4 {
		t.Fatalf("states %v", r.states)
	}
}

func TestEmptyFileIsToldToTheCheckpoint(t *testing.T) {
	r := newRig(t, "*.log")
	r.write("a.log", "")
	r.start()
	r.tick()
	r.wantFinished("a.log", false)
	r.ticks(3)
	if n := len(r.order); n != 1 {
		t.Errorf("%d generations told, want 1", n)
	}
}

func TestIgnoreOlder(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.IgnoreOlder = time.Hour
	r.append("old.log", "old")
	r.age("old.log", 2*3600)
	r.append("young.log", "young")
	r.start()
	r.tick()
	r.want("young.log", "young")
	r.want("old.log")
	r.append("old.log", "written again")
	r.tick()
	r.want("old.log", "old", "written again")
}

func TestNothingIsReadWithoutDemand(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "1")
	r.start()
	for range 5 {
		r.look()
	}
	if used := r.pool.Used(8 << 20); used != 0 {
		t.Errorf("%d bytes of blocks are held without demand", used)
	}
	if s := r.tl.Stats(); s.UnreadBytes != 2 {
		t.Errorf("%d unread bytes, want 2", s.UnreadBytes)
	}
}

func TestQuietFilesShareABatch(t *testing.T) {
	r := newRig(t, "*.log")
	for i := range 20 {
		r.append(fmt.Sprintf("%02d.log", i), "line")
	}
	r.start()
	r.look()
	b := r.tl.fill(r.now)
	if len(b.Lines) != 20 || len(b.Runs) != 20 || b.Full {
		t.Errorf("%d lines in %d runs, full %v", len(b.Lines), len(b.Runs), b.Full)
	}
	r.receive(b)
	b.Release()
}

func TestBlocksGrowWithTheBacklog(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", seq(strings.Repeat("x", 100), 1, 20000)...)
	r.start()
	r.look()
	var sizes []int
	for b := r.tl.fill(r.now); b != nil; b = r.tl.fill(r.now) {
		sizes = append(sizes, cap(b.Buf))
		if len(b.Buf) > r.cfg.MaxBatchBytes {
			t.Errorf("a batch of %d bytes, more than max_batch_bytes", len(b.Buf))
		}
		r.receive(b)
		b.Release()
	}
	if sizes[0] != smallBlock || slices.Max(sizes) != r.cfg.MaxBatchBytes {
		t.Errorf("block sizes %v", sizes)
	}
	r.append("a.log", "1")
	r.tick()
	r.append("a.log", "2")
	r.look()
	b := r.tl.fill(r.now)
	if cap(b.Buf) != smallBlock {
		t.Errorf("a block of %d bytes for one line", cap(b.Buf))
	}
	r.receive(b)
	b.Release()
}

func TestNoMemoryMeansThatTheReaderWaits(t *testing.T) {
	r := newRig(t, "*.log")
	r.pool = batch.NewPool(0)
	r.cfg.Quota = r.pool.Source(100 << 10)
	r.append("a.log", seq(strings.Repeat("x", 100), 1, 2000)...)
	r.start()
	r.look()
	first := r.tl.fill(r.now)
	if b := r.tl.fill(r.now); b != nil || !r.tl.starved {
		t.Fatalf("a second block of %v, starved %v", b, r.tl.starved)
	}
	r.receive(first)
	first.Release()
	select {
	case <-r.cfg.Quota.Freed():
	default:
		t.Fatal("nobody is told that memory was freed")
	}
	r.drain()
	r.want("a.log", seq(strings.Repeat("x", 100), 1, 2000)...)
	r.pool = batch.NewPool(8 << 20)
}

func TestLongLinesBesideOthers(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.MaxLineBytes = 300 << 10 // more than a batch
	long := strings.Repeat("y", 290<<10)
	r.append("a.log", "1", long, "2", long, "3")
	r.append("b.log", seq("b", 1, 5000)...)
	r.append("c.log", "1", strings.Repeat("z", 3<<20), "2")
	r.start()
	r.ticks(2)
	r.want("a.log", "1", long, "2", long, "3")
	r.want("b.log", seq("b", 1, 5000)...)
	r.want("c.log", "1", "2")
	if r.big != 1 {
		t.Errorf("%d oversize lines, want 1", r.big)
	}
}

func TestEmptyAndNULLinesAreCounted(t *testing.T) {
	r := newRig(t, "*.log")
	r.write("a.log", "1\n\n\x00\x00\n\x00\x002\r\n\n")
	r.start()
	r.tick()
	r.want("a.log", "1", "2")
	if r.skips != [batch.NumSkips]int64{2, 1} || r.nuls != 2 {
		t.Errorf("skipped %v, %d NUL bytes", r.skips, r.nuls)
	}
	r.look()
	if got := r.tl.Stats().NULBytes; got != 2 {
		t.Errorf("stats say %d NUL bytes", got)
	}
}

func TestOnlyRegularFiles(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("secret", "secret")
	r.must(os.Symlink(r.path("secret"), r.path("link.log")))
	r.must(syscall.Mkfifo(r.path("fifo.log"), 0o600))
	r.must(os.Mkdir(r.path("folder.log"), 0o700))
	r.append("a.log", "1")
	r.start()
	r.ticks(2)
	r.wantAll(1)
	var said []string
	for _, e := range r.logs.FilterMessage("not read, since it is no regular file").All() {
		said = append(said, fmt.Sprint(e.ContextMap()["path"], " ", e.ContextMap()["reason"]))
	}
	want := []string{r.path("fifo.log") + " is a FIFO", r.path("link.log") + " is a symbolic link, or lies behind one (see follow_symlinks)"}
	slices.Sort(said)
	if !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
}

// What takes the place of a log that is read is not read, and said each time.
func TestWhatReplacesALogIsSaid(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	const said = "not read, since it is no regular file"
	for i, make := range []func(string) error{
		func(path string) error { return os.Mkdir(path, 0o700) },
		func(path string) error { return syscall.Mkfifo(path, 0o600) },
		func(path string) error { return os.Symlink(r.path("app.log.0"), path) },
	} {
		r.rename("app.log", fmt.Sprintf("app.log.%d", i))
		r.must(make(r.path("app.log")))
		r.ticks(3)
		if n := r.logs.FilterMessage(said).Len(); n != i+1 {
			t.Errorf("said %d times, want %d", n, i+1)
		}
		r.must(os.Remove(r.path("app.log")))
		r.append("app.log", fmt.Sprint(i+2))
		r.ticks(2)
	}
	r.want("app.log", "1", "2", "3", "4")
}

func TestFollowSymlinks(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.FollowSymlinks = true
	r.append("data-1", "1")
	r.must(os.Symlink(r.path("data-1"), r.path("app.log")))
	r.start()
	r.tick()
	r.append("data-1", "2")
	r.append("data-2", "3")
	r.must(os.Remove(r.path("app.log")))
	r.must(os.Symlink(r.path("data-2"), r.path("app.log")))
	r.ticks(8)
	r.want("app.log", "1", "2", "3")
}

func TestTwoNamesOfOneFileShipItOnce(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "1")
	r.must(os.Link(r.path("a.log"), r.path("b.log")))
	r.start()
	r.tick()
	r.append("b.log", "2")
	r.ticks(3)
	r.want("a.log", "1", "2")
	r.wantAll(2)
}

func TestUnreadableFileIsSaidOnceAndTriedAgain(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "1")
	r.append("b.log", "2")
	r.start()
	denied := true
	r.tl.open = func(root *fsid.Root, path string) (*os.File, fsid.Identity, error) {
		if denied && strings.HasSuffix(path, "a.log") {
			return nil, fsid.Identity{}, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
		}
		return fsid.Open(root, path)
	}
	r.ticks(5)
	r.want("b.log", "2")
	if n := r.logs.FilterMessageSnippet("cannot be read").Len(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	if s := r.tl.Stats(); s.Unreadable != 1 || s.OpenErrors < 4 || s.OpenErrors > 6 {
		t.Errorf("%d unreadable, %d errors in 5 looks", s.Unreadable, s.OpenErrors)
	}
	denied = false
	r.tick()
	r.want("a.log", "1")
	r.look()
	if s := r.tl.Stats(); s.Unreadable != 0 {
		t.Errorf("%d unreadable", s.Unreadable)
	}
}

// A rotated file that cannot be opened must not hold up what is written since for ever.
func TestUnreadableRotatedFileLetsNewerLinesPass(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	r.tl.open = func(root *fsid.Root, path string) (*os.File, fsid.Identity, error) {
		if strings.HasSuffix(path, "app.log.1") {
			return nil, fsid.Identity{}, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
		}
		return fsid.Open(root, path)
	}
	r.rename("app.log", "app.log.2")
	r.append("app.log", "2")
	r.rename("app.log", "app.log.1")
	r.append("app.log", "3")
	r.ticks(3)
	r.want("app.log", "1")
	r.ticks(5)
	r.want("app.log", "1", "3")
	r.tl.open = fsid.Open
	r.tick()
	r.want("app.log", "1", "3", "2")
}

func TestIncludeThatMatchesNothingIsSaidOnce(t *testing.T) {
	r := newRig(t, "*.log")
	r.start()
	r.ticks(20)
	if n := r.logs.FilterMessageSnippet("no file matches").Len(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	r.append("a.log", "1")
	r.tick()
	r.want("a.log", "1")
}

func TestCompressedFileOfNoKnownLogIsSkippedWithOneWarning(t *testing.T) {
	r := newRig(t, "*")
	r.append("old.log", "1")
	r.gzip("old.log")
	r.append("x.zst", "1")
	r.start()
	r.ticks(20)
	r.wantAll(0)
	if n := r.logs.FilterMessageSnippet("compressed file is not read").Len(); n != 2 {
		t.Errorf("said %d times, want once a file", n)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	q := batch.NewPool(0).Source(1 << 20)
	for _, cfg := range []Config{
		{Include: []string{"/x/*.log"}},
		{Quota: q},
		{Quota: q, Include: []string{"/x/[.log"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) has no error", cfg)
		}
	}
	if _, err := New(Config{Quota: q, Include: []string{"/x/*.log"}}); err != nil {
		t.Error(err)
	}
}
