package cut

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math"
	"runtime"
	"testing"

	"shiplog/internal/batch"
)

// endless is a stream that holds only one kind of byte up to size, and then tail.
type endless struct {
	fill byte
	size int64
	tail string
	read int64
	page []byte
}

func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	if len(e.page) < len(p) {
		e.page = bytes.Repeat([]byte{e.fill}, len(p))
	}
	n := 0
	if off < e.size {
		n = copy(p, e.page[:min(int64(len(p)), e.size-off)])
	}
	if n < len(p) {
		if at := off + int64(n) - e.size; at < int64(len(e.tail)) {
			n += copy(p[n:], e.tail[at:])
		}
	}
	e.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestAFillDoesABoundedAmountOfWork(t *testing.T) {
	for _, fill := range []byte{'x', 0} {
		e := &endless{fill: fill, size: 40 << 20, tail: "\nend\n"}
		c := New(Options{MaxLineBytes: 1 << 20}, testFile, batch.Pos{})
		b := newBatch(64 << 10)
		for calls := 0; ; calls++ {
			before := e.read
			res, err := c.Fill(e, b, 64<<10, false)
			if err != nil {
				t.Fatal(err)
			}
			if e.read-before > maxWork+maxWork/8 {
				t.Fatalf("one call read %d bytes", e.read-before)
			}
			if res.AtEOF {
				if calls < 10 {
					t.Errorf("only %d calls", calls)
				}
				break
			}
		}
		if e.read > e.size+e.size/16 {
			t.Errorf("read %d bytes of a file of %d", e.read, e.size)
		}
		if len(b.Lines) != 1 || string(b.Value(0)) != "end" || cap(b.Buf) != 64<<10 {
			t.Errorf("%d lines in %d bytes", len(b.Lines), cap(b.Buf))
		}
		over := len(b.Runs[0].Oversize)
		if fill == 'x' && (over != 1 || b.Runs[0].Oversize[0].Length != e.size) || fill == 0 && over != 0 {
			t.Errorf("fill %q: runs %+v", fill, b.Runs)
		}
	}
}

func TestASlowlyGrowingLineIsReadOnce(t *testing.T) {
	const steps, step = 2000, 500
	e := &endless{fill: 'x'}
	c := New(Options{MaxLineBytes: 2 << 20}, testFile, batch.Pos{})
	b := newBatch(2 << 20)
	for range steps {
		e.size += step
		if res, err := c.Fill(e, b, cap(b.Buf), false); err != nil || !res.AtEOF || res.Partial != e.size {
			t.Fatalf("got %+v, %v", res, err)
		}
	}
	if limit := int64(steps * (step + 2*batch.FingerprintBytes)); e.read > limit {
		t.Errorf("read %d bytes of a line of %d", e.read, e.size)
	}
	e.tail = "\n"
	if _, err := c.Fill(e, b, cap(b.Buf), false); err != nil || len(b.Lines) != 1 || len(b.Value(0)) != steps*step {
		t.Errorf("%v, %d lines", err, len(b.Lines))
	}
}

// raceEnabled says that the race detector is on.
var raceEnabled bool

// Lines and holes of gigabytes pass in constant memory, with the right numbers, also beyond 4 GiB.
func TestGigabytesAreConstantMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("reads gigabytes; the race detector makes that slow, and drops pooled memory on purpose")
	}
	const five, one = int64(5 << 30), int64(1 << 30)
	tests := []struct {
		name     string
		fill     byte
		size     int64
		truncate bool
		check    func(b *batch.Batch) bool
	}{
		{"a hole", 0, five, false, func(b *batch.Batch) bool {
			return b.Runs[0].NULBytes == five && string(b.Value(0)) == "next" && b.Lines[0].Offset == five
		}},
		{"a truncated line", 'x', five, true, func(b *batch.Batch) bool {
			l := b.Lines[0]
			return l.Truncated && l.Length == math.MaxUint32 && len(b.Value(0)) == 1000 && b.Runs[0].End.Offset == five+5
		}},
		{"an oversize line", 'x', one, false, func(b *batch.Batch) bool {
			o, sum := b.Runs[0].Oversize[0], sha256.New()
			for range one >> 20 {
				sum.Write(bytes.Repeat([]byte{'x'}, 1<<20))
			}
			sum.Write([]byte("next"))
			return o.Length == one+4 && bytes.Equal(o.SHA256[:], sum.Sum(nil)) && len(o.Head) == 4096
		}},
	}
	for _, tt := range tests {
		e := &endless{fill: tt.fill, size: tt.size, tail: "next\nlast\n"}
		c := New(Options{MaxLineBytes: 1000, Truncate: tt.truncate}, testFile, batch.Pos{})
		b := newBatch(64 << 10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for res := (Result{}); !res.AtEOF; {
			var err error
			if res, err = c.Fill(e, b, 64<<10, false); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%s: %d bytes allocated", tt.name, got)
		}
		if !tt.check(b) || c.Offset() != tt.size+10 || string(b.Value(len(b.Lines)-1)) != "last" {
			t.Errorf("%s: lines %+v, runs %+v", tt.name, b.Lines, b.Runs)
		}
	}
}
