package kafka

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"shiplog/internal/kafka/kafkatest"
)

// shipLines sends so many batches of 254-byte lines, five in flight, as a callback source does.
func shipLines(p *Producer, block []byte, batches int) {
	const line = 254
	free := make(chan struct{}, 5)
	for range 5 {
		free <- struct{}{}
	}
	var one [1]*RecordBatch
	for range batches {
		<-free
		rb := p.NewBatch(0)
		for at := 0; at+line <= len(block); at += line {
			rb.Add(nil, block[at:at+line:at+line], 1_700_000_000_000, Headers{})
		}
		one[0] = rb
		p.Send(one[:], func(rb *RecordBatch, r Result) {
			if r.Err != nil {
				panic(r.Err)
			}
			rb.Release()
			free <- struct{}{}
		})
	}
	for range 5 {
		<-free
	}
}

// BenchmarkSend measures a line's way from the block into the socket and back as a result.
func BenchmarkSend(b *testing.B) {
	for _, codec := range []string{"none", "lz4"} {
		b.Run(codec, func(b *testing.B) {
			conf := settings([]string{kafkatest.NewSink(b, topic).Addr})
			conf.Codec, conf.RequestTimeout = codec, time.Minute
			p := start(b, conf)
			ready(b, p, 1)
			block := logBlock(1 << 20)
			perBatch := len(block) / 254
			shipLines(p, block, 20)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			batches := b.N/perBatch + 1
			shipLines(p, block, batches)
			b.StopTimer()
			runtime.ReadMemStats(&after)
			b.SetBytes(254)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(batches*perBatch), "allocs/line")
		})
	}
}

// logBlock is a block of something like JSON lines.
func logBlock(n int) []byte {
	const word = `{"time":"2024-01-01T00:00:00Z","level":"info","msg":"request served","path":"/api/v1/items","status":200,"took":`
	block := make([]byte, 0, n)
	for i := 0; len(block) < n; i++ {
		block = append(block, word...)
		block = append(block, byte('0'+i%10), byte('0'+i/10%10), byte('0'+i/100%10))
	}
	return block[:n]
}

// A line costs no allocation from the block to the socket: what is allocated is a request's.
func TestALineCostsNoAllocation(t *testing.T) {
	conf := settings([]string{kafkatest.NewSink(t, topic).Addr})
	p := start(t, conf)
	ready(t, p, 1)
	block := logBlock(1 << 20)
	shipLines(p, block, 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const batches = 50
	shipLines(p, block, batches)
	runtime.ReadMemStats(&after)
	perLine := float64(after.Mallocs-before.Mallocs) / float64(batches*(len(block)/254))
	if perLine > 0.05 {
		t.Errorf("%.3f allocations a line", perLine)
	}
	t.Logf("%.4f allocations a line, %.0f a batch", perLine, float64(after.Mallocs-before.Mallocs)/batches)
}

// Five batches of 1 MB in flight take a modest heap: what sarama encodes to is dropped once written.
func TestMemoryOfBatchesInFlight(t *testing.T) {
	conf := settings([]string{kafkatest.NewSink(t, topic).Addr})
	p := start(t, conf)
	ready(t, p, 1)
	block := logBlock(1 << 20)
	shipLines(p, block, 20)
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before, peak := heap(), int64(0)
	for range 40 {
		shipLines(p, block, 5)
		peak = max(peak, heap())
	}
	if grown := (peak - before) >> 20; grown > 48 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
	t.Logf("heap %d MiB before, %d MiB at most", before>>20, peak>>20)
}
