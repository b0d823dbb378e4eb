package kafka

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// confirmations counts, by partition, the records of one connection with acks=0, and keeps the barriers
// that they have not passed yet. The link's mutex guards it.
type confirmations struct {
	flows map[int32]*flow
	bytes int   // written since the last barrier
	last  int32 // correlation id of the last request
	asked []question
	marks []*mark
	delay time.Duration // until the high watermarks are asked for again
	again time.Time     // when to do so; zero: not
}

// flow counts the records of one partition.
type flow struct {
	written   int64
	confirmed int64 // of these, known to be replicated, or counted as unconfirmed
}

// mark is a barrier: what was written before it, and where the partitions' logs ended then.
type mark struct {
	written map[int32]int64
	ends    map[int32]int64 // nil until the answer has come
	done    func(error)
}

// question is a request that is out. Answers come in the order of the questions.
type question struct {
	id    int32
	mark  *mark // it asks for the ends of the logs; nil: for the high watermarks
	since time.Time
}

// offsetAnswer is what a broker says of one partition.
type offsetAnswer struct {
	code   sarama.KError
	offset int64
}

const (
	barrierBytes = 8 << 20 // a barrier is due after so much
	// maxMarks bounds the barriers that wait for the replicas.
	maxMarks = 64
	// sarama counts its correlation ids up from 0.
	firstQuestion int32 = -1
	firstDelay          = 10 * time.Millisecond
	maxDelay            = time.Second
)

// sent counts what was written; true when a barrier is due.
func (c *confirmations) sent(partition int32, records int64, bytes int) bool {
	f := c.flows[partition]
	if f == nil {
		if c.flows == nil {
			c.flows = make(map[int32]*flow)
		}
		f = &flow{}
		c.flows[partition] = f
	}
	f.written += records
	c.bytes += bytes
	return c.bytes >= barrierBytes && len(c.marks) < maxMarks
}

// outstanding is how many records were written and not confirmed.
func (c *confirmations) outstanding() (n int64) {
	for _, f := range c.flows {
		n += f.written - f.confirmed
	}
	return n
}

// uncovered says whether records are written that no barrier covers.
func (c *confirmations) uncovered() bool {
	for p, f := range c.flows {
		covered := f.confirmed
		if n := len(c.marks); n > 0 {
			covered = max(covered, c.marks[n-1].written[p])
		}
		if f.written > covered {
			return true
		}
	}
	return false
}

// oldest is since when the oldest question waits for its answer; zero when none does.
func (c *confirmations) oldest() time.Time {
	if len(c.asked) == 0 {
		return time.Time{}
	}
	return c.asked[0].since
}

// begin makes a barrier and gives its two questions: the ids, and what they ask for.
func (c *confirmations) begin(done func(error)) (ends, high int32, partitions []int32) {
	m := &mark{written: make(map[int32]int64), done: done}
	for p, f := range c.flows {
		if f.written > f.confirmed {
			m.written[p] = f.written
		}
	}
	c.bytes = 0
	c.marks = append(c.marks, m)
	return c.ask(m), c.ask(nil), slices.Sorted(maps.Keys(m.written))
}

func (c *confirmations) ask(m *mark) int32 {
	if c.last == 0 || c.last == -1<<31 {
		c.last = firstQuestion
	} else {
		c.last--
	}
	c.asked = append(c.asked, question{c.last, m, time.Now()})
	return c.last
}

// recheck gives the id and the partitions of one more question for the high watermarks, when its time has
// come.
func (c *confirmations) recheck() (id int32, partitions []int32, due bool) {
	if c.again.IsZero() || time.Now().Before(c.again) {
		return 0, nil, false
	}
	c.again = time.Time{}
	open := make(map[int32]bool)
	for _, m := range c.marks {
		for p, written := range m.written {
			open[p] = open[p] || written > c.flows[p].confirmed
		}
	}
	maps.DeleteFunc(open, func(_ int32, is bool) bool { return !is })
	if len(open) == 0 {
		return 0, nil, false
	}
	return c.ask(nil), slices.Sorted(maps.Keys(open)), true
}

// answered takes an answer in. It gives those who wait for a barrier that is passed now, and how many
// records will never be confirmed.
func (c *confirmations) answered(id int32, said map[int32]offsetAnswer) (done []func(error), lost int64) {
	i := slices.IndexFunc(c.asked, func(q question) bool { return q.id == id })
	if i < 0 {
		return nil, 0
	}
	m := c.asked[i].mark
	c.asked = c.asked[i+1:]
	if m != nil {
		m.ends = make(map[int32]int64, len(said))
		for p, a := range said {
			if a.code == sarama.ErrNoError {
				m.ends[p] = a.offset
			}
		}
		return nil, 0
	}
	for p, a := range said {
		lost += c.passed(p, a)
	}
	return c.settle(), lost
}

// passed takes in how far a partition is replicated. It gives how many records are beyond hope: their
// partition is led by another broker now, which may never have got them.
func (c *confirmations) passed(p int32, a offsetAnswer) (lost int64) {
	f := c.flows[p]
	for _, m := range c.marks {
		if m.ends == nil || f == nil { // this mark is younger than the question
			break
		}
		upTo, ok := m.written[p]
		if !ok || upTo <= f.confirmed {
			continue
		}
		switch {
		case a.code == sarama.ErrNoError && a.offset < m.ends[p]:
		case a.code == sarama.ErrNoError:
			f.confirmed = upTo
		case !patient(a.code):
			lost += upTo - f.confirmed
			f.confirmed = upTo
		}
	}
	return lost
}

// patient says that the same question may get another answer from the same broker.
func patient(code sarama.KError) bool {
	switch code {
	case sarama.ErrLeaderNotAvailable, sarama.ErrOffsetNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrUnknown:
		return true
	}
	return false
}

// settle takes out the barriers that are passed, and plans the next question when some are left.
func (c *confirmations) settle() (done []func(error)) {
	before := len(c.marks)
	c.marks = slices.DeleteFunc(c.marks, func(m *mark) bool {
		for p, written := range m.written {
			if written > c.flows[p].confirmed {
				return false
			}
		}
		if m.done != nil {
			done = append(done, m.done)
		}
		return true
	})
	switch {
	case len(c.marks) == 0:
		c.delay, c.again = 0, time.Time{}
		return done
	case len(c.marks) < before:
		c.delay = 0
	}
	c.delay = min(max(2*c.delay, firstDelay), maxDelay)
	if len(c.asked) == 0 {
		c.again = time.Now().Add(c.delay)
	}
	return done
}

// takeWaiters gives all who wait for a barrier; there will be no answer.
func (c *confirmations) takeWaiters() (done []func(error)) {
	for _, m := range c.marks {
		if m.done != nil {
			done = append(done, m.done)
		}
	}
	c.marks = nil
	return done
}

// Whom a ListOffsets request asks for. A consumer is told the high watermark: how far all replicas in sync
// have the log. The debugging id is told where the leader's own log ends.
const (
	asConsumer = -1
	asDebugger = -2
)

// offsetsFrame is a ListOffsets request of version 1, which every broker from 0.10.1 to 4.x knows:
// https://kafka.apache.org/protocol#The_Messages_ListOffsets
func offsetsFrame(correlation int32, clientID, topic string, replica int32, partitions []int32) []byte {
	const listOffsets = 2
	f := make([]byte, 4, 40+len(clientID)+len(topic)+12*len(partitions))
	f = binary.BigEndian.AppendUint16(f, listOffsets)
	f = binary.BigEndian.AppendUint16(f, 1)
	f = binary.BigEndian.AppendUint32(f, uint32(correlation))
	f = appendShort(f, clientID)
	f = binary.BigEndian.AppendUint32(f, uint32(replica))
	f = binary.BigEndian.AppendUint32(f, 1)
	f = appendShort(f, topic)
	f = binary.BigEndian.AppendUint32(f, uint32(len(partitions)))
	for _, p := range partitions {
		f = binary.BigEndian.AppendUint32(f, uint32(p))
		f = binary.BigEndian.AppendUint64(f, ^uint64(0)) // -1: the latest
	}
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f
}

// parseOffsets reads the answer to such a request; nil when it is none.
func parseOffsets(body []byte, topic string) map[int32]offsetAnswer {
	said := make(map[int32]offsetAnswer)
	r := answer{p: body}
	for range r.count(6) {
		name := string(r.take(int(r.int16())))
		for range r.count(22) {
			partition, code := r.int32(), sarama.KError(r.int16())
			r.skip(8) // timestamp
			offset := r.int64()
			if name == topic {
				said[partition] = offsetAnswer{code, offset}
			}
		}
	}
	if r.bad {
		return nil
	}
	return said
}
