package audit

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"

	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// TestMemoryDoesNotGrowWithLines takes in many lines, split over partitions by a key, while one
// partition lags behind the others. SHIPLOG_AUDIT_LINES=100000000 is the size that is promised.
func TestMemoryDoesNotGrowWithLines(t *testing.T) {
	lines := 4_000_000
	if text := os.Getenv("SHIPLOG_AUDIT_LINES"); text != "" {
		var err error
		if lines, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		lines = 400_000
	}
	const block, width, partitions, lag = 4000, 250, 4, 25 // 100,000 lines behind
	a := New(Options{Topic: "t"}, []kafka.Bound{{Until: 1}})
	next := make([]int64, partitions)
	send := func(block0 int, part int) {
		var b provenance.Builder
		b.Begin("s", testFile)
		out := kafka.AuditBatch{Partition: int32(part), Offset: next[part], Time: 1}
		for i := block0 * block; i < (block0+1)*block; i++ {
			if int(uint32(i)*2654435761>>16)%partitions == part {
				b.Add(provenance.Range{Offset: int64(i) * width, Length: width}, width-1)
				out.Lengths = append(out.Lengths, width-1)
			}
		}
		out.Span = len(out.Lengths)
		out.Marks = []kafka.Mark{{Value: b.Header().Append(nil)}}
		next[part] += int64(out.Span)
		if err := a.Add(&out); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	before, peak := liveHeap(), uint64(0)
	blocks := lines / block
	for k := range blocks + lag {
		for part := range partitions {
			at := k
			if part == partitions-1 {
				at = k - lag
			}
			if at >= 0 && at < blocks {
				send(at, part)
			}
		}
		if k%(1+blocks/20) == 0 {
			runtime.GC()
			peak = max(peak, liveHeap())
		}
	}
	r := a.Report()
	grown := float64(max(peak, before)-before) / (1 << 20)
	t.Logf("%d lines: %.1f MiB", lines, grown)
	if r.Verdict != VerdictComplete || r.Lines != int64(blocks*block) {
		t.Fatalf("%s: %d lines of %d", r.Verdict, r.Lines, blocks*block)
	}
	if grown > 16 {
		t.Fatalf("%d lines take %.1f MiB", lines, grown)
	}
}

func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
