package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sarama waits out a throttle with its lock held and without a context. A stop must not wait for it.
func TestAThrottledConnectionCanBeClosed(t *testing.T) {
	c := cluster(t, 1)
	p, err := New(settings(c.ListenAddrs()))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, p)
	ready(t, p, 1)
	throttled := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		res.ThrottleMillis = int32(4 * patience / time.Millisecond)
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition = rp.Partition
				st.Partitions = append(st.Partitions, sp)
			}
			res.Topics = append(res.Topics, st)
		}
		close(throttled)
		return res, nil, true
	})
	if r := send(t, p, lines(p, 0, 1, "a"))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	<-throttled
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	handed := make(chan Result, 1)
	go func() { handed <- p.Deliver(ctx, []*RecordBatch{lines(p, 0, 1, "b")}, Retry{})[0] }()
	select {
	case r := <-handed:
		if r.Err == nil || r.Attempted {
			t.Errorf("%+v", r)
		}
	case <-time.After(patience):
		t.Fatal("Deliver does not end with its context")
	}
	stop() // says so when Run does not return
}

// An error message of a broker stands in logs, and in the failure log for each line.
func TestABrokersWordsAreBounded(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return refusal(req, kerr.InvalidRecord.Code, strings.Repeat("ä", 15_000)), nil, true
	})
	r := send(t, p, lines(p, 0, 1, "a"))[0]
	if r.Err == nil || len(r.RecordErrors) != 1 {
		t.Fatalf("%+v", r)
	}
	if n, m := len(r.Err.Error()), len(r.RecordErrors[0].Message); n > 2*maxWords || m > 2*maxWords {
		t.Errorf("messages of %d and %d bytes", n, m)
	}
}

// refusal answers a produce request with an error for its batch and its first record.
func refusal(req kmsg.Request, code int16, words string) kmsg.Response {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.(*kmsg.ProduceRequest).Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode, sp.ErrorMessage = rp.Partition, code, &words
			er := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			er.RelativeOffset, er.ErrorMessage = 0, &words
			sp.ErrorRecords = append(sp.ErrorRecords, er)
			st.Partitions = append(st.Partitions, sp)
		}
		res.Topics = append(res.Topics, st)
	}
	return res
}

// A topic that was created a moment ago may be named without its partitions.
func TestATopicWithoutPartitionsIsAskedForAgain(t *testing.T) {
	c := cluster(t, 2)
	first := true
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !first {
			return nil, nil, false
		}
		first = false
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.Host, b.Port = "127.0.0.1", 1
		mt := kmsg.NewMetadataResponseTopic()
		name := topic
		mt.Topic = &name
		res.Brokers, res.Topics = append(res.Brokers, b), append(res.Topics, mt)
		return res, nil, true
	})
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 2)
}
