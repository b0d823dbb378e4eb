package kafka

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// sequenceLimit is how many records a partition takes under one producer id before a fresh one is
// taken: half of what the sequence numbers hold. Brokers wrap at 2^31, or near it.
const sequenceLimit = 1 << 30

// producerID is what a broker gave us to number records under.
type producerID struct {
	id    int64
	epoch int16
}

var noID = producerID{-1, -1}

// sequences knows, for each partition, the producer id in use and the number of the next record.
// Only the goroutine that holds turn, the one in Deliver, touches the rest.
type sequences struct {
	p     *Producer
	turn  chan struct{}
	limit int64 // tests lower it

	newest producerID // the last one taken; noID when it is used up
	parts  map[int32]*sequence
}

// sequence is the state of one partition.
type sequence struct {
	pid  producerID // noID: a fresh one is needed
	last producerID // the one before: never to be used again here
	next int32
	// loose is a batch that Deliver handed back with its outcome unknown. Until that batch comes
	// again, its numbers may be taken or not.
	loose *RecordBatch
}

func (s *sequences) init(p *Producer) {
	s.p, s.limit = p, sequenceLimit
	s.turn = make(chan struct{}, 1)
	s.newest = noID
	s.parts = make(map[int32]*sequence)
}

func (s *sequences) of(partition int32) *sequence {
	q := s.parts[partition]
	if q == nil {
		q = &sequence{pid: noID, last: noID}
		s.parts[partition] = q
	}
	return q
}

// freeze is how a batch is numbered. A batch that was sent once is frozen: same lines, partition,
// producer id and sequence, until it has a definite answer.
type freeze struct {
	stamped bool
	pid     producerID
	first   int32
	sends   int  // times it went out under this number
	unknown bool // one of them may have been written
	repeat  bool // an id was given up while the outcome was unknown
}

// apply writes the numbers into the header of an encoded batch; they are no part of what sarama
// caches.
func (f *freeze) apply(b *sarama.RecordBatch) {
	if !f.stamped {
		return
	}
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = f.pid.id, f.pid.epoch, f.first
}

// stamp numbers a batch before it is sent; a frozen one keeps its number. It may have to ask the
// broker for an id.
func (s *sequences) stamp(ctx context.Context, rb *RecordBatch) *Error {
	f := &rb.frozen
	if !f.stamped {
		rb.wire = sarama.RecordBatch{} // its bytes may be of other lines
	}
	if !s.p.conf.Idempotent {
		if !f.stamped { // -1 as numbers, but frozen all the same: the bytes are encoded once
			*f = freeze{stamped: true, pid: noID, first: -1}
		}
		return nil
	}
	q := s.of(rb.Partition)
	if q.loose != nil && (q.loose != rb || !f.unknown) {
		s.giveUp(rb.Partition, "another batch follows one whose outcome is unknown")
	}
	if f.stamped && f.sends > 0 && f.pid == q.pid {
		return nil
	}
	if f.unknown { // its id is gone
		f.repeat = true
	}
	if int64(q.next)+int64(rb.Len()) > s.limit {
		// Nothing is in flight here and all outcomes are known, so nothing is lost by it.
		s.retire(q)
	}
	if q.pid == noID {
		pid, err := s.fresh(ctx, rb.Partition, q.last)
		if err != nil {
			return err
		}
		q.pid, q.next = pid, 0
	}
	*f = freeze{stamped: true, pid: q.pid, first: q.next, repeat: f.repeat}
	return nil
}

// retire gives a partition's producer id up.
func (s *sequences) retire(q *sequence) {
	if q.pid == noID {
		return
	}
	if s.newest == q.pid {
		s.newest = noID
	}
	q.last, q.pid, q.next, q.loose = q.pid, noID, 0, nil
}

// giveUp retires an id under which an outcome is unknown: what was sent may come a second time.
func (s *sequences) giveUp(partition int32, why string) {
	s.retire(s.of(partition))
	s.p.stats.repeats.Add(1)
	s.p.log.Warn("possible repeat: a producer id was given up while an outcome was unknown",
		zap.String("topic", s.p.conf.Topic), zap.Int32("partition", partition), zap.String("why", why))
}

// fresh gives the newest producer id if the partition has not used it up, else one from a broker.
func (s *sequences) fresh(ctx context.Context, partition int32, not producerID) (producerID, *Error) {
	if s.newest != noID && s.newest != not {
		return s.newest, nil
	}
	l, err := s.p.route(partition)
	if err != nil {
		return noID, err
	}
	type answer struct {
		pid producerID
		err *Error
	}
	answers := make(chan answer, 1)
	if !l.push(&request{newID: func(pid producerID, err *Error) { answers <- answer{pid, err} }}) {
		return noID, s.p.gone(l)
	}
	select {
	case a := <-answers:
		if a.err == nil {
			s.newest = a.pid
			s.p.stats.ids.Add(1)
		}
		return a.pid, a.err
	case <-ctx.Done():
		return noID, s.p.connectError(l.addr, ctx.Err())
	}
}

// fetchID asks the broker for a producer id. An error means that the connection is of no more use.
func (l *link) fetchID(done func(producerID, *Error)) error {
	res, err := l.b.InitProducerID(&sarama.InitProducerIDRequest{
		Version: initVersion(l.p.base.Version), ProducerID: -1, ProducerEpoch: -1, // zeros would name producer 0
	})
	switch {
	case errors.Is(err, sarama.ErrUnsupportedVersion):
		done(noID, l.p.connectError(l.addr, err))
		return nil
	case err != nil:
		done(noID, l.p.connectError(l.addr, err))
		return err
	}
	l.rest(res.ThrottleTime)
	if res.Err != sarama.ErrNoError {
		done(noID, l.p.brokerError(res.Err, nil, l.addr))
		return nil
	}
	done(producerID{res.ProducerID, res.ProducerEpoch}, nil)
	return nil
}

// initVersion is the newest InitProducerID request of that version of Kafka.
func initVersion(v sarama.KafkaVersion) int16 {
	switch {
	case v.IsAtLeast(sarama.V2_7_0_0):
		return 4
	case v.IsAtLeast(sarama.V2_5_0_0):
		return 3
	case v.IsAtLeast(sarama.V2_4_0_0):
		return 2
	case v.IsAtLeast(sarama.V2_0_0_0):
		return 1
	}
	return 0
}

// verdict is what follows from one attempt.
type verdict uint8

const (
	again  verdict = iota // send the same once more
	passed                // delivered
	failed                // a definite no
)

// judge takes the outcome of one attempt into account.
func (s *sequences) judge(rb *RecordBatch, r *Result) verdict {
	f, q := &rb.frozen, s.of(rb.Partition)
	if r.Err == nil {
		return s.pass(rb, q, r)
	}
	if !r.Attempted {
		return again
	}
	code := r.Err.code
	switch {
	case code == sarama.ErrDuplicateSequenceNumber && f.sends > 1:
		// An earlier attempt was written; its answer was lost.
		*r = Result{Partition: rb.Partition, Offset: -1, Attempted: true}
		return s.pass(rb, q, r)
	case aboutSequence(code):
		if f.unknown {
			f.repeat = true
			s.giveUp(rb.Partition, r.Err.Kafka)
		} else {
			s.retire(q)
		}
		f.unknown = false
		return again
	case r.Err.Class.OfLine():
		if f.unknown {
			// Halves under the same numbers could be taken for what that attempt wrote.
			f.repeat = true
			if s.p.conf.Idempotent {
				s.giveUp(rb.Partition, r.Err.Kafka)
			}
		}
		f.unknown = false
		return failed
	case r.Err.Class == ClassUnknown:
		f.unknown = true
	}
	return again
}

// pass moves the sequence on behind a delivered batch.
func (s *sequences) pass(rb *RecordBatch, q *sequence, r *Result) verdict {
	if s.p.conf.Idempotent {
		q.next += int32(rb.Len())
		q.loose = nil
	} else if rb.frozen.unknown {
		rb.frozen.repeat = true
	}
	r.PossibleRepeat = rb.frozen.repeat
	rb.frozen = freeze{}
	return passed
}
