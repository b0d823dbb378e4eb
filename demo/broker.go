package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is an embedded Kafka broker with a fault that can be switched on.
type broker struct {
	cluster *kfake.Cluster
	failing atomic.Bool
	refused atomic.Int64 // produce requests that the fault answered
}

// startBroker starts it on a free port of the loopback interface, with a topic of three partitions for each name.
func startBroker(topics ...string) (*broker, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(3, topics...))
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	b := &broker{cluster: cluster}
	cluster.ControlKey(int16(kmsg.Produce), b.produce)
	return b, nil
}

// produce answers as a broker does whose replicas went away: who asks for acks=all gets
// NOT_ENOUGH_REPLICAS and nothing is written; acks=0 does not ask, and goes on.
func (b *broker) produce(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.cluster.KeepControl()
	produce := req.(*kmsg.ProduceRequest)
	if !b.failing.Load() || produce.Acks != -1 {
		return nil, nil, false
	}
	b.refused.Add(1)
	resp := produce.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range produce.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			rp.ErrorCode = kerr.NotEnoughReplicas.Code
			rp.BaseOffset = -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

// found is what an independent consumer saw in a topic.
type found struct {
	records    int // all of them
	distinct   int // different lines
	disordered int // lines that came behind a later one of the same partition
}

// consume reads a topic to its end with franz-go, a client that has nothing to do with shiplog's.
func (b *broker) consume(ctx context.Context, topic string) (found, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic))
	if err != nil {
		return found{}, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return found{}, fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	want := 0
	ends.Each(func(o kadm.ListedOffset) { want += int(o.Offset) })
	var f found
	seen := map[int]bool{}
	last := map[int32]int{}
	for f.records < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return found{}, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seq := sequence(r.Value)
			f.records++
			seen[seq] = true
			if seq < last[r.Partition] {
				f.disordered++
			}
			last[r.Partition] = max(last[r.Partition], seq)
		})
	}
	f.distinct = len(seen)
	return f, nil
}

// sequence is the number that the demo's application wrote into the line.
func sequence(line []byte) int {
	var entry struct{ Seq int }
	if err := json.Unmarshal(line, &entry); err != nil {
		return -1 // counts as one foreign line, so the table does not add up
	}
	return entry.Seq
}
