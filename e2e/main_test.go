package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	bin, err := os.MkdirTemp("", "shiplog-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	theBinary.path = filepath.Join(bin, "shiplog")
	code := m.Run()
	if n := theBrokers.node; n != nil {
		if err := n.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop Kafka:", err)
			return 1
		}
	}
	return code
}

// theBinary is the shiplog that is tested, built once from the folder above.
var theBinary struct {
	once sync.Once
	path string
	err  error
}

// binary gives the path of the shiplog binary.
func binary(t *testing.T) string {
	t.Helper()
	b := &theBinary
	b.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", b.path, ".")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

// shiplog runs a command of shiplog to its end; it must exit with code want.
func shiplog(t *testing.T, want int, args ...string) (stdout string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("shiplog %v: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", args, got, want,
			out.String(), tail(errs.Bytes(), 40))
	}
	return out.String()
}
