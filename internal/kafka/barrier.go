package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// With acks=0 no answer comes, so nothing says what a broker has read. A barrier is an ApiVersions
// request on the same connection: a broker answers a connection's requests in order, so its answer
// proves that everything before it was read. It is a frame of ours between sarama's frames, known by
// its negative correlation id, and nobody waits for it: the stream of produce requests goes on.

const (
	barrierBytes = 8 << 20 // a barrier is due after so much
	// sarama counts its correlation ids up from 0.
	firstBarrier int32 = -1
)

// confirmations counts the records of one connection with acks=0.
type confirmations struct {
	written   int64 // records written
	confirmed int64 // of these, known to have been read
	bytes     int   // written since the last barrier
	last      int32 // correlation id of the last barrier
	marks     []mark
}

// mark is a barrier that is out.
type mark struct {
	id      int32
	written int64
	since   time.Time
	done    func(error)
}

// sent counts what was written; true when a barrier is due.
func (c *confirmations) sent(records int64, bytes int) bool {
	c.written += records
	c.bytes += bytes
	return c.bytes >= barrierBytes
}

// outstanding is how many records were written and not confirmed.
func (c *confirmations) outstanding() int64 { return c.written - c.confirmed }

// begin notes a new barrier and gives its correlation id.
func (c *confirmations) begin(done func(error)) int32 {
	if c.last == 0 || c.last == -1<<31 {
		c.last = firstBarrier
	} else {
		c.last--
	}
	c.bytes = 0
	c.marks = append(c.marks, mark{id: c.last, written: c.written, since: time.Now(), done: done})
	return c.last
}

// answered settles the barrier with that id, and gives those who wait for it or an earlier one.
func (c *confirmations) answered(id int32) []func(error) {
	var done []func(error)
	for i, m := range c.marks {
		if m.done != nil {
			done = append(done, m.done)
		}
		if m.id == id {
			c.confirmed = m.written
			c.marks = c.marks[i+1:]
			return done
		}
	}
	return nil
}

// pending says whether records are written that no barrier covers, and since when the oldest
// barrier is out (zero when none is).
func (c *confirmations) pending() (uncovered bool, oldest time.Time) {
	covered := c.confirmed
	if n := len(c.marks); n > 0 {
		covered, oldest = c.marks[n-1].written, c.marks[0].since
	}
	return c.written > covered, oldest
}

// takeWaiters gives all who wait for a barrier; there will be no answer.
func (c *confirmations) takeWaiters() []func(error) {
	var done []func(error)
	for _, m := range c.marks {
		if m.done != nil {
			done = append(done, m.done)
		}
	}
	c.marks = nil
	return done
}

// tick sends the barrier of each second, and ends a connection whose broker does not answer one.
func (l *link) tick() error {
	l.mu.Lock()
	due, oldest := l.confirm.pending()
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
	if done != nil && l.confirm.outstanding() == 0 {
		l.mu.Unlock()
		done(nil)
		return nil
	}
	id := l.confirm.begin(done)
	l.mu.Unlock()
	_, err := l.wire.Write(apiVersionsFrame(id, l.p.conf.ClientID))
	return err
}

// apiVersionsFrame is an ApiVersions request of version 0, which every broker knows.
func apiVersionsFrame(correlation int32, clientID string) []byte {
	const apiVersions = 18
	f := make([]byte, 4, 14+len(clientID))
	f = binary.BigEndian.AppendUint16(f, apiVersions)
	f = binary.BigEndian.AppendUint16(f, 0)
	f = binary.BigEndian.AppendUint32(f, uint32(correlation))
	f = binary.BigEndian.AppendUint16(f, uint16(len(clientID)))
	f = append(f, clientID...)
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f
}

// barrierAnswered is called by the wire's pump.
func (l *link) barrierAnswered(id int32, _ []byte) (kept bool) {
	l.mu.Lock()
	done := l.confirm.answered(id)
	l.proved = true
	l.mu.Unlock()
	l.nudge() // it may want to retire
	for _, f := range done {
		f(nil)
	}
	return false
}

// Barrier makes a round trip on each connection in use with acks=0, and returns nil when everything
// that was sent before on a connection which still lives is known to have been read. With other acks
// there is nothing to do. What was lost with connections that broke is counted by Unconfirmed.
func (p *Producer) Barrier(ctx context.Context) error {
	if p.conf.Acks != 0 {
		return nil
	}
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

// Unconfirmed is how many records were sent with acks=0 on a connection that then broke, after its
// last answered barrier. Some of them may have been lost.
func (p *Producer) Unconfirmed() int64 { return p.unconfirmed.Load() }
