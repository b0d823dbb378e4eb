//go:build linux

package systest

import (
	"syscall"
	"testing"
)

// TestUSR1LogsTheStateAndNothingStops: as often as it is asked, at any moment of a process's life from its first
// log line on, shiplog says what became of every line so far and what the process takes.
func TestUSR1LogsTheStateAndNothingStops(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"logs"})
	place := newPlace(t, b.addrs(), `shutdown_quiet: 200ms
sources:
  - {id: app, include: [%[1]s/app.log], mode: callback, topic: logs}
  - {id: idle, include: [%[1]s/idle.log], mode: sync, topic: logs}
`)
	w := newWriter(t, place.logPath(), linesPerSecond(), 1)
	end := w.begin()
	p := run(t, place.config)
	for n := 1; n <= 5; n++ {
		p.signal(syscall.SIGUSR1)
		until(t, "the state to be logged", func() bool { return p.ended() || len(p.log("process")) >= n })
	}
	at, _ := b.arrived()
	until(t, "lines to go on", func() bool { n, _ := b.arrived(); return p.ended() || n > at+1000 })
	p.signal(syscall.SIGUSR1)
	until(t, "the state to be logged", func() bool { return p.ended() || len(p.log("process")) == 6 })
	end()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	bySource := map[string]int64{}
	for _, e := range p.log("account so far") {
		if got := e.outcomes(); e.number("read") != got || e.number("unread_bytes") < 0 || e.number("failure_log_evicted") != 0 {
			t.Errorf("read %d, outcomes %d: %v", e.number("read"), got, e)
		}
		if e.number("read") < bySource[e.text("source")] {
			t.Errorf("fewer lines were read than before: %v", e)
		}
		bySource[e.text("source")] = e.number("read")
	}
	if len(bySource) != 2 || bySource["app"] < 1000 {
		t.Errorf("accounts so far of %v, want two sources, and more than 1000 lines read of app", bySource)
	}
	for _, e := range p.log("process") {
		for _, figure := range []string{"goroutines", "open_files", "heap_in_use_bytes", "rss_bytes", "rss_peak_bytes"} {
			if e.number(figure) <= 0 {
				t.Errorf("%s is missing: %v", figure, e)
			}
		}
		if e.number("rss_bytes") > e.number("rss_peak_bytes") || e.number("open_files") > 200 {
			t.Errorf("strange figures: %v", e)
		}
	}
	p.account("app")
}
