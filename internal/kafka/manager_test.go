package kafka

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

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
			b.Port = b.Port*10 + d - '0'
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

// A silent broker must not hide that the others are back: they are asked again while it is waited for.
func TestBrokersThatReturnAreSeenBesideASilentOne(t *testing.T) {
	c := cluster(t, 1)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f := &faults{}
	refused := make(chan struct{})
	var once sync.Once
	f.onDial(func(addr string) error {
		var err error
		if addr != silent.Addr().String() {
			once.Do(func() { close(refused); err = errCut })
		}
		return err
	})
	conf := settings(append(c.ListenAddrs(), silent.Addr().String()))
	conf.DialTimeout, conf.Dial = 2*patience, f.dial
	p := start(t, conf)
	<-refused
	ready(t, p, 1)
}

// A leader that accepts and says nothing keeps the connection to it from being opened. That another
// one leads by then must be seen all the same.
func TestAMovedLeaderIsFollowedWhileTheOldOneIsSilent(t *testing.T) {
	c := cluster(t, 1, kfake.NumBrokers(2))
	if err := c.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	old := c.ListenAddrs()[0]
	hung := make(chan struct{}, 100)
	conf := settings(c.ListenAddrs()[1:])
	conf.DialTimeout = 2 * patience
	conf.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != old {
			return dialer(ctx, network, addr)
		}
		hung <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	p := start(t, conf)
	<-hung
	if err := c.MoveTopicPartition(topic, 0, 1); err != nil {
		t.Fatal(err)
	}
	ready(t, p, 1)
}
