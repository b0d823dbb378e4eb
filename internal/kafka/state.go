package kafka

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// part is what is known of one partition.
type part struct {
	leader string // host:port, "" without one
	epoch  int32
	link   *link // the open connection to the leader, nil without one

	// After a refusal nothing is sent until that time, and, if the answer said that the leader is
	// another one, until the metadata say so too.
	refused *Error
	until   time.Time
	moved   bool
	tries   int // refusals since the last success
}

// reconsider lifts a refusal whose time has come. It returns how long to wait otherwise.
func (t *part) reconsider(leader string, epoch int32) time.Duration {
	if t.refused == nil {
		return 0
	}
	if wait := time.Until(t.until); wait > 0 {
		return wait
	}
	if t.moved && leader == t.leader && epoch == t.epoch && t.tries < staleTries {
		t.tries++
		wait := backoff(t.tries)
		t.until = time.Now().Add(wait)
		return wait
	}
	t.refused, t.moved = nil, false
	return 0
}

// sooner is the lesser of two waits, where 0 means none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// route gives the connection for a partition, or the reason why there is none.
func (p *Producer) route(partition int32) (*link, *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || len(p.parts) == 0:
		return nil, p.problem
	case partition < 0 || int(partition) >= len(p.parts):
		return nil, &Error{Class: ClassConfig, Topic: p.conf.Topic,
			Err: fmt.Errorf("there is no partition %d: the topic has %d", partition, len(p.parts))}
	}
	part := &p.parts[partition]
	switch {
	case part.refused != nil:
		return nil, part.refused
	case part.link == nil && part.leader == "":
		return nil, &Error{Class: ClassRetriable, Kafka: "LEADER_NOT_AVAILABLE", Topic: p.conf.Topic,
			Err: fmt.Errorf("partition %d has no leader", partition)}
	case part.link == nil:
		return nil, &Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: part.leader, Err: errors.New("no connection to the leader")}
	}
	return part.link, nil
}

// refused takes a partition out of use for a while after a broker's answer that is no fault of a
// line: without that, each batch in a mode that does not retry would run into the same answer.
func (p *Producer) refused(l *link, partition int32, code sarama.KError, err *Error) {
	if err.Class.OfLine() || aboutSequence(code) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if partition < 0 || int(partition) >= len(p.parts) || p.parts[partition].link != l {
		return // the answer is about what is over already
	}
	t := &p.parts[partition]
	t.refused, t.moved = err, leaderMoved(code)
	t.until = time.Now().Add(backoff(t.tries))
	t.tries++
	p.problem = err
	p.publish()
	p.look()
}

// accepted notes a success.
func (p *Producer) accepted(partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(partition) < len(p.parts) && p.parts[partition].tries > 0 {
		p.parts[partition].tries = 0
		p.look()
	}
}

// look asks the manager to see to the refusals.
func (p *Producer) look() {
	select {
	case p.stale <- struct{}{}:
	default:
	}
}

// leaderMoved says that the answer means: another broker leads this partition.
func leaderMoved(code sarama.KError) bool {
	switch code {
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrFencedLeaderEpoch,
		sarama.ErrUnknownTopicOrPartition, sarama.ErrKafkaStorageError:
		return true
	}
	return false
}

// aboutSequence says that the answer is about a producer id or a sequence number.
func aboutSequence(code sarama.KError) bool {
	switch code {
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrDuplicateSequenceNumber, sarama.ErrInvalidProducerEpoch,
		sarama.ErrInvalidProducerIDMapping, sarama.ErrUnknownProducerID:
		return true
	}
	return false
}

func (p *Producer) setProblem(err *Error) {
	p.mu.Lock()
	p.problem = err
	p.publish()
	p.mu.Unlock()
}

// noTopic takes all partitions out of use.
func (p *Producer) noTopic(err *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problem = err
	for i := range p.parts {
		p.parts[i].leader, p.parts[i].link = "", nil
	}
	p.publish()
}

// publish works out what can be sent to, and tells those who wait. Called under p.mu.
func (p *Producer) publish() {
	var usable []int32
	for i := range p.parts {
		if t := &p.parts[i]; t.link != nil && t.refused == nil {
			usable = append(usable, int32(i))
		}
	}
	same := slices.Equal(usable, p.usable)
	if same && (len(usable) > 0 || p.problem.sameKind(p.told)) {
		return
	}
	switch {
	case same:
	case len(p.usable) == 0:
		close(p.ready)
	case len(usable) == 0:
		p.ready = make(chan struct{})
	}
	p.usable, p.told = usable, p.problem
	close(p.changed)
	p.changed = make(chan struct{})
}
