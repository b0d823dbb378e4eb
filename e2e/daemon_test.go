package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that has to come; none should get near it.
const patience = 90 * time.Second

// until polls a condition and fails the test when it does not come to hold.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !within(patience, cond) {
		t.Fatalf("waited %s for %s", patience, what)
	}
}

// within polls a condition for so long, and says whether it came to hold.
func within(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// pass lets time pass while shiplog works: how long a fault lasts, never what decides a result.
func pass(d time.Duration) { time.Sleep(d) }

// daemon is a running shiplog.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    output
	done   chan struct{} // closed when it has ended
	killed bool
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// spawn runs shiplog with these arguments; change may set up the command first. The process is ended
// with the test.
func spawn(t *testing.T, change func(*exec.Cmd), args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(binary(t), args...), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if change != nil {
		change(d.cmd)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // the exit code tells
		close(d.done)
	}()
	t.Cleanup(func() {
		killed := d.killed // on purpose, so its output would only hide that of the others
		d.kill()
		if t.Failed() && !killed {
			d.show()
		}
	})
	return d
}

// keepEnv names a folder for the whole output of all processes of failed tests.
const keepEnv = "SHIPLOG_E2E_KEEP"

func (d *daemon) show() {
	d.t.Logf("the end of what shiplog %v said (all of it with %s=<folder>):\n%s", d.cmd.Args[1:], keepEnv, tail(d.out.String(), 12))
	dir := os.Getenv(keepEnv)
	if dir == "" {
		return
	}
	name := filepath.Join(dir, strings.ReplaceAll(d.t.Name(), "/", "_")+".log")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Log(err)
		return
	}
	defer f.Close()
	_, _ = f.WriteString(d.out.String()) // a help in the search for a fault, no result
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *daemon) said(text string) bool { return strings.Contains(d.out.String(), text) }

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Fatal(err)
	}
}

// kill ends the process as a power cut would, and waits until it is gone.
func (d *daemon) kill() {
	d.killed = true
	_ = d.cmd.Process.Kill() // it may have ended by itself
	<-d.done
}

// wait gives the exit code, once the process has ended by itself.
func (d *daemon) wait() int {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatalf("shiplog does not end; it said:\n%s", tail(d.out.String(), 60))
	}
	return d.cmd.ProcessState.ExitCode()
}

// stop sends SIGTERM and gives the exit code.
func (d *daemon) stop() int {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	return d.wait()
}

// entry is a line of shiplog's log.
type entry map[string]any

func (e entry) text(key string) string { s, _ := e[key].(string); return s }

// number gives a figure of the line; -1 when it has none of that name.
func (e entry) number(key string) int64 {
	if v, ok := e[key].(float64); ok {
		return int64(v)
	}
	return -1
}

// total adds up a figure that is split by reason.
func (e entry) total(key string) (n int64) {
	m, _ := e[key].(map[string]any)
	for _, v := range m {
		if f, ok := v.(float64); ok {
			n += int64(f)
		}
	}
	return n
}

// log gives the lines of the log with this message; all lines for "".
func (d *daemon) log(message string) (list []entry) {
	for line := range strings.Lines(d.out.String()) {
		var e entry
		if json.Unmarshal([]byte(line), &e) == nil && (message == "" || e.text("message") == message) {
			list = append(list, e)
		}
	}
	return list
}

// account gives the account that a source printed at its end, after checking that it adds up.
func (d *daemon) account(source string) entry {
	d.t.Helper()
	for _, e := range d.log("account") {
		if e.text("source") != source {
			continue
		}
		sum := e.number("delivered") + e.number("sent") + e.number("failure_logged") + e.total("dropped") + e.total("skipped") + e.number("in_flight")
		if e.number("read") != sum {
			d.t.Errorf("the account does not add up: read %d, outcomes %d: %v", e.number("read"), sum, e)
		}
		return e
	}
	d.t.Errorf("no account of %s in the log:\n%s", source, tail(d.out.String(), 30))
	return entry{}
}
