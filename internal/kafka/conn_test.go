package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
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

func TestDeliveryGoesOnWhenTheBrokerReturns(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	boot := func() *kfake.Cluster {
		return cluster(t, 1, kfake.Ports(port), kfake.DataDir(dir))
	}
	c := boot()
	log, logs := observed()
	f := &faults{}
	conf := idempotent(c)
	conf.Log, conf.Dial = log, f.dial
	p := start(t, conf)
	deliver(t, p, quick, lines(p, 0, 3, "a"))
	dialled := make(chan struct{}, 100)
	f.onDial(func(string) error { dialled <- struct{}{}; return nil })
	c.Close()
	waiting := make(chan struct{})
	var tell sync.Once
	retry := quick
	retry.OnRetry = func(*Error, int) { tell.Do(func() { close(waiting) }) }
	done := make(chan []Result, 1)
	go func() { done <- p.Deliver(context.Background(), []*RecordBatch{lines(p, 0, 3, "b")}, retry) }()
	<-waiting
	for range 4 { // let the backoff grow
		<-dialled
	}
	c = boot()
	began := time.Now()
	r := (<-done)[0]
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("delivery went on after %v", took)
	}
	if r.Err != nil || r.PossibleRepeat || stored(c, 0) != 6 {
		t.Errorf("result %+v, %d records stored", r, stored(c, 0))
	}
	for message, want := range map[string]int{"broker lost": 1, "broker back": 1, "no broker tells about the topic": 1, "brokers answer again": 1} {
		if got := logs.FilterMessage(message).Len(); got != want && want > 0 && !strings.HasPrefix(message, "broker") || got > want {
			t.Errorf("%q was logged %d times, want %d", message, got, want)
		}
	}
}

func TestAMovedLeaderIsFollowed(t *testing.T) {
	c := cluster(t, 1, kfake.NumBrokers(2))
	if err := c.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := start(t, idempotent(c))
	deliver(t, p, quick, lines(p, 0, 3, "a"))
	if err := c.MoveTopicPartition(topic, 0, 1); err != nil {
		t.Fatal(err)
	}
	var failures []string
	retry := quick
	retry.OnRetry = func(err *Error, _ int) { failures = append(failures, err.Kafka) }
	if r := deliver(t, p, retry, lines(p, 0, 3, "b"))[0]; r.Err != nil {
		t.Errorf("result %+v", r)
	}
	if len(failures) == 0 || failures[0] != "NOT_LEADER_OR_FOLLOWER" {
		t.Errorf("failures %v", failures)
	}
	if stored(c, 0) != 6 {
		t.Errorf("%d records stored", stored(c, 0))
	}
}

// A refused partition is left alone for a while: in a mode without retries every batch would fail.
func TestARefusedPartitionRestsAWhile(t *testing.T) {
	c := cluster(t, 2)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 2)
	answerProduce(c, 1, kerr.NotEnoughReplicas.Code, nil)
	got := send(t, p, lines(p, 0, 1, "x"))[0]
	if got.Err == nil || got.Err.Class != ClassRetriable || !got.Attempted {
		t.Errorf("result %+v", got)
	}
	if r := send(t, p, lines(p, 0, 1, "x"))[0]; r.Attempted {
		t.Errorf("result %+v: want no attempt", r)
	}
	if r := send(t, p, lines(p, 1, 1, "x"))[0]; r.Err != nil {
		t.Errorf("result %+v: the other partition is well", r)
	}
	ready(t, p, 2)
	if r := send(t, p, lines(p, 0, 1, "x"))[0]; r.Err != nil {
		t.Errorf("result %+v", r)
	}
}

// An offset beside an error says that the leader had written the batch when it lost its partition.
func TestAnErrorWithAnOffsetIsAnUnknownOutcome(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	answerProduce(c, 1, kerr.NotLeaderForPartition.Code, func(p *kmsg.ProduceResponseTopicPartition) { p.BaseOffset = 17 })
	if r := send(t, p, lines(p, 0, 1, "x"))[0]; r.Err == nil || r.Err.Class != ClassUnknown {
		t.Errorf("result %+v", r)
	}
}

func TestAMissingTopicIsNamedAndNotCreated(t *testing.T) {
	c := cluster(t, 1, kfake.AllowAutoTopicCreation())
	log, logs := observed()
	conf := settings(c.ListenAddrs())
	conf.Topic, conf.Log = "nowhere", log
	asked := make(chan struct{}, 100)
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		m := r.(*kmsg.MetadataRequest)
		if m.AllowAutoTopicCreation || len(m.Topics) != 1 || *m.Topics[0].Topic != "nowhere" {
			t.Errorf("metadata request %+v", m)
		}
		asked <- struct{}{}
		return nil, nil, false
	})
	p := start(t, conf)
	for range 4 {
		<-asked
	}
	_, err := p.Ready()
	if err == nil || err.Class != ClassNoTopic || err.Broker == "" || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("error %v", err)
	}
	if got := logs.FilterLevelExact(zap.ErrorLevel).Len(); got != 1 {
		t.Errorf("%d errors logged, want 1", got)
	}
	if err := c.CreateTopic("nowhere", 2, nil); err != nil {
		t.Fatal(err)
	}
	ready(t, p, 2)
	if logs.FilterMessage("the topic is there").Len() != 1 {
		t.Error("that the topic is there was not logged once")
	}
}

func TestACountOfPartitionsStaysUntilARestart(t *testing.T) {
	c := cluster(t, 2)
	log, logs := observed()
	conf := settings(c.ListenAddrs())
	conf.Log = log
	p := start(t, conf)
	ready(t, p, 2)
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) { // the topic has grown
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		host, port, _ := net.SplitHostPort(conf.Brokers[0])
		b := kmsg.NewMetadataResponseBroker()
		b.Host = host
		for _, d := range port {
			b.Port = b.Port*10 + int32(d-'0')
		}
		resp.Brokers = append(resp.Brokers, b)
		mt := kmsg.NewMetadataResponseTopic()
		mt.Topic = kmsg.StringPtr(topic)
		for i := range int32(5) {
			mp := kmsg.NewMetadataResponseTopicPartition()
			mp.Partition, mp.LeaderEpoch = i, 7
			mt.Partitions = append(mt.Partitions, mp)
		}
		resp.Topics = append(resp.Topics, mt)
		return resp, nil, true
	})
	answerProduce(c, 1, kerr.NotEnoughReplicas.Code, nil)
	send(t, p, lines(p, 0, 1, "x")) // makes it look again
	ready(t, p, 2)
	if got, _ := p.Ready(); got.Partitions != 2 {
		t.Errorf("%d partitions, want 2", got.Partitions)
	}
	if n := logs.FilterMessageSnippet("count of partitions").Len(); n != 1 {
		t.Errorf("the change was logged %d times", n)
	}
	if r := send(t, p, lines(p, 3, 1, "x"))[0]; r.Attempted || r.Err.Class != ClassConfig {
		t.Errorf("result %+v", r)
	}
}

// A broker that swallows the connection must not delay what the others know.
func TestAnotherBrokerIsAskedBesideASilentOne(t *testing.T) {
	c := cluster(t, 1)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conf := settings(append(c.ListenAddrs(), silent.Addr().String()))
	conf.DialTimeout = patience
	p := start(t, conf)
	select {
	case <-p.WaitReady():
	case <-time.After(patience / 2):
		t.Fatal("not ready")
	}
}

// peer is a server that is no Kafka broker: it reads a little and says what it is told to.
func peer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// problem runs a producer and waits until it tells why it is not ready.
func problem(t *testing.T, p *Producer) *Error {
	t.Helper()
	_, first, changed := p.Watch()
	run(t, p)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatalf("no problem is told but %v", first)
	}
	_, err := p.Ready()
	return err
}

func TestAMismatchSaysWhichSideSpeaksWhat(t *testing.T) {
	readSome := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 4)) }
	for name, tt := range map[string]struct {
		tls   *TLS
		serve func(net.Conn)
		class Class
		want  []string
	}{
		"plaintext to a TLS port that answers with an alert": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, 80})
		}, ClassConfig, []string{"this side speaks plaintext", "answered in TLS"}},
		"plaintext to a port that closes": {nil, readSome, ClassRetriable, []string{"this side speaks plaintext", "as a TLS port may do"}},
		"plaintext to a web server": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, ClassConfig, []string{"answered in HTTP"}},
		"plaintext to nonsense": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write(bytes.Repeat([]byte{0x7f}, 16))
		}, ClassConfig, []string{"no Kafka broker"}},
		"TLS to a plaintext port that closes": {&TLS{}, readSome, ClassConfig, []string{"this side speaks TLS", "as a port without TLS does"}},
		"TLS to a plaintext port that answers": {&TLS{}, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte{0, 0, 0, 10, 0, 0, 0, 0, 0, 35, 0, 0, 0, 0})
		}, ClassConfig, []string{"this side speaks TLS", "answered without TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := peer(t, tt.serve)
			conf := settings([]string{addr})
			conf.TLS = tt.tls
			p, err := New(conf)
			if err != nil {
				t.Fatal(err)
			}
			checkMismatch(t, problem(t, p), addr, tt.class, tt.want)
		})
	}
}
func checkMismatch(t *testing.T, err *Error, addr string, class Class, want []string) {
	t.Helper()
	if err == nil || err.Class != class || err.Broker != addr {
		t.Fatalf("error %v, want class %s at %q", err, class, addr)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// An answer that announces gigabytes must not be allocated.
func TestAHugeAnswerIsRefused(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	w := &wire{addr: "b:1", raw: client, stream: client, timeout: time.Second, dead: make(chan struct{}), gone: make(chan struct{})}
	w.out, w.in = net.Pipe()
	go w.pump()
	frame := binary.BigEndian.AppendUint32(nil, maxAnswer+1)
	_, _ = server.Write(append(frame, 0, 0, 0, 1))
	<-w.gone
	var m *mismatch
	if !errors.As(w.why(), &m) {
		t.Errorf("ended by %v", w.why())
	}
}

// What is written behind half a frame would be taken for the rest of it.
func TestNothingIsWrittenBehindHalfAFrame(t *testing.T) {
	client, server := net.Pipe()
	f := &faults{}
	f.onWrite(func(*faultyConn, []byte) (int, error, bool) { return 3, errCut, true })
	raw := &faultyConn{Conn: client, f: f}
	w := &wire{addr: "b:1", raw: raw, stream: raw, timeout: time.Second, dead: make(chan struct{}), gone: make(chan struct{})}
	w.out, w.in = net.Pipe()
	go w.pump()
	if n, err := w.Write(make([]byte, 10)); n != 3 || !errors.Is(err, errCut) {
		t.Errorf("%d, %v", n, err)
	}
	f.onWrite(func(*faultyConn, []byte) (int, error, bool) { t.Error("a second frame"); return 0, errCut, true })
	if _, err := w.Write(make([]byte, 10)); !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
	<-w.gone
	_ = server.Close()
}
