package cut

import (
	"bytes"
	"errors"
	"io"

	"shiplog/internal/batch"
)

// last appends data to dst and keeps the last FingerprintBytes of both.
func last(dst, data []byte) []byte {
	const keep = batch.FingerprintBytes
	if len(data) >= keep {
		return append(dst[:0], data[len(data)-keep:]...)
	}
	if drop := len(dst) + len(data) - keep; drop > 0 {
		dst = dst[:copy(dst, dst[drop:])]
	}
	if dst == nil {
		dst = make([]byte, 0, len(data))
	}
	return append(dst, data...)
}

// note takes what belongs to the head out of the bytes seen at a place in the stream.
func (c *Cutter) note(at int64, data []byte) {
	if c.headDone || at != int64(len(c.head)) {
		return
	}
	n := min(len(data), batch.FingerprintBytes-len(c.head))
	c.head = append(c.head, data[:n]...)
}

// forget drops what is known of the line at the offset, and what only that line had put into the head.
func (c *Cutter) forget() {
	c.half.reset(c.off)
	if c.off < int64(len(c.head)) {
		c.head = c.head[:c.off]
	}
}

// Pos is the position with its hashes.
func (c *Cutter) Pos() batch.Pos {
	if !c.verified {
		return c.from
	}
	p := batch.Pos{Offset: c.off, HeadLen: headLen(c.off), Tail: batch.Hash(c.tail), TailLen: len(c.tail)}
	if p.HeadLen < batch.FingerprintBytes {
		p.Head = batch.Hash(c.head[:p.HeadLen])
		return p
	}
	if !c.headDone {
		c.headSum, c.headDone = batch.Hash(c.head), true
		c.head = nil
	}
	p.Head = c.headSum
	return p
}

// headLen is how long head and tail are at an offset.
func headLen(off int64) int { return int(min(off, batch.FingerprintBytes)) }

// Verify checks that r is the stream that the cutter's position was taken from: head and tail must
// hash to what the position says. ErrChanged when they do not, or when the stream is shorter.
func (c *Cutter) Verify(r io.ReaderAt) error {
	head, tail, err := marks(r, c.from)
	if err != nil {
		return err
	}
	if !c.verified {
		c.head, c.tail, c.verified = head[:headLen(c.off)], tail, true
	}
	return nil
}

// marks reads head and tail at a position and compares them with its hashes.
func marks(r io.ReaderAt, at batch.Pos) (head, tail []byte, err error) {
	n := headLen(at.Offset)
	if at.Offset < 0 || at.HeadLen < 0 || at.HeadLen > batch.FingerprintBytes || at.TailLen < 0 || at.TailLen > n {
		return nil, nil, ErrChanged
	}
	head, err = readAll(r, 0, max(n, at.HeadLen))
	if err != nil {
		return nil, nil, err
	}
	tail, err = readAll(r, at.Offset-int64(n), n)
	if err != nil {
		return nil, nil, err
	}
	if at.HeadLen > 0 && batch.Hash(head[:at.HeadLen]) != at.Head ||
		at.TailLen > 0 && batch.Hash(tail[n-at.TailLen:]) != at.Tail {
		return nil, nil, ErrChanged
	}
	return head, tail, nil
}

// readAll reads n bytes; a stream that ends before has changed.
func readAll(r io.ReaderAt, off int64, n int) ([]byte, error) {
	p := make([]byte, n)
	if n == 0 {
		return p, nil
	}
	got, err := r.ReadAt(p, off)
	switch {
	case got == n:
		return p, nil
	case errors.Is(err, io.EOF):
		return nil, ErrChanged
	}
	return nil, err
}

// Matches says whether a stream holds, up to at.Offset, what the position was taken from: its head and
// its tail hash to the same. A stream that ends before does not match. A position at the very
// beginning has no marks and matches everything.
func Matches(r io.ReaderAt, at batch.Pos) (bool, error) {
	_, _, err := marks(r, at)
	if errors.Is(err, ErrChanged) {
		return false, nil
	}
	return err == nil, err
}

// PosAt takes the position at an offset of a stream: for a file that is begun at its end, or for a
// checkpoint moved by hand. ErrChanged when the stream is shorter.
func PosAt(r io.ReaderAt, offset int64) (batch.Pos, error) {
	head, tail, err := marks(r, batch.Pos{Offset: offset})
	if err != nil {
		return batch.Pos{}, err
	}
	return batch.Pos{
		Offset: offset,
		Head:   batch.Hash(head), HeadLen: len(head),
		Tail: batch.Hash(tail), TailLen: len(tail),
	}, nil
}

// LineStart moves an offset back to the start of the line it is in, looking at no more than window
// bytes before it: a file that is begun at its end may have been caught in the middle of a line. With
// no newline in the window the offset stays.
func LineStart(r io.ReaderAt, offset int64, window int) (int64, error) {
	n := int(min(offset, int64(window)))
	p, err := readAll(r, offset-int64(n), n)
	if err != nil {
		return 0, err
	}
	if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
		return offset - int64(n-i-1), nil
	}
	if int64(n) == offset {
		return 0, nil
	}
	return offset, nil
}

// Begins says whether a stream holds, from its beginning, all of another one, which has at least a byte.
// It reads both up to the first difference. The errors are those of either stream.
func Begins(whole, part io.ReaderAt) (bool, error) {
	a, b := make([]byte, gzipStep), make([]byte, gzipStep)
	for off := int64(0); ; {
		n, err := part.ReadAt(b, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if m, rerr := whole.ReadAt(a[:n], off); m < n {
			if errors.Is(rerr, io.EOF) {
				rerr = nil
			}
			return false, rerr
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		if off += int64(n); err != nil {
			return off > 0, nil
		}
	}
}
