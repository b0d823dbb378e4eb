package kafka

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerSide keeps the broker's ends of all connections.
type brokerSide struct {
	mu      sync.Mutex
	conns   []net.Conn
	stalled atomic.Bool // the broker reads nothing
	resume  chan struct{}
}

func (s *brokerSide) listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	return brokerListener{ln, s}, err
}

type brokerListener struct {
	net.Listener
	s *brokerSide
}

func (l brokerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.mu.Lock()
	l.s.conns = append(l.s.conns, c)
	l.s.mu.Unlock()
	return brokerConn{c, l.s}, nil
}

type brokerConn struct {
	net.Conn
	s *brokerSide
}

func (c brokerConn) Read(p []byte) (int, error) {
	if c.s.stalled.Load() {
		<-c.s.resume
	}
	return c.Conn.Read(p)
}

// closeAll ends all connections from the broker's side: the client gets a FIN.
func (s *brokerSide) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// awaitConnects waits until the producer has opened so many connections to leaders.
func awaitConnects(t *testing.T, p *Producer, n int64) {
	t.Helper()
	deadline := time.After(patience)
	for {
		_, _, changed := p.Watch()
		if p.Stats().Connects >= n {
			if topic, _ := p.Ready(); len(topic.Usable) > 0 {
				return
			}
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d connections, want %d", p.Stats().Connects, n)
		}
	}
}

// After a time-out every later batch would still be written and get an error all the same: the
// connection must not be used again.
func TestAConnectionIsNotUsedAfterATimeOut(t *testing.T) {
	c := cluster(t, 1)
	conf := settings(c.ListenAddrs())
	conf.RequestTimeout = 150 * time.Millisecond
	p := start(t, conf)
	ready(t, p, 1)
	c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
	r := send(t, p, lines(p, 0, 3, "a"))[0]
	if r.Err == nil || r.Err.Class != ClassUnknown || !r.Attempted {
		t.Errorf("result %+v", r)
	}
	awaitConnects(t, p, 2)
	for range 5 {
		if r := send(t, p, lines(p, 0, 3, "b"))[0]; r.Err != nil {
			t.Errorf("result %+v", r)
		}
	}
	if stored(c, 0) != 15 {
		t.Errorf("%d records stored, want 15", stored(c, 0))
	}
}

// Half a frame would make the broker take the next frame for the rest of it.
func TestAHalfWrittenFrameEndsTheConnection(t *testing.T) {
	for _, acks := range []int16{0, -1} {
		c := cluster(t, 1)
		f := &faults{}
		conf := settings(c.ListenAddrs())
		conf.Dial, conf.Acks = f.dial, acks
		p := start(t, conf)
		ready(t, p, 1)
		var first *faultyConn
		var after atomic.Int64 // writes on that connection behind the half frame
		half := once(func(c *faultyConn, frame []byte) (int, error) {
			first = c
			n, _ := c.Conn.Write(frame[:len(frame)/2])
			return n, errCut
		})
		f.onWrite(func(c *faultyConn, frame []byte) (int, error, bool) {
			n, err, handled := half(c, frame)
			if !handled && c == first {
				after.Add(1)
			}
			return n, err, handled
		})
		r := send(t, p, lines(p, 0, 3, "a"))[0]
		if r.Attempted || r.Err == nil {
			t.Errorf("acks %d: result %+v: half a request was not sent", acks, r)
		}
		awaitConnects(t, p, 2)
		if r := send(t, p, lines(p, 0, 3, "b"))[0]; r.Err != nil {
			t.Errorf("acks %d: result %+v", acks, r)
		}
		if err := p.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		if after.Load() != 0 {
			t.Errorf("acks %d: %d writes behind half a frame", acks, after.Load())
		}
		if got := values(t, c, 3); got[0] != "b-0" || stored(c, 0) != 3 {
			t.Errorf("acks %d: stored %v", acks, got)
		}
	}
}

// Brokers close idle connections. Without a reader the next batch would be written into nothing: lost
// with acks=0, an unknown outcome otherwise.
func TestAFinWhileIdleCostsNoBatch(t *testing.T) {
	for _, acks := range []int16{0, 1, -1} {
		side := &brokerSide{}
		c := cluster(t, 1, kfake.ListenFn(side.listen))
		conf := settings(c.ListenAddrs())
		conf.Acks = acks
		p := start(t, conf)
		ready(t, p, 1)
		for i := range int64(3) {
			if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
				t.Errorf("acks %d: result %+v", acks, r)
			}
			if err := p.Barrier(t.Context()); err != nil {
				t.Error(err)
			}
			side.closeAll()
			awaitConnects(t, p, i+2)
		}
		if stored(c, 0) != 9 || p.Unconfirmed() != 0 {
			t.Errorf("acks %d: %d records stored, want 9; %d unconfirmed", acks, stored(c, 0), p.Unconfirmed())
		}
	}
}

// A broker that stops reading must not hold Send up, nor the end of Run.
func TestSendNeverWaits(t *testing.T) {
	for _, acks := range []int16{0, -1} {
		side := &brokerSide{resume: make(chan struct{})}
		c := cluster(t, 1, kfake.ListenFn(side.listen))
		conf := settings(c.ListenAddrs())
		conf.Acks, conf.RequestTimeout = acks, 300*time.Millisecond
		conf.DialTimeout = 300 * time.Millisecond
		p, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, p)
		ready(t, p, 1)
		side.stalled.Store(true)
		value := make([]byte, 1<<20)
		const n = 40 // more than the kernel's buffers take
		results := make(chan Result, n)
		began := time.Now()
		for range n {
			rb := p.NewBatch(0)
			rb.Add(nil, value, 1, Headers{})
			p.Send([]*RecordBatch{rb}, func(_ *RecordBatch, r Result) { results <- r })
		}
		if took := time.Since(began); took > conf.RequestTimeout/2 {
			t.Errorf("acks %d: Send took %v", acks, took)
		}
		stalled := false
		for range n {
			select {
			case r := <-results:
				stalled = stalled || r.Err != nil
			case <-time.After(patience):
				t.Fatal("no result")
			}
		}
		if !stalled {
			t.Errorf("acks %d: nothing stalled, so this test shows nothing", acks)
		}
		stop()
		close(side.resume)
	}
}

// Under a storm of disconnects each batch gets exactly one result.
func TestEachBatchGetsOneResultInAStorm(t *testing.T) {
	for _, acks := range []int16{0, 1} {
		c := cluster(t, 4, kfake.NumBrokers(2))
		f := &faults{}
		conf := settings(c.ListenAddrs())
		conf.Dial, conf.Acks = f.dial, acks
		p, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, p)
		ready(t, p, 4)
		const senders, rounds = 4, 300
		var wg sync.WaitGroup
		var acked, attempted atomic.Int64
		for s := range senders {
			wg.Go(func() {
				for i := range rounds {
					rb := lines(p, int32((s+i)%4), 5, "x")
					calls := make(chan Result, 2)
					p.Send([]*RecordBatch{rb}, func(b *RecordBatch, r Result) {
						b.Release() // at once: a second result, or a late touch, would show
						calls <- r
					})
					r := <-calls
					if len(calls) > 0 {
						t.Error("a second result")
					}
					if r.Attempted {
						attempted.Add(5)
					}
					if r.Err == nil {
						acked.Add(5)
					} else if !r.Attempted {
						<-p.WaitReady()
					}
					if i%10 == s {
						f.cutAll()
					}
				}
			})
		}
		wg.Wait()
		stop()
		var total int64
		for i := range int32(4) {
			total += stored(c, i)
		}
		if total > attempted.Load() || acks == 1 && total < acked.Load() {
			t.Errorf("acks %d: %d records stored, %d acknowledged, %d attempted", acks, total, acked.Load(), attempted.Load())
		}
		if lost := acked.Load() - total; acks == 0 && lost > p.Unconfirmed() {
			t.Errorf("%d records lost, %d counted as unconfirmed", lost, p.Unconfirmed())
		}
		if p.Stats().Losses == 0 {
			t.Error("no connection broke, so this test shows nothing")
		}
	}
}

func TestEveryDoneIsCalledBeforeRunReturns(t *testing.T) {
	c := cluster(t, 1)
	p, err := New(settings(c.ListenAddrs()))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, p)
	ready(t, p, 1)
	arrived := make(chan struct{}, 10)
	c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		arrived <- struct{}{}
		return nil, nil, true
	})
	var called atomic.Int64
	for range 20 { // five are out, fifteen wait for a slot
		p.Send([]*RecordBatch{lines(p, 0, 1, "x")}, func(*RecordBatch, Result) { called.Add(1) })
	}
	<-arrived
	stop()
	if called.Load() != 20 {
		t.Errorf("%d results of 20", called.Load())
	}
	if r := send(t, p, lines(p, 0, 1, "x"))[0]; r.Attempted || r.Err == nil {
		t.Errorf("after the end: %+v", r)
	}
}

func TestNeverMoreInFlightThanAllowed(t *testing.T) {
	c := cluster(t, 1)
	f := &faults{}
	conf := settings(c.ListenAddrs())
	conf.MaxInFlight, conf.Dial = 2, f.dial
	p := start(t, conf)
	ready(t, p, 1)
	var out, most atomic.Int64
	written := make(chan struct{}, 100)
	f.onWrite(func(_ *faultyConn, frame []byte) (int, error, bool) {
		if isProduce(frame) {
			if n := out.Add(1); n > most.Load() {
				most.Store(n)
			}
			written <- struct{}{}
		}
		return 0, nil, false
	})
	release := make(chan struct{})
	c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.DropControl()
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	var wg sync.WaitGroup
	wg.Add(50)
	for range 50 {
		p.Send([]*RecordBatch{lines(p, 0, 1, "x")}, func(*RecordBatch, Result) { out.Add(-1); wg.Done() })
	}
	<-written
	<-written // the second one goes out while the first waits
	if n := p.Stats().InFlight; n != 2 {
		t.Errorf("%d in flight, want 2", n)
	}
	close(release)
	wg.Wait()
	if most.Load() != 2 || stored(c, 0) != 50 {
		t.Errorf("%d in flight at most, want 2; %d records stored", most.Load(), stored(c, 0))
	}
}
