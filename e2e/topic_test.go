package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readTime bounds how long a test waits for records that ought to be there.
const readTime = 60 * time.Second

// topic is a topic of one test.
type topic struct {
	t       *testing.T
	name    string
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
}

// newTopic makes a topic with a name of its own, and deletes it when the test ends. configs are
// pairs of key and value.
func newTopic(t *testing.T, partitions int32, configs ...string) *topic {
	t.Helper()
	return newTopicAt(t, brokers(t), partitions, configs...)
}

// newTopicAt is newTopic for a cluster of the test's own.
func newTopicAt(t *testing.T, brokers []string, partitions int32, configs ...string) *topic {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	name := "shiplog-e2e-" + strings.ToLower(rand.Text()[:10])
	tp := &topic{t: t, name: name, brokers: brokers, client: client, admin: kadm.NewClient(client)}
	set := map[string]*string{}
	for pair := range slices.Chunk(configs, 2) {
		set[pair[0]] = &pair[1]
	}
	made, err := tp.admin.CreateTopic(t.Context(), partitions, -1, set, name)
	// The name is nobody else's: where it is there, the answer to an earlier try was lost.
	if err := errors.Join(err, made.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Fatalf("create topic: %v", err)
	}
	// A broker that does not know yet that it leads closes the connections of acks=0, and their lines are lost.
	until(t, "the leaders of "+name, func() bool { return tp.ends() >= 0 })
	t.Cleanup(func() {
		// t.Context() has ended when this runs.
		if _, err := tp.admin.DeleteTopic(context.Background(), name); err != nil {
			t.Errorf("delete topic: %v", err)
		}
	})
	return tp
}

// set changes one config of the topic, and returns when the broker answers with the new value.
func (tp *topic) set(key, value string) {
	tp.t.Helper()
	ctx, cancel := context.WithTimeout(tp.t.Context(), readTime)
	defer cancel()
	done, err := tp.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, tp.name)
	if err != nil || len(done) != 1 || done[0].Err != nil {
		tp.t.Fatalf("set %s of topic: %v, %v", key, err, done)
	}
	for {
		now, err := tp.admin.DescribeTopicConfigs(ctx, tp.name)
		if err != nil || len(now) != 1 || now[0].Err != nil {
			tp.t.Fatalf("describe topic: %v, %v", err, now)
		}
		for _, c := range now[0].Configs {
			if c.Key == key && c.MaybeValue() == value {
				return
			}
		}
	}
}

// records reads everything that is in the topic now, each partition in its order.
func (tp *topic) records() []*kgo.Record {
	tp.t.Helper()
	ends, err := tp.admin.ListEndOffsets(tp.t.Context(), tp.name)
	if err := errors.Join(err, ends.Error()); err != nil {
		tp.t.Fatalf("end offsets: %v", err)
	}
	want := 0
	ends.Each(func(o kadm.ListedOffset) { want += int(o.Offset) })
	return tp.await(want)
}

// await reads the topic from its start until it has read so many records.
func (tp *topic) await(want int) (all []*kgo.Record) {
	tp.t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(tp.brokers...), kgo.ConsumeTopics(tp.name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		tp.t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(tp.t.Context(), readTime)
	defer cancel()
	for len(all) < want {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			tp.t.Fatalf("read %d of %d records: %v", len(all), want, err)
		}
		fetches.EachError(func(_ string, p int32, err error) { tp.t.Fatalf("read partition %d: %v", p, err) })
		all = append(all, fetches.Records()...)
	}
	return all
}
