package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAllBrokersDown takes the whole cluster away from a shiplog that runs, and from one that starts meanwhile
// and has two useless seeds in its configuration.
func TestAllBrokersDown(t *testing.T) {
	c := cluster(t)
	mended(t)
	down := time.Duration(pick(8, 60)) * time.Second
	s := newScene(t, fmt.Sprintf("all brokers down for %v", down), spec{
		modes: []string{"sync", "callback", "spool", "async"}, rate: 2000, topic: stamped})
	late := newScene(t, "all brokers down at the start, a wrong and a silent one among the seeds", spec{
		modes: []string{"sync", "callback", "async"}, rate: 2000, topic: stamped,
		brokers: append([]string{closedPort(t), silentPort(t)}, c.Proxied()...)})
	spool := newScene(t, "SIGTERM while all brokers are down", spec{modes: []string{"spool"}})
	wait := newScene(t, spool.fault, spec{modes: []string{"callback"}, top: "shutdown_timeout: 2s"})
	s.start()
	s.write()
	s.flowing(1000)
	before := s.d.resident()
	for _, n := range c.Nodes {
		n.Kill()
	}
	gone := time.Now()
	late.start()
	late.write()
	pass(down / 4) // what was in flight has failed by now
	waiting, spooled := total(s.failures("callback")), total(s.failures("spool"))
	spool.stoppedMeanwhile(0)
	wait.stoppedMeanwhile(75)
	peak := s.d.peak(time.Until(gone.Add(down)))
	s.outageKept(waiting, spooled)
	flat(t, s.d, before, peak)
	if err := startNodes(c.Nodes...); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	s.resumed("the election", gone, s.led(nil, 2, c.Plain()...))
	late.resumed("the start of the last broker", gone, started)
	s.flowing(1000)
	late.flowing(1000)
	whole(t)
	s.reckonByContract(fmt.Sprintf("VmRSS %d MiB before, at most %d MiB while down", before>>20, peak>>20))
	late.reckonByContract("")
	spool.replay()
	spool.reckon(spool.sources[0], allowed{note: "all of it from the failure log"})
	wait.start()
	wait.reckonByContract("went on after a restart")
}

// stoppedMeanwhile starts and stops shiplog while all brokers are down. The exit code says what became of its
// lines: 0 with all of them in the failure log, 75 with all of them behind the checkpoint.
func (s *scene) stoppedMeanwhile(want int) {
	s.t.Helper()
	src := s.sources[0]
	src.w.write(3000)
	s.start()
	if got := s.d.stop(); got != want {
		s.t.Errorf("%s: exit code %d, want %d", src.name, got, want)
	}
	kept := int64(0)
	if want == 0 {
		kept = 3000
	}
	if a := s.d.account(src.name); a.number("failure_logged") != kept {
		s.t.Errorf("%s: %d lines in the failure log, want %d: %v", src.name, a.number("failure_logged"), kept, a)
	}
}

// outageKept checks what the two ways of on_outage did with the lines of an outage.
func (s *scene) outageKept(waiting, spooled int) {
	s.t.Helper()
	if n := total(s.failures("callback")); n != waiting {
		s.t.Errorf("on_outage: wait: the failure log grew from %d to %d lines while nothing could be sent", waiting, n)
	}
	classes := s.failures("spool")
	if n := total(classes); n < spooled+s.spec.rate {
		s.t.Errorf("on_outage: spool: the failure log grew from %d to %d lines only", spooled, n)
	}
	if classes["retriable"] < spooled {
		s.t.Errorf("on_outage: spool: the failure log holds %v, want retriable ones", classes)
	}
}

// TestSilentBroker stops one broker of three with SIGSTOP: it still accepts and never answers.
func TestSilentBroker(t *testing.T) {
	c := cluster(t)
	mended(t)
	hang := time.Duration(pick(8, 60)) * time.Second
	s := newScene(t, fmt.Sprintf("a broker that accepts and never answers (SIGSTOP) for %v", hang), spec{
		modes: []string{"sync", "callback", "leader", "async"}, rate: 2000, topic: stamped, kafka: "request_timeout: 2s"})
	s.start()
	s.write()
	s.flowing(1000)
	before := s.d.resident()
	n := s.source("sync").topic.leaderOf(c)
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := time.Now()
	elected := s.led(n, 2, others(c, n)...)
	t.Logf("elections after %v", elected.Sub(paused).Round(time.Millisecond))
	peak := s.d.peak(time.Until(paused.Add(hang)))
	s.resumed("the election", elected, elected)
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	flat(t, s.d, before, peak)
	whole(t)
	s.flowing(1000)
	s.reckonByContract(fmt.Sprintf("VmRSS %d MiB before, at most %d MiB meanwhile", before>>20, peak>>20))
}

// TestUselessSeeds starts with a wrong and a silent broker before the good ones.
func TestUselessSeeds(t *testing.T) {
	t.Parallel()
	s := newScene(t, "a wrong and a silent broker among the seeds", spec{rate: 500, topic: stamped,
		brokers: append([]string{closedPort(t), silentPort(t)}, cluster(t).Proxied()...)})
	s.write()
	begun := time.Now()
	s.start()
	s.resumed("the start", begun, time.Now())
	s.reckonByContract("")
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silentPort is the address of a listener that accepts, reads and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // whatever came in ends with the process
	go func() {
		var held []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				for _, conn := range held {
					_ = conn.Close()
				}
				return
			}
			held = append(held, conn)
		}
	}()
	return l.Addr().String()
}

// resident is how many bytes of memory the process holds (VmRSS).
func (d *daemon) resident() (bytes int64) {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatalf("shiplog is gone: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	d.t.Fatal("no VmRSS in the status of the process")
	return 0
}

// peakMemory reads how much memory the process has held at most.
func (d *daemon) peakMemory() int64 {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		d.t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return kib << 10
}

// peak is the most memory that the process holds during that time.
func (d *daemon) peak(during time.Duration) (most int64) {
	d.t.Helper()
	for end := time.Now().Add(during); ; pass(50 * time.Millisecond) {
		most = max(most, d.resident())
		if time.Now().After(end) {
			return most
		}
	}
}

// outageMemory is what a fault may cost: the whole pool (8 MiB shared, and one line of each source), the same
// once more for what is encoded, and as much for the collector.
const outageMemory = 32 << 20

func flat(t *testing.T, d *daemon, before, peak int64) {
	t.Helper()
	t.Logf("VmRSS: %d KiB before, at most %d KiB meanwhile", before>>10, peak>>10)
	if peak > before+outageMemory {
		t.Errorf("VmRSS grew from %d to %d MiB, want at most %d more", before>>20, peak>>20, outageMemory>>20)
	}
	if d.ended() {
		t.Error("shiplog has ended")
	}
}

// total adds up the lines of all classes.
func total(classes map[string]int) (n int) {
	for _, m := range classes {
		n += m
	}
	return n
}
