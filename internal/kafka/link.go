package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

var errStopped = errors.New("stopped by shiplog")

// link is the connection to one leader. Its goroutine is the only one that touches the
// sarama.Broker: it opens it, sends on it and closes it, once; a link that broke is never used
// again. Everybody else puts requests into its queue, which never blocks.
type link struct {
	p    *Producer
	addr string
	wire *wire          // set when open, before ready
	b    *sarama.Broker // set when open, before ready

	wake chan struct{} // something to do: a request, a free slot, the wish to retire
	stop context.CancelFunc
	up   bool // the manager has announced it; guarded by Producer.mu

	mu       sync.Mutex
	queue    []*request
	inFlight int
	closed   bool // takes no more requests
	retiring bool // closes once it is idle
	proved   bool // a broker has answered a request on it
	confirm  confirmations
	resting  time.Time // no request before that: the broker has asked for a pause
}

func (p *Producer) newLink(addr string) *link {
	return &link{p: p, addr: addr, wake: make(chan struct{}, 1)}
}

// push queues a request; false when the link takes none any more.
func (l *link) push(r *request) bool {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.queue = append(l.queue, r)
	}
	l.mu.Unlock()
	l.nudge()
	return !closed
}

func (l *link) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// retire lets the link close as soon as nothing is out on it: the partitions have moved away.
func (l *link) retire() {
	l.mu.Lock()
	l.retiring = true
	l.mu.Unlock()
	l.nudge()
}

// open connects and logs in; both together take at most the dial time-out.
func (l *link) open(ctx context.Context) error {
	w, b, err := l.p.openBroker(ctx, l.addr)
	if err != nil {
		return err
	}
	l.wire, l.b = w, b
	answered := l.barrierAnswered
	w.answer.Store(&answered)
	return nil
}

// openBroker connects to a broker, asks it for its versions and logs in. The caller closes what it
// got with closeBroker.
func (p *Producer) openBroker(ctx context.Context, addr string) (*wire, *sarama.Broker, error) {
	ctx, cancel := context.WithTimeout(ctx, p.conf.DialTimeout)
	defer cancel()
	w, err := p.connect(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	abort := context.AfterFunc(ctx, func() {
		w.kill(fmt.Errorf("no answer while connecting: %w", context.Cause(ctx)))
	})
	b := sarama.NewBroker(addr)
	conf, err := p.brokerConfig(w)
	if err == nil {
		err = b.Open(conf)
	}
	if err == nil {
		_, err = b.Connected()
	}
	switch {
	case !abort():
		err = fmt.Errorf("no answer while connecting: %w", context.Cause(ctx))
	case err == nil:
		err = w.why()
	case closedByPeer(err) && p.conf.SASL != nil && w.answers.Load() > 0:
		err = &mismatch{ClassAuth, addr + " closed the connection in the login, as it may do with wrong credentials", err}
	}
	if err != nil {
		closeBroker(w, b, err)
		return nil, nil, err
	}
	return w, b, nil
}

// closeBroker ends a connection and waits until sarama has called all callbacks.
func closeBroker(w *wire, b *sarama.Broker, cause error) {
	w.kill(cause) // first: Close waits for the lock that a blocked write holds
	_ = b.Close() // "not connected" is what we want
	<-w.gone
}

// run opens the link, tells the manager, and serves its queue until the connection dies, the link
// is retired or the context ends. It returns the reason; nil for a retired link.
func (l *link) run(ctx context.Context, opened func()) error {
	err := l.open(ctx)
	if err == nil {
		// A blocked write ends only with its connection.
		unhook := context.AfterFunc(ctx, func() { l.wire.kill(errStopped) })
		opened()
		err = l.serve(ctx)
		unhook()
		cause := err
		if cause == nil {
			cause = errClosed
		}
		l.shut()
		closeBroker(l.wire, l.b, cause)
		l.p.unconfirmed.Add(l.confirm.outstanding())
	}
	l.drain(err)
	return err
}

// shut lets the link take no more requests.
func (l *link) shut() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

// drain answers what was queued and never sent.
func (l *link) drain(cause error) {
	l.shut()
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	waiting := l.confirm.takeWaiters()
	l.mu.Unlock()
	if cause == nil {
		cause = errClosed
	}
	e := l.p.connectError(l.addr, cause)
	for _, done := range waiting {
		done(e)
	}
	for _, r := range queue {
		r.fail(e, false)
	}
}

// serve sends what is queued, in order.
func (l *link) serve(ctx context.Context) error {
	var tick <-chan time.Time
	if l.p.conf.Acks == 0 {
		t := time.NewTicker(l.p.barrierEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		r, idle := l.next()
		if r != nil {
			if err := l.handle(r); err != nil {
				return err
			}
			continue
		}
		if idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return errStopped
		case <-l.wire.dead:
			return l.wire.why()
		case <-tick:
			if err := l.tick(); err != nil {
				return err
			}
		case <-l.wake:
		case <-l.rested():
		case <-l.replicating():
			if err := l.recheck(); err != nil {
				return err
			}
		}
	}
}

// next takes the next request, if there is one and a slot is free for it. Idle says that the link
// wants to retire and may.
func (l *link) next() (r *request, idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire.why() != nil {
		return nil, false
	}
	if len(l.queue) == 0 {
		return nil, l.retiring && l.inFlight == 0 && l.confirm.outstanding() == 0
	}
	// Never more than this many out: sarama would wait for a slot with its lock held.
	if l.inFlight >= l.p.conf.MaxInFlight || time.Now().Before(l.resting) {
		return nil, false
	}
	r = l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	if len(r.batches) > 0 && l.p.conf.Acks != 0 {
		l.inFlight++
	}
	return r, false
}

// handle carries out one request. An error means that the connection is of no more use.
func (l *link) handle(r *request) error {
	l.p.renewLogin(l.wire)
	switch {
	case r.barrier != nil:
		return l.sendBarrier(r.barrier)
	case r.newID != nil:
		return l.fetchID(r.newID)
	case l.p.conf.Acks == 0:
		return l.fire(r)
	}
	return l.produce(r)
}

// produce sends one produce request whose answer comes by callback.
func (l *link) produce(r *request) error {
	err := l.b.AsyncProduce(l.encode(r), func(res *sarama.ProduceResponse, err error) {
		if err != nil {
			l.wire.kill(err) // whatever comes next on this connection is of no use
		}
		if res != nil {
			l.rest(res.ThrottleTime)
		}
		l.answered(r, res, err)
		l.release(err == nil)
	})
	if err != nil {
		l.release(false)
		return l.unsent(r, err)
	}
	l.written(r)
	return nil
}

// fire sends one produce request that gets no answer: that it is written is all there is to know.
func (l *link) fire(r *request) error {
	if err := l.b.AsyncProduce(l.encode(r), nil); err != nil {
		return l.unsent(r, err)
	}
	l.written(r)
	due := false
	l.mu.Lock()
	for _, rb := range r.batches {
		due = l.confirm.sent(rb.Partition, int64(rb.Len()), rb.Size()) || due
	}
	l.mu.Unlock()
	for _, rb := range r.batches {
		r.done(rb, Result{Partition: rb.Partition, Offset: -1, Attempted: true})
	}
	if due {
		return l.sendBarrier(nil)
	}
	return nil
}

func (l *link) encode(r *request) *sarama.ProduceRequest {
	p := l.p
	req := &sarama.ProduceRequest{
		Version:      p.produceVersion, // AsyncProduce lowers it to what the broker knows, for good
		RequiredAcks: sarama.RequiredAcks(p.conf.Acks),
		Timeout:      int32(p.brokerTimeout().Milliseconds()),
	}
	p.stats.requests.Add(1)
	for _, rb := range r.batches {
		p.stats.records.Add(int64(rb.Len()))
		req.AddBatch(p.conf.Topic, rb.Partition, rb.seal(p.codec, p.level))
	}
	return req
}

// written frees what is no longer needed once the request is in the socket. The answer may have come
// before it: the batches are the caller's again then.
func (l *link) written(r *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	for _, rb := range r.batches {
		rb.sent()
	}
}

// unsent answers a request that AsyncProduce did not write as a whole. It gives the error on when
// the connection is spoiled.
func (l *link) unsent(r *request, err error) error {
	e, attempted := l.p.notSent(l.addr, err)
	r.fail(e, attempted)
	if attempted {
		return nil
	}
	return err
}

// release gives a slot back.
func (l *link) release(proved bool) {
	l.mu.Lock()
	l.inFlight--
	l.proved = l.proved || proved
	l.mu.Unlock()
	l.nudge()
}

// answered runs on sarama's reading goroutine, where no method of the Broker may be called: it
// only hands the results over.
func (l *link) answered(r *request, res *sarama.ProduceResponse, err error) {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	if err != nil {
		r.fail(l.p.lost(l.addr, err), true)
		return
	}
	for _, rb := range r.batches {
		result := l.p.result(l, rb.Partition, res.GetBlock(l.p.conf.Topic, rb.Partition))
		r.done(rb, result)
	}
}

// result reads one partition's part of the answer.
func (p *Producer) result(l *link, partition int32, block *sarama.ProduceResponseBlock) Result {
	out := Result{Partition: partition, Offset: -1, Attempted: true}
	if block == nil {
		out.Err = p.lost(l.addr, sarama.ErrIncompleteResponse)
		return out
	}
	if block.Err == sarama.ErrNoError {
		out.Offset = block.Offset
		p.accepted(partition)
		return out
	}
	out.Err = p.brokerError(block.Err, block.ErrorMessage, l.addr)
	// An offset beside an error: the leader had appended the batch when it lost its partition, so
	// the next leader may have it.
	if block.Offset > 0 && out.Err.Class != ClassUnknown {
		out.Err.Class = ClassUnknown
	}
	for _, re := range block.RecordErrors {
		message := ""
		if re.BatchIndexErrorMessage != nil {
			message = bounded(p.secrets.clean(*re.BatchIndexErrorMessage))
		}
		out.RecordErrors = append(out.RecordErrors, RecordError{Index: int(re.BatchIndex), Message: message})
	}
	p.refused(l, partition, block.Err, out.Err)
	return out
}
