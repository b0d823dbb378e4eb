package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/IBM/sarama"
)

// Retry says how Deliver tries again.
type Retry struct {
	Initial, Max time.Duration // backoff: doubled each time; 100 ms to 10 s where zero
	MaxElapsed   time.Duration // 0: for ever
	// OnRetry, if not nil, is called with each failure that will be tried again: with the count of
	// failures so far, or with 0 when nothing could be sent and Deliver waits for a leader.
	OnRetry func(err *Error, failures int)
}

// delivery is one call of Deliver.
type delivery struct {
	p        *Producer
	retry    Retry
	started  time.Time
	open     []*shipment
	failures int
	unsent   bool // the last attempt sent nothing: brokers gave no producer id
	waiting  bool // OnRetry was told that there is no leader
}

// shipment is one batch under way.
type shipment struct {
	rb     *RecordBatch
	result *Result
	tried  bool // at least one attempt went out
	err    *Error
}

// Deliver sends the batches, one in flight a partition and in their order, and tries each again
// until it has a definite answer: delivered, or an error of a line, which is the caller's to narrow
// down. A batch that went out once is repeated byte for byte under the same sequence number, so an
// idempotent producer stores it once. With acks -1 and Idempotent it neither loses nor repeats, but
// for what PossibleRepeat says.
//
// When ctx ends, or MaxElapsed has passed, the rest is handed back as it stands: ClassUnknown where
// an attempt may have been written; such a batch may be given to Deliver again, and is then still
// the same batch to the broker. Deliver calls wait for each other.
func (p *Producer) Deliver(ctx context.Context, rbs []*RecordBatch, retry Retry) []Result {
	results := make([]Result, len(rbs))
	d := delivery{p: p, retry: retry, started: time.Now()}
	if d.retry.Initial <= 0 {
		d.retry.Initial = 100 * time.Millisecond
	}
	if d.retry.Max <= 0 {
		d.retry.Max = 10 * time.Second
	}
	for i, rb := range rbs {
		results[i] = Result{Partition: rb.Partition, Offset: -1}
		d.open = append(d.open, &shipment{rb: rb, result: &results[i]})
	}
	select {
	case p.sequences.turn <- struct{}{}:
		defer func() { <-p.sequences.turn }()
	case <-ctx.Done():
		d.handBack(ctx.Err())
		return results
	}
	for len(d.open) > 0 {
		_, _, changed := p.Watch() // before the attempt: no change may slip through behind it
		tried, worst := d.attempt(ctx)
		if len(d.open) == 0 {
			break
		}
		if err := d.wait(ctx, tried, worst, changed); err != nil {
			d.handBack(err)
			break
		}
	}
	return results
}

// attempt sends the first open batch of each partition, waits for the answers and settles what is
// definite. It says whether a request failed, and gives the error that tells most; nil when no batch
// has to be sent again.
func (d *delivery) attempt(ctx context.Context) (tried bool, worst *Error) {
	now := make(map[*RecordBatch]*shipment)
	var send []*RecordBatch
	taken := make(map[int32]bool)
	d.unsent = true
	for _, s := range d.open {
		if taken[s.rb.Partition] {
			continue
		}
		taken[s.rb.Partition] = true
		if err := d.p.sequences.stamp(ctx, s.rb); err != nil {
			s.err, worst = err, telling(worst, err)
			tried = tried || err.code != sarama.ErrNoError || err.Class.OfSource() // somebody said no
			d.unsent = d.unsent && !err.Class.OfSource()
			continue
		}
		s.rb.frozen.sends++
		now[s.rb] = s
		send = append(send, s.rb)
	}
	d.p.exchange(ctx, send, func(rb *RecordBatch, r Result) {
		s := now[rb]
		if !r.Attempted {
			rb.frozen.sends--
		} else {
			s.tried, d.unsent = true, false
		}
		if d.p.sequences.judge(rb, &r) != again {
			*s.result = r
			s.result.PossibleRepeat = r.PossibleRepeat || rb.frozen.repeat
			s.err = nil
			rb.frozen.stamped = false
			d.remove(s)
			d.failures = 0
			return
		}
		tried = tried || r.Attempted
		s.err, worst = r.Err, telling(worst, r.Err)
	})
	return tried, worst
}

func (d *delivery) remove(done *shipment) {
	for i, s := range d.open {
		if s == done {
			d.open = append(d.open[:i], d.open[i+1:]...)
			return
		}
	}
}

// exchange sends the batches and calls judge with each result, on the caller's goroutine. When the
// context ends it cuts the connections, so that every answer comes at once.
func (p *Producer) exchange(ctx context.Context, rbs []*RecordBatch, judge func(*RecordBatch, Result)) {
	type answer struct {
		rb *RecordBatch
		r  Result
	}
	answers := make(chan answer, len(rbs))
	links := p.submit(rbs, func(rb *RecordBatch, r Result) { answers <- answer{rb, r} })
	cut := ctx.Done()
	for range rbs {
		select {
		case a := <-answers:
			judge(a.rb, a.r)
			continue
		case <-cut:
		}
		cut = nil
		for _, l := range links {
			l.stop()
		}
		a := <-answers
		judge(a.rb, a.r)
	}
}

// wait holds the next attempt back: by the backoff after a failure, or until something can be sent
// again. It returns why there shall be no next attempt.
func (d *delivery) wait(ctx context.Context, tried bool, worst *Error, changed <-chan struct{}) error {
	var elapsed <-chan time.Time
	if d.retry.MaxElapsed > 0 {
		left := d.retry.MaxElapsed - time.Since(d.started)
		if left <= 0 {
			return errElapsed
		}
		t := time.NewTimer(left)
		defer t.Stop()
		elapsed = t.C
	}
	var pause <-chan time.Time
	switch {
	case worst == nil: // the next batches of the same partitions
		return ctx.Err()
	case tried:
		t := time.NewTimer(d.backoff())
		defer t.Stop()
		pause, changed = t.C, nil
		d.failures++
		d.waiting = false
		d.tell(worst, d.failures)
	case !d.waiting:
		d.waiting = true
		d.tell(worst, 0)
	}
	select {
	case <-pause:
	case <-changed:
	case <-elapsed:
		return errElapsed
	case <-ctx.Done():
		return ctx.Err()
	}
	return ctx.Err()
}

var errElapsed = errors.New("the time for retries has passed")

func (d *delivery) tell(err *Error, failures int) {
	if d.retry.OnRetry != nil {
		d.retry.OnRetry(err, failures)
	}
}

// backoff is the wait before the next attempt. One that sent nothing is part of the way to the brokers,
// where delivery goes on soon after they are back, whatever the retries of lines are set to.
func (d *delivery) backoff() time.Duration {
	if d.unsent {
		return backoff(d.failures)
	}
	b := d.retry.Max
	if d.failures < 30 && d.retry.Initial<<d.failures > 0 {
		b = min(b, d.retry.Initial<<d.failures)
	}
	return b/2 + rand.N(b/2+1)
}

// handBack gives the open batches back to the caller as they stand.
func (d *delivery) handBack(why error) {
	for _, s := range d.open {
		f := &s.rb.frozen
		err := s.err
		if err == nil {
			err = &Error{Class: ClassRetriable, Topic: d.p.conf.Topic, Err: errors.New("not sent")}
		}
		out := *err
		out.Err = fmt.Errorf("%w; the last failure: %w", why, err.Err)
		if f.unknown {
			out.Class = ClassUnknown
			if d.p.conf.Idempotent {
				d.p.sequences.of(s.rb.Partition).loose = s.rb
			}
		} else {
			f.stamped = false
		}
		s.result.Err = &out
		s.result.Attempted = s.tried || f.unknown
		s.result.PossibleRepeat = f.repeat
	}
}
