//go:build linux

package systest

import (
	"os"
	"testing"
)

// TestCopyThatEndsBeforeWhatWasRead: copytruncate copies, the application writes on, shiplog reads
// that, and only then the file is truncated. All of the copy was read already, so none of it comes
// again.
func TestCopyThatEndsBeforeWhatWasRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"sync", "callback"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 1, []string{"logs"})
			topic := b.open("logs")
			place := newPlace(t, b.addrs(), "shutdown_quiet: 200ms\nsources:\n  - {id: app, include: [%s/app.log], mode: %s, topic: logs}\n", mode)
			w := newWriter(t, place.logPath(), 0, 1)
			p := run(t, place.config)
			arrive := func(n int) {
				w.append(n)
				until(t, "the lines to arrive", func() bool { total, _ := b.arrived(); return total >= w.written })
			}
			for range 5 {
				arrive(100)
			}
			copied, err := copyFile(w.path, w.aside())
			w.check(err)
			arrive(50)
			w.check(os.Truncate(w.path, 0))
			w.append(100)
			if code := p.stop(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			tally := newTally(t)
			tally.add(topic.next())
			if r, missing := tally.repeats(), tally.missing(w.written); r != 0 || len(missing) > 0 {
				t.Errorf("%d repeats and %d lines lost, want none; the copy has %d lines", r, len(missing), copied/lineBytes)
			}
			w.check(w.file.Close())
		})
	}
}
