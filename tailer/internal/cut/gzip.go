package cut

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"shiplog/internal/batch"
)

// ErrIncomplete says that a compressed file ends early or is damaged, as one that is still being
// written is: try again later, with a new Gzip.
var ErrIncomplete = errors.New("compressed file is incomplete")

// ErrExpansion says that a compressed file expands beyond what is allowed.
var ErrExpansion = errors.New("compressed file expands too far")

const (
	defaultWindow = 2 << 20
	// ratioGrace is how much may come out before MaxRatio is looked at: a small file of equal lines
	// compresses very well, and does no harm.
	ratioGrace = 1 << 20
	// gzipStep is how much is decompressed at a time.
	gzipStep = 64 << 10
)

// GzipOptions bound what a compressed file may cost.
type GzipOptions struct {
	// Window is how many bytes of the uncompressed stream are kept for reads that go back; 0 is 2 MiB.
	// With as much as a block plus 64 KiB, a Cutter goes back farther only to ship the beginning of a
	// line that it truncates.
	Window   int
	MaxBytes int64 // longest uncompressed stream; 0 is no bound
	MaxRatio int64 // most uncompressed bytes for a compressed one, once a MiB is out; 0 is no bound
}

// Gzip reads the uncompressed stream of a .gz file (several members too) as an io.ReaderAt. Reads go
// forward, or back within the window or to the first FingerprintBytes; a read from elsewhere starts
// again from the beginning of the file, which is slow but right. One goroutine may use it at a time. It
// does not close the file.
type Gzip struct {
	src    source
	opt    GzipOptions
	buf    *bufio.Reader // of src; the decoder takes no byte of it too many
	dec    *gzip.Reader
	head   []byte // the first bytes of the stream, for a look at who it is
	window []byte // the last bytes before out, in a ring: stream offset o stands at o % len
	out    int64  // how much of the stream came out
	err    error  // what ended the stream: io.EOF, or why it cannot go on
}

// NewGzip reads r, the compressed file, from its beginning; nothing is read before the first call.
func NewGzip(r io.ReaderAt, opt GzipOptions) *Gzip {
	if opt.Window <= 0 {
		opt.Window = defaultWindow
	}
	opt.Window = max(opt.Window, batch.FingerprintBytes)
	return &Gzip{src: source{r: r}, opt: opt}
}

// ReadAt gives bytes of the uncompressed stream. Beside io.EOF its errors are ErrIncomplete,
// ErrExpansion and those of the file; what was read before one of them is given with it.
func (g *Gzip) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	n := 0
	if off < int64(len(g.head)) {
		if n = copy(p, g.head[off:]); n == len(p) {
			return n, nil
		}
	}
	if at := off + int64(n); at < g.oldest() {
		g.rewind()
	}
	for n < len(p) {
		at := off + int64(n)
		if at < g.out {
			n += g.fromWindow(p[n:], at)
			continue
		}
		if err := g.step(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Skip moves towards an offset of the uncompressed stream by about budget bytes, so that a caller
// stays responsive while it seeks in a large file. It returns true once the offset was reached, and
// what ends the stream before it as an error.
func (g *Gzip) Skip(off int64, budget int) (bool, error) {
	for stop := g.out + int64(budget); g.out < off; {
		if g.out >= stop {
			return false, nil
		}
		if err := g.step(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Close gives the memory back. The Gzip must not be used afterwards.
func (g *Gzip) Close() { *g = Gzip{err: io.ErrClosedPipe} }

// oldest is where the window begins.
func (g *Gzip) oldest() int64 { return max(0, g.out-int64(len(g.window))) }

// fromWindow copies bytes that came out before; at lies in the window.
func (g *Gzip) fromWindow(p []byte, at int64) int {
	size := int64(len(g.window))
	from := at % size
	to := min(from+g.out-at, size)
	return copy(p, g.window[from:to])
}

// rewind starts again at the beginning of the file.
func (g *Gzip) rewind() {
	g.src.off, g.src.err = 0, nil
	g.out, g.err, g.dec = 0, nil, nil
}

// step decompresses some bytes into the window.
func (g *Gzip) step() error {
	if g.err == nil && g.dec == nil {
		g.err = g.start()
	}
	if g.err != nil {
		return g.err
	}
	at := int(g.out % int64(len(g.window)))
	n, err := g.dec.Read(g.window[at:min(at+gzipStep, len(g.window))])
	if more := batch.FingerprintBytes - len(g.head); more > 0 && g.out == int64(len(g.head)) {
		g.head = append(g.head, g.window[at:at+min(n, more)]...)
	}
	g.out += int64(n)
	if err == io.EOF {
		err = g.nextMember()
	}
	switch {
	case err != nil:
		g.err = g.class(err)
	case g.opt.MaxBytes > 0 && g.out > g.opt.MaxBytes:
		g.err = fmt.Errorf("%w: more than %d bytes", ErrExpansion, g.opt.MaxBytes)
	case g.opt.MaxRatio > 0 && g.out > ratioGrace && g.out/g.opt.MaxRatio > g.src.off:
		g.err = fmt.Errorf("%w: more than %d times its size", ErrExpansion, g.opt.MaxRatio)
	}
	if n > 0 {
		return nil
	}
	return g.err
}

func (g *Gzip) start() error {
	if g.window == nil {
		g.window = make([]byte, g.opt.Window)
	}
	g.buf = bufio.NewReaderSize(&g.src, gzipStep/2)
	dec, err := gzip.NewReader(g.buf)
	if err != nil {
		return g.class(errors.Join(io.ErrUnexpectedEOF, err)) // also an empty file is no complete one
	}
	dec.Multistream(false)
	g.dec = dec
	return nil
}

// nextMember goes on behind a member that was complete. The decoder would do so by itself, but it takes
// a file that ends within the name in a member's header for a complete one.
func (g *Gzip) nextMember() error {
	if _, err := g.buf.Peek(1); err != nil {
		return err
	}
	err := g.dec.Reset(g.buf)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	g.dec.Multistream(false)
	return err
}

// class tells a damaged file from a file that cannot be read.
func (g *Gzip) class(err error) error {
	switch {
	case g.src.err != nil:
		return g.src.err
	case err == io.EOF:
		return err
	}
	return fmt.Errorf("%w: after %d bytes: %v", ErrIncomplete, g.out, err)
}

// source reads the compressed file from its beginning and remembers what went wrong with it, which
// the decoder would mix with its own complaints.
type source struct {
	r   io.ReaderAt
	off int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.ReadAt(p, s.off)
	s.off += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}
