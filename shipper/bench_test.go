package shipper

import (
	"fmt"
	"strings"
	"testing"

	"shiplog/config"
	"shiplog/internal/batch"
)

// hotSettings are the configurations whose way from block to record batch must cost no allocation a
// line.
func hotSettings(t testing.TB) map[string]func(*Config) (line string) {
	text := strings.Repeat("2026-03-01 12:34:56 plain text of a log ", 6)
	return map[string]func(*Config) string{
		"default": func(*Config) string { return sampleLine },
		"raw":     func(c *Config) string { c.OnInvalidJSON = config.ActionPass; return sampleLine },
		"wrap":    func(*Config) string { return text },
		"key":     func(c *Config) string { c.Key.Field = "user.id"; return sampleLine },
		"timestamp": func(c *Config) string {
			c.Timestamp = config.Timestamp{Field: "ts", Format: config.TimeRFC3339}
			return sampleLine
		},
		"fields": func(c *Config) string {
			c.Fields = []config.Field{{Name: "host", Text: template(t, "%{host}")}, {Name: "file", Text: template(t, "%{file.name}")}}
			c.Headers = []config.Field{{Name: "env", Text: template(t, "prod")}}
			return sampleLine
		},
	}
}

// hotBlock is a source and a full block of 256 KiB.
func hotBlock(t testing.TB, provenance string, set func(*Config) string) (*Source, *batch.Batch) {
	c := settings(config.ModeCallback)
	c.Provenance = provenance
	line := set(&c)
	s, err := New(c, Deps{Reader: newFakeReader(), Producer: newFakeProducer(8), FailureLog: &fakeLog{}})
	if err != nil {
		t.Fatal(err)
	}
	s.topic, _ = s.producer.Ready()
	lines := make([]string, (256<<10)/len(line))
	for i := range lines {
		lines[i] = line
	}
	return s, newFakeFile("/log/a.log").block(lines...)
}

// prepare goes the way of a block once.
func prepare(s *Source, b *batch.Batch) (records int) {
	b.Scratch = b.Scratch[:0]
	blk := &block{b: b}
	s.stamp.begin(blk)
	for _, p := range s.stamp.stamped(s.prep.block(blk), s.cfg.MaxBatchBytes) {
		records += p.rb.Len()
		s.drop(p)
	}
	return records
}

func TestNoAllocationALine(t *testing.T) {
	for name, set := range hotSettings(t) {
		for _, provenance := range []string{config.ProvenanceOff, config.ProvenanceBatch, config.ProvenanceRecord} {
			s, b := hotBlock(t, provenance, set)
			noAllocationALine(t, name+", provenance "+provenance, s, b)
		}
	}
}

func noAllocationALine(t *testing.T, name string, s *Source, b *batch.Batch) {
	prepare(s, b) // the first time makes what is kept
	perBlock := testing.AllocsPerRun(20, func() {
		if n := prepare(s, b); n != len(b.Lines) {
			t.Fatalf("%d records of %d lines", n, len(b.Lines))
		}
	})
	// A few a block are allowed: the block, its parts, a slab that the collector took.
	if perBlock > 60 || perBlock >= float64(len(b.Lines))/10 {
		t.Errorf("%s: %v allocations for %d lines", name, perBlock, len(b.Lines))
	}
}

// spread is a block of a full record batch whose lines belong to many users.
func spread(t testing.TB, provenance string, partitions int32, keyed bool) (*Source, *batch.Batch) {
	c := settings(config.ModeCallback)
	c.Provenance = provenance
	if keyed {
		c.Key.Field = "user.id"
	}
	s, err := New(c, Deps{Reader: newFakeReader(), Producer: newFakeProducer(partitions), FailureLog: &fakeLog{}})
	if err != nil {
		t.Fatal(err)
	}
	s.topic, _ = s.producer.Ready()
	var lines []string
	for size, i := 0, 0; size < 900_000; i++ {
		line := strings.Replace(sampleLine, "{", fmt.Sprintf(`{"user":{"id":"u%d"},"pad":%q,`, i*7919%10007, strings.Repeat("x", i*31%101)), 1)
		lines = append(lines, line)
		size += len(line) + 1
	}
	return s, newFakeFile("/log/a.log").block(lines...)
}

// encoded is how many bytes the record batches of a block take.
func encoded(s *Source, b *batch.Batch) (n int) {
	blk := &block{b: b}
	s.stamp.begin(blk)
	for _, p := range s.stamp.stamped(s.prep.block(blk), s.cfg.MaxBatchBytes) {
		n += p.rb.Size()
		s.drop(p)
	}
	return n
}

func TestWhatProvenanceCostsInBytes(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		for _, partitions := range []int32{1, 3, 12, 24} {
			off, b := spread(t, config.ProvenanceOff, partitions, keyed)
			on, _ := spread(t, config.ProvenanceBatch, partitions, keyed)
			without := encoded(off, b)
			extra := encoded(on, b) - without
			perLine, share := float64(extra)/float64(len(b.Lines)), 100*float64(extra)/float64(without)
			t.Logf("keyed %v, %d partitions, %d lines: %.3f bytes a line, %.3f %%", keyed, partitions, len(b.Lines), perLine, share)
			// A gap of so many lines' bytes cannot be told in fewer bits: beyond some 16 partitions it is a
			// little more, and still little of what such lines take.
			if share > 1 || perLine > 2 && partitions <= 12 || perLine > 2.5 || !keyed && share > 0.1 {
				t.Errorf("keyed %v, %d partitions: %.2f bytes a line, %.2f %%", keyed, partitions, perLine, share)
			}
		}
	}
}

func BenchmarkKeyed(b *testing.B) {
	for _, provenance := range []string{config.ProvenanceOff, config.ProvenanceBatch} {
		b.Run("provenance="+provenance, func(b *testing.B) {
			s, blk := spread(b, provenance, 12, true)
			prepare(s, blk)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n += prepare(s, blk)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
		})
	}
}

func BenchmarkBlockToRecordBatch(b *testing.B) {
	for name, set := range hotSettings(b) {
		for _, provenance := range []string{config.ProvenanceOff, config.ProvenanceBatch, config.ProvenanceRecord} {
			b.Run(name+"/provenance="+provenance, func(b *testing.B) {
				s, blk := hotBlock(b, provenance, set)
				prepare(s, blk)
				b.ReportAllocs()
				b.SetBytes(int64(len(blk.Buf)))
				n := 0
				for b.Loop() {
					n += prepare(s, blk)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
			})
		}
	}
}
