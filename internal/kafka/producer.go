package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"go.uber.org/zap"
)

func init() {
	// sarama's own metrics take 270 KiB a client, and nobody reads them here.
	metrics.UseNilMetrics = true
}

// Producer sends record batches to the partitions of one topic. Run must be running for anything to
// be sent; all other methods are safe for concurrent use, and none of them waits for the network
// but Deliver and Barrier.
type Producer struct {
	conf           Config
	base           *sarama.Config
	codec          sarama.CompressionCodec
	level          int
	produceVersion int16
	dial           func(ctx context.Context, network, addr string) (net.Conn, error)
	secrets        secrets
	secret         *secretFile // nil when no file holds one
	spokeTLS       atomic.Bool // a handshake has succeeded
	log            *zap.Logger

	barrierEvery time.Duration // tests shorten it
	sequences    sequences
	unconfirmed  atomic.Int64
	stats        counters

	stale chan struct{} // a partition was refused: the manager should look

	mu      sync.Mutex
	parts   []part
	problem *Error // the latest reason for not being ready
	told    *Error // the reason as of the last change
	closed  bool
	usable  []int32
	ready   chan struct{} // closed while usable holds something
	changed chan struct{} // closed at the next change of usable, or of the reason
}

type counters struct {
	requests, records, connects, losses, refreshes, repeats, ids atomic.Int64
}

// Stats is a snapshot of a Producer's counters, since its start.
type Stats struct {
	Requests        int64 // produce requests written
	Records         int64 // records written, each attempt counted
	Connects        int64 // connections to leaders opened
	Losses          int64 // connections to leaders lost, or not to be had
	Refreshes       int64 // answers with metadata
	ProducerIDs     int64 // producer ids taken
	PossibleRepeats int64 // batches whose producer id was given up with an outcome unknown
	Unconfirmed     int64 // see Producer.Unconfirmed
	InFlight        int   // produce requests that wait for their answer now
	Connections     int   // open connections to leaders now
}

// New checks the configuration, files included, without touching the network.
func New(conf Config) (*Producer, error) {
	p := &Producer{
		conf:         conf,
		log:          conf.Log,
		dial:         conf.Dial,
		barrierEvery: time.Second,
		stale:        make(chan struct{}, 1),
		ready:        make(chan struct{}),
		changed:      make(chan struct{}),
	}
	p.sequences.init(p)
	p.problem = &Error{Class: ClassRetriable, Topic: conf.Topic, Err: errors.New("not connected yet")}
	p.told = p.problem
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.conf.DialTimeout <= 0 {
		p.conf.DialTimeout = DefaultDialTimeout
	}
	if p.conf.RequestTimeout <= 0 {
		p.conf.RequestTimeout = DefaultRequestTimeout
	}
	if p.conf.MaxInFlight <= 0 {
		p.conf.MaxInFlight = 1
	}
	if p.dial == nil {
		p.dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return p, nil
}

// Ready says what can be sent to now; the error is nil when at least one partition can.
func (p *Producer) Ready() (Topic, *Error) {
	topic, err, _ := p.Watch()
	return topic, err
}

// Watch is Ready with a channel that is closed as soon as the partitions that can be sent to are
// others, or, while there is none, the reason is another one.
func (p *Producer) Watch() (Topic, *Error, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	topic := Topic{Partitions: int32(len(p.parts)), Usable: p.usable}
	if len(p.usable) > 0 {
		return topic, nil, p.changed
	}
	return topic, p.problem, p.changed
}

// WaitReady gives a channel that is closed when at least one partition can be sent to. Ask for it
// anew after a loss.
func (p *Producer) WaitReady() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// Stats gives a snapshot of the counters.
func (p *Producer) Stats() Stats {
	s := Stats{
		Requests: p.stats.requests.Load(), Records: p.stats.records.Load(),
		Connects: p.stats.connects.Load(), Losses: p.stats.losses.Load(), Refreshes: p.stats.refreshes.Load(),
		ProducerIDs: p.stats.ids.Load(), PossibleRepeats: p.stats.repeats.Load(), Unconfirmed: p.unconfirmed.Load(),
	}
	for _, l := range p.openLinks() {
		l.mu.Lock()
		s.InFlight += l.inFlight
		l.mu.Unlock()
		s.Connections++
	}
	return s
}

// openLinks gives the open connections to leaders, each once.
func (p *Producer) openLinks() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*link
	seen := make(map[*link]bool)
	for i := range p.parts {
		if l := p.parts[i].link; l != nil && !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

// maxRequest bounds the batches that travel in one request; brokers take 100 MB by default.
const maxRequest = 16 << 20

// Send sends the batches once, those of one leader in one request, and never waits: it queues them
// for the connections' own goroutines. Done is called exactly once for each batch, on any
// goroutine, maybe before Send returns; it must not block. There is no retry. Batches of one
// partition keep their order as long as no request fails.
func (p *Producer) Send(rbs []*RecordBatch, done func(*RecordBatch, Result)) {
	for _, rb := range rbs {
		rb.frozen = freeze{}
	}
	p.submit(rbs, done)
}

// submit queues the batches, and gives the connections that it used.
func (p *Producer) submit(rbs []*RecordBatch, done func(*RecordBatch, Result)) []*link {
	var order []*link
	requests := make(map[*link][]*request, 1)
	for _, rb := range rbs {
		l, err := p.route(rb.Partition)
		if err != nil {
			done(rb, Result{Partition: rb.Partition, Offset: -1, Err: err})
			continue
		}
		if requests[l] == nil {
			order = append(order, l)
		}
		requests[l] = addTo(requests[l], rb, done)
	}
	for _, l := range order {
		for _, r := range requests[l] {
			if !l.push(r) {
				r.fail(p.gone(l), false)
			}
		}
	}
	return order
}

// addTo puts a batch into the last request, or into a new one: a request holds one batch of a
// partition at most, since a second one would take the first one's place.
func addTo(requests []*request, rb *RecordBatch, done func(*RecordBatch, Result)) []*request {
	if n := len(requests); n > 0 {
		last := requests[n-1]
		size, fits := rb.Size(), true
		for _, other := range last.batches {
			size += other.Size()
			fits = fits && other.Partition != rb.Partition
		}
		if fits && size <= maxRequest {
			last.batches = append(last.batches, rb)
			return requests
		}
	}
	return append(requests, &request{batches: []*RecordBatch{rb}, done: done})
}
