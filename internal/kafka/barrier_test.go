package kafka

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const listOffsetsKey = int16(2)

func fireAndForget(c *kfake.Cluster) Config {
	conf := settings(c.ListenAddrs())
	conf.Acks = 0
	return conf
}

// barriers calls f at each barrier that a broker gets: at the question where the logs end. What f returns says
// whether the broker answers it.
func barriers(c *kfake.Cluster, f func() (answer bool)) {
	c.ControlKey(listOffsetsKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.ListOffsetsRequest).ReplicaID != asDebugger {
			return nil, nil, false
		}
		return nil, nil, !f()
	})
}

// highWatermark makes brokers answer consumers so; ends says where the log of partition 0 ends.
func highWatermark(c *kfake.Cluster, answer func(ends int64) (offset int64, code int16)) {
	c.ControlKey(listOffsetsKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		if req.ReplicaID == asDebugger {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition = p.Partition
				rp.Offset, rp.ErrorCode = answer(stored(c, p.Partition))
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func never(p *Producer) { p.barrierEvery = time.Hour }

func TestABarrierConfirmsWhatWasSent(t *testing.T) {
	c := cluster(t, 1)
	side := make(chan struct{}, 100)
	barriers(c, func() bool { side <- struct{}{}; return true })
	p, err := New(fireAndForget(c))
	if err != nil {
		t.Fatal(err)
	}
	never(p)
	stop := run(t, p)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if stored(c, 0) != 3 || len(side) != 1 {
		t.Errorf("%d records stored, %d barriers", stored(c, 0), len(side))
	}
	if err := p.Barrier(t.Context()); err != nil || len(side) != 1 {
		t.Errorf("%v: nothing was sent since, yet %d barriers", err, len(side))
	}
	stop()
	if p.Unconfirmed() != 0 {
		t.Errorf("%d unconfirmed", p.Unconfirmed())
	}
}

func TestWhatWasSentSinceTheBarrierIsUnconfirmed(t *testing.T) {
	side := &brokerSide{}
	c := cluster(t, 1, kfake.ListenFn(side.listen))
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	send(t, p, lines(p, 0, 4, "b"))
	send(t, p, lines(p, 0, 5, "c"))
	side.closeAll()
	awaitConnects(t, p, 2)
	if p.Unconfirmed() != 9 {
		t.Errorf("%d unconfirmed, want 9", p.Unconfirmed())
	}
}

func TestBarriersComeByThemselves(t *testing.T) {
	t.Run("by time", func(t *testing.T) {
		c := cluster(t, 1)
		seen := make(chan struct{}, 1000)
		barriers(c, func() bool { seen <- struct{}{}; return true })
		p := start(t, fireAndForget(c), func(p *Producer) { p.barrierEvery = 5 * time.Millisecond })
		ready(t, p, 1)
		for range 3 {
			send(t, p, lines(p, 0, 3, "a"))
			select {
			case <-seen:
			case <-time.After(patience):
				t.Fatal("no barrier")
			}
		}
		if n := p.Stats().Requests; n != 3 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("by size", func(t *testing.T) {
		c := cluster(t, 1)
		seen := make(chan struct{}, 1000)
		barriers(c, func() bool { seen <- struct{}{}; return true })
		p := start(t, fireAndForget(c), never)
		ready(t, p, 1)
		value := make([]byte, 1<<20)
		for i := range 16 {
			rb := p.NewBatch(0)
			rb.Add(nil, value, 1, Headers{})
			send(t, p, rb)
			if i < 7 && len(seen) > 0 {
				t.Error("a barrier before its time")
			}
		}
		for range 2 {
			select {
			case <-seen:
			case <-time.After(patience):
				t.Fatal("no barrier")
			}
		}
	})
}

// A broker that reads and never answers is no broker.
func TestABarrierWithoutAnAnswerEndsTheConnection(t *testing.T) {
	c := cluster(t, 1)
	barriers(c, func() bool { return false })
	conf := fireAndForget(c)
	conf.RequestTimeout = 100 * time.Millisecond
	p := start(t, conf, func(p *Producer) { p.barrierEvery = 10 * time.Millisecond })
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err == nil {
		t.Error("a barrier without an answer is taken for good")
	}
	awaitConnects(t, p, 2)
	if p.Unconfirmed() != 3 {
		t.Errorf("%d unconfirmed, want 3", p.Unconfirmed())
	}
}

func TestABarrierEndsWithItsContext(t *testing.T) {
	c := cluster(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	barriers(c, func() bool { cancel(); return false })
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(ctx); err != context.Canceled {
		t.Errorf("%v", err)
	}
}

// The stream goes on while a barrier is out: nobody waits for it.
func TestABarrierHoldsNothingUp(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, fireAndForget(c), func(p *Producer) { p.barrierEvery = time.Millisecond })
	ready(t, p, 1)
	for range 300 {
		if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if err := p.Barrier(t.Context()); err != nil || stored(c, 0) != 900 {
		t.Errorf("%v; %d records stored", err, stored(c, 0))
	}
}

// What a leader appended is confirmed only when its replicas have it: it may be deposed, or die.
func TestABarrierWaitsForTheReplicas(t *testing.T) {
	side := &brokerSide{}
	c := cluster(t, 1, kfake.ListenFn(side.listen))
	behind, asked := atomic.Int64{}, make(chan struct{}, 1000)
	behind.Store(1)
	highWatermark(c, func(ends int64) (int64, int16) {
		select {
		case asked <- struct{}{}:
		default:
		}
		return ends - behind.Load(), 0
	})
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	passed := make(chan error, 1)
	go func() { passed <- p.Barrier(t.Context()) }()
	for range 3 { // it is asked again and again
		<-asked
	}
	select {
	case err := <-passed:
		t.Fatalf("%v: passed while a record is on the leader alone", err)
	default:
	}
	behind.Store(0)
	if err := <-passed; err != nil {
		t.Error(err)
	}
	behind.Store(1)
	send(t, p, lines(p, 0, 4, "b"))
	side.closeAll()
	awaitConnects(t, p, 2)
	if p.Unconfirmed() != 4 {
		t.Errorf("%d unconfirmed, want 4", p.Unconfirmed())
	}
}

// A broker that was deposed meanwhile may have appended what no other broker has.
func TestWhatADeposedLeaderTookIsUnconfirmed(t *testing.T) {
	c := cluster(t, 1)
	highWatermark(c, func(int64) (int64, int16) { return -1, kerr.NotLeaderForPartition.Code })
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if p.Unconfirmed() != 3 {
		t.Errorf("%d unconfirmed, want 3", p.Unconfirmed())
	}
}

// A broker that cannot say where its log ends is believed to have read what it answers behind.
func TestABarrierOfABrokerThatKnowsNoDebugger(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(listOffsetsKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		if req.ReplicaID != asDebugger {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		return resp, nil, true
	})
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil || p.Unconfirmed() != 0 {
		t.Errorf("%v, %d unconfirmed", err, p.Unconfirmed())
	}
}

// Barriers that nobody passes do not pile up.
func TestBarriersInWaitAreBounded(t *testing.T) {
	var c confirmations
	for range 3 * maxMarks {
		if due := c.sent(0, 1, barrierBytes); due {
			c.begin(nil)
		}
	}
	if len(c.marks) != maxMarks {
		t.Errorf("%d barriers wait, want %d", len(c.marks), maxMarks)
	}
	c.answered(-int32(2*maxMarks), map[int32]offsetAnswer{0: {}}) // as if all ends were answered
	for _, m := range c.marks {
		m.ends = map[int32]int64{0: 7}
	}
	last := c.ask(nil)
	if _, lost := c.answered(last, map[int32]offsetAnswer{0: {offset: 7}}); lost != 0 || len(c.marks) != 0 {
		t.Errorf("%d lost, %d barriers wait", lost, len(c.marks))
	}
	if n := c.outstanding(); n != 2*maxMarks {
		t.Errorf("%d outstanding, want %d", n, 2*maxMarks)
	}
}

func FuzzParseOffsets(f *testing.F) {
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.Version = 1
	rt, rp := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
	rt.Topic, rp.Offset, rp.Partition = "t", 7, 3
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	body := resp.AppendTo(nil)
	if got := parseOffsets(body, "t"); got[3].offset != 7 {
		f.Errorf("%v", got)
	}
	f.Add(body)
	f.Fuzz(func(_ *testing.T, body []byte) { parseOffsets(body, "t") })
}
