package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// With acks=0 no answer comes, so nothing says what became of a batch. A barrier is two ListOffsets
// requests on the same connection. A broker works a connection's requests off in order, so the first answer says
// where the logs ended when everything before it had been appended, and a high watermark at or beyond that
// proves that all replicas in sync have it: it stays when the leader dies, or is found to have been deposed
// meanwhile. The requests are frames of ours between sarama's frames, known by their negative correlation
// ids, and nobody waits for them: the stream of produce requests goes on.

// tick sends the barrier of each second, and ends a connection whose broker does not answer one.
func (l *link) tick() error {
	l.mu.Lock()
	due := l.confirm.uncovered() && len(l.confirm.marks) < maxMarks
	oldest := l.confirm.oldest()
	l.mu.Unlock()
	if !oldest.IsZero() && time.Since(oldest) > l.p.conf.RequestTimeout {
		return fmt.Errorf("%s did not answer a barrier for %v", l.addr, l.p.conf.RequestTimeout)
	}
	if due {
		return l.sendBarrier(nil)
	}
	return nil
}

// sendBarrier writes a barrier; done, if not nil, is called with its outcome.
func (l *link) sendBarrier(done func(error)) error {
	l.mu.Lock()
	if l.confirm.outstanding() == 0 {
		l.mu.Unlock()
		if done != nil {
			done(nil)
		}
		return nil
	}
	ends, high, partitions := l.confirm.begin(done)
	l.mu.Unlock()
	client, topic := l.p.conf.ClientID, l.p.conf.Topic
	_, err := l.wire.Write(append(offsetsFrame(ends, client, topic, asDebugger, partitions),
		offsetsFrame(high, client, topic, asConsumer, partitions)...))
	return err
}

// recheck asks again how far the replicas have come, when its time has come.
func (l *link) recheck() error {
	l.mu.Lock()
	id, partitions, due := l.confirm.recheck()
	l.mu.Unlock()
	if !due {
		return nil
	}
	_, err := l.wire.Write(offsetsFrame(id, l.p.conf.ClientID, l.p.conf.Topic, asConsumer, partitions))
	return err
}

// replicating gives a channel that tells when to recheck; nil when there is nothing to ask.
func (l *link) replicating() <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.confirm.again.IsZero() {
		return nil
	}
	return time.After(time.Until(l.confirm.again))
}

// barrierAnswered is called by the wire's pump.
func (l *link) barrierAnswered(id int32, body []byte) (kept bool) {
	said := parseOffsets(body, l.p.conf.Topic)
	if said == nil {
		l.wire.kill(fmt.Errorf("%s gave an answer that is none to a barrier", l.addr))
		return false
	}
	l.mu.Lock()
	done, lost := l.confirm.answered(id, said)
	l.proved = true
	l.mu.Unlock()
	l.p.unconfirmed.Add(lost)
	l.nudge() // it may want to retire, or to ask again
	for _, f := range done {
		f(nil)
	}
	return false
}

// Barrier makes a barrier on each connection in use with acks=0, and returns nil when everything that was
// sent before is known to be replicated, or counted by Unconfirmed. It waits for the replicas at most the
// request time-out. With other acks there is nothing to do.
func (p *Producer) Barrier(ctx context.Context) error {
	if p.conf.Acks != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.conf.RequestTimeout)
	defer cancel()
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
		all  = make(chan struct{})
	)
	for _, l := range p.openLinks() {
		wg.Add(1)
		done := func(err error) {
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
			wg.Done()
		}
		if !l.push(&request{barrier: done}) {
			done(fmt.Errorf("connection to %s is gone", l.addr))
		}
	}
	go func() { wg.Wait(); close(all) }()
	select {
	case <-all:
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(errs...)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unconfirmed is how many records were sent with acks=0 after the last barrier that was passed, on a connection that
// then broke or to a broker that no longer led their partition. Some of them may have been lost; no others.
func (p *Producer) Unconfirmed() int64 { return p.unconfirmed.Load() }
