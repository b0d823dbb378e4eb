//go:build linux

package systest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFewDescriptors has more files than the process may open, and max_open_files does not say so: the files
// take turns, and leave descriptors for the brokers and the checkpoint.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	const files = 200
	b := newBroker(t, 1, []string{"logs"})
	place := newPlace(t, b.addrs(), "shutdown_quiet: 100ms\nsources:\n  - {id: app, include: [%s/*.log], mode: callback, topic: logs}\n")
	for i := range files {
		if err := os.WriteFile(filepath.Join(place.logs, fmt.Sprintf("%d.log", i)), line(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `ulimit -n 64; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	}, "run", "-c", place.config)
	until(t, "delivery", func() bool { n, _ := b.arrived(); return n == files })
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	const lowered = "max_open_files is lowered"
	if n := strings.Count(p.out.String(), lowered); n != 1 {
		t.Errorf("said %d times that %s, want once", n, lowered)
	}
	if strings.Contains(p.out.String(), `"level":"error"`) {
		t.Errorf("an error in the log:\n%s", tail(p.out.String(), 20))
	}
}
