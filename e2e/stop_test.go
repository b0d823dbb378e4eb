package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestStopUnderLoad sends SIGTERM under full load with healthy brokers. The application goes on for a moment, as it
// does in a Pod: those lines are delivered, too.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	s := newScene(t, "SIGTERM under full load; the application goes on for 400 ms", spec{
		rate: 20000, brokers: cluster(t).Plain()})
	s.start()
	s.write()
	s.flowing(20000)
	s.d.signal(syscall.SIGTERM)
	at := time.Now()
	pass(400 * time.Millisecond) // longer than shutdown_quiet: it counts from the last line
	s.endWriters()
	if code := s.d.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	took := time.Since(at)
	if took > 25*time.Second {
		t.Errorf("the stop took %s, shutdown_timeout is 25s", took)
	}
	for _, src := range s.sources {
		if a := s.d.account(src.name); a.number("in_flight") != 0 || a.number("unread_bytes") != 0 {
			t.Errorf("%s: exit code 0, but the account says %v", src.name, a)
		}
		s.reckon(src, allowed{note: fmt.Sprintf("drained in %s", took.Round(100*time.Millisecond))})
	}
}

// TestStopWithoutBrokers sends SIGTERM when no broker can be reached: what is not delivered must be said exactly, and
// be there after the next start.
func TestStopWithoutBrokers(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "SIGTERM with dead brokers, then a start with healthy ones", spec{
		modes: []string{"sync", "callback"}, rate: 3000, top: "shutdown_timeout: 3s", kafka: "request_timeout: 1s"})
	s.start()
	s.write()
	s.flowing(1000)
	for _, n := range c.Nodes {
		n.Proxy.Cut()
	}
	pass(2 * time.Second)
	s.endWriters()
	at := time.Now()
	if code := s.d.stop(); code != 75 {
		t.Errorf("exit code %d, want 75", code)
	}
	if took := time.Since(at); took > 8*time.Second {
		t.Errorf("the stop took %s, shutdown_timeout is 3s", took)
	}
	for _, src := range s.sources {
		s.remains(src)
	}
	for _, n := range c.Nodes {
		s.heal(n)
	}
	unknown := s.failures("callback")["unknown_outcome"]
	possible := map[string]int{"callback": unknown}
	for _, src := range s.sources { // what arrived though its answer was cut off is sent again
		repeats, _ := s.afterKill(src)
		possible[src.name] += repeats
	}
	s.start()
	s.drain()
	s.replay()
	for _, src := range s.sources {
		s.reckon(src, allowed{repeats: possible[src.name]})
	}
}

// remains compares the remainder that a source named at its end with what was written.
func (s *scene) remains(src *source) {
	s.t.Helper()
	a := s.d.account(src.name)
	left := int64(src.w.count()) - a.number("read")
	if a.number("unread_bytes") != left*lineBytes {
		s.t.Errorf("%s: %d bytes are said to be unread, want %d (%d lines)", src.name, a.number("unread_bytes"), left*lineBytes, left)
	}
	said := fmt.Sprintf("source %s: %d lines in flight and %d bytes unread stay behind the checkpoint", src.name, a.number("in_flight"), a.number("unread_bytes"))
	if !s.d.said(said) {
		s.t.Errorf("shiplog did not say %q:\n%s", said, tail(s.d.out.String(), 4))
	}
	if left+a.number("in_flight") == 0 {
		s.t.Errorf("%s: nothing is left, so this shows nothing", src.name)
	}
}

// TestStopWithAFullFailureLog fills the failure log to its bound while no broker is there: the source holds, and a
// stop says what is left.
func TestStopWithAFullFailureLog(t *testing.T) {
	t.Parallel()
	sp := spec{modes: []string{"spool"}, brokers: []string{closedPort(t)},
		top: "shutdown_timeout: 2s\nfailure_log: {max_bytes: 32MiB, segment_bytes: 4MiB, when_full: block}"}
	s := newScene(t, "SIGTERM with dead brokers and a full failure log, then a replay", sp)
	src := s.sources[0]
	src.w.write(120_000)
	s.start()
	until(t, "a full failure log", func() bool { return s.d.said("the failure log takes no records") })
	if code := s.d.stop(); code != 75 {
		t.Errorf("exit code %d, want 75", code)
	}
	s.remains(src)
	sp.brokers = cluster(t).Plain()
	s.configure(s.withBrokers(sp))
	s.replay()
	s.start()
	s.drain()
	s.replay()
	s.reckon(src, allowed{note: "first 32 MiB of failure log"})
}

// withBrokers is the scene's spec with the brokers of another one.
func (s *scene) withBrokers(sp spec) spec {
	out := s.spec
	out.brokers = sp.brokers
	return out
}

// TestSecondSignal stops twice: the second signal ends at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newScene(t, "two SIGTERMs with dead brokers, then a start with healthy ones", spec{
		modes: []string{"sync", "callback"}, brokers: []string{closedPort(t)}})
	for _, src := range s.sources {
		src.w.write(3000)
	}
	s.start()
	s.d.signal(syscall.SIGTERM)
	until(t, "the first signal to be seen", func() bool { return s.d.said("stopping: reading on") })
	at := time.Now()
	if code := s.d.stop(); code != 75 {
		t.Errorf("exit code %d, want 75", code)
	}
	if took := time.Since(at); took > time.Second {
		t.Errorf("the second signal took %s, want at most a second", took)
	}
	s.configure(s.withBrokers(spec{brokers: cluster(t).Plain()}))
	s.start()
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{})
	}
}
