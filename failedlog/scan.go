package failedlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"shiplog/internal/fsx"
)

const (
	readChunk = 256 << 10
	// maxLine bounds the memory that one line may take. What is longer was not written by us.
	maxLine = 256 << 20
)

var errLineTooLong = fmt.Errorf("not a record: the line is longer than %d MiB", maxLine>>20)

// line is one line of a file: its bytes without the newline (valid until the next one is read), its
// number (from 1) and where it lies, newline included.
type line struct {
	bytes    []byte
	no       int
	from, to int64
	whole    bool // ended by a newline
	tooLong  bool // bytes is empty
}

// lines reads a file line by line in bounded memory.
type lines struct {
	f    io.ReaderAt
	max  int
	buf  []byte
	pos  int64 // of the file, behind buf
	from int64 // of the next line
	at   int   // of the next line in buf
	no   int
	eof  bool
}

// newLines reads f, of about that size.
func newLines(f io.ReaderAt, size int64, limit int) *lines {
	chunk := min(max(size+1, 4<<10), readChunk)
	return &lines{f: f, max: limit, buf: make([]byte, 0, chunk)}
}

// next gives the next line, or io.EOF.
func (l *lines) next() (line, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.at+searched:], '\n'); i >= 0 {
			return l.take(searched+i, 1), nil
		}
		searched = len(l.buf) - l.at
		if l.eof {
			if searched == 0 {
				return line{}, io.EOF
			}
			return l.take(searched, 0), nil
		}
		if searched > l.max {
			return l.skip()
		}
		if err := l.fill(); err != nil {
			return line{}, err
		}
	}
}

func (l *lines) take(n, newline int) line {
	l.no++
	out := line{bytes: l.buf[l.at : l.at+n : l.at+n], no: l.no, from: l.from, whole: newline == 1}
	l.at += n + newline
	l.from += int64(n + newline)
	out.to = l.from
	if n > l.max {
		out.bytes, out.tooLong = nil, true
	}
	return out
}

// fill reads on, and makes room for it: the start of buf is given up, and buf grows when a line
// takes it whole.
func (l *lines) fill() error {
	if l.at > 0 {
		l.buf = l.buf[:copy(l.buf, l.buf[l.at:])]
		l.at = 0
	}
	if len(l.buf) == cap(l.buf) {
		l.buf = append(make([]byte, 0, 2*cap(l.buf)), l.buf...)
	}
	return l.read()
}

func (l *lines) read() error {
	n, err := l.f.ReadAt(l.buf[len(l.buf):cap(l.buf)], l.pos)
	l.buf, l.pos = l.buf[:len(l.buf)+n], l.pos+int64(n)
	if errors.Is(err, io.EOF) {
		l.eof, err = true, nil
	}
	return err
}

// skip passes over a line that is too long, without keeping it.
func (l *lines) skip() (line, error) {
	l.no++
	out := line{no: l.no, from: l.from, tooLong: true}
	for {
		rest := l.buf[l.at:]
		i := bytes.IndexByte(rest, '\n')
		if i >= 0 || l.eof {
			n := len(rest)
			if i >= 0 {
				n, out.whole = i+1, true
			}
			l.at += n
			l.from += int64(n)
			out.to = l.from
			return out, nil
		}
		l.from += int64(len(rest))
		l.buf, l.at = l.buf[:0], 0
		if err := l.read(); err != nil {
			return line{}, err
		}
	}
}

// openSegment opens a segment to read it, also when it has changed its state since it was listed.
func openSegment(fsys fsx.FS, s Segment) (fsx.File, error) {
	for _, state := range []State{s.State, StateSealed, StateClaimed, s.State} {
		f, err := fsys.OpenFile(s.in(state), os.O_RDONLY)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open segment: %w", err)
		}
	}
	return nil, fmt.Errorf("open segment %s: %w", s.Path(), fs.ErrNotExist)
}

// Entry is one line of a segment.
type Entry struct {
	Segment Segment
	Line    int    // from 1
	Raw     []byte // the line itself; valid only during the call, empty when it is far too long
	Record  Record
	// Err says why the line is no record; Record is empty then.
	Err error

	from, to int64
}

// Read calls fn for each line of a segment that is not done, in order. Of a segment that is being
// written it reads the whole lines. It ends at the first error of fn and returns that. Memory stays
// within a line or two. A segment that was removed since it was listed gives fs.ErrNotExist.
func Read(fsys fsx.FS, s Segment, fn func(*Entry) error) error {
	f, err := openSegment(fsys, s)
	if err != nil {
		return err
	}
	done, err := readDone(fsys, s, f)
	if err == nil {
		err = scan(f, s, done, fn)
	}
	return errors.Join(err, f.Close())
}

// scan is Read on an open file. fn may add to the set that done was taken from.
func scan(f io.ReaderAt, s Segment, done spans, fn func(*Entry) error) error {
	done = slices.Clone(done)
	ls := newLines(f, s.Size, maxLine)
	for {
		l, err := ls.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read segment %s: %w", s.Path(), err)
		}
		if !l.whole && s.growing() {
			return nil // its writer is in the middle of it
		}
		if done.has(l.from) {
			continue
		}
		e := Entry{Segment: s, Line: l.no, Raw: l.bytes, from: l.from, to: l.to}
		if e.Record, e.Err = ParseRecord(l.bytes); l.tooLong {
			e.Err = errLineTooLong
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
}
