package audit_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"shiplog/internal/audit"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

const (
	benchLine  = 254  // bytes, newline included
	benchBatch = 3125 // lines; 320 of them are 1,000,000
)

// fill writes lines as shiplog does: blocks of one file, whole or split over the partitions.
func fill(b *testing.B, c *kfake.Cluster, codec string, partitions, lines int, keyed bool) {
	b.Helper()
	p, err := kafka.New(kafka.Config{Brokers: c.ListenAddrs(), Topic: "t", Acks: -1, Codec: codec, MaxInFlight: 5})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	<-p.WaitReady()
	const pattern = `{"level":"info","message":"request served","path":"/api/v1/`
	value := make([]byte, benchLine-1)
	for i := range value {
		value[i] = pattern[i%len(pattern)] + byte(i/len(pattern))
	}
	for first := 0; first < lines; first += benchBatch {
		parts := 1
		if keyed {
			parts = partitions
		}
		for part := range parts {
			partition := int32(part)
			if !keyed {
				partition = int32(first / benchBatch % partitions)
			}
			var build provenance.Builder
			build.Begin("s", batch.FileID{Dev: 1, Inode: 2, Birth: 3})
			rb := p.NewBatch(partition)
			for i := first; i < first+benchBatch; i++ {
				if parts > 1 && int(uint32(i)*2654435761>>16)%parts != part {
					continue
				}
				rb.Add(nil, value, int64(first), kafka.Headers{})
				build.Add(provenance.Range{Offset: int64(i) * benchLine, Length: benchLine}, len(value))
			}
			header := build.Header().Append(nil)
			rb.SetHeaders(0, kafka.NewHeaders([]kafka.Header{{Key: provenance.Key, Value: header}}))
			for _, r := range p.Deliver(ctx, []*kafka.RecordBatch{rb}, kafka.Retry{Initial: time.Millisecond, Max: time.Second}) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			rb.Release()
		}
	}
}

// BenchmarkAudit audits a topic on an embedded broker, in the same process: the broker's work counts.
func BenchmarkAudit(b *testing.B) {
	for _, codec := range []string{"none", "lz4"} {
		for _, keyed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/keyed=%v", codec, keyed), func(b *testing.B) {
				const lines, partitions = 1_000_000, 4
				c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"))
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				fill(b, c, codec, partitions, lines, keyed)
				runtime.GC()
				b.ResetTimer()
				for b.Loop() {
					auditOnce(b, c, lines)
				}
				b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			})
		}
	}
}

func auditOnce(b *testing.B, c *kfake.Cluster, lines int64) {
	topic, err := kafka.NewAuditor(kafka.Config{Brokers: c.ListenAddrs(), Topic: "t"})
	if err != nil {
		b.Fatal(err)
	}
	defer topic.Close()
	bounds, err := topic.Bounds(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	a := audit.New(audit.Options{Topic: "t"}, bounds)
	if err := topic.Audit(context.Background(), bounds, provenance.Key, func(x *kafka.AuditBatch) error {
		return a.Add(x)
	}); err != nil {
		b.Fatal(err)
	}
	if r := a.Report(); r.Verdict != audit.VerdictComplete || r.Lines != lines || r.Disorders != 0 {
		b.Fatalf("%s: %d lines, %d places out of order", r.Verdict, r.Lines, r.Disorders)
	}
}
