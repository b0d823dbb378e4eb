package kafka

import (
	"math/bits"
	"time"

	"github.com/IBM/sarama"
)

// batchOverhead is what a record batch of version 2 takes beside its records: base offset, length,
// leader epoch, magic, CRC, attributes, last offset delta, two timestamps, producer id, epoch,
// sequence and the count of records.
const batchOverhead = 61

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Headers is a prepared list of headers. It is immutable, and many records may share it. The zero
// value is the empty list.
type Headers struct {
	list []*sarama.RecordHeader
	size int // as encoded, without the count
}

// NewHeaders prepares a list of headers. The values are not copied.
func NewHeaders(headers []Header) Headers {
	return Headers{}.With(headers...)
}

// With gives the list with more headers at its end; the list itself stays as it is.
func (h Headers) With(headers ...Header) Headers {
	if len(headers) == 0 {
		return h
	}
	out := Headers{list: make([]*sarama.RecordHeader, 0, len(h.list)+len(headers)), size: h.size}
	out.list = append(out.list, h.list...)
	for _, x := range headers {
		out.list = append(out.list, &sarama.RecordHeader{Key: []byte(x.Key), Value: x.Value})
		out.size += bytesSize([]byte(x.Key)) + bytesSize(x.Value)
	}
	return out
}

// encoded is the size of the list as it stands in a record, its count included.
func (h Headers) encoded() int { return varintSize(int64(len(h.list))) + h.size }

// RecordBatch is the records of one partition that travel and are answered together. Keys and
// values are not copied: they must stay as they are until the batch has its result. A batch belongs
// to one goroutine at a time; from Send to its result it belongs to the Producer.
type RecordBatch struct {
	// Partition is where the records go.
	Partition int32
	// Tag is the caller's own.
	Tag any

	slab  *slab
	first int64 // timestamp of the first record, the base of all others
	max   int64 // the highest timestamp
	size  int

	// wire is what sarama encodes. It caches its encoded records, so that sending it once more
	// sends the same bytes. A batch that is filled anew must have a new one: see reset.
	wire   sarama.RecordBatch
	frozen freeze
}

// slab is the memory of a batch's records: it goes from batch to batch, so that a record costs no
// allocation.
type slab struct {
	records []sarama.Record
	refs    []*sarama.Record // refs[i] is &records[i], as far as linked
	linked  int
}

// slabs keeps idle slabs for whoever sends next, shared by all producers. It is not a sync.Pool: the
// encoding of each request makes so much garbage that the collector would empty that between two
// batches, and slabs would be grown anew all the time.
var slabs = make(chan *slab, idleSlabs)

// idleSlabs is how many slabs are kept: as many as one busy source has out.
const idleSlabs = 6

func takeSlab() *slab {
	select {
	case s := <-slabs:
		return s
	default:
		return new(slab)
	}
}

func giveSlab(s *slab) {
	select {
	case slabs <- s:
	default:
	}
}

// noValue stands for an empty value: nil would make the record a tombstone.
var noValue = []byte{}

// NewBatch gives an empty batch for the partition. Call Release once its result is in.
func (p *Producer) NewBatch(partition int32) *RecordBatch {
	return newBatch(partition)
}

func newBatch(partition int32) *RecordBatch {
	return &RecordBatch{Partition: partition, slab: takeSlab(), size: batchOverhead}
}

// Add appends a record. A nil key is a record without a key; a nil value is an empty one, never a
// tombstone. The time is in milliseconds since 1970; the protocol has none before that, so a
// negative one becomes 0.
func (b *RecordBatch) Add(key, value []byte, unixMilli int64, h Headers) {
	s, i := b.slab, len(b.slab.records)
	unixMilli = max(unixMilli, 0)
	if i == 0 {
		b.first, b.max = unixMilli, unixMilli
	}
	b.max = max(b.max, unixMilli)
	if value == nil {
		value = noValue
	}
	if i == cap(s.records) {
		s.linked = 0 // append will move the records
	}
	s.records = append(s.records, sarama.Record{
		Headers:        h.list,
		TimestampDelta: time.Duration(unixMilli-b.first) * time.Millisecond,
		OffsetDelta:    int64(i),
		Key:            key,
		Value:          value,
	})
	b.size += recordSize(unixMilli-b.first, int64(i), key, value, h)
}

// SetHeaders gives record i other headers. It must not be called once the batch was sent.
func (b *RecordBatch) SetHeaders(i int, h Headers) {
	r := &b.slab.records[i]
	old := Headers{list: r.Headers}
	for _, x := range old.list {
		old.size += bytesSize(x.Key) + bytesSize(x.Value)
	}
	delta := int64(r.TimestampDelta / time.Millisecond)
	b.size += recordSize(delta, r.OffsetDelta, r.Key, r.Value, h) - recordSize(delta, r.OffsetDelta, r.Key, r.Value, old)
	r.Headers = h.list
}

// Len is how many records the batch holds.
func (b *RecordBatch) Len() int { return len(b.slab.records) }

// Size is how many bytes the batch takes encoded and uncompressed; the broker's message.max.bytes
// bounds the compressed form of it.
func (b *RecordBatch) Size() int { return b.size }

// Record gives record i back: its key, its value and its time.
func (b *RecordBatch) Record(i int) (key, value []byte, unixMilli int64) {
	r := &b.slab.records[i]
	return r.Key, r.Value, b.first + int64(r.TimestampDelta/time.Millisecond)
}

// Slice gives a new batch of the records i to j-1. It shares keys, values and headers, and has its
// own life: each of the two must be released.
func (b *RecordBatch) Slice(i, j int) *RecordBatch {
	out := newBatch(b.Partition)
	out.Tag = b.Tag
	for ; i < j; i++ {
		key, value, t := b.Record(i)
		h := Headers{list: b.slab.records[i].Headers}
		for _, x := range h.list {
			h.size += bytesSize(x.Key) + bytesSize(x.Value)
		}
		out.Add(key, value, t, h)
	}
	return out
}

// Release gives the batch's memory back. The batch must not be touched afterwards.
func (b *RecordBatch) Release() {
	s := b.slab
	if s == nil {
		return
	}
	clear(s.records) // a kept slab must not keep the blocks alive that its values point into
	s.records = s.records[:0]
	*b = RecordBatch{}
	giveSlab(s)
}

// seal makes the batch ready to be encoded. A frozen batch keeps what it was encoded to; every
// other one is encoded afresh, which needs a new sarama.RecordBatch: a used one would send its
// cached bytes again.
func (b *RecordBatch) seal(codec sarama.CompressionCodec, level int) *sarama.RecordBatch {
	if b.frozen.stamped && b.wire.Version == 2 {
		b.frozen.apply(&b.wire)
		return &b.wire
	}
	b.wire = sarama.RecordBatch{
		Version:          2,
		Codec:            codec,
		CompressionLevel: level,
		LastOffsetDelta:  int32(b.Len() - 1),
		FirstTimestamp:   time.UnixMilli(b.first),
		MaxTimestamp:     time.UnixMilli(b.max),
		// Zeros would name producer 0, and the broker would drop batches as its duplicates.
		ProducerID:    -1,
		ProducerEpoch: -1,
		FirstSequence: -1,
		Records:       b.slab.link(),
	}
	b.frozen.apply(&b.wire)
	return &b.wire
}

// sent drops the encoded bytes once they are written, unless the batch is frozen: a retry must send
// the same bytes.
func (b *RecordBatch) sent() {
	if !b.frozen.stamped {
		b.wire = sarama.RecordBatch{}
	}
}

// link brings refs up to date with records.
func (s *slab) link() []*sarama.Record {
	n := len(s.records)
	if cap(s.refs) < n {
		s.refs, s.linked = make([]*sarama.Record, 0, cap(s.records)), 0
	}
	s.refs = s.refs[:n]
	for i := s.linked; i < n; i++ {
		s.refs[i] = &s.records[i]
	}
	s.linked = max(s.linked, n)
	return s.refs
}

func recordSize(timeDelta, offsetDelta int64, key, value []byte, h Headers) int {
	n := 1 + varintSize(timeDelta) + varintSize(offsetDelta) + bytesSize(key) + bytesSize(value) + h.encoded()
	return varintSize(int64(n)) + n
}

// bytesSize is the size of a length-prefixed byte string; nil is length -1.
func bytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

// varintSize is the size of a zigzag varint.
func varintSize(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}
