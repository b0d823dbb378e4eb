package cut

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"sync"

	"shiplog/internal/batch"
)

// half is what is known of the line at the cutter's offset when its end was not found: how far it has
// been searched, so that no byte is searched twice, but not its bytes, which are read again later.
type half struct {
	end     int64  // the bytes from the offset up to here hold no newline
	over    []byte // the last bytes before end: they must still be there when the search goes on
	lead    int64  // bytes before the line's content: byte order mark, NULs
	nuls    int64  // those of lead that are NULs
	content bool   // something other than lead was seen
	big     *big   // not nil once the line is known to be too long
}

func (h *half) reset(off int64) { *h = half{end: off, over: h.over[:0]} }

// big is a line that is longer than MaxLineBytes while it streams by.
type big struct {
	sum    hash.Hash // nil when the line will be truncated
	head   []byte
	length int64
	cr     bool // the last byte was a carriage return, which counts only if more follows
}

func newBig(truncate bool) *big {
	if truncate {
		return &big{}
	}
	return &big{sum: sha256.New(), head: make([]byte, 0, oversizeHead)}
}

func (g *big) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if g.cr {
		g.add([]byte{'\r'})
	}
	n := len(p)
	if g.cr = p[n-1] == '\r'; g.cr {
		n--
	}
	g.add(p[:n])
}

func (g *big) add(p []byte) {
	g.length += int64(len(p))
	if g.sum == nil {
		return
	}
	g.sum.Write(p)
	g.head = append(g.head, p[:min(len(p), oversizeHead-len(g.head))]...)
}

func (g *big) oversize(at int64) batch.Oversize {
	o := batch.Oversize{Offset: at, Length: g.length, Head: g.head}
	g.sum.Sum(o.SHA256[:0])
	return o
}

// feed takes bytes of the line, from half.end on, that hold no newline.
func (c *Cutter) feed(data []byte) {
	h := &c.half
	if h.end == c.off {
		h.over = last(h.over[:0], c.tail)
	}
	c.note(h.end, data)
	h.over = last(h.over, data)
	first := h.end == 0
	h.end += int64(len(data))
	if !h.content {
		if first && bytes.HasPrefix(data, []byte(bom)) {
			h.lead = int64(len(bom))
			data = data[len(bom):]
		}
		n := leadingNULs(data)
		h.nuls += int64(n)
		h.lead += int64(n)
		data = data[n:]
		h.content = len(data) > 0
	}
	if h.big != nil {
		h.big.write(data)
	}
}

// leadingNULs counts the NUL bytes at the start of p, eight at a time: a hole may be gigabytes.
func leadingNULs(p []byte) int {
	n := 0
	for ; len(p)-n >= 8 && binary.NativeEndian.Uint64(p[n:]) == 0; n += 8 {
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	return n
}

// length is the length of the line's content when it ends at half.end.
func (c *Cutter) length() int64 {
	h := &c.half
	switch {
	case h.big != nil:
		return h.big.length
	case !h.content:
		return 0
	}
	n := h.end - c.off - h.lead
	if h.over[len(h.over)-1] == '\r' {
		n--
	}
	return n
}

// found is how a search ended.
type found uint8

const (
	foundNothing found = iota // enough read for one call: go on next time
	foundEnd                  // a newline stands at half.end
	foundEOF                  // the file ends at half.end
	foundHole                 // a large hole, and content behind it
	foundChange               // what was searched before is no longer there
)

// scratch are the blocks that searches read into. A search needs one only for the length of a call,
// so there are as many as goroutines that search at once.
var scratch = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// search looks for the end of the line from half.end on. It holds no more than a scratch block.
func (c *Cutter) search(r io.ReaderAt, final bool) (found, error) {
	buf := scratch.Get().(*[64 << 10]byte)
	defer scratch.Put(buf)
	if c.half.end < int64(len(bom)) {
		c.forget() // a byte order mark is looked for in one piece
	}
	for work := 0; work < maxWork; {
		if c.atHole() {
			return foundHole, nil
		}
		data, err := c.next(r, buf[:])
		if data == nil {
			return foundChange, err
		}
		work += len(data)
		i := bytes.IndexByte(data, '\n')
		if i < 0 && err != nil && err != io.EOF {
			return foundNothing, err
		}
		ends := i >= 0 || err == io.EOF && final
		if i < 0 {
			i = len(data)
		}
		c.feed(data[:i])
		switch {
		case c.atHole():
		case c.tooLong(ends):
			c.forget()
			c.half.big = newBig(c.opt.Truncate)
		case i < len(data):
			return c.ended(foundEnd), nil
		case err == io.EOF:
			if final {
				return c.ended(foundEOF), nil
			}
			return foundEOF, nil
		}
	}
	return foundNothing, nil
}

// next reads what follows half.end, with the bytes before it in the same read; nil when those are no
// longer there, which an error of the reader may explain.
func (c *Cutter) next(r io.ReaderAt, buf []byte) ([]byte, error) {
	over := c.half.over
	if c.half.end == c.off {
		over = c.tail
	}
	n, err := r.ReadAt(buf, c.half.end-int64(len(over)))
	if n < len(buf) && err == nil {
		err = io.ErrNoProgress // a reader that breaks its contract must not make us spin
	}
	if n < len(over) && err != nil && err != io.EOF {
		return nil, err
	}
	if n < len(over) || !bytes.Equal(buf[:len(over)], over) {
		return nil, nil
	}
	return buf[len(over):n], err
}

// atHole says that a large hole has ended with content. A line that is known to be too long has none.
func (c *Cutter) atHole() bool {
	return c.half.lead > inlineHole && c.half.big == nil && c.length() > 0
}

// tooLong says that the line, which may have ended, is longer than a block can be, and that it was
// not known before: it must stream by from its start once more, to be hashed.
func (c *Cutter) tooLong(ended bool) bool {
	if c.half.big != nil {
		return false
	}
	limit := int64(c.opt.MaxLineBytes)
	if !ended {
		// One byte more could be the carriage return before the newline.
		return c.half.end-c.off-c.half.lead > limit+1
	}
	return c.length() > limit
}

// ended turns the end of a line into a change when the line was taken for a long one and is none.
func (c *Cutter) ended(f found) found {
	if c.half.big != nil && c.half.big.length <= int64(c.opt.MaxLineBytes) {
		return foundChange
	}
	return f
}
