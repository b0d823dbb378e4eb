package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"go.uber.org/zap"
)

func init() {
	// sarama's own metrics take 270 KiB a client, and nobody reads them here.
	metrics.UseNilMetrics = true
}

// Config says where a Producer sends, and how.
type Config struct {
	Brokers        []string // host:port, at least one
	ClientID       string
	Version        string // newest protocol to speak, such as "3.9.0"; "" for the newest both sides know
	DialTimeout    time.Duration
	RequestTimeout time.Duration
	TLS            *TLS  // nil: plaintext
	SASL           *SASL // nil: no login
	Topic          string
	Acks           int16 // 0, 1 or -1 (all)
	Idempotent     bool  // for Deliver; needs Acks -1
	Codec          string
	// CompressionLevel is for gzip (1 to 9) and zstd; nil for the codec's default.
	CompressionLevel *int
	// MaxInFlight is how many requests may be out at one leader.
	MaxInFlight int
	Log         *zap.Logger // nil: no log
	// Dial opens a connection; nil for the ordinary way. It must heed the context.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults for what Config leaves at zero.
const (
	DefaultDialTimeout    = 5 * time.Second
	DefaultRequestTimeout = 10 * time.Second
)

// Producer sends record batches to the partitions of one topic. Run must be running for anything to
// be sent; all other methods are safe for concurrent use, and none of them waits for the network
// but Deliver and Barrier.
type Producer struct {
	conf           Config
	base           *sarama.Config
	codec          sarama.CompressionCodec
	level          int
	produceVersion int16
	dial           func(ctx context.Context, network, addr string) (net.Conn, error)
	secrets        secrets
	token          *tokenFile
	log            *zap.Logger

	barrierEvery time.Duration // tests shorten it
	sequences    sequences
	unconfirmed  atomic.Int64
	stats        counters

	stale chan struct{} // a partition was refused: the manager should look

	mu      sync.Mutex
	parts   []part
	problem *Error // the latest reason for not being ready
	closed  bool
	usable  []int32
	ready   chan struct{} // closed while usable holds something
	changed chan struct{} // closed at the next change of usable
}

// part is what is known of one partition.
type part struct {
	leader string // host:port, "" without one
	epoch  int32
	link   *link // the open connection to the leader, nil without one

	// After a refusal nothing is sent until that time, and, if the answer said that the leader is
	// another one, until the metadata say so too.
	refused *Error
	until   time.Time
	moved   bool
	tries   int // refusals since the last success
}

type counters struct {
	requests, records, connects, losses, refreshes, repeats, ids atomic.Int64
}

// Stats is a snapshot of a Producer's counters, since its start.
type Stats struct {
	Requests        int64 // produce requests written
	Records         int64 // records written, each attempt counted
	Connects        int64 // connections to leaders opened
	Losses          int64 // connections to leaders lost, or not to be had
	Refreshes       int64 // answers with metadata
	ProducerIDs     int64 // producer ids taken
	PossibleRepeats int64 // batches whose producer id was given up with an outcome unknown
	Unconfirmed     int64 // see Producer.Unconfirmed
	InFlight        int   // produce requests that wait for their answer now
	Connections     int   // open connections to leaders now
}

// New checks the configuration, files included, without touching the network.
func New(conf Config) (*Producer, error) {
	p := &Producer{
		conf:         conf,
		log:          conf.Log,
		dial:         conf.Dial,
		barrierEvery: time.Second,
		stale:        make(chan struct{}, 1),
		ready:        make(chan struct{}),
		changed:      make(chan struct{}),
	}
	p.sequences.init(p)
	p.problem = &Error{Class: ClassRetriable, Topic: conf.Topic, Err: errors.New("not connected yet")}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.conf.DialTimeout <= 0 {
		p.conf.DialTimeout = DefaultDialTimeout
	}
	if p.conf.RequestTimeout <= 0 {
		p.conf.RequestTimeout = DefaultRequestTimeout
	}
	if p.conf.MaxInFlight <= 0 {
		p.conf.MaxInFlight = 1
	}
	if p.dial == nil {
		p.dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return p, nil
}

// check fills in what follows from the configuration, and says what is wrong with it.
func (p *Producer) check() error {
	c := &p.conf
	version := sarama.MaxVersion
	var err error
	if c.Version != "" {
		if version, err = sarama.ParseKafkaVersion(c.Version); err != nil {
			return fmt.Errorf("version %q: want a form such as 3.9.0: %w", c.Version, err)
		}
	}
	switch {
	case len(c.Brokers) == 0:
		return errors.New("no brokers")
	case c.Topic == "":
		return errors.New("no topic")
	case c.Acks < -1 || c.Acks > 1:
		return fmt.Errorf("acks %d: want 0, 1 or -1 (all)", c.Acks)
	case c.Idempotent && c.Acks != -1:
		return errors.New("an idempotent producer needs acks -1 (all)")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("broker %q: want host:port: %w", b, err)
		}
	}
	if err := p.checkCodec(version); err != nil {
		return err
	}
	p.produceVersion = produceVersion(version)
	if p.produceVersion < 3 {
		return fmt.Errorf("version %s: brokers before 0.11.0 are not supported", c.Version)
	}
	return p.checkSecurity(version)
}

func (p *Producer) checkCodec(version sarama.KafkaVersion) error {
	p.level = sarama.CompressionLevelDefault // 0 would store gzip uncompressed
	name := p.conf.Codec
	if name == "" {
		name = "none"
	}
	if err := p.codec.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("compression %q: want none, gzip, snappy, lz4 or zstd", name)
	}
	if p.codec == sarama.CompressionZSTD && !version.IsAtLeast(sarama.V2_1_0_0) {
		return fmt.Errorf("compression zstd needs version 2.1.0 or later, not %s", p.conf.Version)
	}
	if l := p.conf.CompressionLevel; l != nil {
		switch {
		case p.codec == sarama.CompressionGZIP && *l >= 1 && *l <= 9:
		case p.codec == sarama.CompressionZSTD && *l >= 1 && *l <= 22:
		default:
			return fmt.Errorf("compression level %d: want 1 to 9 with gzip, or 1 to 22 with zstd", *l)
		}
		p.level = *l
	}
	return nil
}

// checkSecurity makes the configuration that all connections share, and reads all files once.
func (p *Producer) checkSecurity(version sarama.KafkaVersion) error {
	p.base = sarama.NewConfig()
	p.base.Version = version
	if p.conf.ClientID != "" {
		p.base.ClientID = p.conf.ClientID
	}
	p.conf.ClientID = p.base.ClientID
	p.base.ApiVersionsRequest = true
	p.base.Net.DialTimeout = p.conf.DialTimeout
	p.base.Net.ReadTimeout = p.conf.RequestTimeout
	p.base.Net.WriteTimeout = p.conf.RequestTimeout
	// Our own count stays below: produce requests, and one for a producer id.
	p.base.Net.MaxOpenRequests = p.conf.MaxInFlight + 2
	p.base.Net.Proxy.Enable = true
	if p.conf.SASL != nil {
		p.token = &tokenFile{path: p.conf.SASL.TokenFile}
	}
	if t := p.conf.TLS; t != nil {
		if (t.CertFile == "") != (t.KeyFile == "") {
			return errors.New("tls: a client certificate needs both its file and its key's")
		}
		if _, err := t.clientConfig(p.conf.Brokers[0]); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	conf, err := p.brokerConfig(nil)
	if err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	return conf.Validate()
}

// produceVersion is the newest produce request that sarama and a broker of that version know;
// sarama lowers it to what the broker at hand announced.
func produceVersion(v sarama.KafkaVersion) int16 {
	for version := int16(10); version > 0; version-- {
		r := sarama.ProduceRequest{Version: version}
		if v.IsAtLeast(requiredVersion(r)) {
			return version
		}
	}
	return 0
}

func requiredVersion(r sarama.ProduceRequest) sarama.KafkaVersion {
	switch r.Version {
	case 10:
		return sarama.V3_7_0_0
	case 9:
		return sarama.V2_8_0_0
	case 8:
		return sarama.V2_4_0_0
	case 7:
		return sarama.V2_1_0_0
	case 6:
		return sarama.V2_0_0_0
	case 4, 5:
		return sarama.V1_0_0_0
	default:
		return sarama.V0_11_0_0
	}
}

// brokerConfig is the configuration of one connection, with the credentials as they are now.
func (p *Producer) brokerConfig(w *wire) (*sarama.Config, error) {
	conf := *p.base
	conf.Net.Proxy.Dialer = wireDialer{w}
	if p.conf.SASL != nil {
		if err := p.conf.SASL.login(&conf, &p.secrets, p.token); err != nil {
			return nil, &mismatch{class: ClassAuth, text: "login", cause: err}
		}
	}
	return &conf, nil
}

// wireDialer gives sarama the connection that is already open.
type wireDialer struct{ w *wire }

func (d wireDialer) Dial(string, string) (net.Conn, error) { return d.w, nil }

// brokerTimeout is how long a broker may wait for its replicas: less than we wait for the broker, so
// that its answer still comes.
func (p *Producer) brokerTimeout() time.Duration {
	return p.conf.RequestTimeout - p.conf.RequestTimeout/10
}

// Ready says what can be sent to now; the error is nil when at least one partition can.
func (p *Producer) Ready() (Topic, *Error) {
	topic, err, _ := p.Watch()
	return topic, err
}

// Watch is Ready with a channel that is closed as soon as the partitions that can be sent to are
// others.
func (p *Producer) Watch() (Topic, *Error, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	topic := Topic{Partitions: int32(len(p.parts)), Usable: p.usable}
	if len(p.usable) > 0 {
		return topic, nil, p.changed
	}
	return topic, p.problem, p.changed
}

// WaitReady gives a channel that is closed when at least one partition can be sent to. Ask for it
// anew after a loss.
func (p *Producer) WaitReady() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// Stats gives a snapshot of the counters.
func (p *Producer) Stats() Stats {
	s := Stats{
		Requests: p.stats.requests.Load(), Records: p.stats.records.Load(),
		Connects: p.stats.connects.Load(), Losses: p.stats.losses.Load(), Refreshes: p.stats.refreshes.Load(),
		ProducerIDs: p.stats.ids.Load(), PossibleRepeats: p.stats.repeats.Load(), Unconfirmed: p.unconfirmed.Load(),
	}
	for _, l := range p.openLinks() {
		l.mu.Lock()
		s.InFlight += l.inFlight
		l.mu.Unlock()
		s.Connections++
	}
	return s
}

// openLinks gives the open connections to leaders, each once.
func (p *Producer) openLinks() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*link
	seen := make(map[*link]bool)
	for i := range p.parts {
		if l := p.parts[i].link; l != nil && !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

// route gives the connection for a partition, or the reason why there is none.
func (p *Producer) route(partition int32) (*link, *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || len(p.parts) == 0:
		return nil, p.problem
	case partition < 0 || int(partition) >= len(p.parts):
		return nil, &Error{Class: ClassConfig, Topic: p.conf.Topic,
			Err: fmt.Errorf("there is no partition %d: the topic has %d", partition, len(p.parts))}
	}
	part := &p.parts[partition]
	switch {
	case part.refused != nil:
		return nil, part.refused
	case part.link == nil && part.leader == "":
		return nil, &Error{Class: ClassRetriable, Kafka: "LEADER_NOT_AVAILABLE", Topic: p.conf.Topic,
			Err: fmt.Errorf("partition %d has no leader", partition)}
	case part.link == nil:
		return nil, &Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: part.leader, Err: errors.New("no connection to the leader")}
	}
	return part.link, nil
}

// maxRequest bounds the batches that travel in one request; brokers take 100 MB by default.
const maxRequest = 16 << 20

// Send sends the batches once, those of one leader in one request, and never waits: it queues them
// for the connections' own goroutines. Done is called exactly once for each batch, on any
// goroutine, maybe before Send returns; it must not block. There is no retry. Batches of one
// partition keep their order as long as no request fails.
func (p *Producer) Send(rbs []*RecordBatch, done func(*RecordBatch, Result)) {
	var order []*link
	requests := make(map[*link][]*request, 1)
	for _, rb := range rbs {
		l, err := p.route(rb.Partition)
		if err != nil {
			done(rb, Result{Partition: rb.Partition, Offset: -1, Err: err})
			continue
		}
		if requests[l] == nil {
			order = append(order, l)
		}
		requests[l] = addTo(requests[l], rb, done)
	}
	for _, l := range order {
		for _, r := range requests[l] {
			if !l.push(r) {
				r.fail(&Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: l.addr, Err: errors.New("connection lost")}, false)
			}
		}
	}
}

// addTo puts a batch into the last request, or into a new one: a request holds one batch of a
// partition at most, since a second one would take the first one's place.
func addTo(requests []*request, rb *RecordBatch, done func(*RecordBatch, Result)) []*request {
	if n := len(requests); n > 0 {
		last := requests[n-1]
		size, fits := rb.Size(), true
		for _, other := range last.batches {
			size += other.Size()
			fits = fits && other.Partition != rb.Partition
		}
		if fits && size <= maxRequest {
			last.batches = append(last.batches, rb)
			return requests
		}
	}
	return append(requests, &request{batches: []*RecordBatch{rb}, done: done})
}
