package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// lineBytes is the length of a numbered line, newline included: all are equal, so that a line's place in
// its file follows from its number.
const lineBytes = 200

// numbered gives line n of a source. What it holds follows from n, so that what arrived can be compared
// byte by byte.
func numbered(source string, n int) []byte {
	b := make([]byte, 0, lineBytes)
	b = fmt.Appendf(b, `{"seq":"%09d","source":%q,"level":"info","message":"order accepted","check":"%016x","pad":"`, n, source, uint64(n)*0x9E3779B97F4A7C15)
	for i := len(b); i < lineBytes-3; i++ {
		b = append(b, byte('a'+(n+i)%26))
	}
	return append(b, "\"}\n"...)
}

// number reads a record's line number, and says whether it is that line of that source, byte by byte.
func number(source string, value []byte) (n int, ok bool) {
	if len(value) < 17 {
		return 0, false
	}
	for _, c := range value[8:17] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	want := numbered(source, n)
	return n, string(want[:len(want)-1]) == string(value)
}

// writer is an application that writes numbered lines to a file at a steady rate, and a rotator beside
// it. Its methods may be called at once.
type writer struct {
	t      *testing.T
	source string
	path   string
	rate   int // lines/s

	mu      sync.Mutex // held while the application writes; the rotator takes it to switch files
	file    *os.File
	written int // lines
	streams []stream

	rotations int
	stop      chan struct{}
	done      chan struct{}
}

// stream is one file's worth of lines: what was written between an open and the next.
type stream struct {
	inode uint64
	first int // the number of its first line
}

// newWriter opens the file. begin starts to write at the rate; write writes at once.
func newWriter(t *testing.T, path, source string, rate int) *writer {
	t.Helper()
	w := &writer{t: t, source: source, path: path, rate: rate}
	w.open()
	t.Cleanup(func() {
		w.end()
		w.check(w.file.Close())
	})
	return w
}

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
	w.streams = append(w.streams, stream{inode: inode(w.t, w.path), first: w.written})
}

func (w *writer) check(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

// begin starts to write at the writer's rate, until end.
func (w *writer) begin() {
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	go w.loop(w.stop, w.done)
}

// end stops to write; it may be called again.
func (w *writer) end() {
	if w.stop != nil {
		close(w.stop)
		<-w.done
		w.stop = nil
	}
}

func (w *writer) loop(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, owed := time.Now(), 0.0
	cut := rand.New(rand.NewPCG(uint64(w.rate), uint64(len(w.source))))
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			now := time.Now()
			owed = min(owed+now.Sub(last).Seconds()*float64(w.rate), float64(w.rate)/5) // what a slow machine held up is not made good
			last = now
			w.lines(int(owed), cut)
			owed -= float64(int(owed))
		}
	}
}

// write appends so many lines at once.
func (w *writer) write(lines int) { w.lines(lines, nil) }

// lines appends lines; with cut, in a few writes that may end in the middle of one.
func (w *writer) lines(lines int, cut *rand.Rand) {
	buf := make([]byte, 0, lines*lineBytes)
	w.mu.Lock()
	defer w.mu.Unlock()
	for range lines {
		buf = append(buf, numbered(w.source, w.written)...)
		w.written++
	}
	for len(buf) > 0 {
		n := len(buf)
		if cut != nil {
			n = 1 + cut.IntN(n)
		}
		_, err := w.file.Write(buf[:n])
		w.check(err)
		buf = buf[n:]
	}
}

// raw appends bytes that are no numbered lines.
func (w *writer) raw(data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.file.Write(data)
	w.check(err)
}

// count is how many lines were written.
func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// rotate renames the file and opens a new one, as an application with a rotator of its own does.
func (w *writer) rotate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rotations++
	w.check(os.Rename(w.path, fmt.Sprintf("%s.%03d", w.path, w.rotations)))
	w.open()
}
