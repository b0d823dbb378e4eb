package cut

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"shiplog/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testFile = &batch.File{ID: batch.FileID{Inode: 7}, Path: "/var/log/app.log"}

// outcome is all that came out of a stream, however many calls it took.
type outcome struct {
	Values    []string
	Lines     []batch.Line // Start and End are left out: they depend on the block
	Oversize  []batch.Oversize
	Skipped   [batch.NumSkips]int64
	NULBytes  int64
	End       int64
	Remainder int // bytes that wait for their newline
}

// reference says in the plainest way what a whole stream must give.
func reference(data []byte, opt Options, final bool) outcome {
	var o outcome
	for pos := 0; pos < len(data); {
		next := len(data)
		to := next
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			to = pos + i
			next = to + 1
		} else if !final {
			break
		}
		if to > pos && data[to-1] == '\r' {
			to--
		}
		start := pos
		if pos == 0 && bytes.HasPrefix(data[:to], []byte(bom)) {
			start = 3
		}
		content := bytes.TrimLeft(data[start:to], "\x00")
		o.line(content, opt, pos, to-len(content), next, to-len(content)-start)
		pos = next
		o.End = int64(pos)
	}
	o.Remainder = len(data) - int(o.End)
	// A large hole is passed as soon as content stands behind it.
	if rest := data[o.End:]; !final && len(rest) > 0 {
		lead := len(rest)
		if o.End == 0 {
			rest = bytes.TrimPrefix(rest, []byte(bom))
		}
		bomLen := lead - len(rest)
		content := bytes.TrimLeft(rest, "\x00")
		lead -= len(content)
		if lead > inlineHole && len(bytes.TrimSuffix(content, []byte{'\r'})) > 0 {
			o.End += int64(lead)
			o.Remainder -= lead
			o.NULBytes += int64(lead - bomLen)
		}
	}
	return o
}

func (o *outcome) line(content []byte, opt Options, pos, start, next, nuls int) {
	switch {
	case len(content) == 0 && nuls > 0:
		o.Skipped[batch.SkipNUL]++
		return
	case len(content) == 0:
		o.Skipped[batch.SkipEmpty]++
		return
	}
	o.NULBytes += int64(nuls)
	truncated := len(content) > opt.MaxLineBytes
	if truncated && !opt.Truncate {
		o.Oversize = append(o.Oversize, batch.Oversize{
			Offset: int64(start), Length: int64(len(content)), SHA256: sha256.Sum256(content),
			Head: content[:min(len(content), 4096)],
		})
		return
	}
	if start-pos > inlineHole {
		pos = start
	}
	o.Values = append(o.Values, string(content[:min(len(content), opt.MaxLineBytes)]))
	o.Lines = append(o.Lines, batch.Line{Offset: int64(pos), Length: uint32(next - pos), Truncated: truncated})
}

// add takes what one batch holds and checks that its runs go on without a gap.
func (o *outcome) add(t failer, b *batch.Batch) {
	t.Helper()
	next := 0
	for _, run := range b.Runs {
		if run.Start != o.End || run.End.Offset <= run.Start {
			t.Fatalf("run [%d,%d) does not go on at %d", run.Start, run.End.Offset, o.End)
		}
		if run.First != next || run.Last < run.First {
			t.Fatalf("run has lines [%d:%d), want it to begin at %d", run.First, run.Last, next)
		}
		next = run.Last
		for i := run.First; i < run.Last; i++ {
			l := b.Lines[i]
			if l.Offset < run.Start || l.Offset+int64(l.Length) > run.End.Offset {
				t.Fatalf("line [%d,+%d) outside of its run [%d,%d)", l.Offset, l.Length, run.Start, run.End.Offset)
			}
			o.Values = append(o.Values, string(b.Value(i)))
			l.Start, l.End = 0, 0
			o.Lines = append(o.Lines, l)
		}
		o.Oversize = append(o.Oversize, run.Oversize...)
		for i, n := range run.Skipped {
			o.Skipped[i] += n
		}
		o.NULBytes += run.NULBytes
		o.End = run.End.Offset
	}
	if next != len(b.Lines) {
		t.Fatalf("%d lines in the batch, %d in its runs", len(b.Lines), next)
	}
}

// newBatch is a block of its own, without a pool.
func newBatch(size int) *batch.Batch { return &batch.Batch{Buf: make([]byte, 0, size)} }

// drain cuts until the end of the file is reached, with blocks of that size, larger where one is asked for.
func drain(t failer, c *Cutter, r io.ReaderAt, size int, final bool) outcome {
	t.Helper()
	o := outcome{End: c.Offset()}
	want := size
	for range 200_000 {
		b := newBatch(want)
		res, err := c.Fill(r, b, want, final)
		if err != nil {
			t.Fatalf("Fill at %d: %v", c.Offset(), err)
		}
		o.add(t, b)
		if want = size; res.Need > 0 {
			if res.Need > c.opt.BlockBytes() {
				t.Fatalf("asks for %d bytes, more than BlockBytes %d", res.Need, c.opt.BlockBytes())
			}
			want = res.Need
		}
		if res.AtEOF {
			o.Remainder = int(res.Partial)
			return o
		}
		if !res.More && res.Need == 0 {
			t.Fatalf("neither at the end nor more to do: %+v", res)
		}
	}
	t.Fatal("no end")
	return o
}

// diff compares what came out with the reference.
func diff(want, got outcome) string { return cmp.Diff(want, got) }

// failer is a *testing.T, *testing.B or *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
