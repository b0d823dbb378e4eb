package shipper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// fakeReader gives prepared blocks on demand.
type fakeReader struct {
	mu      sync.Mutex
	ch      chan *batch.Batch
	queue   []*batch.Batch
	wants   int // asked for and not given yet
	asked   int // in all
	closing bool
	settled map[batch.FileID]int64
}

func newFakeReader(blocks ...*batch.Batch) *fakeReader {
	return &fakeReader{ch: make(chan *batch.Batch, 100), queue: blocks, settled: make(map[batch.FileID]int64)}
}

func (r *fakeReader) Want() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wants++
	r.asked++
	r.serve()
}

func (r *fakeReader) Batches() <-chan *batch.Batch { return r.ch }

func (r *fakeReader) Settled(id batch.FileID, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled[id] = offset
}

// add makes blocks available.
func (r *fakeReader) add(blocks ...*batch.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, blocks...)
	r.serve()
}

// finish closes the channel once every block was given.
func (r *fakeReader) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	r.serve()
}

func (r *fakeReader) serve() {
	for r.wants > 0 && len(r.queue) > 0 {
		r.ch <- r.queue[0]
		r.queue = r.queue[1:]
		r.wants--
	}
	if r.closing && len(r.queue) == 0 {
		close(r.ch)
		r.closing = false
	}
}

func (r *fakeReader) demands() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// fakeFile makes blocks out of lines, with offsets that go on from block to block.
type fakeFile struct {
	file   *batch.File
	offset int64
}

func newFakeFile(path string) *fakeFile {
	return &fakeFile{file: &batch.File{ID: batch.FileID{Dev: 1, Inode: batch.Hash([]byte(path))}, Path: path}}
}

// block makes a block of one run.
func (f *fakeFile) block(lines ...string) *batch.Batch {
	b := &batch.Batch{ReadAt: time.UnixMilli(1_700_000_000_000)}
	f.run(b, lines...)
	return b
}

// run appends a run to a block.
func (f *fakeFile) run(b *batch.Batch, lines ...string) *batch.Run {
	r := batch.Run{File: f.file, Start: f.offset, First: len(b.Lines)}
	for _, line := range lines {
		start := len(b.Buf)
		b.Buf = append(b.Buf, line...)
		b.Lines = append(b.Lines, batch.Line{
			Start: uint32(start), End: uint32(len(b.Buf)), Length: uint32(len(line) + 1), Offset: f.offset,
		})
		b.Buf = append(b.Buf, '\n')
		f.offset += int64(len(line)) + 1
	}
	r.Last, r.End = len(b.Lines), batch.Pos{Offset: f.offset}
	b.Runs = append(b.Runs, r)
	return &b.Runs[len(b.Runs)-1]
}

// stored is a record as it stands in the fake topic.
type stored struct {
	partition  int32
	key, value string
	time       int64
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
		p.topicLog = append(p.topicLog, stored{rb.Partition, string(key), string(value), t})
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

// fakeLog is a failure log in memory.
type fakeLog struct {
	mu   sync.Mutex
	err  error
	recs []failedlog.Record
	asks int
}

func (l *fakeLog) Append(recs []failedlog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks++
	if l.err != nil {
		return l.err
	}
	for _, r := range recs {
		r.Payload = bytes.Clone(r.Payload) // the block is used again
		r.Key = bytes.Clone(r.Key)
		l.recs = append(l.recs, r)
	}
	return nil
}

func (l *fakeLog) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *fakeLog) payloads() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, r := range l.recs {
		out = append(out, string(r.Payload))
	}
	return out
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

// rig is a source with all its rooms faked.
type rig struct {
	t        *testing.T
	reader   *fakeReader
	producer *fakeProducer
	failures *fakeLog
	tracker  *checkpoint.Tracker
	quota    *fakeQuota
	source   *Source
	result   chan error
	cancel   context.CancelFunc
}

type fakeQuota struct {
	mu    sync.Mutex
	calls []bool
}

func (q *fakeQuota) Limit(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls = append(q.calls, on)
}

func (q *fakeQuota) limits() []bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.calls)
}

// settings are the defaults of a mode.
func settings(mode string) Config {
	c := Config{Host: "web-1"}
	c.ID, c.Topic, c.Mode = "app", "t", mode
	c.Acks, c.OnInvalidJSON, c.OnOversize = config.AcksAll, config.ActionWrap, config.ActionFail
	c.MaxBatchBytes, c.MaxBatchLines, c.Linger = 1<<20, 10000, 5*time.Millisecond
	switch mode {
	case config.ModeSync:
		c.OnPermanentError = config.ActionHalt
		c.Retry = config.Retry{InitialInterval: 100 * time.Millisecond, MaxInterval: 10 * time.Second}
	case config.ModeCallback:
		c.OnOutage = config.ActionWait
	}
	return c
}

func newRig(t *testing.T, c Config, partitions int32, blocks ...*batch.Batch) *rig {
	t.Helper()
	r := &rig{
		t: t, reader: newFakeReader(blocks...), producer: newFakeProducer(partitions), failures: &fakeLog{},
		tracker: checkpoint.NewTracker(nil), quota: &fakeQuota{}, result: make(chan error, 1),
	}
	r.build(c, zap.NewNop())
	return r
}

func (r *rig) build(c Config, log *zap.Logger) {
	r.t.Helper()
	var err error
	r.source, err = New(c, Deps{
		Reader: r.reader, Producer: r.producer, FailureLog: r.failures, Tracker: r.tracker, Quota: r.quota, Log: log,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// start runs the source in the background.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel = cancel
	go func() { r.result <- r.source.Run(ctx) }()
}

// stop ends the source as a second signal would.
func (r *rig) stop() error {
	r.cancel()
	return <-r.result
}

// run ships everything and waits for the end.
func (r *rig) run() error {
	r.start()
	defer r.cancel()
	r.reader.finish()
	select {
	case err := <-r.result:
		return err
	case <-time.After(48 * time.Hour): // of the bubble's time
		r.t.Errorf("it does not end: %v", r.source.Account())
		return r.stop()
	}
}

// mustRun is run where no error is expected; it checks that nothing is left.
func (r *rig) mustRun() Account {
	r.t.Helper()
	if err := r.run(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
	a := r.source.Account()
	if a.InFlight != 0 || a.Missing() != 0 {
		r.t.Errorf("at the end: in flight %d, missing %d: %v", a.InFlight, a.Missing(), a)
	}
	return a
}

// numbered makes lines {"n":from} to {"n":to-1}.
func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(`{"n":%d}`, i))
	}
	return out
}

// pass lets virtual time pass inside a synctest bubble, and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
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
