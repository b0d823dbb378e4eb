package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"shiplog/internal/batch"
)

// blockSize is how much of a log is read at a time.
const blockSize = 256 << 10

// openLog opens a log that a position is to be set in. Like the reader it never blocks on a FIFO.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// targetOffset turns a target into the offset of the line that holds it.
func targetOffset(f *os.File, to Target) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	offset := int64(to)
	if to == End {
		offset = info.Size()
	}
	if offset < 0 || offset > info.Size() {
		return 0, fmt.Errorf("offset %d is not within %s, which has %d bytes", offset, f.Name(), info.Size())
	}
	return lineStart(f, offset)
}

// lineStart gives the beginning of the line that offset is in: behind the last newline before it.
func lineStart(f io.ReaderAt, offset int64) (int64, error) {
	buf := make([]byte, blockSize)
	for end := offset; end > 0; {
		start := max(0, end-blockSize)
		block := buf[:end-start]
		if _, err := f.ReadAt(block, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// countLines counts the newlines of a stretch.
func countLines(f io.ReaderAt, from, to int64) (n int64, err error) {
	r := io.NewSectionReader(f, from, to-from)
	buf := make([]byte, blockSize)
	for {
		k, err := r.Read(buf)
		n += int64(bytes.Count(buf[:k], []byte{'\n'}))
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// posAt makes the position at an offset, with the hashes that recognise the file there.
func posAt(f *os.File, offset int64) (batch.Pos, error) {
	info, err := f.Stat()
	if err != nil {
		return batch.Pos{}, err
	}
	p := batch.Pos{
		Offset:  offset,
		HeadLen: int(min(info.Size(), batch.FingerprintBytes)),
		TailLen: int(min(offset, batch.FingerprintBytes)),
	}
	if p.Head, err = hashAt(f, 0, p.HeadLen); err != nil {
		return p, err
	}
	p.Tail, err = hashAt(f, offset-int64(p.TailLen), p.TailLen)
	return p, err
}

// recognise says whether a file is the one that a position was taken in.
func recognise(f *os.File, p batch.Pos) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < max(p.Offset, int64(p.HeadLen)) {
		return false, nil
	}
	head, err := hashAt(f, 0, p.HeadLen)
	if err != nil {
		return false, err
	}
	tail, err := hashAt(f, p.Offset-int64(p.TailLen), p.TailLen)
	return (p.HeadLen == 0 || head == p.Head) && (p.TailLen == 0 || tail == p.Tail), err
}

func hashAt(f io.ReaderAt, from int64, n int) (uint64, error) {
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, from); err != nil && n > 0 {
		return 0, err
	}
	return batch.Hash(buf), nil
}
