package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// late is how long an application writes on after shiplog was told to stop.
const late = 200 * time.Millisecond

// TestStopUnderFullLoad stops shiplog while lines come as fast as the machine makes them, and takes those too that come
// within shutdown_quiet after the signal.
func TestStopUnderFullLoad(t *testing.T) {
	t.Parallel()
	s := newScene(t, "SIGTERM under full load, the application writes on for 200 ms", spec{rate: 20_000})
	s.edit("shutdown_quiet: 300ms", "shutdown_quiet: 1s")
	s.start()
	s.write()
	s.flowing(20_000)
	before := s.counts()
	code, took := s.stopLate()
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if limit := 25 * time.Second; took > limit { // the default of shutdown_timeout
		t.Errorf("the stop took %v, want at most %v", took, limit)
	}
	for i, src := range s.sources {
		a, after := s.d.account(src.name), src.w.count()-before[i]
		if after == 0 {
			t.Errorf("%s: nothing was written after the signal, so this shows nothing", src.name)
		}
		wantCount(t, src.name+": read", a.number("read"), src.w.count())
		wantCount(t, src.name+": in flight", a.number("in_flight"), 0)
		wantCount(t, src.name+": unread bytes", a.number("unread_bytes"), 0)
		s.reckon(src, allowed{note: fmt.Sprintf("%d lines after the signal; stopped in %v", after, took.Round(100*time.Millisecond))})
	}
}

// TestStopWithDeadBrokers cuts the brokers off while all is calm, so that every line has a known outcome, lets lines
// come, and stops: once with sources that leave them in the files, once with one that puts them into the failure log.
func TestStopWithDeadBrokers(t *testing.T) {
	c := cluster(t)
	mended(t)
	wait := newScene(t, "SIGTERM with dead brokers", spec{modes: []string{"sync", "callback"}, rate: 2000, top: "shutdown_timeout: 3s"})
	spool := newScene(t, wait.fault, spec{modes: []string{"spool"}, rate: 2000})
	scenes := []*scene{wait, spool}
	for _, s := range scenes {
		s.start()
		for _, src := range s.sources {
			src.w.write(2000)
		}
	}
	for _, s := range scenes {
		s.settled()
	}
	for _, n := range c.Nodes {
		n.Proxy.Cut()
	}
	for _, s := range scenes {
		s.write()
	}
	pass(time.Second)
	code, took := wait.stopLate()
	if code != 75 {
		t.Errorf("sync and callback: exit code %d, want 75", code)
	}
	// What comes behind the time-out is the account and the end of the process.
	if limit := 5 * time.Second; took > limit {
		t.Errorf("sync and callback: the stop took %v, want at most %v with a shutdown_timeout of 3s", took, limit)
	}
	for _, src := range wait.sources {
		wait.remains(src)
	}
	code, spooled := spool.stopLate()
	if code != 0 {
		t.Errorf("spool: exit code %d, want 0", code)
	}
	spool.remains(spool.sources[0])
	if n, want := total(spool.failures("spool")), spool.sources[0].w.count()-2000; n != want {
		t.Errorf("spool: %d lines in the failure log, want the %d since the cut", n, want)
	}
	for _, n := range c.Nodes {
		wait.heal(n)
	}
	wait.startAgain(fmt.Sprintf("exit code 75 after %v", took.Round(100*time.Millisecond)))
	spool.startAgain(fmt.Sprintf("exit code 0 after %v", spooled.Round(100*time.Millisecond)))
}

// TestStopWithoutBrokers sends SIGTERM when no broker can be reached: what is not delivered must be said exactly, and
// be there after the next start.
func TestStopWithoutBrokers(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "SIGTERM with brokers cut off under load, then a start with healthy ones", spec{
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
		s.saidAll(src)
	}
	for _, n := range c.Nodes {
		s.heal(n)
	}
	unknown := s.failures("callback")["unknown_outcome"]
	possible := map[string]int{"callback": unknown}
	for _, src := range s.sources { // what arrived though its answer was cut off is sent again
		settled(src.topic)
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

// saidAll compares the remainder that a source named at its end with what was written.
func (s *scene) saidAll(src *source) {
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

// TestStopWithAFullFailureLog stops a source that may not read on, as its failure log is full and no broker is there.
func TestStopWithAFullFailureLog(t *testing.T) {
	t.Parallel()
	s := newScene(t, "SIGTERM with dead brokers and a full failure log (when_full: block)", spec{
		modes: []string{"spool"}, brokers: []string{closedPort(t)},
		top: "shutdown_timeout: 3s\nfailure_log: {max_bytes: 32MiB, segment_bytes: 4MiB, when_full: block}"})
	src := s.sources[0]
	src.w.write(120_000)
	s.start()
	until(t, "the failure log to be full", func() bool { return s.d.said("the failure log takes no records") })
	code, took := s.stopLate()
	if code != 75 {
		t.Errorf("exit code %d, want 75", code)
	}
	if limit := 5 * time.Second; took > limit {
		t.Errorf("the stop took %v, want at most %v with a shutdown_timeout of 3s", took, limit)
	}
	if left := s.remains(src); left == 0 {
		t.Error("all 120,000 lines fit into 32 MiB, so this shows nothing")
	}
	logged := total(s.failures(src.name))
	s.edit(s.spec.brokers[0], strings.Join(brokers(t), ", "))
	s.replay()
	s.startAgain(fmt.Sprintf("%d lines were in the failure log", logged))
}

// TestSecondSignal stops shiplog twice while no broker is there and a stop may take its time.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newScene(t, "two SIGTERMs with dead brokers", spec{modes: []string{"sync", "callback", "async"}, brokers: []string{closedPort(t)}})
	for _, src := range s.sources {
		src.w.write(3000)
	}
	s.start()
	s.d.signal(syscall.SIGTERM)
	until(t, "the first signal to be seen", func() bool { return s.d.said(`"stop_at_once":false`) })
	begin := time.Now()
	if code := s.d.stop(); code != 75 {
		t.Errorf("exit code %d, want 75", code)
	}
	took := time.Since(begin)
	if took > time.Second {
		t.Errorf("the second signal took %v, want at most a second", took)
	}
	if !s.d.said(`"stop_at_once":true`) {
		t.Error("shiplog ended before the second signal, so this shows nothing")
	}
	for _, src := range s.sources {
		if left := s.remains(src); left != 3000 {
			t.Errorf("%s: %d lines are left, want all 3000", src.name, left)
		}
	}
	s.edit(s.spec.brokers[0], strings.Join(brokers(t), ", "))
	s.startAgain(fmt.Sprintf("ended %v after the second", took.Round(time.Millisecond)))
}

// withBrokers is the scene's spec with the brokers of another one.
func (s *scene) withBrokers(sp spec) spec {
	out := s.spec
	out.brokers = sp.brokers
	return out
}

// edit changes the configuration in one place.
func (s *scene) edit(from, to string) {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	if n := strings.Count(string(text), from); n != 1 {
		s.t.Fatalf("%q stands %d times in the configuration, want once:\n%s", from, n, text)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// counts are the lines written so far, by source.
func (s *scene) counts() (list []int) {
	for _, src := range s.sources {
		list = append(list, src.w.count())
	}
	return list
}

// settled waits until the checkpoint holds every line that was written.
func (s *scene) settled() {
	s.t.Helper()
	for _, src := range s.sources {
		until(s.t, "the checkpoint of "+src.name, func() bool { return s.checkpoint(src.name).covers(src.w, src.w.count()-1) })
	}
}

// stopLate sends SIGTERM, ends the writers a moment later, and says how shiplog ended and how long that took.
func (s *scene) stopLate() (code int, took time.Duration) {
	s.t.Helper()
	begin := time.Now()
	s.d.signal(syscall.SIGTERM)
	pass(late)
	s.endWriters()
	code = s.d.wait()
	return code, time.Since(begin)
}

// remains compares the remainder that shiplog printed with what stands neither in the topic nor in the failure log,
// and gives it in lines.
func (s *scene) remains(src *source) int {
	s.t.Helper()
	src.read(src.topic)
	want := src.w.count() - src.distinct() - total(s.failures(src.name))
	inFlight, unread := 0, 0
	said := regexp.MustCompile(`source ` + src.name + `: (\d+) lines in flight and (\d+) bytes unread stay behind the checkpoint`)
	if m := said.FindStringSubmatch(s.d.out.String()); m != nil {
		inFlight, _ = strconv.Atoi(m[1]) // digits, by the pattern
		unread, _ = strconv.Atoi(m[2])
	}
	if unread%lineBytes != 0 || inFlight+unread/lineBytes != want {
		s.t.Errorf("%s: shiplog leaves %d lines in flight and %d bytes; %d lines of %d are neither in the topic nor in the failure log",
			src.name, inFlight, unread, want, src.w.count())
	}
	return want
}

// startAgain starts shiplog on what the last one left, and reckons: nothing is lost, and what may come twice are the
// lines whose outcome was unknown.
func (s *scene) startAgain(note string) {
	s.t.Helper()
	unknown := map[string]int{}
	for _, src := range s.sources {
		unknown[src.name] = s.failures(src.name)["unknown_outcome"]
	}
	s.start()
	s.drain()
	for _, src := range s.sources {
		unknown[src.name] += s.failures(src.name)["unknown_outcome"]
	}
	s.replay()
	for _, src := range s.sources {
		s.reckon(src, allowed{repeats: unknown[src.name], note: note})
	}
}
