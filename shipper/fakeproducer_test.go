package shipper

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// stored is a record as it stands in the fake topic.
type stored struct {
	partition  int32
	key, value string
	time       int64
	request    int    // which request brought it
	provenance string // the header
}

// fakeProducer keeps what it is sent, and answers as it is told.
type fakeProducer struct {
	// answer decides about a request; nil Err means stored. It may be nil: everything is stored.
	answer func(rb *kafka.RecordBatch) kafka.Result
	delay  func() time.Duration // until the answer; nil: at once

	mu          sync.Mutex
	topic       kafka.Topic
	down        *kafka.Error
	ready       chan struct{}
	topicLog    []stored
	offsets     map[int32]int64
	sizes       []int // records of each attempted request
	out, maxOut int
	unconfirmed int64
	delivers    [][]int32 // the partitions of each Deliver
	waits       int       // calls of WaitReady
	gone        int32     // a partition, from 1, that lost its leader and nobody has noticed
}

func newFakeProducer(partitions int32) *fakeProducer {
	p := &fakeProducer{ready: make(chan struct{}), offsets: make(map[int32]int64)}
	p.topic.Partitions = partitions
	for i := range partitions {
		p.topic.Usable = append(p.topic.Usable, i)
	}
	close(p.ready)
	return p
}

func (p *fakeProducer) Ready() (kafka.Topic, *kafka.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topic, p.down
}

func (p *fakeProducer) WaitReady() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits++
	return p.ready
}

// fail makes the producer lose its brokers.
func (p *fakeProducer) fail(err *kafka.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down == nil {
		p.ready = make(chan struct{})
	}
	p.down = err
}

// slow makes every answer take so long.
func (p *fakeProducer) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = func() time.Duration { return d }
}

// mend brings the brokers back.
func (p *fakeProducer) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		p.down = nil
		close(p.ready)
	}
}

func (p *fakeProducer) NewBatch(partition int32) *kafka.RecordBatch {
	return (*kafka.Producer)(nil).NewBatch(partition)
}

func (p *fakeProducer) Unconfirmed() int64 { return p.unconfirmed }

func (p *fakeProducer) Send(rbs []*kafka.RecordBatch, done func(*kafka.RecordBatch, kafka.Result)) {
	for _, rb := range rbs {
		if err := p.begin(rb.Partition); err != nil {
			done(rb, kafka.Result{Partition: rb.Partition, Offset: -1, Err: err})
			continue
		}
		p.mu.Lock()
		delay := p.delay
		p.mu.Unlock()
		if delay == nil {
			done(rb, p.end(rb))
			continue
		}
		time.AfterFunc(delay(), func() { done(rb, p.end(rb)) })
	}
}

// begin says whether a request can go out.
func (p *fakeProducer) begin(partition int32) *kafka.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		return p.down
	}
	if !slices.Contains(p.topic.Usable, partition) || partition+1 == p.gone {
		return &kafka.Error{Class: kafka.ClassRetriable, Kafka: "LEADER_NOT_AVAILABLE", Err: errors.New("no leader")}
	}
	p.out++
	p.maxOut = max(p.maxOut, p.out)
	return nil
}

// end answers a request that is out.
func (p *fakeProducer) end(rb *kafka.RecordBatch) kafka.Result {
	res := kafka.Result{}
	if p.answer != nil {
		res = p.answer(rb)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out--
	p.sizes = append(p.sizes, rb.Len())
	res.Partition, res.Offset, res.Attempted = rb.Partition, -1, true
	if res.Err != nil {
		return res
	}
	res.Offset = p.offsets[rb.Partition]
	p.offsets[rb.Partition] += int64(rb.Len())
	for i := range rb.Len() {
		key, value, t := rb.Record(i)
		p.topicLog = append(p.topicLog, stored{rb.Partition, string(key), string(value), t, len(p.sizes), headerOf(rb, i)})
	}
	return res
}

func (p *fakeProducer) Deliver(ctx context.Context, rbs []*kafka.RecordBatch, retry kafka.Retry) []kafka.Result {
	var partitions []int32
	results := make([]kafka.Result, len(rbs))
	var wg sync.WaitGroup
	for i, rb := range rbs {
		partitions = append(partitions, rb.Partition)
		wg.Go(func() { results[i] = p.deliver(ctx, rb, retry) })
	}
	wg.Wait()
	p.mu.Lock()
	p.delivers = append(p.delivers, partitions)
	p.mu.Unlock()
	return results
}

func (p *fakeProducer) deliver(ctx context.Context, rb *kafka.RecordBatch, retry kafka.Retry) kafka.Result {
	start := time.Now()
	attempted := false
	for n := 1; ; n++ {
		var res kafka.Result
		if err := p.begin(rb.Partition); err != nil {
			res = kafka.Result{Partition: rb.Partition, Offset: -1, Err: err, Attempted: attempted}
		} else {
			attempted = true
			if p.delay != nil && !wait(ctx, p.delay()) {
				return kafka.Result{Partition: rb.Partition, Err: unknown, Attempted: true}
			}
			res = p.end(rb)
		}
		if res.Err == nil || res.Err.Class.OfLine() || res.Err.Class.OfSource() {
			return res
		}
		if retry.MaxElapsed > 0 && time.Since(start) >= retry.MaxElapsed {
			return res
		}
		retry.OnRetry(res.Err, n)
		if !wait(ctx, retry.Initial) {
			return res
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// records are the stored records in the order in which they were stored.
func (p *fakeProducer) records() []stored {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.topicLog)
}

// values are the stored values in the order in which they were stored.
func (p *fakeProducer) values() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.topicLog {
		out = append(out, r.value)
	}
	return out
}

func (p *fakeProducer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sizes)
}

// Errors of each kind.
var (
	retriable = &kafka.Error{Class: kafka.ClassRetriable, Kafka: "NOT_LEADER_OR_FOLLOWER", Topic: "t", Err: errors.New("moved")}
	unknown   = &kafka.Error{Class: kafka.ClassUnknown, Topic: "t", Err: errors.New("connection reset")}
	tooLarge  = &kafka.Error{Class: kafka.ClassTooLarge, Kafka: "MESSAGE_TOO_LARGE", Topic: "t", Err: errors.New("too large")}
	invalid   = &kafka.Error{Class: kafka.ClassInvalid, Kafka: "INVALID_RECORD", Topic: "t", Err: errors.New("one or more records were rejected")}
	denied    = &kafka.Error{Class: kafka.ClassAuthorization, Kafka: "TOPIC_AUTHORIZATION_FAILED", Topic: "t", Err: errors.New("no permission")}
	noTopic   = &kafka.Error{Class: kafka.ClassNoTopic, Kafka: "UNKNOWN_TOPIC_OR_PARTITION", Topic: "t", Err: errors.New("no such topic")}
)

// refuseValues answers with the error when a record's value contains one of the words.
func refuseValues(err *kafka.Error, words ...string) func(*kafka.RecordBatch) kafka.Result {
	return func(rb *kafka.RecordBatch) kafka.Result {
		for i := range rb.Len() {
			_, v, _ := rb.Record(i)
			for _, w := range words {
				if bytes.Contains(v, []byte(w)) {
					return kafka.Result{Err: err}
				}
			}
		}
		return kafka.Result{}
	}
}

// both asks two answers; the first error counts.
func both(a, b func(*kafka.RecordBatch) kafka.Result) func(*kafka.RecordBatch) kafka.Result {
	return func(rb *kafka.RecordBatch) kafka.Result {
		if res := a(rb); res.Err != nil {
			return res
		}
		return b(rb)
	}
}

// headerOf gives the provenance header of a record.
func headerOf(rb *kafka.RecordBatch, i int) string {
	for _, h := range rb.Headers(i) {
		if h.Key == provenance.Key {
			return string(h.Value)
		}
	}
	return ""
}
