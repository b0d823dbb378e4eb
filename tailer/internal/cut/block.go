package cut

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math"
	"slices"

	"shiplog/internal/batch"
)

// read reads up to want bytes at the offset to b.Buf[at:], which it does not lengthen, with the bytes
// before the offset in the same read, so that a truncation between two reads cannot go unseen. Those
// land before at, where the lines of other runs may be, which are put back.
func (c *Cutter) read(r io.ReaderAt, b *batch.Batch, want int) (at, n int, err error) {
	over := len(c.tail)
	at = max(len(b.Buf), over)
	var saved [batch.FingerprintBytes]byte
	from := at - over
	keep := copy(saved[:], b.Buf[from:])
	buf := b.Buf[from : at+want]
	n, err = r.ReadAt(buf, c.off-int64(over))
	same := n >= over && bytes.Equal(buf[:over], c.tail)
	copy(buf, saved[:keep])
	if err != nil && err != io.EOF && n <= over {
		return at, 0, err
	}
	if !same {
		return at, 0, ErrChanged
	}
	return at, n - over, err
}

// block reads a block at the offset, at least need bytes of it, and cuts it into lines. When it holds
// not one line end, what was read is remembered in half and the result is empty.
func (c *Cutter) block(r io.ReaderAt, b *batch.Batch, limit, need int, final bool) (Result, error) {
	want := max(need, min(limit, c.room(b), maxWork))
	if want <= 0 {
		return Result{}, nil
	}
	c.forget()
	at, n, err := c.read(r, b, want)
	if err != nil && (err != io.EOF || n == 0) {
		if err == io.EOF {
			return Result{AtEOF: true}, nil
		}
		if n == 0 {
			return Result{}, err
		}
	}
	eof := err == io.EOF
	data := b.Buf[at : at+n]
	run := batch.Run{First: len(b.Lines)}
	used := c.lines(b, &run, data, at, eof && final)
	rest := data[used:]
	if used == 0 && err != nil && !eof {
		return Result{}, err
	}
	res := Result{AtEOF: eof}
	if used > 0 {
		c.note(c.off, data[:used])
		c.tail = last(c.tail, data[:used])
		if len(b.Lines) > run.First {
			b.Buf = b.Buf[:at+used]
		}
		full := c.fullOf(b.Lines) && len(rest) > 0
		res = c.close(b, run, c.off+int64(used), eof && !full)
	}
	if len(rest) > 0 && (res.AtEOF || used == 0) {
		c.feed(rest)
	}
	if res.AtEOF && c.atHole() { // it is passed by the next call
		res.AtEOF, res.More = false, true
	}
	if res.AtEOF {
		res.Partial = int64(len(rest))
	}
	return res, nil
}

// lines cuts data, which stands at b.Buf[at:], and gives how much of it was used up. This is the loop
// that every byte goes through: nothing but the search for the newline for an ordinary line.
func (c *Cutter) lines(b *batch.Batch, run *batch.Run, data []byte, at int, end bool) int {
	lines, used := c.grow(b.Lines, len(data)), 0
	for !c.fullOf(lines) {
		i := bytes.IndexByte(data[used:], '\n')
		if i < 0 {
			break
		}
		from, to, next := used, used+i, used+i+1
		if i > 0 && data[to-1] == '\r' {
			to--
		}
		used = next
		if from == to || data[from] == 0 || to-from > c.opt.MaxLineBytes || c.off+int64(from) == 0 {
			lines = c.odd(lines, run, data, at, from, to, next)
			continue
		}
		lines = append(lines, batch.Line{
			Start: uint32(at + from), End: uint32(at + to),
			Length: uint32(next - from), Offset: c.off + int64(from),
		})
	}
	if rest := data[used:]; end && len(rest) > 0 && !c.fullOf(lines) {
		to := len(data)
		if data[to-1] == '\r' {
			to--
		}
		lines = c.odd(lines, run, data, at, used, to, len(data))
		used = len(data)
	}
	b.Lines = lines
	return used
}

// grow makes room for as many lines as a block of that size is likely to hold, so that a new batch
// does not grow step by step.
func (c *Cutter) grow(lines []batch.Line, size int) []batch.Line {
	const likely = 200
	n := size/likely + 1
	if c.opt.MaxLines > 0 {
		n = min(n, c.opt.MaxLines-len(lines))
	}
	return slices.Grow(lines, n)
}

// odd takes a line that needs a closer look: data[from:to], which ends at next, line end included.
func (c *Cutter) odd(lines []batch.Line, run *batch.Run, data []byte, at, from, to, next int) []batch.Line {
	start := from
	if c.off+int64(from) == 0 && bytes.HasPrefix(data[from:to], []byte(bom)) {
		start += len(bom)
	}
	nuls := leadingNULs(data[start:to])
	start += nuls
	if start == to {
		if nuls > 0 {
			run.Skipped[batch.SkipNUL]++
		} else {
			run.Skipped[batch.SkipEmpty]++
		}
		return lines
	}
	run.NULBytes += int64(nuls)
	value := data[start:to]
	if len(value) > c.opt.MaxLineBytes && !c.opt.Truncate {
		run.Oversize = append(run.Oversize, batch.Oversize{
			Offset: c.off + int64(start), Length: int64(len(value)), SHA256: sha256.Sum256(value),
			Head: bytes.Clone(value[:min(len(value), oversizeHead)]),
		})
		return lines
	}
	if start-from > inlineHole {
		from = start
	}
	keep := min(len(value), c.opt.MaxLineBytes)
	return append(lines, batch.Line{
		Start: uint32(at + start), End: uint32(at + start + keep), Truncated: keep < len(value),
		Length: uint32(next - from), Offset: c.off + int64(from),
	})
}

// truncated ships the beginning of a line that is too long, whose end was found.
func (c *Cutter) truncated(r io.ReaderAt, b *batch.Batch, limit int, found found) (Result, error) {
	h := &c.half
	want := int(h.lead) + c.opt.MaxLineBytes
	if want > min(limit, c.room(b)) {
		return Result{Need: len(c.tail) + want, Partial: c.Partial()}, nil
	}
	at, n, err := c.read(r, b, want)
	if err == io.EOF {
		err = nil
	}
	if err != nil {
		return Result{}, err
	}
	if n < want { // the file is shorter than it was
		c.forget()
		return Result{More: true}, nil
	}
	length := h.end - c.off
	if found == foundEnd {
		length++
	}
	run := batch.Run{First: len(b.Lines), NULBytes: h.nuls}
	b.Buf = b.Buf[:at+want]
	b.Lines = append(b.Lines, batch.Line{
		Start: uint32(at) + uint32(h.lead), End: uint32(at + want), Truncated: true,
		Length: uint32(min(length, math.MaxUint32)), Offset: c.off,
	})
	return c.closeLine(b, run, found), nil
}
