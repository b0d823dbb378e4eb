package kafka

import "github.com/IBM/sarama"

// Extender makes lists of headers with one more header each, for records that each have a header of
// their own: it takes the memory for many at once. One goroutine may use it.
type Extender struct {
	headers []sarama.RecordHeader
	lists   []*sarama.RecordHeader
	chunk   int // how many headers the next piece of memory is for
}

// chunkMost bounds the memory that one list may keep from being freed.
const chunkMost = 256

// With gives the list with one more header at its end, as Headers.With does. Key and value are not
// copied.
func (e *Extender) With(h Headers, key, value []byte) Headers {
	if len(e.headers) == cap(e.headers) {
		e.chunk = min(max(2*e.chunk, 4), chunkMost)
		e.headers = make([]sarama.RecordHeader, 0, e.chunk)
	}
	e.headers = append(e.headers, sarama.RecordHeader{Key: key, Value: value})
	n := len(h.list) + 1
	if cap(e.lists)-len(e.lists) < n {
		e.lists = make([]*sarama.RecordHeader, 0, max(e.chunk, 1)*n)
	}
	start := len(e.lists)
	e.lists = append(append(e.lists, h.list...), &e.headers[len(e.headers)-1])
	return Headers{list: e.lists[start:len(e.lists):len(e.lists)], size: h.size + bytesSize(key) + bytesSize(value)}
}

// Headers gives the headers of record i.
func (b *RecordBatch) Headers(i int) []Header {
	var out []Header
	for _, h := range b.slab.records[i].Headers {
		out = append(out, Header{Key: string(h.Key), Value: h.Value})
	}
	return out
}

// ValueBytes is how long the value of record i is.
func (b *RecordBatch) ValueBytes(i int) int { return len(b.slab.records[i].Value) }
