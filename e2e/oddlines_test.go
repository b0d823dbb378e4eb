//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// memoryBound is what shiplog may have held at its peak, whatever its files hold.
const memoryBound = 60 << 20

// decorated appends a numbered line with something before it, and another end.
func (w *writer) decorated(before, end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.file.WriteString(before + strings.TrimSuffix(string(numbered(w.source, w.written)), "\n") + end)
	w.check(err)
	w.written++
}

// odd counts the lines of one file that are no numbered ones.
type odd struct {
	skipped int
	refused int   // no JSON, or too long: into the failure log, or dropped under async
	bytes   int64 // of the refused ones
}

// writeOdd writes lines as they should not be, with numbered ones between them.
func writeOdd(w *writer, long, empty int) (o odd) {
	r := rand.New(rand.NewPCG(1, uint64(len(w.source))))
	refuse := func(line []byte) {
		w.raw(append(line, '\n'))
		o.refused++
		o.bytes += int64(len(line)) + 1
	}
	w.write(500)
	w.raw(bytes.Repeat([]byte("\n"), empty))
	w.write(100)
	w.raw(bytes.Repeat([]byte("\x00\x00\x00\x00\x00\x00\x00\n"), 1000))
	o.skipped = empty + 1000
	for range 100 {
		w.decorated("", "\r\n")
		w.decorated(strings.Repeat("\x00", 1+r.IntN(5000)), "\n")
	}
	refuse([]byte("{\"text\":\"NUL \x00 within\"}"))
	refuse([]byte("\xff\xfe no UTF-8 \xc3\x28"))
	for range 500 {
		garbage := make([]byte, 1+r.IntN(3000))
		for i := range garbage {
			garbage[i] = byte(r.Uint32())
		}
		garbage = bytes.ReplaceAll(garbage, []byte("\n"), []byte("\x01"))
		refuse(append([]byte("\x80"), garbage...))
		w.write(1)
	}
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range long {
		w.raw(chunk)
	}
	w.raw([]byte("\n"))
	o.refused++
	o.bytes += int64(long)<<20 + 1
	w.write(500)
	return o
}

// TestOddLines lets each source read, beside its numbered lines, what a crash, a disk or a wrong program leaves
// in a log.
func TestOddLines(t *testing.T) {
	t.Parallel()
	long, empty := pick(256, 1024), pick(200_000, 2_000_000)
	s := newScene(t, fmt.Sprintf("a line of %d MiB, %d empty ones, NUL bytes, CRLF, no UTF-8, binary garbage", long, empty),
		spec{source: "on_invalid_json: fail"})
	s.start()
	odds := map[string]odd{}
	for _, src := range s.sources {
		mib := long
		if src.name != "callback" {
			mib /= 8
		}
		odds[src.name] = writeOdd(src.w, mib, empty)
	}
	for _, src := range s.sources {
		until(t, "all numbered lines of "+src.name, func() bool { return src.topic.ends() >= int64(src.w.count()) })
	}
	peak := s.d.peakMemory()
	if peak > memoryBound {
		t.Errorf("shiplog held %d MiB at its peak, want at most %d", peak>>20, memoryBound>>20)
	}
	s.drain()
	for _, src := range s.sources {
		o, a := odds[src.name], s.d.account(src.name)
		may := allowed{note: fmt.Sprintf("%d skipped, %d refused; peak %d MiB", o.skipped, o.refused, peak>>20)}
		if src.mode == "async" {
			may.gone = o.bytes
			may.lost = int(a.number("sent_unconfirmed"))
			wantCount(t, src.name+": dropped", a.total("dropped"), o.refused)
		} else {
			may.kept = o.refused
			classes := s.failures(src.name)
			wantCount(t, src.name+": in the failure log", a.number("failure_logged"), o.refused)
			wantCount(t, src.name+": too long", int64(classes["oversize"]), 1)
			wantCount(t, src.name+": no JSON", int64(classes["invalid_json"]), o.refused-1)
		}
		wantCount(t, src.name+": skipped", a.total("skipped"), o.skipped)
		s.reckon(src, may)
	}
}

// TestLogReplaced puts something else in the place of each log while its application writes on to the renamed
// file, and in the end a file again. The last source is left alone and must not notice.
func TestLogReplaced(t *testing.T) {
	t.Parallel()
	s := newScene(t, "the log replaced by a folder, a FIFO, a symbolic link to /etc/shadow, a socket", spec{
		modes: []string{"sync", "callback", "async", "leader"}, rate: 1500})
	s.start()
	s.write()
	s.remembered()
	replaced, calm := s.sources[:3], s.sources[3]
	for i, thing := range things {
		for _, src := range replaced {
			src.w.away()
			if err := thing.put(src.w.path); err != nil {
				t.Fatalf("%s: %v", thing.name, err)
			}
		}
		for _, src := range replaced {
			until(t, "word of "+thing.name+" at "+src.w.path, func() bool {
				for _, e := range s.d.log("not read, since it is no regular file") {
					if e.text("path") == src.w.path && strings.Contains(e.text("reason"), thing.name) {
						return true
					}
				}
				return false
			})
		}
		calm.topic.grows(500)
		s.flowing(100) // what the applications write to the renamed files
		for _, src := range replaced {
			if err := os.Remove(src.w.path); err != nil {
				t.Fatal(err)
			}
			src.w.back()
		}
		s.flowing(500)
		if n := len(s.d.log("not read, since it is no regular file")); n != (i+1)*len(replaced) {
			t.Errorf("after %s: said %d times that something is no regular file, want %d", thing.name, n, (i+1)*len(replaced))
		}
	}
	if peak := s.d.peakMemory(); peak > memoryBound {
		t.Errorf("shiplog held %d MiB at its peak, want at most %d", peak>>20, memoryBound>>20)
	}
	s.drain()
	for _, src := range s.sources {
		if a := s.d.account(src.name); a.number("read") != int64(src.w.count()) {
			t.Errorf("%s: %d lines read, want %d", src.name, a.number("read"), src.w.count())
		}
		s.reckon(src, allowed{lost: s.unconfirmed(src)})
	}
}

// things is what may stand where a log was, each as shiplog calls it.
var things = []struct {
	name string
	put  func(path string) error
}{
	{"directory", func(path string) error { return os.Mkdir(path, 0o755) }},
	{"FIFO", func(path string) error { return syscall.Mkfifo(path, 0o644) }},
	{"symbolic link", func(path string) error { return os.Symlink("/etc/shadow", path) }},
	{"socket", func(path string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	}},
}

// away renames the file; the application writes on to it.
func (w *writer) away() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rotations++
	w.check(os.Rename(w.path, fmt.Sprintf("%s.%03d", w.path, w.rotations)))
}

// back lets the application open its file anew.
func (w *writer) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open()
}
