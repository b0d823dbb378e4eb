package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "logs"

// patience bounds every wait of the tests; none should come near it.
const patience = 15 * time.Second

// cluster starts a kfake cluster with our topic.
func cluster(t testing.TB, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// settings are a Config with short time-outs.
func settings(brokers []string) Config {
	return Config{
		Brokers: brokers, ClientID: "test", Topic: topic, Acks: -1, MaxInFlight: 5,
		DialTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
	}
}

// start runs a producer until the test ends.
func start(t testing.TB, conf Config, tweaks ...func(*Producer)) *Producer {
	t.Helper()
	p, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tweaks {
		f(p)
	}
	run(t, p)
	return p
}

// run runs the producer until the test ends, or until the function it returns is called.
func run(t testing.TB, p *Producer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(stop)
	return stop
}

// ready waits until the producer can send to so many partitions.
func ready(t testing.TB, p *Producer, usable int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		topic, err, changed := p.Watch()
		if len(topic.Usable) == usable {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("not ready: %d of %d partitions usable: %v", len(topic.Usable), usable, err)
		}
	}
}

// lines makes a batch of n records of one partition.
func lines(p *Producer, partition int32, n int, prefix string) *RecordBatch {
	rb := p.NewBatch(partition)
	for i := range n {
		rb.Add(nil, fmt.Appendf(nil, "%s-%d", prefix, i), 1_700_000_000_000+int64(i), Headers{})
	}
	return rb
}

// send sends the batches and waits for their results, in the order of the batches.
func send(t testing.TB, p *Producer, rbs ...*RecordBatch) []Result {
	t.Helper()
	type answer struct {
		rb *RecordBatch
		r  Result
	}
	answers := make(chan answer, 2*len(rbs))
	p.Send(rbs, func(rb *RecordBatch, r Result) { answers <- answer{rb, r} })
	results := make(map[*RecordBatch]Result)
	for range rbs {
		select {
		case a := <-answers:
			if _, twice := results[a.rb]; twice {
				t.Fatal("done was called twice for a batch")
			}
			results[a.rb] = a.r
		case <-time.After(patience):
			t.Fatal("no result")
		}
	}
	out := make([]Result, len(rbs))
	for i, rb := range rbs {
		out[i] = results[rb]
	}
	return out
}

// consume reads n records of the topic with a client that is not sarama.
func consume(t testing.TB, c *kfake.Cluster, n int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("found %d records of %d", len(out), n)
		}
		out = append(out, f.Records()...)
	}
	return out
}

// stored is how many records the topic's partition holds.
func stored(c *kfake.Cluster, partition int32) int64 {
	return c.PartitionInfo(topic, partition).HighWatermark
}

// observed is a logger whose entries a test can read.
func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

// dialer is the ordinary one; tests wrap what it gives.
func dialer(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
