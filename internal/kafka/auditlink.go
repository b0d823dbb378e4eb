package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// An audit asks for record batches with fetch requests of its own, between sarama's frames and known
// by negative correlation ids, as a barrier is: sarama's Broker.Fetch would decode every record, with
// all headers, keys and values, where lengths are all that is needed.

// auditLink is one connection that batches are fetched from.
type auditLink struct {
	a     *Auditor
	addr  string
	wire  *wire
	b     *sarama.Broker
	fetch int16 // version of the fetch requests

	// sarama's Broker is asked about offsets by one goroutine at a time.
	asking sync.Mutex

	last    atomic.Int32 // correlation id
	mu      sync.Mutex
	waiting map[int32]chan []byte
}

// Fetch versions: 4 is the first with record batches, and every broker of today knows it; zstd wants
// 10; from 12 on the encoding is another one.
const (
	fetchOldest, fetchNewest = 4, 11
	fetchKey                 = 1
)

func (a *Auditor) openLink(ctx context.Context, addr string) (*auditLink, error) {
	w, b, err := a.p.openBroker(ctx, addr)
	if err != nil {
		return nil, a.p.connectError(addr, err)
	}
	l := &auditLink{a: a, addr: addr, wire: w, b: b, waiting: make(map[int32]chan []byte)}
	answered := l.answered
	w.answer.Store(&answered)
	if err := l.agree(ctx); err != nil {
		closeBroker(w, b, err)
		return nil, err
	}
	return l, nil
}

// agree finds the newest fetch version that both sides know.
func (l *auditLink) agree(ctx context.Context) error {
	body, err := l.call(ctx, func(id int32) []byte { return apiVersionsFrame(id, l.a.p.conf.ClientID) })
	if err != nil {
		return err
	}
	r := answer{p: body}
	if code := sarama.KError(r.int16()); code != sarama.ErrNoError {
		return l.a.p.brokerError(code, nil, l.addr)
	}
	for range r.count(6) {
		key, lowest, highest := r.int16(), r.int16(), r.int16()
		if key == fetchKey && lowest <= fetchNewest && highest >= fetchOldest {
			l.fetch = min(highest, fetchNewest)
		}
	}
	if r.bad || l.fetch == 0 {
		return &Error{Class: ClassConfig, Topic: l.a.p.conf.Topic, Broker: l.addr,
			Err: fmt.Errorf("it knows no fetch request of version %d to %d", fetchOldest, fetchNewest)}
	}
	return nil
}

// answered is called by the wire's pump; it keeps the frame.
func (l *auditLink) answered(id int32, body []byte) (kept bool) {
	l.mu.Lock()
	c := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if c != nil {
		c <- body
	}
	return true
}

// call sends a frame and waits for its answer.
func (l *auditLink) call(ctx context.Context, frame func(id int32) []byte) ([]byte, error) {
	id := l.last.Add(-1)
	c := make(chan []byte, 1)
	l.mu.Lock()
	l.waiting[id] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, id)
		l.mu.Unlock()
	}()
	if _, err := l.wire.Write(frame(id)); err != nil {
		return nil, l.a.p.connectError(l.addr, err)
	}
	timer := time.NewTimer(l.a.p.conf.RequestTimeout)
	defer timer.Stop()
	select {
	case body := <-c:
		return body, nil
	case <-l.wire.dead:
		return nil, l.a.p.connectError(l.addr, l.wire.why())
	case <-timer.C:
		err := fmt.Errorf("no answer within %v", l.a.p.conf.RequestTimeout)
		l.wire.kill(err)
		return nil, l.a.p.connectError(l.addr, err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// apiVersionsFrame is an ApiVersions request of version 0, which every broker knows.
func apiVersionsFrame(correlation int32, clientID string) []byte {
	const apiVersions = 18
	f := make([]byte, 4, 14+len(clientID))
	f = binary.BigEndian.AppendUint16(f, apiVersions)
	f = binary.BigEndian.AppendUint16(f, 0)
	f = binary.BigEndian.AppendUint32(f, uint32(correlation))
	f = appendShort(f, clientID)
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f
}

// fetchWait is how long a broker may wait for data. An audit reads what is there already, so that
// it has to wait for nothing.
const fetchWait = 500 * time.Millisecond

// fetchFrame asks for the batches of one partition from an offset on.
func (l *auditLink) fetchFrame(id, partition int32, offset int64, maxBytes int32) []byte {
	topic, client := l.a.p.conf.Topic, l.a.p.conf.ClientID
	f := make([]byte, 4, 100+len(topic)+len(client))
	f = binary.BigEndian.AppendUint16(f, fetchKey)
	f = binary.BigEndian.AppendUint16(f, uint16(l.fetch))
	f = binary.BigEndian.AppendUint32(f, uint32(id))
	f = appendShort(f, client)
	f = append(f, 0xff, 0xff, 0xff, 0xff) // no replica
	f = binary.BigEndian.AppendUint32(f, uint32(fetchWait.Milliseconds()))
	f = binary.BigEndian.AppendUint32(f, 1) // answer as soon as there is a byte
	f = binary.BigEndian.AppendUint32(f, uint32(maxBytes))
	f = append(f, 0) // read uncommitted
	if l.fetch >= 7 {
		f = append(f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff) // no session
	}
	f = binary.BigEndian.AppendUint32(f, 1)
	f = appendShort(f, topic)
	f = binary.BigEndian.AppendUint32(f, 1)
	f = binary.BigEndian.AppendUint32(f, uint32(partition))
	if l.fetch >= 9 {
		f = append(f, 0xff, 0xff, 0xff, 0xff) // any leader epoch
	}
	f = binary.BigEndian.AppendUint64(f, uint64(offset))
	if l.fetch >= 5 {
		f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // a follower's log start
	}
	f = binary.BigEndian.AppendUint32(f, uint32(maxBytes))
	if l.fetch >= 7 {
		f = append(f, 0, 0, 0, 0) // forgotten topics
	}
	if l.fetch >= 11 {
		f = append(f, 0, 0) // rack
	}
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f
}

func appendShort(f []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(f, uint16(len(s))), s...)
}

var errAnswer = errors.New("an answer that is none to a fetch request")

// fetched is what a broker answered for one partition.
type fetched struct {
	code      sarama.KError
	highWater int64
	records   []byte
}

func (l *auditLink) read(ctx context.Context, partition int32, offset int64, maxBytes int32) (fetched, error) {
	body, err := l.call(ctx, func(id int32) []byte { return l.fetchFrame(id, partition, offset, maxBytes) })
	if err != nil {
		return fetched{}, err
	}
	out, ok := l.parse(body, partition)
	if !ok {
		l.wire.kill(errAnswer)
		return out, &Error{Class: ClassConfig, Topic: l.a.p.conf.Topic, Broker: l.addr, Err: errAnswer}
	}
	return out, nil
}

func (l *auditLink) parse(body []byte, partition int32) (out fetched, ok bool) {
	r := answer{p: body}
	r.skip(4) // throttle time
	if l.fetch >= 7 {
		out.code = sarama.KError(r.int16())
		r.skip(4) // session
		if out.code != sarama.ErrNoError {
			return out, !r.bad
		}
	}
	if r.int32() != 1 || string(r.take(int(r.int16()))) != l.a.p.conf.Topic || r.int32() != 1 || r.int32() != partition {
		return out, false
	}
	out.code = sarama.KError(r.int16())
	out.highWater = r.int64()
	r.skip(8) // last stable offset
	if l.fetch >= 5 {
		r.skip(8) // log start
	}
	r.skip(16 * r.count(16)) // aborted transactions
	if l.fetch >= 11 {
		r.skip(4) // preferred replica
	}
	if n := r.int32(); n > 0 {
		out.records = r.take(int(n))
	}
	return out, !r.bad
}

// answer reads the fields of an answer; once something is wrong, all is.
type answer struct {
	p   []byte
	bad bool
}

func (r *answer) take(n int) []byte {
	if n < 0 || n > len(r.p) {
		r.bad, r.p = true, nil
		return nil
	}
	out := r.p[:n]
	r.p = r.p[n:]
	return out
}

func (r *answer) skip(n int) { r.take(n) }

func (r *answer) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *answer) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *answer) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// count reads the length of an array whose items take at least so many bytes; null is empty.
func (r *answer) count(item int) int {
	n := int(r.int32())
	if n > len(r.p)/item {
		r.bad = true
		return 0
	}
	return max(n, 0)
}

// offsets asks for the offset of each partition at that time (in milliseconds, or -1 for the end and
// -2 for the start).
func (l *auditLink) offsets(partitions []int32, at int64) (map[int32]int64, error) {
	l.asking.Lock()
	defer l.asking.Unlock()
	p := l.a.p
	req := sarama.NewOffsetRequest(p.base.Version)
	for _, id := range partitions {
		req.AddBlock(p.conf.Topic, id, at, 1)
	}
	resp, err := l.b.GetAvailableOffsets(req)
	if err != nil {
		l.wire.kill(err)
		return nil, p.connectError(l.addr, err)
	}
	out := make(map[int32]int64, len(partitions))
	for _, id := range partitions {
		block := resp.GetBlock(p.conf.Topic, id)
		if block == nil {
			return nil, p.connectError(l.addr, sarama.ErrIncompleteResponse)
		}
		if block.Err != sarama.ErrNoError {
			return nil, p.brokerError(block.Err, nil, l.addr)
		}
		out[id] = block.Offset
	}
	return out, nil
}
