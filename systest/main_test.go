//go:build linux

package systest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// shiplogBin is the shiplog under test; with the race detector when the tests have it.
var shiplogBin string

// patience bounds every wait for something that has to come; none should get near it.
const patience = 60 * time.Second

var seedFlag = flag.Int64("systest.seed", 0, "seed of what the tests choose by chance; 0 takes a fresh one")

func TestMain(m *testing.M) {
	if os.Getenv(brokerEnv) != "" {
		os.Exit(brokerMain())
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "systest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shiplogBin = filepath.Join(dir, "shiplog")
	if err := build(shiplogBin, raceEnabled); err != nil {
		fmt.Fprintln(os.Stderr, "build shiplog:", err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// build makes the binary that users get. Under the race detector it gets one too, so that its own
// goroutines are watched while it is killed and stopped.
func build(to string, race bool) error {
	args := []string{"build", "-o", to}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "shiplog")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// seed gives the test's seed and prints it, so that a run can be made again.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("seed %d (run again with -systest.seed=%d)", s, s)
	return uint64(s)
}

// until polls a condition and fails the test when it does not come to hold.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !within(patience, cond) {
		t.Fatalf("waited %s for %s", patience, what)
	}
}

// within polls a condition for so long, and says whether it came to hold.
func within(d time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return cond()
		}
	}
}

// pass lets a time go by that the scene needs: how long a daemon lives before it is killed, how long
// an application writes between two rotations. No result hangs on it.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
