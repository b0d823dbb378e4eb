package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	brokersEnv  = "SHIPLOG_E2E_BROKERS"
	startupTime = 90 * time.Second // 3 s on an idle machine
	stopTime    = 20 * time.Second
)

// theBrokers are the brokers that all tests share: those of SHIPLOG_E2E_BROKERS, or one node that
// is started by the first test which asks.
var theBrokers struct {
	once  sync.Once
	addrs []string
	node  *node
	err   error
}

// brokers gives the addresses of the brokers. Without any, the test fails: a test that skips itself
// where Kafka is missing would pass everywhere.
func brokers(t *testing.T) []string {
	t.Helper()
	b := &theBrokers
	b.once.Do(func() {
		if env := os.Getenv(brokersEnv); env != "" {
			b.addrs = strings.Split(env, ",")
			return
		}
		if b.node, b.err = startNode(); b.err == nil {
			b.addrs = []string{b.node.addr}
		}
	})
	if b.err != nil {
		t.Fatalf("no Kafka to test against (set %s to use brokers of your own): %v", brokersEnv, b.err)
	}
	return b.addrs
}

// node is a Kafka broker and controller in one process.
type node struct {
	addr string
	dir  string // everything it writes
	cmd  *exec.Cmd
	done chan error // gets the result of Wait
}

// startNode fetches Kafka when it is not in the cache, formats a folder and starts one node. It
// returns when the broker takes requests.
func startNode() (*node, error) {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: install Java 17 or later and Maven "+
				"(Debian: apt-get install --no-install-recommends openjdk-17-jre-headless maven)", err)
		}
	}
	libs, err := fetchKafka()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "shiplog-e2e-kafka-")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir, done: make(chan error, 1)}
	if err := n.start(libs); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, nil
}

// fetchKafka puts Kafka's jars into the cache folder, once for each version.
func fetchKafka() (libs string, err error) {
	pom, err := filepath.Abs("kafka/pom.xml")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`<kafka\.version>([^<]+)<`).FindSubmatch(text)
	if version == nil {
		return "", fmt.Errorf("%s names no kafka.version", pom)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	libs = filepath.Join(cache, "shiplog-e2e", "kafka-"+string(version[1]))
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	part := fmt.Sprintf("%s.part-%d", libs, os.Getpid()) // an interrupted download is never taken for a whole one
	defer os.RemoveAll(part)
	cmd := exec.Command("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch Kafka from Maven Central: %w\n%s", err, out)
	}
	if err := os.Rename(part, libs); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return libs, nil
}

func (n *node) start(libs string) error {
	props, err := n.configure()
	if err != nil {
		return err
	}
	classes := filepath.Join(libs, "*")
	format := exec.Command("java", "-cp", classes, "kafka.tools.StorageTool", "format",
		"-t", clusterID(), "-c", props)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's folder: %w\n%s", err, out)
	}
	n.cmd = exec.Command("java", "-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-cp", classes, "kafka.Kafka", props)
	n.cmd.SysProcAttr = dieWithParent()
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	n.cmd.Stdout, n.cmd.Stderr = in, in
	if err := errors.Join(n.cmd.Start(), in.Close()); err != nil {
		return errors.Join(err, out.Close())
	}
	return n.awaitStart(out)
}

// configure writes the node's properties.
func (n *node) configure() (props string, err error) {
	var ports [2]string
	for i := range ports {
		if ports[i], err = freeAddr(); err != nil {
			return "", err
		}
	}
	n.addr = ports[0]
	props = filepath.Join(n.dir, "node.properties")
	return props, os.WriteFile(props, fmt.Appendf(nil, `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
`, ports[0], ports[1], filepath.Join(n.dir, "data")), 0o600)
}

// awaitStart copies what the node says into a file, and returns when it says that it has started.
func (n *node) awaitStart(out io.ReadCloser) error {
	said := filepath.Join(n.dir, "node.log")
	log, err := os.Create(said)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	started := make(chan struct{})
	go func() {
		defer log.Close()
		defer out.Close()
		up := false
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			_, _ = log.WriteString(line)
			if !up && strings.Contains(line, "Kafka Server started") {
				up = true
				close(started)
			}
			if err != nil {
				n.done <- n.cmd.Wait()
				return
			}
		}
	}()
	select {
	case <-started:
		return nil
	case err := <-n.done:
		text, _ := os.ReadFile(said)
		return fmt.Errorf("Kafka ended while it started: %w\n%s", err, tail(text, 30))
	case <-time.After(startupTime):
		text, _ := os.ReadFile(said)
		return errors.Join(fmt.Errorf("Kafka has not started after %v\n%s", startupTime, tail(text, 30)), n.stop())
	}
}

// stop ends the node and removes what it wrote.
func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	select {
	case <-n.done: // "exit status 143" is what SIGTERM asked for
	case <-ctx.Done():
		_ = n.cmd.Process.Kill()
		<-n.done
	}
	return os.RemoveAll(n.dir)
}

// freeAddr finds a port that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// clusterID makes an id as Kafka wants it: 16 bytes in base64, and no dash at the front, which its
// command line would take for an option.
func clusterID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id)
}

func tail(text []byte, lines int) string {
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
