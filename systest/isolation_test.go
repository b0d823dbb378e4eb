//go:build linux

package systest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestIsolation: a healthy source beside 20 that are blocked keeps at least 80 % of the rate that it
// has alone. Of the twenty, five each have no topic, a broker that is down, one that accepts and never
// says a word, and one that never answers a request with records. The tests of other packages may run at
// the same time, and end in the middle. So each round measures both, one right after the other, and
// compares these two; the median of the rounds decides. Which of the two comes first changes each round.
func TestIsolation(t *testing.T) {
	rounds, lines := 11, 3_000_000
	if raceEnabled {
		t.Skip("the race detector makes the blocked sources' bookkeeping cost what shipping does: no rate to compare")
	}
	healthy := brokerProcess(t, well)
	brokers := []string{healthy, silentBroker(t), deadBroker(t), brokerProcess(t, stuck)}
	logs := newPlace(t, []string{healthy}, "sources: []\n")
	writeLines(t, logs.logPath(), lines)
	writeLines(t, logs.logs+"/blocked.log", 150_000)
	blocked := ""
	for i := range 20 {
		topic := [...]string{"missing", "logs", "logs", "logs"}[i%4]
		mode := [...]string{"sync", "callback", "async"}[i%3]
		blocked += fmt.Sprintf("  - {id: blocked-%d, include: [%s/blocked.log], mode: %s, topic: %s, kafka: {brokers: [%q]}}\n",
			i, logs.logs, mode, topic, brokers[i%4])
	}
	var ratios []float64
	for i := range rounds {
		rates := map[string]float64{}
		others := []string{"", blocked}
		if i%2 == 1 {
			slices.Reverse(others)
		}
		for _, o := range others {
			rates[o] = rateOf(t, logs, healthy, lines, o)
		}
		t.Logf("lines/s alone %.0f, beside 20 blocked sources %.0f", rates[""], rates[blocked])
		ratios = append(ratios, rates[blocked]/rates[""])
	}
	ratio := median(ratios)
	t.Logf("ratios %.2f, their median %.2f", ratios, ratio)
	if ratio < 0.8 {
		t.Errorf("the healthy source keeps %.0f %% of its rate, want at least 80 %%", 100*ratio)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
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
