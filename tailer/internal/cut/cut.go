// Package cut turns the byte stream of one file generation into lines. In comes an io.ReaderAt (the
// open file, or a Gzip around a compressed form of it), out come Runs of a batch.Batch: one Run a
// call, in bounded memory, with the position after it. The package knows nothing of names, rotation
// or open files; who calls it decides which stream carries a generation and when one ends.
package cut

import (
	"errors"
	"io"

	"shiplog/internal/batch"
)

// ErrChanged says that the bytes before the position are no longer those that were read: the file
// was truncated, and perhaps written anew. What stands there now is another generation.
var ErrChanged = errors.New("the bytes before the offset have changed")

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
	return o.MaxLineBytes + inlineHole + batch.FingerprintBytes + len(bom) + len("\r\n") + 1
}

// Result says what a Fill did and what is left to do.
type Result struct {
	// Consumed is how many bytes of the stream the run covers; 0 when there is no run.
	Consumed int64
	// More says that there is certainly more to do at once: another block, the rest of a long line.
	More bool
	// AtEOF says that everything up to the end of the file was looked at.
	AtEOF bool
	// Need, when not 0, says that the next line does not fit in this block: come back with an empty
	// batch whose block has at least so many bytes. It is never more than Options.BlockBytes.
	Need int
	// Partial is how many bytes of an unfinished line wait after the position.
	Partial int64
}

// Cutter cuts one generation. It holds the position, and the bytes that recognise the stream there;
// it holds no block and no file, so an idle one costs about 2 KiB. One goroutine may use it at a time.
type Cutter struct {
	opt  Options
	file *batch.File
}

// New starts a cutter at a position; the zero Pos is the beginning. At another position call Verify
// before the first Fill.
func New(opt Options, file *batch.File, at batch.Pos) *Cutter { panic("not yet") }

// Verify checks that r is the stream that the cutter's position was taken from: head and tail must
// hash to what the position says. ErrChanged when they do not, or when the stream is shorter.
func (c *Cutter) Verify(r io.ReaderAt) error { panic("not yet") }

// Offset is where the next unread line starts.
func (c *Cutter) Offset() int64 { panic("not yet") }

// Pos is the position with its hashes, as the last Run's End had it.
func (c *Cutter) Pos() batch.Pos { panic("not yet") }

// Partial is how many bytes of an unfinished line were seen after the position.
func (c *Cutter) Partial() int64 { panic("not yet") }

// Fill appends at most one Run with its lines to b: what can be read now, in at most limit bytes of
// what b.Buf has free, and reads a bounded amount (see maxWork). final says that nothing more will be
// written: a half line at the end of the file is then shipped as it is.
//
// ErrChanged asks for a new generation; any other error is the reader's own.
func (c *Cutter) Fill(r io.ReaderAt, b *batch.Batch, limit int, final bool) (Result, error) {
	panic("not yet")
}

// PosAt takes the position at an offset of a stream: for a file that is begun at its end, or for a
// checkpoint moved by hand. The offset must be the start of a line. ErrChanged when the stream is shorter.
func PosAt(r io.ReaderAt, offset int64) (batch.Pos, error) { panic("not yet") }

// Matches says whether a stream holds, up to at.Offset, what the position was taken from: its head and
// its tail hash to the same. A stream that ends before does not match.
func Matches(r io.ReaderAt, at batch.Pos) (bool, error) { panic("not yet") }

const inlineHole = 4096

var bom = []byte("\xef\xbb\xbf")
