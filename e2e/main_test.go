package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shiplog/e2e/kafka"
)

const (
	brokersEnv = "SHIPLOG_E2E_BROKERS" // brokers of one's own, for the tests that need no faults
	longEnv    = "SHIPLOG_E2E_LONG"    // 1: the long form of each fault
	tableEnv   = "SHIPLOG_E2E_TABLE"   // a file to write the table to, as Markdown
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
	if c := theCluster.cluster; c != nil {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop Kafka:", err)
			return 1
		}
	}
	if err := theTable.finish(os.Stdout, os.Getenv(tableEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// long says that the long form was asked for.
func long() bool { return os.Getenv(longEnv) == "1" }

// pick gives the figure of the form that was asked for.
func pick(short, inLong int) int {
	if long() {
		return inLong
	}
	return short
}

// theCluster is the cluster of three nodes that all tests share. A test that breaks it mends it.
var theCluster struct {
	once    sync.Once
	cluster *kafka.Cluster
	err     error
}

// cluster gives the cluster of three nodes, whole. Without any, the test fails: a test that skips itself
// where Kafka is missing would pass everywhere.
func cluster(t *testing.T) *kafka.Cluster {
	t.Helper()
	if os.Getenv(brokersEnv) != "" {
		t.Skipf("%s is set: this test breaks brokers and needs its own", brokersEnv)
	}
	c := &theCluster
	c.once.Do(func() { c.cluster, c.err = kafka.Start(kafka.Options{Pom: "kafka/pom.xml", Nodes: 3}) })
	if c.err != nil {
		t.Fatalf("no Kafka to test against (set %s to use brokers of your own): %v", brokersEnv, c.err)
	}
	return c.cluster
}

// brokers gives the addresses of the brokers.
func brokers(t *testing.T) []string {
	t.Helper()
	if env := os.Getenv(brokersEnv); env != "" {
		return strings.Split(env, ",")
	}
	return cluster(t).Plain()
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
	code, out, errs := command(t, args...)
	if code != want {
		t.Fatalf("shiplog %v: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", args, code, want, out, tail(errs, 40))
	}
	return out
}

// command runs a command of shiplog to its end, whatever that is.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
