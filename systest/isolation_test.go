package systest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestIsolation: a healthy source beside 20 that are blocked keeps at least 80 % of the rate that it
// has alone. Ten of the twenty have no topic, five a broker that accepts and never answers, five one
// that is down. Alone and beside are measured in turn, and the medians are compared.
func TestIsolation(t *testing.T) {
	rounds, lines := 5, 400_000
	if raceEnabled {
		rounds, lines = 3, 40_000
	}
	healthy := brokerProcess(t)
	silent, dead := silentBroker(t), deadBroker(t)
	logs := newPlace(t, []string{healthy}, "sources: []\n")
	writeLines(t, logs.logPath(), lines)
	writeLines(t, logs.logs+"/blocked.log", lines/10)
	blocked := ""
	for i := range 20 {
		kafka := fmt.Sprintf("kafka: {brokers: [%q]}, topic: logs", [...]string{silent, dead}[i%2])
		if i >= 10 {
			kafka = "topic: missing"
		}
		mode := [...]string{"sync", "callback", "async"}[i%3]
		blocked += fmt.Sprintf("  - {id: blocked-%d, include: [%s/blocked.log], mode: %s, %s}\n", i, logs.logs, mode, kafka)
	}
	var alone, beside []float64
	for range rounds {
		alone = append(alone, rateOf(t, logs, healthy, lines, ""))
		beside = append(beside, rateOf(t, logs, healthy, lines, blocked))
	}
	slices.Sort(alone)
	slices.Sort(beside)
	ratio := beside[rounds/2] / alone[rounds/2]
	t.Logf("lines/s alone %.0f, beside 20 blocked sources %.0f: ratio of the medians %.2f", alone, beside, ratio)
	if ratio < 0.8 {
		t.Errorf("the healthy source keeps %.0f %% of its rate, want at least 80 %%", 100*ratio)
	}
}

// rateOf measures how fast the healthy source ships all its lines: from the log line that says that
// it has started to the one of the checkpoint that covers everything.
func rateOf(t *testing.T, logs *place, broker string, lines int, others string) float64 {
	t.Helper()
	place := newPlace(t, []string{broker}, "checkpoint_interval: 10ms\nsources:\n  - {id: app, include: ["+
		strings.ReplaceAll(logs.logPath(), "%", "%%")+"], mode: callback, topic: logs}\n%[2]s", others)
	p := run(t, place.config)
	began := time.Now()
	want := int64(lines) * 254
	until(t, "everything to be settled", func() bool {
		for _, offset := range place.checkpoint(t, "app").Offsets {
			if offset == want {
				return true
			}
		}
		return false
	})
	took := time.Since(began)
	p.kill()
	return float64(lines) / took.Seconds()
}
