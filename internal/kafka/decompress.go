package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxExpanded bounds what one record batch may expand to: nobody who can write to a topic should be
// able to take all of an audit's memory.
const maxExpanded = 256 << 20

// The codecs as a batch's attributes name them.
const (
	codecGzip uint16 = iota + 1
	codecSnappy
	codecLZ4
	codecZstd
)

// decompressors keeps what can be used again.
type decompressors struct {
	source bytes.Reader
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	zstd   *zstd.Decoder
}

// decompress appends to dst what src expands to.
func (d *decompressors) decompress(codec uint16, dst, src []byte) ([]byte, error) {
	d.source.Reset(src)
	switch codec {
	case codecGzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.source); err != nil {
			return dst, fmt.Errorf("gzip: %w", err)
		}
		return drain(dst, d.gzip, "gzip")
	case codecSnappy:
		return expandSnappy(dst, src)
	case codecLZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(&d.source)
		return drain(dst, d.lz4, "lz4")
	case codecZstd:
		if d.zstd == nil {
			var err error
			if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxExpanded)); err != nil {
				return dst, fmt.Errorf("zstd: %w", err)
			}
		}
		dst, err := d.zstd.DecodeAll(src, dst)
		if err != nil {
			return dst, fmt.Errorf("zstd: %w", err)
		}
		return dst, nil
	}
	return dst, fmt.Errorf("a codec (%d) that shiplog does not know", codec)
}

// drain reads all of r behind dst.
func drain(dst []byte, r io.Reader, name string) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			if cap(dst) >= maxExpanded {
				return dst, fmt.Errorf("%s: a batch expands to more than %d MiB", name, maxExpanded>>20)
			}
			dst = append(make([]byte, 0, max(2*cap(dst), 256<<10)), dst...)
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// xerial starts the framing that Java clients, and sarama, put around snappy's blocks: a magic, two
// versions, and then blocks with their length before them.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func expandSnappy(dst, src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) {
		return snappyBlock(dst, src)
	}
	if len(src) < len(xerial)+8 {
		return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
	}
	src = src[len(xerial)+8:]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		size := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; size > int64(len(src)) {
			return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		var err error
		if dst, err = snappyBlock(dst, src[:size]); err != nil {
			return dst, err
		}
		src = src[size:]
	}
	return dst, nil
}

func snappyBlock(dst, src []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return dst, fmt.Errorf("snappy: %w", err)
	}
	if len(dst)+n > maxExpanded {
		return dst, fmt.Errorf("snappy: a batch expands to more than %d MiB", maxExpanded>>20)
	}
	at := len(dst)
	if cap(dst) < at+n {
		dst = append(make([]byte, 0, at+n), dst...)
	}
	if _, err := snappy.Decode(dst[at:at+n], src); err != nil {
		return dst, fmt.Errorf("snappy: %w", err)
	}
	return dst[:at+n], nil
}
