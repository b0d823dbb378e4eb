package tailer

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/internal/batch"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// nxadm/tail starts these two once in a process, for good.
		goleak.IgnoreTopFunction("github.com/nxadm/tail/watch.(*InotifyTracker).run"),
		goleak.IgnoreAnyFunction("github.com/fsnotify/fsnotify.(*Watcher).readEvents"),
	)
}

// rig drives the synchronous core of a Tailer over real files with a clock of its own. It stands for
// everything behind the tailer: it takes batches, checks their form, and keeps what a checkpoint
// would hold.
type rig struct {
	t      *testing.T
	dir    string
	cfg    Config
	tl     *Tailer
	now    time.Time
	seen   time.Time // when the tailer was stopped
	pool   *batch.Pool
	logs   *observer.ObservedLogs
	lines  map[string][]string // by path, in the order of arrival
	all    []string            // of all paths
	states map[batch.FileID]*batch.State
	order  []batch.FileID
	skips  [batch.NumSkips]int64
	nuls   int64
	big    int
}

// newRig makes a rig for an include pattern below a fresh folder.
func newRig(t *testing.T, include ...string) *rig {
	t.Helper()
	r := &rig{
		t: t, dir: t.TempDir(), now: time.Now(),
		lines: map[string][]string{}, states: map[batch.FileID]*batch.State{},
	}
	r.pool = batch.NewPool(8 << 20)
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	r.cfg = Config{
		Source: "test", RotateWait: 5 * time.Second, Linger: 5 * time.Millisecond,
		MaxLineBytes: 64 << 10, MaxBatchBytes: 256 << 10, Quota: r.pool.Source(1 << 20), Log: zap.New(core),
		Poll: true,
	}
	for _, p := range include {
		r.cfg.Include = append(r.cfg.Include, filepath.Join(r.dir, p))
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// start makes a Tailer that goes on from what was settled so far.
func (r *rig) start() {
	r.t.Helper()
	r.stop()
	cfg := r.cfg
	for _, id := range r.order {
		s := *r.states[id]
		s.Seen = r.seen
		cfg.Resume = append(cfg.Resume, s)
	}
	tl, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tl = tl
}

func (r *rig) stop() {
	if r.tl == nil {
		return
	}
	r.seen = time.Now()
	l := loop{t: r.tl, timer: time.NewTimer(0)}
	l.end()
	r.tl = nil
	if used := r.pool.Used(8 << 20); used != 0 {
		r.t.Errorf("%d bytes of the pool are still out", used)
	}
}

// tick lets a second pass: one scan, and everything is read that can be.
func (r *rig) tick() {
	r.t.Helper()
	r.look()
	r.drain()
}

// look lets a second pass without any demand.
func (r *rig) look() {
	r.now = r.now.Add(time.Second)
	r.tl.scan(r.now)
}

// ticks lets several seconds pass.
func (r *rig) ticks(n int) {
	r.t.Helper()
	for range n {
		r.tick()
	}
}

// drain takes batches until there are no more.
func (r *rig) drain() {
	r.t.Helper()
	for range 100000 {
		if !r.take() {
			return
		}
	}
	r.t.Fatal("the tailer does not come to an end")
}

// take takes one batch; false when there was nothing to take.
func (r *rig) take() bool {
	r.t.Helper()
	r.tl.poll(r.now)
	b := r.tl.fill(r.now)
	if b == nil {
		return len(r.tl.ready) > 0 && !r.tl.starved
	}
	r.receive(b)
	b.Release()
	return true
}

// receive checks a batch as the shipper and the tracker would, and settles it.
func (r *rig) receive(b *batch.Batch) {
	r.t.Helper()
	next := 0
	for i := range b.Runs {
		run := &b.Runs[i]
		if run.First != next || run.Last < run.First {
			r.t.Fatalf("run %d holds lines %d to %d after %d", i, run.First, run.Last, next)
		}
		next = run.Last
		r.account(run)
		for j := run.First; j < run.Last; j++ {
			line := string(b.Value(j))
			r.lines[run.File.Path] = append(r.lines[run.File.Path], line)
			r.all = append(r.all, line)
		}
	}
	if next != len(b.Lines) {
		r.t.Fatalf("%d lines, but the runs hold %d", len(b.Lines), next)
	}
}

func (r *rig) account(run *batch.Run) {
	r.t.Helper()
	s := r.states[run.File.ID]
	if s == nil {
		s = &batch.State{ID: run.File.ID, Path: run.File.Path, Pos: batch.Pos{Offset: run.Start}}
		r.states[run.File.ID] = s
		r.order = append(r.order, run.File.ID)
	}
	if s.Pos.Offset != run.Start {
		r.t.Fatalf("run of %s starts at %d, the one before ended at %d", run.File.ID, run.Start, s.Pos.Offset)
	}
	s.Pos, s.Finished = run.End, run.Finished
	for i, n := range run.Skipped {
		r.skips[i] += n
	}
	r.nuls += run.NULBytes
	r.big += len(run.Oversize)
	r.tl.Settled(run.File.ID, run.End.Offset)
}

// finished lists the settled generations of a path and whether each is finished.
func (r *rig) finished(name string) (out []bool) {
	for _, id := range r.order {
		if r.states[id].Path == r.path(name) {
			out = append(out, r.states[id].Finished)
		}
	}
	return out
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// append writes lines to a file, as an application with O_APPEND does.
func (r *rig) append(name string, lines ...string) {
	r.t.Helper()
	r.write(name, strings.Join(lines, "\n")+"\n")
}

// write appends bytes as they are.
func (r *rig) write(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	r.must(err)
	_, err = f.WriteString(text)
	r.must(err)
	r.must(f.Close())
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	r.must(os.Rename(r.path(from), r.path(to)))
}

// copytruncate copies a file and then empties it, as logrotate does, with nothing lost in between.
func (r *rig) copytruncate(name, to string) {
	r.t.Helper()
	r.copy(name, to)
	r.must(os.Truncate(r.path(name), 0))
}

func (r *rig) copy(name, to string) {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	r.must(err)
	r.must(os.WriteFile(r.path(to), data, 0o600))
}

// gzip compresses a file as gzip(1) does: the time of the last write is kept, and the file goes.
func (r *rig) gzip(name string) {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	r.must(err)
	fi, err := os.Stat(r.path(name))
	r.must(err)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(data)
	r.must(err)
	r.must(w.Close())
	r.must(os.WriteFile(r.path(name+".gz"), z.Bytes(), 0o600))
	r.must(os.Chtimes(r.path(name+".gz"), fi.ModTime(), fi.ModTime()))
	r.remove(name)
}

func (r *rig) remove(name string) {
	r.t.Helper()
	r.must(os.Remove(r.path(name)))
}

// want checks what has arrived of a path so far.
func (r *rig) want(name string, lines ...string) {
	r.t.Helper()
	got := r.lines[r.path(name)]
	if !slices.Equal(got, lines) {
		r.t.Fatalf("lines of %s:\n got %s\nwant %s\nstate: %s", name, brief(got), brief(lines), r.dump())
	}
}

func brief(lines []string) string {
	if len(lines) > 60 {
		return fmt.Sprintf("%d: %q ... %q", len(lines), lines[:20], lines[len(lines)-20:])
	}
	return fmt.Sprintf("%d: %q", len(lines), lines)
}

// dump describes what the tailer knows, for failures.
func (r *rig) dump() string {
	var s strings.Builder
	if r.tl == nil {
		return "stopped"
	}
	for _, ser := range r.tl.series {
		fmt.Fprintf(&s, "\n  %s:", ser.path)
		for _, g := range ser.gens {
			fmt.Fprintf(&s, "\n    %v", g)
		}
	}
	for _, g := range r.tl.known {
		fmt.Fprintf(&s, "\n  known %v", g)
	}
	for _, e := range r.logs.All() {
		fmt.Fprintf(&s, "\n  log %s %v", e.Message, e.ContextMap())
	}
	return s.String()
}

// seq makes the lines prefix-from to prefix-to.
func seq(prefix string, from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

// age sets a file's time of the last write so many seconds back.
func (r *rig) age(name string, seconds int) {
	r.t.Helper()
	at := time.Now().Add(-time.Duration(seconds) * time.Second)
	r.must(os.Chtimes(r.path(name), at, at))
}

// gzipTo renames a file and compresses it.
func (r *rig) gzipTo(name, to string) {
	r.t.Helper()
	r.rename(name, to)
	r.gzip(to)
}

// open opens a file as an application with O_APPEND holds it.
func (r *rig) open(name string) *os.File {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	r.must(err)
	r.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (r *rig) writeTo(f *os.File, text string) {
	r.t.Helper()
	_, err := f.WriteString(text)
	r.must(err)
}

// wantFinished checks which generations of a path the checkpoint knows, and whether they are finished.
func (r *rig) wantFinished(name string, want ...bool) {
	r.t.Helper()
	if got := r.finished(name); !slices.Equal(got, want) {
		r.t.Fatalf("finished generations of %s: %v, want %v\n%s", name, got, want, r.dump())
	}
}

// wantAll checks how many lines have arrived of all paths.
func (r *rig) wantAll(n int) {
	r.t.Helper()
	if len(r.all) != n {
		r.t.Fatalf("%d lines arrived of all files, want %d: %s\n%s", len(r.all), n, brief(r.all), r.dump())
	}
}

// wantOpen checks how many descriptors are held.
func (r *rig) wantOpen(n int) {
	r.t.Helper()
	if got := len(r.tl.opened); got != n {
		r.t.Fatalf("%d files are open, want %d\n%s", got, n, r.dump())
	}
}

// renameStates moves the birth of all that is remembered, as if the inodes had been other files'.
func (r *rig) renameStates(by int64) {
	for i, id := range r.order {
		s := r.states[id]
		delete(r.states, id)
		id.Birth += by
		s.ID = id
		r.states[id] = s
		r.order[i] = id
	}
}
