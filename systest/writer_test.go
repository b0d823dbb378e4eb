//go:build linux

package systest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lineBytes is the length of a written line, newline included: all are equal, so that a line's place
// follows from its number.
const lineBytes = 120

// line gives line n. What it holds follows from n, so that what arrived can be compared byte by byte.
func line(n int) []byte {
	head := fmt.Sprintf(`{"seq":"%09d","level":"info","message":"order accepted","check":"%016x","pad":"`, n, uint64(n)*0x9E3779B97F4A7C15)
	b := make([]byte, 0, lineBytes)
	b = append(b, head...)
	for len(b) < lineBytes-3 {
		b = append(b, byte('a'+(n+len(b))%26))
	}
	return append(b, "\"}\n"...)
}

// number reads a record's line number, and says whether it is that line, byte by byte.
func number(value []byte) (int, bool) {
	var n int
	if len(value) < 17 {
		return 0, false
	}
	for _, c := range value[8:17] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	want := line(n)
	return n, string(want[:len(want)-1]) == string(value)
}

// stream is one file's worth of lines: what the writer wrote between an open or a truncation and the
// next.
type stream struct {
	node  string // device, inode and birth as shiplog writes them in a file's id
	gzip  string // the same of its compressed form; shiplog may have met that first
	name  string // what it was rotated to
	first int    // the number of its first line
	busy  bool   // it was copied and truncated while the application wrote on
}

// writer is an application that writes lines to a file at a steady rate, opened with O_APPEND, and a
// rotator beside it.
type writer struct {
	t    *testing.T
	path string
	rand *rand.Rand
	rate int

	mu      sync.Mutex // held while the application writes; the rotator takes it to switch files
	file    *os.File
	written int // lines
	streams []stream

	rotations int // names given to rotated files
	// exposed are the lines that were written between the end of a copy and the truncation behind it:
	// all that copytruncate itself can lose.
	exposed map[int]bool

	paused sync.Mutex // held while the application pauses
	stop   chan struct{}
	done   chan struct{}
}

// newWriter opens the file. begin starts it.
func newWriter(t *testing.T, path string, rate int, seed uint64) *writer {
	t.Helper()
	w := &writer{t: t, path: path, rate: rate, rand: rand.New(rand.NewPCG(seed, 1)), exposed: map[int]bool{},
		stop: make(chan struct{}), done: make(chan struct{})}
	w.open()
	return w
}

// open makes the file anew, as an application does when its file was rotated away.
func (w *writer) open() {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		w.t.Error(err)
		return
	}
	if w.file != nil {
		w.check(w.file.Close())
	}
	w.file = f
	w.streams = append(w.streams, stream{node: w.node(w.path), first: w.written})
}

// node gives a file's device, inode and birth.
func (w *writer) node(path string) string {
	var st unix.Statx_t
	w.check(unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st))
	birth := st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	return fmt.Sprintf("%x-%x-%x", unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, birth)
}

func (w *writer) check(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

// begin starts to write; the function it returns ends it, and must be called once.
func (w *writer) begin() (end func()) {
	go w.loop()
	return func() {
		close(w.stop)
		<-w.done
		w.mu.Lock()
		defer w.mu.Unlock()
		w.check(w.file.Close())
	}
}

func (w *writer) loop() {
	defer close(w.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, owed := time.Now(), 0.0
	cut := rand.New(rand.NewPCG(uint64(w.rate), 2))
	for {
		select {
		case <-w.stop:
			return
		case now := <-tick.C:
			w.paused.Lock()
			owed = min(owed+now.Sub(last).Seconds()*float64(w.rate), float64(w.rate)/10) // what a pause held up is not made good
			last = now
			w.write(int(owed), cut)
			owed -= float64(int(owed))
			w.paused.Unlock()
		}
	}
}

// write appends lines, in a few writes that may end in the middle of one.
func (w *writer) write(lines int, cut *rand.Rand) {
	var buf []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for range lines {
		buf = append(buf, line(w.written)...)
		w.written++
	}
	for len(buf) > 0 {
		n := 1 + cut.IntN(len(buf))
		_, err := w.file.Write(buf[:n])
		w.check(err)
		buf = buf[n:]
	}
}

// pause stops the application until the function it returns is called.
func (w *writer) pause() (resume func()) {
	w.paused.Lock()
	return w.paused.Unlock
}

// lines is how many lines were written.
func (w *writer) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// state gives the files so far, and how many lines were written.
func (w *writer) state() ([]stream, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.streams), w.written
}

// aside gives the next name for a rotated file.
func (w *writer) aside() string {
	w.rotations++
	return fmt.Sprintf("%s.%03d", w.path, w.rotations)
}

// rename moves the file aside; the application goes on to write to it for a moment, then opens a new
// one.
func (w *writer) rename(linger time.Duration) string {
	to := w.aside()
	w.check(os.Rename(w.path, to))
	if linger > 0 {
		pass(linger)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[len(w.streams)-1].name = filepath.Base(to)
	w.open()
	return to
}

// compress renames, then puts a .gz in the place of the renamed file, as logrotate does: with the
// time of the last write kept.
func (w *writer) compress(linger time.Duration) {
	from := w.rename(linger)
	w.check(gzipFile(from, from+".gz"))
	w.mu.Lock()
	w.streams[len(w.streams)-2].gzip = w.node(from + ".gz")
	w.mu.Unlock()
	w.check(os.Remove(from))
}

func gzipFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, in)
	err = errors.Join(err, z.Close(), out.Close())
	st, serr := in.Stat()
	if err = errors.Join(err, serr); err != nil {
		return err
	}
	return os.Chtimes(to, st.ModTime(), st.ModTime())
}

// copyTruncate copies the file aside and truncates it. With still, the application pauses meanwhile;
// else it writes on, and what it writes between the copy's end and the truncation, gap later, is noted in
// exposed.
func (w *writer) copyTruncate(still bool, gap time.Duration) {
	if still {
		defer w.pause()()
	}
	to := w.aside()
	copied, err := copyFile(w.path, to)
	w.check(err)
	pass(gap)
	w.mu.Lock() // over the truncation alone, so that what it takes away is known exactly
	defer w.mu.Unlock()
	now := &w.streams[len(w.streams)-1]
	now.name, now.busy = filepath.Base(to), !still
	// The writer holds mu over whole ticks: at this moment the file ends with a whole line.
	for n := now.first + int(copied/lineBytes); n < w.written; n++ {
		w.exposed[n] = true
	}
	w.check(os.Truncate(w.path, 0))
	w.streams = append(w.streams, stream{node: now.node, first: w.written})
}

func copyFile(from, to string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}

// logPath is the file that a place's application writes.
func (p *place) logPath() string { return filepath.Join(p.logs, "app.log") }

// append writes lines at once, without a loop that writes.
func (w *writer) append(lines int) { w.write(lines, w.rand) }
