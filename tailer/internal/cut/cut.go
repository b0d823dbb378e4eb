// Package cut turns the byte stream of one file generation into lines. In comes an io.ReaderAt (the
// open file, or a Gzip around a compressed form of it), out come Runs of a batch.Batch: one Run a
// call, in bounded memory, with the position after it. The package knows nothing of names, rotation
// or open files; who calls it decides which stream carries a generation and when one ends.
//
// What is a line: the bytes up to a newline, or, when the stream is final, up to its end. One carriage
// return before that end, NUL bytes before the content (the hole that copytruncate leaves under a
// writer without O_APPEND) and a UTF-8 byte order mark at offset 0 are taken away.
//
// The map: cut.go is the way of a call, block.go cuts a block that was read, half.go looks for the end
// of a line that no block held, mark.go recognises the stream, gzip.go carries a compressed one.
package cut

import (
	"errors"
	"io"

	"shiplog/internal/batch"
)

// ErrChanged says that the bytes before the position are no longer those that were read: the file
// was truncated, and perhaps written anew. What stands there now is another generation.
var ErrChanged = errors.New("the bytes before the offset have changed")

const (
	// maxWork is how many bytes one Fill reads while it looks for a line's end, so that the goroutine
	// that owns all files stays responsive whatever one of them holds.
	maxWork = 4 << 20
	// inlineHole is the longest run of bytes before a line's content (NULs, byte order mark) that is
	// counted to the line. A longer one is passed on its own: it may be gigabytes.
	inlineHole = 4096
	// oversizeHead is how many bytes of an oversize line are kept.
	oversizeHead = 4096
)

const bom = "\xef\xbb\xbf"

var (
	newline = []byte{'\n'}
	zeros   [batch.FingerprintBytes]byte
)

// Options say how a stream is cut.
type Options struct {
	// MaxLineBytes is the longest line that is read into memory, without its line end.
	MaxLineBytes int
	// Truncate ships the first MaxLineBytes of a longer line instead of recording it as Oversize.
	Truncate bool
	// MaxLines bounds the lines of one batch; 0 is no bound.
	MaxLines int
}

// BlockBytes is the size of a block that is large enough for every line: Result.Need never asks for
// more. A source's reserve must hold it.
func (o Options) BlockBytes() int {
	const endOfFile = 1 // to see that the file ends, one byte more is asked for than it has
	return batch.FingerprintBytes + inlineHole + o.MaxLineBytes + len("\r\n") + endOfFile
}

// Result says what a Fill did and what is left to do.
type Result struct {
	// Consumed is how many bytes of the stream the run covers; 0 when there is no run.
	Consumed int64
	// More says that there is more to do at once: another block, or the rest of a long line.
	More bool
	// AtEOF says that everything up to the end of the file was looked at.
	AtEOF bool
	// Need, when not 0, says that the next line does not fit in this block: come back with an empty
	// batch whose block, and with a limit that, has at least so many bytes. It is never more than
	// Options.BlockBytes.
	Need int
	// Partial is how many bytes of an unfinished line wait after the position.
	Partial int64
}

// Cutter cuts one generation. It holds the position, and the bytes that recognise the stream there;
// it holds no block and no file, so an idle one costs about 2 KiB. One goroutine may use it at a time.
type Cutter struct {
	opt      Options
	file     *batch.File
	from     batch.Pos // where it was started, until verified
	verified bool

	off      int64  // where the next unread line starts
	head     []byte // the stream's first bytes, until there are enough of them and headSum is taken
	headSum  uint64
	headDone bool
	tail     []byte // the last bytes before off, at most FingerprintBytes
	half     half   // what is known of the line at off
}

// New starts a cutter at a position; the zero Pos is the beginning. At another position Verify checks
// the stream; the first Fill does it when nobody did before.
func New(opt Options, file *batch.File, at batch.Pos) *Cutter {
	c := &Cutter{opt: opt, file: file, from: at, off: at.Offset, verified: at.Offset == 0}
	c.half.end = c.off
	return c
}

// Offset is where the next unread line starts.
func (c *Cutter) Offset() int64 { return c.off }

// Partial is how many bytes of an unfinished line were seen after the offset.
func (c *Cutter) Partial() int64 { return c.half.end - c.off }

// Fill appends at most one Run with its lines to b: what can be read now, in at most limit bytes of
// what b.Buf has free, after a bounded amount of reading. final says that nothing more will be
// written: a half line at the end of the file is then shipped as it is. A run without lines moves the
// position over what was skipped.
//
// ErrChanged asks for a new generation; any other error is the reader's own, and the call may be
// repeated. With an error nothing was appended.
func (c *Cutter) Fill(r io.ReaderAt, b *batch.Batch, limit int, final bool) (Result, error) {
	if !c.verified {
		if err := c.Verify(r); err != nil {
			return Result{}, err
		}
	}
	if c.fullOf(b.Lines) {
		return Result{More: true}, nil
	}
	if c.half.end == c.off {
		res, err := c.block(r, b, limit, 0, final)
		if err != nil || res.Consumed > 0 || res.AtEOF {
			return res, err
		}
		// Not one line end in the block, or no room in it: look for the end without one.
	}
	return c.long(r, b, limit, final)
}

// long goes on with a line whose end is not known: it looks for it, and then the line is shipped if it
// fits, and recorded if it is too long for any block.
func (c *Cutter) long(r io.ReaderAt, b *batch.Batch, limit int, final bool) (Result, error) {
	found, err := c.search(r, final)
	if err != nil {
		return Result{}, err
	}
	switch found {
	case foundChange:
		// What was seen of the line is no longer there, and nothing of it was shipped: look again from
		// its start. The bytes before it tell whether it is still the same stream.
		c.forget()
		return Result{More: true}, nil
	case foundNothing:
		return Result{More: true, Partial: c.Partial()}, nil
	case foundEOF:
		if !final || c.Partial() == 0 {
			return Result{AtEOF: true, Partial: c.Partial()}, nil
		}
	case foundHole:
		run := batch.Run{First: len(b.Lines), NULBytes: c.half.nuls}
		c.tail = last(c.tail, zeros[:])
		return c.close(b, run, c.off+c.half.lead, false), nil
	}
	if c.half.big != nil && c.opt.Truncate {
		return c.truncated(r, b, limit, found)
	}
	if run, ok := c.unread(b); ok {
		return c.closeLine(b, run, found), nil
	}
	return c.known(r, b, limit, final)
}

// unread gives the run of a line that is accounted for without its bytes in a block.
func (c *Cutter) unread(b *batch.Batch) (run batch.Run, ok bool) {
	run.First = len(b.Lines)
	h := &c.half
	switch {
	case h.big != nil:
		run.NULBytes = h.nuls
		run.Oversize = []batch.Oversize{h.big.oversize(c.off + h.lead)}
		return run, true
	case h.lead > inlineHole && c.length() == 0:
		run.Skipped[batch.SkipNUL]++
		return run, true
	}
	return run, false
}

// known reads a line whose length is known, and what follows it.
func (c *Cutter) known(r io.ReaderAt, b *batch.Batch, limit int, final bool) (Result, error) {
	need := int(c.Partial()) + len("\n") + 1
	if need > min(limit, c.room(b)) {
		return Result{Need: len(c.tail) + need, Partial: c.Partial()}, nil
	}
	res, err := c.block(r, b, limit, need, final)
	if err == nil && !res.AtEOF {
		res.More = true // also when the line is no longer there
	}
	return res, err
}

// closeLine ends a run after the line whose end was found.
func (c *Cutter) closeLine(b *batch.Batch, run batch.Run, found found) Result {
	end := c.half.end
	c.tail = last(c.tail[:0], c.half.over) // over goes back beyond the offset
	if found == foundEnd {
		c.note(end, newline)
		c.tail = last(c.tail, newline)
		end++
	}
	return c.close(b, run, end, found == foundEOF)
}

// close moves the position to a place before which head and tail are up to date, and appends the run
// that led there; run.First is set.
func (c *Cutter) close(b *batch.Batch, run batch.Run, to int64, atEOF bool) Result {
	run.File, run.Start, run.Last = c.file, c.off, len(b.Lines)
	c.off = to
	c.forget()
	run.End = c.Pos()
	b.Runs = append(b.Runs, run)
	return Result{Consumed: to - run.Start, More: !atEOF, AtEOF: atEOF}
}

// room is how many bytes of the stream the block can take.
func (c *Cutter) room(b *batch.Batch) int {
	return cap(b.Buf) - max(len(b.Buf), len(c.tail))
}

// fullOf says that a batch takes no more lines.
func (c *Cutter) fullOf(lines []batch.Line) bool {
	return c.opt.MaxLines > 0 && len(lines) >= c.opt.MaxLines
}
