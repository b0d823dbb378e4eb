//go:build linux

package systest

import "testing"

// shipped runs shiplog on a changed configuration until it has read everything, and gives how many
// records the topic received.
func (p *place) shipped(t *testing.T, topic *topic, brokers []string, format string, args ...any) (int, *process) {
	t.Helper()
	p.write(t, brokers, "shutdown_quiet: 100ms\nsources:\n"+format, args...)
	proc := start(t, nil, "run", "--once", "-c", p.config)
	if code := proc.wait(); code != 0 {
		t.Fatalf("exit code %d, want 0", code)
	}
	return len(topic.next()), proc
}

// TestChangedConfiguration states what becomes of the position in a file when the configuration
// changes: it belongs to the source's id, and to nothing else.
func TestChangedConfiguration(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 3, []string{"one", "two"})
	one, two := b.open("one"), b.open("two")
	place := scene(t, b.addrs(), oneSource)
	with := func(topic *topic, id, mode, to string) int {
		t.Helper()
		n, _ := place.shipped(t, topic, b.addrs(), "  - {id: %[2]s, include: [%[1]s/app.log], mode: %[3]s, topic: %[4]s}\n", id, mode, to)
		return n
	}
	if n := with(one, "app", "callback", "one"); n != 10 {
		t.Fatalf("%d lines at first, want 10", n)
	}
	if n := with(two, "app", "callback", "two"); n != 0 {
		t.Errorf("%d lines after a change of the topic, want none: the position stays", n)
	}
	for _, mode := range []string{"sync", "async", "callback"} {
		if n := with(one, "app", mode, "one"); n != 0 {
			t.Errorf("%d lines after a change of the mode to %s, want none: the position stays", n, mode)
		}
	}
	if n := with(one, "renamed", "callback", "one"); n != 10 {
		t.Errorf("%d lines under a new id, want all 10 again: it starts over", n)
	}
	if n := with(one, "app", "callback", "one"); n != 0 {
		t.Errorf("%d lines under the old id again, want none: its position was kept", n)
	}
}

// TestOneFileTwoSources: each source ships every line, and has a position of its own. A rotated form
// of a file that both match is followed by both.
func TestOneFileTwoSources(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"one", "two"})
	one, two := b.open("one"), b.open("two")
	place := newPlace(t, b.addrs(), `shutdown_quiet: 300ms
sources:
  - {id: first, include: [%[1]s/app.log], mode: callback, topic: one}
  - {id: second, include: [%[1]s/*.log], mode: sync, topic: two}
`)
	w := newWriter(t, place.logPath(), 0, 1)
	w.append(100)
	p := run(t, place.config)
	until(t, "both", func() bool { n, _ := b.arrived(); return n == 200 })
	w.append(50)
	w.rename(0)
	w.append(50)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for name, topic := range map[string]*topic{"first": one, "second": two} {
		tally := newTally(t)
		tally.add(topic.next())
		if missing := tally.missing(200); len(missing) > 0 || tally.repeats() > 0 {
			t.Errorf("%s: %d lines lost, %d repeats, want none", name, len(missing), tally.repeats())
		}
	}
	for _, e := range p.log("") {
		if e.text("level") == "warn" {
			t.Logf("said: %s", e.text("message"))
		}
	}
	w.check(w.file.Close())
}
