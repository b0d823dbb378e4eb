package shipper

import (
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
func hotBlock(t testing.TB, set func(*Config) string) (*Source, *batch.Batch) {
	c := settings(config.ModeCallback)
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
	for _, p := range s.prep.block(blk) {
		records += p.rb.Len()
		s.drop(p)
	}
	return records
}

func TestNoAllocationALine(t *testing.T) {
	for name, set := range hotSettings(t) {
		s, b := hotBlock(t, set)
		prepare(s, b) // the first time makes what is kept
		perBlock := testing.AllocsPerRun(20, func() {
			if n := prepare(s, b); n != len(b.Lines) {
				t.Fatalf("%d records of %d lines", n, len(b.Lines))
			}
		})
		// A few a block are allowed: the block, its parts, a slab that the collector took.
		if perBlock > 40 || perBlock >= float64(len(b.Lines))/10 {
			t.Errorf("%s: %v allocations for %d lines", name, perBlock, len(b.Lines))
		}
	}
}

func BenchmarkBlockToRecordBatch(b *testing.B) {
	for name, set := range hotSettings(b) {
		b.Run(name, func(b *testing.B) {
			s, blk := hotBlock(b, set)
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
