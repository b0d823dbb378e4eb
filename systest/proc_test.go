//go:build linux

package systest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running shiplog.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
	err  error         // how; after done

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

// start runs shiplog with these arguments; change may set up the command first. The process is ended
// with the test.
func start(t *testing.T, change func(*exec.Cmd), args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(shiplogBin, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		killed := p.killed // on purpose, so its output would only hide that of the others
		p.kill()
		if t.Failed() && (!killed || os.Getenv(keepEnv) != "") {
			keepOutput(t, args, p.out.String())
		}
	})
	return p
}

// run starts the daemon on a configuration file and waits until it says that it runs.
func run(t *testing.T, config string) *process {
	t.Helper()
	p := start(t, nil, "run", "-c", config)
	until(t, "shiplog to start", func() bool { return p.said("shiplog started") || p.ended() })
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) said(text string) bool { return strings.Contains(p.out.String(), text) }

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// wait gives the exit code, once the process has ended by itself.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("shiplog does not end; its output:\n%s", tail(p.out.String(), 60))
	}
	if p.said("WARNING: DATA RACE") {
		p.t.Error("data race in shiplog")
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop sends SIGTERM and gives the exit code.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.wait()
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
func (e entry) total(key string) int64 {
	m, _ := e[key].(map[string]any)
	var n int64
	for _, v := range m {
		if f, ok := v.(float64); ok {
			n += int64(f)
		}
	}
	return n
}

// outcomes adds up what became of the lines of an account.
func (e entry) outcomes() int64 {
	return e.number("delivered") + e.number("sent") + e.number("failure_logged") + e.total("dropped") + e.total("skipped") + e.number("in_flight")
}

// log gives the lines of the log with this message; all lines for "".
func (p *process) log(message string) []entry {
	var list []entry
	for line := range strings.Lines(p.out.String()) {
		var e entry
		if json.Unmarshal([]byte(line), &e) == nil && (message == "" || e.text("message") == message) {
			list = append(list, e)
		}
	}
	return list
}

// account gives the account that a source printed at its end, after checking that it adds up.
func (p *process) account(source string) entry {
	p.t.Helper()
	for _, e := range p.log("account") {
		if e.text("source") != source {
			continue
		}
		if e.number("read") != e.outcomes() {
			p.t.Errorf("the account does not add up: read %d, outcomes %d: %v", e.number("read"), e.outcomes(), e)
		}
		return e
	}
	p.t.Errorf("no account of %s in the log:\n%s", source, tail(p.out.String(), 30))
	return entry{}
}

// command runs a command of shiplog to its end and gives its exit code and output.
func command(t *testing.T, args ...string) (int, string) {
	t.Helper()
	p := start(t, nil, args...)
	code := p.wait()
	return code, p.out.String()
}

// keepEnv names a folder for the output of all processes of failed tests.
const keepEnv = "SYSTEST_KEEP"

// keepOutput shows the end of what a process of a failed test said, or keeps all of it in keepEnv's
// folder.
func keepOutput(t *testing.T, args []string, text string) {
	dir := os.Getenv(keepEnv)
	if dir == "" {
		if len(text) == 0 {
			return
		}
		t.Logf("output of shiplog %v (all of it with SYSTEST_KEEP=<folder>):\n%s", args, tail(text, 8))
		return
	}
	name := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_")+".log")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Log(err)
		return
	}
	defer f.Close() //nolint:errcheck // a help in the search for a fault, no result
	_, _ = f.WriteString(text)
}

// tail gives the last lines of a text.
func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// place is a folder with a configuration, logs and a data_dir.
type place struct {
	dir    string
	config string
	data   string
	logs   string
}

// newPlace makes the folders and writes the configuration: what every test sets, then what this one
// adds.
func newPlace(t *testing.T, brokers []string, format string, args ...any) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{dir: dir, config: filepath.Join(dir, "config.yaml"), data: filepath.Join(dir, "data"), logs: filepath.Join(dir, "logs")}
	if err := os.Mkdir(p.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	p.write(t, brokers, format, args...)
	return p
}

// write writes the configuration anew. %[1]s stands for the logs' folder.
func (p *place) write(t *testing.T, brokers []string, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf("data_dir: %s\nlog: {level: info, format: json}\nkafka: {brokers: [%q]}\n", p.data, strings.Join(brokers, `", "`)) +
		fmt.Sprintf(format, append([]any{p.logs}, args...)...)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
