//go:build linux

package systest

import (
	"context"
	"encoding/binary"
	"net"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is an embedded Kafka broker, with a client of its own that reads what arrived.
type broker struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client

	mu    sync.Mutex
	conns map[net.Conn]bool // of shiplog; those of our own client are not among them
	ours  map[string]bool   // local addresses of our own client
	got   []arrival
	total int
	// refuse, when set, answers produce requests in place of the broker.
	refuse func(*kmsg.ProduceRequest) (kmsg.Response, error, bool)
	// barrier is how many records had arrived at the last ListOffsets request.
	barrier int
}

// arrival is a produce request: when it came, and how many records had come with it.
type arrival struct {
	at    time.Time
	total int
}

// newBroker starts a broker; topics get that many partitions.
func newBroker(t *testing.T, partitions int32, topics []string, opts ...kfake.Opt) *broker {
	t.Helper()
	b := &broker{t: t, conns: map[net.Conn]bool{}, ours: map[string]bool{}}
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.ListenFn(b.listen)}, opts...)
	if len(topics) > 0 {
		opts = append(opts, kfake.SeedTopics(partitions, topics...))
	}
	var err error
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cluster.Close)
	b.cluster.ControlKey(int16(kmsg.Produce), b.produce)
	b.cluster.ControlKey(int16(kmsg.ListOffsets), b.listOffsets)
	return b
}

func (b *broker) addrs() []string { return b.cluster.ListenAddrs() }

func (b *broker) produce(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.cluster.KeepControl()
	req := r.(*kmsg.ProduceRequest)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		if resp, err, handled := b.refuse(req); handled {
			return resp, err, true
		}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			b.total += recordsIn(p.Records)
		}
	}
	b.got = append(b.got, arrival{time.Now(), b.total})
	return nil, nil, false
}

func (b *broker) listOffsets(kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.cluster.KeepControl()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.barrier = b.total
	return nil, nil, false
}

// recordsIn reads the record counts of the batches in a produce request: at byte 57 of each.
func recordsIn(batches []byte) int {
	n := 0
	for len(batches) >= 61 {
		n += int(int32(binary.BigEndian.Uint32(batches[57:])))
		batches = batches[min(12+int(binary.BigEndian.Uint32(batches[8:])), len(batches)):]
	}
	return n
}

// since gives how many records arrived after that time.
func (b *broker) since(at time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := sort.Search(len(b.got), func(i int) bool { return b.got[i].at.After(at) })
	if i == 0 {
		return b.total
	}
	return b.total - b.got[i-1].total
}

// arrived gives how many records came, and how many of them before the last barrier.
func (b *broker) arrived() (total, barrier int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total, b.barrier
}

// listen counts the connections, so that a test knows when a dead process's last request was read.
func (b *broker) listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	return &listener{ln, b}, err
}

type listener struct {
	net.Listener
	b *broker
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	conn := &conn{Conn: c, b: l.b}
	l.b.conns[conn] = true
	return conn, nil
}

type conn struct {
	net.Conn
	b *broker
}

func (c *conn) Close() error {
	c.b.mu.Lock()
	delete(c.b.conns, c)
	c.b.mu.Unlock()
	return c.Conn.Close()
}

// drained waits until the broker has read and handled everything that a dead process had sent.
func (b *broker) drained() {
	b.t.Helper()
	until(b.t, "the broker to notice that shiplog is gone", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for c := range b.conns {
			if !b.ours[c.RemoteAddr().String()] {
				return false
			}
		}
		return true
	})
	if b.client != nil { // requests are handled in order: behind ours, there is none of the dead
		if err := b.client.Ping(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// connect gives the client that reads the topics.
func (b *broker) connect(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		b.mu.Lock()
		defer b.mu.Unlock() // the broker must not see it before it is known to be ours
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			b.ours[c.LocalAddr().String()] = true
		}
		return c, err
	}
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.addrs()...), kgo.Dialer(dial),
		kgo.FetchMaxWait(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// topic reads a topic, in pieces: each call of next gives what came since the last.
type topic struct {
	b      *broker
	name   string
	client *kgo.Client
	read   int
}

// open starts to read a topic.
func (b *broker) open(name string) *topic {
	b.t.Helper()
	c := b.connect(kgo.ConsumeTopics(name))
	if b.client == nil {
		b.client, b.admin = c, kadm.NewClient(c)
	}
	return &topic{b: b, name: name, client: c}
}

// size is how many records the topic holds.
func (t *topic) size() int {
	t.b.t.Helper()
	ends, err := t.b.admin.ListEndOffsets(t.b.t.Context(), t.name)
	if err != nil {
		t.b.t.Fatalf("end offsets of %s: %v", t.name, err)
	}
	n := 0
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	return n
}

// next gives the records up to the topic's end now; in order within each partition.
func (t *topic) next() []*kgo.Record {
	t.b.t.Helper()
	ctx, cancel := context.WithTimeout(t.b.t.Context(), patience)
	defer cancel()
	end := t.size()
	var list []*kgo.Record
	for t.read < end {
		fetches := t.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.b.t.Fatalf("read %s: %v", t.name, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { list = append(list, r) })
		t.read += fetches.NumRecords()
	}
	return list
}

// brokerConfigs sets one of the broker's settings.
func brokerConfigs(key, value string) kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{key: value})
}
