package kafka

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Options says what cluster to start.
type Options struct {
	// Pom is the path of the pom.xml that names Kafka's jars.
	Pom string
	// Nodes is how many nodes there are; topics have a replica on each of up to three.
	Nodes int
	// Listeners are further listeners, name to security protocol, such as "SASL_SSL": "SASL_SSL".
	Listeners map[string]string
	// Properties are further lines of each node's configuration. $DIR stands for the node's folder.
	Properties []string
	// Scram are users, as kafka.tools.StorageTool's --add-scram takes them.
	Scram []string
	// JVM are further options of java. $DIR stands for the node's folder.
	JVM []string
}

// Cluster is a running Kafka cluster.
type Cluster struct {
	Nodes []*Node
	// Addrs are the addresses of the listeners of Options.Listeners, by name, one a node.
	Addrs map[string][]string
	dir   string
}

// Start fetches Kafka when it is not in the cache, formats the nodes and starts them. It returns when
// all brokers take requests.
func Start(opt Options) (_ *Cluster, err error) {
	libs, err := fetch(opt.Pom)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "shiplog-e2e-kafka-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, Addrs: map[string][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	for i := range opt.Nodes {
		n := &Node{ID: i + 1, Dir: filepath.Join(dir, fmt.Sprintf("node-%d", i+1)), libs: libs, scram: opt.Scram}
		if err := n.addresses(); err != nil {
			return nil, err
		}
		if n.Proxy, err = newProxy(fmt.Sprintf("node-%d", n.ID), n.Proxied, n.behind); err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := c.configure(n, opt); err != nil {
			return nil, err
		}
	}
	return c, c.start()
}

func (n *Node) addresses() (err error) {
	for _, addr := range []*string{&n.Plain, &n.Proxied, &n.behind, &n.controller} {
		if *addr, err = freeAddr(); err != nil {
			return err
		}
	}
	return nil
}

// configure writes the node's properties.
func (c *Cluster) configure(n *Node, opt Options) error {
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	listeners := []string{"PLAINTEXT://" + n.Plain, "PROXIED://" + n.behind, "CONTROLLER://" + n.controller}
	advertised := []string{"PLAINTEXT://" + n.Plain, "PROXIED://" + n.Proxied}
	protocols := []string{"PLAINTEXT:PLAINTEXT", "PROXIED:PLAINTEXT", "CONTROLLER:PLAINTEXT"}
	for name, protocol := range opt.Listeners {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		c.Addrs[name] = append(c.Addrs[name], addr)
		listeners = append(listeners, name+"://"+addr)
		advertised = append(advertised, name+"://"+addr)
		protocols = append(protocols, name+":"+protocol)
	}
	var voters []string
	for _, n := range c.Nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", n.ID, n.controller))
	}
	here := strings.NewReplacer("$DIR", n.Dir)
	for _, option := range opt.JVM {
		n.jvm = append(n.jvm, here.Replace(option))
	}
	replicas := min(opt.Nodes, 3)
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=%s
advertised.listeners=%s
listener.security.protocol.map=%s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%s
auto.create.topics.enable=false
auto.leader.rebalance.enable=false
default.replication.factor=%[7]d
min.insync.replicas=%[8]d
offsets.topic.replication.factor=%[7]d
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=%[7]d
transaction.state.log.min.isr=%[8]d
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
replica.lag.time.max.ms=5000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
num.network.threads=2
num.io.threads=3
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
`, n.ID, strings.Join(voters, ","), strings.Join(listeners, ","), strings.Join(advertised, ","), strings.Join(protocols, ","),
		filepath.Join(n.Dir, "data"), replicas, max(1, replicas-1))
	for _, line := range opt.Properties {
		text += here.Replace(line) + "\n"
	}
	return os.WriteFile(n.propertiesFile(), []byte(text), 0o600)
}

// start formats and starts all nodes side by side.
func (c *Cluster) start() error {
	id := clusterID()
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() {
			if errs[i] = n.format(id); errs[i] == nil {
				errs[i] = n.launch()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.AwaitStart(); err != nil {
			return err
		}
	}
	return nil
}

// Plain are the addresses of the brokers themselves.
func (c *Cluster) Plain() (list []string) {
	for _, n := range c.Nodes {
		list = append(list, n.Plain)
	}
	return list
}

// Proxied are the addresses of the brokers behind their proxies.
func (c *Cluster) Proxied() (list []string) {
	for _, n := range c.Nodes {
		list = append(list, n.Proxied)
	}
	return list
}

// Node gives the node with this id.
func (c *Cluster) Node(id int32) *Node { return c.Nodes[id-1] }

// Stop ends all nodes and removes what they wrote.
func (c *Cluster) Stop() error {
	for _, n := range c.Nodes {
		n.Kill() // what they hold is thrown away
		if n.Proxy != nil {
			n.Proxy.Close()
		}
	}
	return os.RemoveAll(c.dir)
}

// clusterID makes an id as Kafka wants it: 16 bytes in base64, and no dash at the front, which its
// command line would take for an option.
func clusterID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id)
}

// given are the ports that freeAddr has named: nobody listens on them yet, or again.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// freeAddr finds a port that nobody listens on, below the range from which the system takes the ports of
// outgoing connections: a node that is down must find its port free when it comes back. It names none twice.
func freeAddr() (string, error) {
	given.Lock()
	defer given.Unlock()
	var last error
	for range 100 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		port := 11000 + (int(b[0])<<8|int(b[1]))%21000
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		if given.ports == nil {
			given.ports = map[int]bool{}
		}
		given.ports[port] = true
		return l.Addr().String(), l.Close()
	}
	return "", fmt.Errorf("no free port: %w", last)
}
