package kafka

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestSendStoresRecordsAsTheyAre(t *testing.T) {
	for _, codec := range []string{"", "none", "gzip", "snappy", "lz4", "zstd"} {
		for _, acks := range []int16{0, 1, -1} {
			t.Run(fmt.Sprintf("%s acks %d", codec, acks), func(t *testing.T) {
				c := cluster(t, 1)
				conf := settings(c.ListenAddrs())
				conf.Codec, conf.Acks = codec, acks
				p := start(t, conf)
				ready(t, p, 1)

				rb := p.NewBatch(0)
				h := NewHeaders([]Header{{"host", []byte("a")}, {"empty", nil}})
				rb.Add([]byte("key"), []byte(`{"a":1}`), 1_700_000_000_123, h)
				rb.Add(nil, bytes.Repeat([]byte("x"), 5000), 1_700_000_000_100, Headers{})
				rb.Add([]byte{}, nil, -5, Headers{})
				r := send(t, p, rb)[0]
				rb.Release()
				if r.Err != nil || !r.Attempted {
					t.Fatalf("result %+v", r)
				}
				if want := map[bool]int64{true: -1, false: 0}[acks == 0]; r.Offset != want {
					t.Errorf("offset %d, want %d", r.Offset, want)
				}
				got := consume(t, c, 3)
				if string(got[0].Key) != "key" || string(got[0].Value) != `{"a":1}` || got[0].Timestamp.UnixMilli() != 1_700_000_000_123 {
					t.Errorf("first record %+v", got[0])
				}
				if len(got[0].Headers) != 2 || got[0].Headers[0].Key != "host" || string(got[0].Headers[0].Value) != "a" {
					t.Errorf("headers %+v", got[0].Headers)
				}
				if got[1].Key != nil || len(got[1].Value) != 5000 || got[1].Timestamp.UnixMilli() != 1_700_000_000_100 {
					t.Errorf("second record: key %v, %d bytes, %v", got[1].Key, len(got[1].Value), got[1].Timestamp)
				}
				if got[2].Key == nil || got[2].Value == nil || got[2].Timestamp.UnixMilli() != 0 {
					t.Errorf("third record %+v: an empty value is no tombstone", got[2])
				}
			})
		}
	}
}

func TestSendGroupsByLeader(t *testing.T) {
	c := cluster(t, 4, kfake.NumBrokers(2))
	for i := range int32(4) {
		if err := c.MoveTopicPartition(topic, i, i%2); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 4)
	var rbs []*RecordBatch
	for i := range int32(4) {
		rbs = append(rbs, lines(p, i, 3, "x"))
	}
	for i, r := range send(t, p, rbs...) {
		if r.Err != nil || r.Partition != int32(i) {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if got := p.Stats().Requests; got != 2 {
		t.Errorf("%d requests, want one a leader", got)
	}
}

func TestSendKeepsTwoBatchesOfOnePartitionApart(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	a, b := lines(p, 0, 3, "a"), lines(p, 0, 2, "b")
	got := send(t, p, a, b)
	want := []Result{{Offset: 0, Attempted: true}, {Offset: 3, Attempted: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := stored(c, 0); n != 5 {
		t.Errorf("%d records stored, want 5", n)
	}
}

func TestNothingIsAttemptedWithoutAConnection(t *testing.T) {
	p, err := New(settings([]string{"127.0.0.1:1"}))
	if err != nil {
		t.Fatal(err)
	}
	rb := lines(p, 0, 1, "x")
	r := send(t, p, rb)[0]
	if r.Attempted || r.Err == nil || r.Err.Class != ClassRetriable {
		t.Errorf("result %+v", r)
	}
	if _, err := p.Ready(); err == nil {
		t.Error("ready without a connection")
	}
}
