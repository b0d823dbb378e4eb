package kafka

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startupTime = 120 * time.Second // 3 s on an idle machine
	stopTime    = 30 * time.Second
)

// Node is a broker and controller in one process. One goroutine may use it.
type Node struct {
	ID      int
	Plain   string // address of the PLAINTEXT listener
	Proxied string // address of the proxy before the PROXIED listener
	Dir     string // everything it writes, and node.log: what it says
	Proxy   *Proxy

	behind     string // the PROXIED listener itself
	controller string
	libs       string
	scram      []string
	jvm        []string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *said
}

// Start starts the process and returns when the broker takes requests. The node must not run.
func (n *Node) Start() error {
	if err := n.launch(); err != nil {
		return err
	}
	return n.AwaitStart()
}

func (n *Node) propertiesFile() string { return filepath.Join(n.Dir, "node.properties") }

func (n *Node) classes() string { return filepath.Join(n.libs, "*") }

func (n *Node) format(cluster string) error {
	args := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", n.classes(),
		"kafka.tools.StorageTool", "format", "-t", cluster, "-c", n.propertiesFile()}
	for _, user := range n.scram {
		args = append(args, "--add-scram", user)
	}
	if out, err := exec.Command("java", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format node %d: %w\n%s", n.ID, err, out)
	}
	return nil
}

func (n *Node) launch() error {
	args := append([]string{"-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, n.jvm...)
	n.cmd = exec.Command("java", append(args, "-cp", n.classes(), "kafka.Kafka", n.propertiesFile())...)
	n.cmd.SysProcAttr = dieWithParent()
	file, err := os.OpenFile(filepath.Join(n.Dir, "node.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	n.cmd.Stdout, n.cmd.Stderr = in, in
	if err := errors.Join(n.cmd.Start(), in.Close()); err != nil {
		return errors.Join(err, out.Close(), file.Close())
	}
	cmd, done := n.cmd, make(chan struct{})
	n.done, n.log = done, &said{started: make(chan struct{})}
	go func(log *said) {
		log.copy(out, file)
		_ = cmd.Wait() // how it ended does not matter to who ends it
		close(done)
	}(n.log)
	return nil
}

// AwaitStart returns when the broker takes requests.
func (n *Node) AwaitStart() error {
	select {
	case <-n.log.started:
		return nil
	case <-n.done:
		return fmt.Errorf("node %d ended while it started:\n%s", n.ID, n.log.tail(30))
	case <-time.After(startupTime):
		return errors.Join(fmt.Errorf("node %d has not started after %v\n%s", n.ID, startupTime, n.log.tail(30)), n.Stop())
	}
}

// Running says whether the process is there.
func (n *Node) Running() bool {
	if n.done == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Kill ends the process as a power cut would, and returns when it is gone.
func (n *Node) Kill() {
	if n.Running() {
		_ = n.cmd.Process.Kill() // it may have ended by itself
		<-n.done
	}
}

// Stop asks the node to stop, which moves its leaders away first, and returns when it is gone.
func (n *Node) Stop() error {
	if !n.Running() {
		return nil
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-n.done: // "exit status 143" is what SIGTERM asked for
	case <-time.After(stopTime):
		n.Kill()
	}
	return nil
}

// Pause holds the process: its sockets stay open, and nothing answers. Resume lets it go on.
func (n *Node) Pause() error { return n.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (n *Node) Resume() error { return n.cmd.Process.Signal(syscall.SIGCONT) }

// said is what a process says, kept for the error message of a failed start.
type said struct {
	mu      sync.Mutex
	lines   []string
	started chan struct{}
}

func (s *said) copy(out io.ReadCloser, file io.WriteCloser) {
	defer file.Close() //nolint:errcheck // a help in the search for faults
	defer out.Close()  //nolint:errcheck // opened for reading
	up := false
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(file, line)
		s.keep(line)
		if !up && strings.Contains(line, "Kafka Server started") {
			up = true
			close(s.started)
		}
		if err != nil {
			return
		}
	}
}

func (s *said) keep(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines = append(s.lines, line); len(s.lines) > 200 {
		s.lines = s.lines[100:]
	}
}

func (s *said) tail(lines int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines[max(0, len(s.lines)-lines):], "")
}
