package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// AuditBatch is what an audit needs to know of one record batch of a topic. Keys and values are not
// kept.
type AuditBatch struct {
	Partition int32
	Offset    int64 // of the batch in its partition
	Time      int64 // of its first record, in milliseconds since 1970
	// Span is how many offsets the batch takes. Compaction leaves less records than that.
	Span int
	// Lengths are those of the records' values; -1 for a tombstone.
	Lengths []int32
	// Deltas are the records' distances from Offset; nil when they are 0, 1, 2 and so on.
	Deltas []int32
	// Marks are the records that carry the header looked for, in order.
	Marks []Mark
	// Legacy says that the batch is in the format from before Kafka 0.11, which has no headers;
	// nothing else is known of it.
	Legacy bool
	// Control says that the batch holds a transaction's marker and no records.
	Control bool
}

// Mark is one record's header.
type Mark struct {
	Index int // of the record in the batch
	Value []byte
}

// Position gives how far record i stands behind the batch's offset.
func (b *AuditBatch) Position(i int) int64 {
	if b.Deltas == nil {
		return int64(i)
	}
	return int64(b.Deltas[i])
}

const (
	// Places in a record batch of version 2.
	atLength, atMagic, atCRC, atAttributes, atLastDelta = 8, 16, 17, 21, 23
	atFirstTime, atCount                                = 27, 57
	// batchPrefix is what its length does not count: base offset and length.
	batchPrefix = 12
	// leastBatch is the least that a batch of any version takes behind its prefix.
	leastBatch = 14

	codecMask, controlBit = 0x07, 0x20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errBatch   = errors.New("not a record batch")
)

// nextBatch cuts the first batch off what was fetched; a nil batch means that the rest is the start
// of one that did not fit.
func nextBatch(p []byte) (b, rest []byte, err error) {
	if len(p) < batchPrefix {
		return nil, p, nil
	}
	size := int64(int32(binary.BigEndian.Uint32(p[atLength:])))
	if size < leastBatch {
		return nil, nil, fmt.Errorf("%w: a length of %d", errBatch, size)
	}
	if size += batchPrefix; size > int64(len(p)) {
		return nil, p, nil
	}
	return p[:size], p[size:], nil
}

// batchEnd is the offset behind the batch.
func batchEnd(b []byte) int64 {
	end := int64(binary.BigEndian.Uint64(b)) + 1
	if b[atMagic] == 2 && len(b) >= batchOverhead {
		end += int64(int32(binary.BigEndian.Uint32(b[atLastDelta:])))
	}
	return end
}

// auditDecoder reads record batches for an audit; it keeps its buffer from batch to batch.
type auditDecoder struct {
	header string // the header to look for
	buf    []byte
	codecs decompressors
}

// decode reads one whole batch. Nothing of what it gives points into b.
func (d *auditDecoder) decode(partition int32, b []byte) (AuditBatch, error) {
	out := AuditBatch{Partition: partition, Offset: int64(binary.BigEndian.Uint64(b)), Span: 1}
	if b[atMagic] < 2 {
		out.Legacy = true
		return out, nil
	}
	if b[atMagic] != 2 || len(b) < batchOverhead {
		return out, fmt.Errorf("%w: version %d of %d bytes", errBatch, b[atMagic], len(b))
	}
	if sum := crc32.Checksum(b[atAttributes:], castagnoli); sum != binary.BigEndian.Uint32(b[atCRC:]) {
		return out, fmt.Errorf("%w: its checksum is wrong", errBatch)
	}
	attributes := binary.BigEndian.Uint16(b[atAttributes:])
	out.Time = int64(binary.BigEndian.Uint64(b[atFirstTime:]))
	out.Span = int(int32(binary.BigEndian.Uint32(b[atLastDelta:]))) + 1
	if out.Span < 1 {
		return out, fmt.Errorf("%w: it takes %d offsets", errBatch, out.Span)
	}
	if attributes&controlBit != 0 {
		out.Control = true
		return out, nil
	}
	records := b[batchOverhead:]
	if codec := attributes & codecMask; codec != 0 {
		var err error
		if d.buf, err = d.codecs.decompress(codec, d.buf[:0], records); err != nil {
			return out, fmt.Errorf("%w: %w", errBatch, err)
		}
		records = d.buf
	}
	return out, d.records(&out, records, int(int32(binary.BigEndian.Uint32(b[atCount:]))))
}

// leastRecord is what the smallest record takes: its length, attributes, two deltas, key, value and
// the count of headers.
const leastRecord = 7

func (d *auditDecoder) records(out *AuditBatch, p []byte, n int) error {
	if n < 0 || n > len(p)/leastRecord {
		return fmt.Errorf("%w: %d records in %d bytes", errBatch, n, len(p))
	}
	out.Lengths = make([]int32, n)
	for i := range n {
		size, w := binary.Varint(p)
		if w <= 0 || size < 0 || size > int64(len(p)-w) {
			return fmt.Errorf("%w: record %d of %d is cut off", errBatch, i, n)
		}
		if !d.record(out, i, p[w:w+int(size)]) {
			return fmt.Errorf("%w: record %d of %d makes no sense", errBatch, i, n)
		}
		p = p[w+int(size):]
	}
	return nil
}

// record reads one record: how long its value is, and whether it has the header.
func (d *auditDecoder) record(out *AuditBatch, i int, p []byte) bool {
	if len(p) < leastRecord-1 {
		return false
	}
	p = p[1:] // attributes: none are defined
	_, w := binary.Varint(p)
	if w <= 0 {
		return false
	}
	p = p[w:]
	delta, w := binary.Varint(p)
	if w <= 0 || delta < 0 || delta > math.MaxInt32 {
		return false
	}
	if p = p[w:]; delta != int64(i) || out.Deltas != nil {
		if out.Deltas == nil {
			out.Deltas = make([]int32, i, len(out.Lengths))
			for k := range out.Deltas {
				out.Deltas[k] = int32(k)
			}
		}
		out.Deltas = append(out.Deltas, int32(delta))
	}
	_, _, p, ok := cutBytes(p) // the key
	if !ok {
		return false
	}
	_, length, p, ok := cutBytes(p)
	if !ok {
		return false
	}
	out.Lengths[i] = int32(length)
	if len(p) == 1 && p[0] == 0 {
		return true // no headers, as nearly all records
	}
	return d.headers(out, i, p)
}

func (d *auditDecoder) headers(out *AuditBatch, i int, p []byte) bool {
	n, w := binary.Varint(p)
	if w <= 0 || n < 0 {
		return false
	}
	p = p[w:]
	for found := false; n > 0; n-- {
		key, _, rest, ok := cutBytes(p)
		if !ok {
			return false
		}
		value, _, rest, ok := cutBytes(rest)
		if !ok {
			return false
		}
		if !found && string(key) == d.header {
			found = true
			out.Marks = append(out.Marks, Mark{Index: i, Value: append([]byte(nil), value...)})
		}
		p = rest
	}
	return true
}

// cutBytes reads a length-prefixed byte string; a null one has the length -1.
func cutBytes(p []byte) (value []byte, length int64, rest []byte, ok bool) {
	length, w := binary.Varint(p)
	if w <= 0 || length < -1 || length > int64(len(p)-w) {
		return nil, 0, nil, false
	}
	if length == -1 {
		return nil, -1, p[w:], true
	}
	return p[w : w+int(length)], length, p[w+int(length):], true
}
