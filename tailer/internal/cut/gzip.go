package cut

import (
	"errors"
	"io"
)

// ErrIncomplete says that a compressed file ends early or is damaged, as one that is still being
// written is: try again later, with a new Gzip.
var ErrIncomplete = errors.New("compressed file is incomplete")

// ErrExpansion says that a compressed file expands beyond what is allowed.
var ErrExpansion = errors.New("compressed file expands too far")

// GzipOptions bound what a compressed file may cost.
type GzipOptions struct {
	Window   int   // bytes of the uncompressed stream kept for reads that go back; 0 is 2 MiB
	MaxBytes int64 // longest uncompressed stream; 0 is no bound
	MaxRatio int64 // most uncompressed bytes a compressed one, beyond the first MiB; 0 is no bound
}

// Gzip reads the uncompressed stream of a .gz file (several members too) as an io.ReaderAt. Reads go
// forward, or back within the window; a read from farther back starts again from the beginning.
// One goroutine may use it at a time. It does not close r.
type Gzip struct{}

// NewGzip reads r, the compressed file, from its beginning; nothing is read before the first call.
func NewGzip(r io.ReaderAt, opt GzipOptions) *Gzip { panic("not yet") }

// ReadAt gives bytes of the uncompressed stream.
func (g *Gzip) ReadAt(p []byte, off int64) (int, error) { panic("not yet") }

// Skip moves towards an offset of the uncompressed stream by at most budget bytes, so that a caller
// stays responsive while it seeks in a large file. It returns true once off can be read from there.
func (g *Gzip) Skip(off int64, budget int) (bool, error) { panic("not yet") }

// Close gives the decoder's memory back.
func (g *Gzip) Close() { panic("not yet") }
