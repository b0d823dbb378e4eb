package kafka

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
)

// Size is compared with what a broker received.
func TestSizeIsWhatGoesOut(t *testing.T) {
	c := cluster(t, 1)
	seen := watchProduce(c)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	var want []int
	for round := range 40 {
		rb := p.NewBatch(0)
		for range 1 + rng.IntN(300) {
			var key []byte
			if rng.IntN(2) == 0 {
				key = make([]byte, rng.IntN(200))
			}
			var h Headers
			if rng.IntN(3) == 0 {
				h = NewHeaders([]Header{{"a", make([]byte, rng.IntN(200))}, {"bb", nil}})
			}
			rb.Add(key, make([]byte, rng.IntN(300)), rng.Int64N(1<<41), h)
		}
		if round%3 == 0 {
			rb.SetHeaders(0, NewHeaders([]Header{{"provenance", make([]byte, 50)}}))
		}
		if r := send(t, p, rb)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		want = append(want, rb.Size())
		rb.Release()
	}
	var got []int
	for _, b := range seen() {
		got = append(got, int(b.Length)+12)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// sarama caches the encoded bytes in its batch: memory that is used again must not send them again.
func TestAReleasedBatchLeavesNothingBehind(t *testing.T) {
	for _, conf := range []func(*Config){func(*Config) {}, func(c *Config) { c.Idempotent = true }} {
		c := cluster(t, 1)
		s := settings(c.ListenAddrs())
		conf(&s)
		p := start(t, s)
		ready(t, p, 1)
		var want []string
		for _, n := range []int{5, 3, 1, 200, 2, 70} {
			rb := p.NewBatch(0)
			for range n {
				v := []byte{byte('a' + len(want)%26), byte('0' + len(want)%10)}
				rb.Add(nil, v, 1, Headers{})
				want = append(want, string(v))
			}
			var r Result
			if s.Idempotent {
				r = deliver(t, p, quick, rb)[0]
			} else {
				r = send(t, p, rb)[0]
			}
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			rb.Release()
		}
		if diff := cmp.Diff(want, values(t, c, len(want))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestABatchThatFailedMayBeSentAgain(t *testing.T) {
	c := cluster(t, 1)
	s := settings(c.ListenAddrs())
	p := start(t, s)
	ready(t, p, 1)
	answerProduce(c, 1, 10 /* MESSAGE_TOO_LARGE */, nil)
	rb := lines(p, 0, 3, "a")
	if r := send(t, p, rb)[0]; r.Err == nil || r.Err.Class != ClassTooLarge {
		t.Fatalf("result %+v", r)
	}
	halves := []*RecordBatch{rb.Slice(0, 1), rb.Slice(1, 3)}
	for _, r := range send(t, p, halves...) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if diff := cmp.Diff(want("a"), values(t, c, 3)); diff != "" {
		t.Error(diff)
	}
	if r := send(t, p, rb)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
}

func TestSliceSharesRecords(t *testing.T) {
	b := newBatch(4)
	b.Tag = "tag"
	h := NewHeaders([]Header{{"h", []byte("v")}})
	for i := range 10 {
		b.Add([]byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, i), int64(1000-i), h)
	}
	s := b.Slice(3, 7)
	if s.Len() != 4 || s.Partition != 4 || s.Tag != "tag" {
		t.Errorf("slice of %d records, partition %d, tag %v", s.Len(), s.Partition, s.Tag)
	}
	for i := range s.Len() {
		k1, v1, t1 := b.Record(i + 3)
		k2, v2, t2 := s.Record(i)
		if !bytes.Equal(k1, k2) || !bytes.Equal(v1, v2) || t1 != t2 {
			t.Errorf("record %d: %x %x %d, want %x %x %d", i, k2, v2, t2, k1, v1, t1)
		}
	}
	whole, parts := b.Size()-batchOverhead, 0
	for _, x := range []*RecordBatch{b.Slice(0, 5), b.Slice(5, 10)} {
		parts += x.Size() - batchOverhead
	}
	if parts > whole || parts < whole-20 {
		t.Errorf("halves take %d bytes, the whole %d", parts, whole)
	}
	b.Release()
	if s.Len() != 4 {
		t.Error("a slice ends with what it was cut from")
	}
}

func TestHeadersAreImmutable(t *testing.T) {
	base := NewHeaders([]Header{{"a", []byte("1")}})
	x, y := base.With(Header{"x", []byte("2")}), base.With(Header{"y", []byte("3")})
	if len(base.list) != 1 || string(x.list[1].Key) != "x" || string(y.list[1].Key) != "y" {
		t.Errorf("headers %v %v %v", base.list, x.list, y.list)
	}
}

func TestVarintSize(t *testing.T) {
	for v, want := range map[int64]int{0: 1, -1: 1, 63: 1, 64: 2, -64: 1, -65: 2, 8191: 2, 8192: 3, 1 << 20: 4, math.MaxInt64: 10, math.MinInt64: 10} {
		if got := varintSize(v); got != want {
			t.Errorf("varintSize(%d) = %d, want %d", v, got, want)
		}
	}
}

// A line costs no allocation: adding and linking them is free once the memory is there.
func TestAddDoesNotAllocate(t *testing.T) {
	const n = 1000
	value := []byte("value")
	h := NewHeaders([]Header{{"a", []byte("b")}})
	fill := func() {
		b := newBatch(0)
		for range n {
			b.Add(nil, value, 1, h)
		}
		b.slab.link()
		b.Release()
	}
	fill()
	if got := testing.AllocsPerRun(50, fill); got > n/50 {
		t.Errorf("%v allocations for %d lines", got, n)
	}
}

// Encoded bytes are kept for a frozen batch only: any other one may have grown since.
func TestABatchIsEncodedAfresh(t *testing.T) {
	b := newBatch(0)
	b.Add(nil, []byte("a"), 1, Headers{})
	first := b.seal(sarama.CompressionNone, sarama.CompressionLevelDefault)
	if first.LastOffsetDelta != 0 {
		t.Errorf("last offset delta %d", first.LastOffsetDelta)
	}
	b.Add(nil, []byte("b"), 2, Headers{})
	if again := b.seal(sarama.CompressionNone, sarama.CompressionLevelDefault); again.LastOffsetDelta != 1 || len(again.Records) != 2 {
		t.Errorf("last offset delta %d, %d records", again.LastOffsetDelta, len(again.Records))
	}
}

// A level of 0 would make gzip store its input.
func TestCodecsCompress(t *testing.T) {
	one := 1
	for _, tt := range []struct {
		codec string
		level *int
	}{{"gzip", nil}, {"gzip", &one}, {"snappy", nil}, {"lz4", nil}, {"zstd", nil}, {"zstd", &one}} {
		c := cluster(t, 1)
		seen := watchProduce(c)
		conf := settings(c.ListenAddrs())
		conf.Codec, conf.CompressionLevel = tt.codec, tt.level
		p := start(t, conf)
		ready(t, p, 1)
		rb := p.NewBatch(0)
		for range 100 {
			rb.Add(nil, bytes.Repeat([]byte("same "), 50), 1, Headers{})
		}
		if r := send(t, p, rb)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if got := seen()[0]; int(got.Length) > rb.Size()/4 {
			t.Errorf("%s: %d bytes of %d", tt.codec, got.Length, rb.Size())
		}
	}
}
