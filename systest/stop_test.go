//go:build linux

package systest

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadBroker gives an address where nothing listens.
func deadBroker(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // it is closed to be dead
	return ln.Addr().String()
}

// silentBroker accepts connections and never answers.
func silentBroker(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return ln.Addr().String()
}

// TestStopShipsWhatIsWrittenWhileItStops: the application's last lines come after SIGTERM, as in a
// Pod; all of them are delivered, the exit code is 0, and the account adds up.
func TestStopShipsWhatIsWrittenWhileItStops(t *testing.T) {
	for _, mode := range []string{"sync", "async", "callback"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 1, []string{"logs"})
			topic := b.open("logs")
			place := newPlace(t, b.addrs(), "shutdown_quiet: 500ms\nsources:\n  - {id: app, include: [%s/app.log], mode: %s, topic: logs}\n", mode)
			w := newWriter(t, place.logPath(), linesPerSecond(), 1)
			end := w.begin()
			p := run(t, place.config)
			until(t, "the load", func() bool { n, _ := b.arrived(); return n > 1000 })
			p.signal(syscall.SIGTERM)
			until(t, "the stop to begin", func() bool { return p.said("stopping: ") })
			at := w.lines()
			until(t, "the application to write on", func() bool { return w.lines() > at+1000 })
			end()
			if code := p.wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			tally := newTally(t)
			tally.add(topic.next())
			if missing := tally.missing(w.written); len(missing) > 0 || tally.repeats() > 0 {
				t.Errorf("%d lines lost, %d repeats, want none", len(missing), tally.repeats())
			}
			a := p.account("app")
			if got := max(a.number("delivered"), a.number("sent")); got != int64(w.written) {
				t.Errorf("account %v, want %d delivered or sent", a, w.written)
			}
		})
	}
}

// TestStopWithDeadBroker: what could not be delivered stays behind the checkpoint, is said exactly,
// and goes out with the next start.
func TestStopWithDeadBroker(t *testing.T) {
	for _, mode := range []string{"sync", "async", "callback"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			rest := "shutdown_quiet: 100ms\nshutdown_timeout: 1s\nsources:\n  - {id: app, include: [%s/app.log], mode: %s, topic: logs}\n"
			place := newPlace(t, []string{deadBroker(t)}, rest, mode)
			w := newWriter(t, place.logPath(), 0, 1)
			w.append(1000)
			p := run(t, place.config)
			if code := p.stop(); code != 75 {
				t.Errorf("exit code %d, want 75", code)
			}
			a := p.account("app")
			left := a.number("in_flight")*lineBytes + a.number("unread_bytes")
			if left != 1000*lineBytes {
				t.Errorf("the remainder is %d bytes, want %d: %v", left, 1000*lineBytes, a)
			}
			if want := fmt.Sprintf("%d lines in flight and %d bytes unread", a.number("in_flight"), a.number("unread_bytes")); !p.said(want) {
				t.Errorf("the output does not say %q:\n%s", want, tail(p.out.String(), 5))
			}
			b := newBroker(t, 1, []string{"logs"})
			topic := b.open("logs")
			place.write(t, b.addrs(), rest, mode)
			if code := run(t, place.config).stop(); code != 0 {
				t.Errorf("exit code %d with the broker back, want 0", code)
			}
			tally := newTally(t)
			tally.add(topic.next())
			if missing := tally.missing(1000); len(missing) > 0 || tally.repeats() > 0 {
				t.Errorf("%d lines lost, %d repeats, want none", len(missing), tally.repeats())
			}
			w.check(w.file.Close())
		})
	}
}

// TestStopSpoolsWithDeadBroker: under on_outage: spool the failure log takes what cannot be delivered,
// so that the stop ends well.
func TestStopSpoolsWithDeadBroker(t *testing.T) {
	t.Parallel()
	place := newPlace(t, []string{deadBroker(t)}, "shutdown_quiet: 100ms\nsources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs, on_outage: spool}\n")
	w := newWriter(t, place.logPath(), 0, 1)
	w.append(1000)
	p := run(t, place.config)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := p.account("app").number("failure_logged"); got != 1000 {
		t.Errorf("%d lines in the failure log by the account, want 1000", got)
	}
	tally := newTally(t)
	for _, f := range place.failures(t, "app") {
		if n, ok := number(f.payload(t)); ok {
			tally.count(n)
		}
	}
	if missing := tally.missing(1000); len(missing) > 0 || tally.repeats() > 0 {
		t.Errorf("%d lines are not in the failure log, %d twice, want none", len(missing), tally.repeats())
	}
	w.check(w.file.Close())
}

// TestSecondSignalStopsAtOnce: long before shutdown_timeout.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"dead": deadBroker(t), "silent": silentBroker(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := newPlace(t, []string{addr}, "shutdown_timeout: 300s\nsources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs}\n")
			w := newWriter(t, place.logPath(), 0, 1)
			w.append(10)
			p := run(t, place.config)
			p.signal(syscall.SIGTERM)
			until(t, "the stop to begin", func() bool { return p.said("stopping: ") })
			began := time.Now()
			p.signal(syscall.SIGTERM)
			if code := p.wait(); code != 75 {
				t.Errorf("exit code %d, want 75", code)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("stopped after %v", took)
			}
			p.account("app")
			w.check(w.file.Close())
		})
	}
}

// TestSyncHaltsOnALineThatCannotBeAccepted: the source halts and says so, the others go on, and the
// exit code is 1.
func TestSyncHaltsOnALineThatCannotBeAccepted(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"halts", "logs"}, brokerConfigs("message.max.bytes", "100000"))
	topic := b.open("logs")
	place := newPlace(t, b.addrs(), `shutdown_quiet: 200ms
sources:
  - {id: halts, include: [%[1]s/halts.log], mode: sync, topic: halts, compression: none}
  - {id: app, include: [%[1]s/app.log], mode: sync, topic: logs, max_batch_bytes: 50KB}
`)
	text := `{"a":1}` + "\n" + `{"b":"` + strings.Repeat("b", 200_000) + `"}` + "\n" + `{"c":1}` + "\n"
	if err := os.WriteFile(place.logs+"/halts.log", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, place.logPath(), 0, 1)
	p := run(t, place.config)
	until(t, "the source to halt", func() bool { return len(p.log("source halted; the other sources go on")) > 0 })
	w.append(500)
	until(t, "the other source's lines", func() bool { return topic.size() == 500 })
	if code := p.stop(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if a := p.account("halts"); a.number("delivered") != 1 || a.number("in_flight") == 0 {
		t.Errorf("account %v, want 1 delivered and the bad line in flight", a)
	}
	if a := p.account("app"); a.number("delivered") != 500 {
		t.Errorf("account %v, want 500 delivered", a)
	}
	t.Log(p.log("source halted; the other sources go on")[0].text("error"))
	w.check(w.file.Close())
}
