package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// auditor makes an Auditor of the cluster that lives until the test ends.
func auditor(t testing.TB, c *kfake.Cluster) *Auditor {
	t.Helper()
	a, err := NewAuditor(settings(c.ListenAddrs()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// audit reads what lies within the time.
func audit(t testing.TB, a *Auditor, from, until time.Time) (out []AuditBatch, bounds []Bound) {
	t.Helper()
	bounds, err := a.Bounds(context.Background(), from, until)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Audit(context.Background(), bounds, "mark", func(b *AuditBatch) error {
		out = append(out, *b)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out, bounds
}

// TestAuditReadsEveryCodec writes batches with each codec by two clients that share no code, and
// reads the lengths and marks back.
func TestAuditReadsEveryCodec(t *testing.T) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			c := cluster(t, 1)
			conf := settings(c.ListenAddrs())
			conf.Codec = codec
			p := start(t, conf)
			ready(t, p, 1)
			mark := NewHeaders([]Header{{Key: "other", Value: []byte("x")}, {Key: "mark", Value: []byte("seven")}})
			rb := p.NewBatch(0)
			var want []int32
			for i := range 2000 {
				h := Headers{}
				if i%700 == 0 {
					h = mark
				}
				value := bytes.Repeat([]byte{'a'}, i%300)
				rb.Add([]byte("key"), value, 1_700_000_000_000, h)
				want = append(want, int32(len(value)))
			}
			if res := send(t, p, rb); res[0].Err != nil {
				t.Fatal(res[0].Err)
			}
			foreign(t, c, codec)
			got, bounds := audit(t, auditor(t, c), time.Time{}, time.Time{})
			if len(bounds) != 1 || bounds[0] != (Bound{Start: 0, End: 2003, From: 0, Until: 2003}) {
				t.Fatalf("bounds %+v", bounds)
			}
			if len(got) != 2 || !slices.Equal(got[0].Lengths, want) || got[0].Deltas != nil || got[0].Span != 2000 || got[0].Time != 1_700_000_000_000 {
				t.Fatalf("%d batches, the first of %d records", len(got), len(got[0].Lengths))
			}
			var at []int
			for _, m := range got[0].Marks {
				at = append(at, m.Index)
				if string(m.Value) != "seven" {
					t.Fatalf("mark %q", m.Value)
				}
			}
			if !slices.Equal(at, []int{0, 700, 1400}) {
				t.Fatalf("marks at %v", at)
			}
			if b := got[1]; b.Offset != 2000 || !slices.Equal(b.Lengths, []int32{5, -1, 0}) || len(b.Marks) != 0 {
				t.Fatalf("the foreign batch: %+v", b)
			}
		})
	}
}

// foreign writes three records in one batch with franz-go, one of them a tombstone.
func foreign(t testing.TB, c *kfake.Cluster, codec string) {
	t.Helper()
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	records := []*kgo.Record{{Value: []byte("aaaaa")}, {Key: []byte("k"), Value: nil}, {Value: []byte{}}}
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestAuditMergesByTime makes sure that batches of several partitions come in the order of their time,
// and each partition's in its own order.
func TestAuditMergesByTime(t *testing.T) {
	c := cluster(t, 4, kfake.NumBrokers(2))
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 4)
	for i := range 200 {
		rb := p.NewBatch(int32(i * 7 % 4))
		rb.Add(nil, fmt.Appendf(nil, "%d", i), 1_700_000_000_000+int64(i), Headers{})
		send(t, p, rb)
	}
	a := auditor(t, c)
	got, _ := audit(t, a, time.Time{}, time.Time{})
	if len(got) != 200 {
		t.Fatalf("%d batches", len(got))
	}
	for i := range got {
		if got[i].Time != 1_700_000_000_000+int64(i) || got[i].Partition != int32(i*7%4) {
			t.Fatalf("batch %d is of partition %d, time %d", i, got[i].Partition, got[i].Time)
		}
	}
	// A window: the partitions' own offsets for these times.
	got, _ = audit(t, a, time.UnixMilli(1_700_000_000_050), time.UnixMilli(1_700_000_000_150))
	if len(got) != 100 || got[0].Time != 1_700_000_000_050 || got[99].Time != 1_700_000_000_149 {
		t.Fatalf("%d batches in the window", len(got))
	}
	got, _ = audit(t, a, time.Now().Add(time.Hour), time.Time{})
	if len(got) != 0 {
		t.Fatalf("%d batches in the future", len(got))
	}
}

// TestAuditGoesOnAfterFailures lets fetches fail as brokers do, and connections break.
func TestAuditGoesOnAfterFailures(t *testing.T) {
	c := cluster(t, 2)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 2)
	for i := range 20 {
		send(t, p, lines(p, int32(i%2), 50, "a"))
	}
	n := 0
	c.ControlKey(fetchKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		n++
		switch n {
		case 1:
			return nil, errors.New("the connection breaks"), true
		case 3:
			req := r.(*kmsg.FetchRequest)
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition, part.ErrorCode = req.Topics[0].Partitions[0].Partition, kerr.NotLeaderForPartition.Code
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.Partitions = topic, append(rt.Partitions, part)
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		}
		return nil, nil, false
	})
	got, _ := audit(t, auditor(t, c), time.Time{}, time.Time{})
	records := 0
	for i := range got {
		records += len(got[i].Lengths)
	}
	if records != 1000 || n < 4 {
		t.Fatalf("%d records after %d fetches", records, n)
	}
}

// TestAuditBatchLargerThanAFetch reads a batch that no fetch of the usual size could take.
func TestAuditBatchLargerThanAFetch(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	rb := p.NewBatch(0)
	rb.Add(nil, make([]byte, 900<<10), 1, Headers{})
	if res := send(t, p, rb); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	a := auditor(t, c)
	bounds, err := a.Bounds(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	many := append(bounds, make([]Bound, 200)...) // so many partitions make fetches small
	var got []AuditBatch
	if err := a.Audit(context.Background(), many, "mark", func(b *AuditBatch) error {
		got = append(got, *b)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Lengths[0] != 900<<10 {
		t.Fatalf("%d batches", len(got))
	}
}

// TestAuditErrors makes sure that an audit ends with what is wrong.
func TestAuditErrors(t *testing.T) {
	c := cluster(t, 1)
	conf := settings(c.ListenAddrs())
	conf.Topic = "missing"
	a, err := NewAuditor(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var e *Error
	if _, err := a.Bounds(context.Background(), time.Time{}, time.Time{}); !errors.As(err, &e) || e.Class != ClassNoTopic {
		t.Fatalf("a missing topic: %v", err)
	}
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	for range 5 {
		send(t, p, lines(p, 0, 10, "a"))
	}
	good := auditor(t, c)
	bounds, err := good.Bounds(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	if err := good.Audit(context.Background(), bounds, "mark", func(*AuditBatch) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("the caller's error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = good.Audit(ctx, bounds, "mark", func(*AuditBatch) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
}

// FuzzAuditDecode feeds a decoder with whatever may stand in a partition.
func FuzzAuditDecode(f *testing.F) {
	for _, raw := range rawBatches(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := auditDecoder{header: "mark"}
		batches, err := d.all(0, raw)
		for i := range batches {
			b := &batches[i]
			if b.Deltas != nil && len(b.Deltas) != len(b.Lengths) {
				t.Fatalf("%d deltas for %d records", len(b.Deltas), len(b.Lengths))
			}
			for _, m := range b.Marks {
				if m.Index < 0 || m.Index >= len(b.Lengths) {
					t.Fatalf("mark at %d of %d", m.Index, len(b.Lengths))
				}
			}
		}
		_ = err
		// And the records without the checksum in the way.
		var out AuditBatch
		_ = d.records(&out, raw, min(len(raw)/leastRecord, 100))
	})
}

// rawBatches are batches as they stand in a partition, with each codec.
func rawBatches(t testing.TB) [][]byte {
	var out [][]byte
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		c := cluster(t, 1)
		foreign(t, c, codec)
		a := auditor(t, c)
		if err := a.try(context.Background(), 0, func(l *auditLink) error {
			got, err := l.read(context.Background(), 0, 0, 1<<20)
			out = append(out, got.records)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestAuditRefusesDamage flips each byte of a batch: whatever the checksum covers must be noticed.
func TestAuditRefusesDamage(t *testing.T) {
	raw := rawBatches(t)[0]
	d := auditDecoder{header: "mark"}
	if _, err := d.all(0, raw); err != nil {
		t.Fatal(err)
	}
	for i := atCRC; i < len(raw); i++ {
		bad := slices.Clone(raw)
		bad[i] ^= 0x10
		if _, err := d.all(0, bad); !errors.Is(err, errBatch) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}
