package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

const (
	metadataEvery = 5 * time.Minute // when nothing is wrong
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 2 * time.Second
	// openingLook is when to look again while a connection is being opened: a leader that accepts and
	// then says nothing is soon not the leader any more.
	openingLook = time.Second
	// staleTries is how often metadata that still name the refusing leader are taken for outdated.
	staleTries = 4
)

// backoff is the wait before attempt n (from 0): doubled each time up to maxBackoff, and between a
// half and the whole of it, so that many sources do not return to a broker at once.
func backoff(n int) time.Duration {
	d := maxBackoff
	if n < 5 {
		d = min(minBackoff<<n, maxBackoff)
	}
	return d/2 + rand.N(d/2+1)
}

// manager is the one goroutine that decides about metadata and connections. What others find out
// comes to it as functions, which it runs one after the other.
type manager struct {
	p       *Producer
	events  chan func()
	quit    chan struct{} // closed when no more events are taken
	wg      sync.WaitGroup
	timer   *time.Timer
	due     time.Time // when the timer fires
	report  reporter
	links   map[string]*link // by leader's address; opening or open
	brokers []string         // addresses as in the last metadata

	refreshing bool
	attempt    int // failures in a row, for the backoff
	count      int // partitions as the metadata last said
}

// Run keeps the connections until the context ends. It returns after everything is closed and every
// outstanding done was called.
func (p *Producer) Run(ctx context.Context) error {
	m := &manager{
		p: p, events: make(chan func()), quit: make(chan struct{}), timer: time.NewTimer(0),
		report: newReporter(p.log, p.conf.Topic), links: make(map[string]*link),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.loop(ctx)
	close(m.quit)
	cancel()
	m.timer.Stop()
	p.mu.Lock()
	p.closed = true
	p.problem = &Error{Class: ClassRetriable, Topic: p.conf.Topic, Err: errors.New("the producer is closed")}
	for i := range p.parts {
		p.parts[i].link = nil
	}
	p.publish()
	p.mu.Unlock()
	m.wg.Wait()
	return nil
}

func (m *manager) loop(ctx context.Context) {
	secret := time.NewTicker(secretCheck)
	defer secret.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-m.events:
			f()
		case <-m.p.stale:
			m.lookAtRefusals()
		case <-m.timer.C:
			m.due = time.Time{}
			m.refresh(ctx)
		case <-secret.C:
			m.p.refreshSecret(&m.report)
		}
	}
}

// post runs f on the manager's goroutine, unless it has stopped.
func (m *manager) post(f func()) {
	select {
	case m.events <- f:
	case <-m.quit:
	}
}

// schedule makes the next refresh happen after d, or earlier if that was planned.
func (m *manager) schedule(d time.Duration) {
	at := time.Now().Add(d)
	if !m.due.IsZero() && m.due.Before(at) {
		return
	}
	m.due = at
	m.timer.Reset(d)
}

// retry schedules a refresh after a failure.
func (m *manager) retry() {
	m.schedule(backoff(m.attempt))
	m.attempt++
}

// refresh asks for metadata, beside the loop.
func (m *manager) refresh(ctx context.Context) {
	if m.refreshing {
		return
	}
	m.refreshing = true
	addrs := m.candidates()
	m.wg.Go(func() {
		meta, broker, err := m.p.fetchMetadata(ctx, addrs)
		m.post(func() {
			m.refreshing = false
			if err != nil {
				m.noMetadata(err)
			} else {
				m.apply(ctx, meta, broker)
			}
		})
	})
}

// candidates are the brokers to ask, each once, in a random order.
func (m *manager) candidates() []string {
	var all []string
	for _, b := range slices.Concat(m.p.conf.Brokers, m.brokers) {
		if !slices.Contains(all, b) {
			all = append(all, b)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (m *manager) noMetadata(err *Error) {
	m.report.trouble("metadata", "no broker tells about the topic", err)
	m.p.setProblem(err)
	m.retry()
}

// apply takes over what the metadata say of the topic, and opens and retires connections.
func (m *manager) apply(ctx context.Context, meta *sarama.MetadataResponse, broker string) {
	m.p.stats.refreshes.Add(1)
	m.report.solved("metadata", "brokers answer again", zap.String("broker", broker))
	addrs := make(map[int32]string, len(meta.Brokers))
	m.brokers = m.brokers[:0]
	for _, b := range meta.Brokers {
		addrs[b.ID()] = b.Addr()
		m.brokers = append(m.brokers, b.Addr())
	}
	partitions, err := m.p.topicOf(meta, broker)
	if err != nil {
		m.report.trouble("topic", "the topic cannot be sent to", err)
		m.p.noTopic(err)
		m.retry()
		return
	}
	m.report.solved("topic", "the topic is there", zap.String("broker", broker))
	m.countPartitions(len(partitions))
	wanted, wait := m.assign(partitions, addrs)
	m.connect(ctx, wanted)
	if m.opening() {
		wait = sooner(wait, openingLook)
	}
	if wait > 0 {
		m.schedule(wait)
	} else {
		m.schedule(metadataEvery)
	}
}

// topicOf finds the topic in the metadata.
func (p *Producer) topicOf(meta *sarama.MetadataResponse, broker string) ([]*sarama.PartitionMetadata, *Error) {
	for _, t := range meta.Topics {
		switch {
		case t.Name != p.conf.Topic:
		case t.Err == sarama.ErrUnknownTopicOrPartition:
			e := p.brokerError(t.Err, nil, broker)
			e.Err = errors.New("the topic does not exist; shiplog creates none")
			return nil, e
		case t.Err != sarama.ErrNoError && len(t.Partitions) == 0:
			return nil, p.brokerError(t.Err, nil, broker)
		case !mayWrite(t.TopicAuthorizedOperations):
			e := p.brokerError(sarama.ErrTopicAuthorizationFailed, nil, broker)
			e.Err = fmt.Errorf("%s may describe the topic, but not write it", p.principal())
			return nil, e
		case len(t.Partitions) == 0: // it was created a moment ago
			e := p.brokerError(sarama.ErrLeaderNotAvailable, nil, broker)
			e.Err = errors.New("the topic has no partitions yet")
			return nil, e
		default:
			return t.Partitions, nil
		}
	}
	return nil, &Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: broker, Err: errors.New("the metadata do not name the topic")}
}

// countPartitions announces a change of the count, which stays in use as it was first seen: keys
// would land elsewhere.
func (m *manager) countPartitions(n int) {
	p := m.p
	p.mu.Lock()
	if len(p.parts) == 0 {
		p.parts = make([]part, n)
	}
	use := len(p.parts)
	p.mu.Unlock()
	if m.count != 0 && n != m.count || m.count == 0 && n != use {
		p.log.Warn("the topic's count of partitions has changed; the old one stays in use until a restart",
			zap.String("topic", p.conf.Topic), zap.Int("partitions", n), zap.Int("in_use", use))
	}
	m.count = n
}

// assign gives each partition its leader. It returns the addresses that are needed, and when to
// look again; 0 when all is well.
func (m *manager) assign(meta []*sarama.PartitionMetadata, addrs map[int32]string) (map[string]bool, time.Duration) {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make(map[string]bool)
	leaders := make([]string, len(p.parts))
	epochs := make([]int32, len(p.parts))
	for _, pm := range meta {
		if pm.ID >= 0 && int(pm.ID) < len(p.parts) {
			leaders[pm.ID], epochs[pm.ID] = addrs[pm.Leader], pm.LeaderEpoch
		}
	}
	var wait time.Duration
	missing := 0
	for i := range p.parts {
		t := &p.parts[i]
		wait = sooner(wait, t.reconsider(leaders[i], epochs[i]))
		if t.leader != leaders[i] {
			t.leader, t.link = leaders[i], nil
		}
		t.epoch = epochs[i]
		if t.leader == "" {
			missing++
			continue
		}
		wanted[t.leader] = true
	}
	if missing > 0 {
		e := &Error{Class: ClassRetriable, Kafka: "LEADER_NOT_AVAILABLE", Topic: p.conf.Topic,
			Err: fmt.Errorf("%d of %d partitions have no leader", missing, len(p.parts))}
		p.problem = e
		m.report.trouble("leaders", "partitions without a leader", e)
		wait = sooner(wait, backoff(m.attempt))
		m.attempt++
	} else {
		m.report.solved("leaders", "all partitions have a leader")
	}
	for _, l := range m.links {
		m.attach(l)
	}
	p.publish()
	return wanted, wait
}

// attach gives an open connection to the partitions that its broker leads. Called under p.mu.
func (m *manager) attach(l *link) {
	if !l.up {
		return
	}
	for i := range m.p.parts {
		if m.p.parts[i].leader == l.addr {
			m.p.parts[i].link = l
		}
	}
}

// connect opens the connections that are missing and retires those nobody needs.
func (m *manager) connect(ctx context.Context, wanted map[string]bool) {
	for addr, l := range m.links {
		if !wanted[addr] {
			delete(m.links, addr)
			l.retire()
			m.report.forget(addr)
		}
	}
	for addr := range wanted {
		if m.links[addr] != nil {
			continue
		}
		l := m.p.newLink(addr)
		m.links[addr] = l
		linkCtx, stop := context.WithCancel(ctx)
		l.stop = stop
		m.wg.Go(func() {
			defer stop()
			err := l.run(linkCtx, func() { m.post(func() { m.opened(l) }) })
			m.post(func() { m.ended(l, err) })
		})
	}
}

// opening says that a connection is not there yet.
func (m *manager) opening() bool {
	for _, l := range m.links {
		if !l.up {
			return true
		}
	}
	return false
}

// opened makes a new connection known to those who send.
func (m *manager) opened(l *link) {
	p := m.p
	p.stats.connects.Add(1)
	m.report.solved(l.addr, "broker back", zap.String("broker", l.addr))
	if m.links[l.addr] != l { // retired while it was opening
		return
	}
	p.mu.Lock()
	l.up = true
	m.attach(l)
	p.publish()
	p.mu.Unlock()
}

// ended takes a connection out that is closed, or that could not be opened.
func (m *manager) ended(l *link, cause error) {
	p := m.p
	if m.links[l.addr] == l {
		delete(m.links, l.addr)
	}
	p.mu.Lock()
	for i := range p.parts {
		if p.parts[i].link == l {
			p.parts[i].link = nil
		}
	}
	if cause != nil {
		p.problem = p.connectError(l.addr, cause)
	}
	p.publish()
	p.mu.Unlock()
	if cause == nil || errors.Is(cause, errStopped) {
		m.schedule(time.Millisecond) // retired, or cut by Deliver: its partitions may need another one
		return
	}
	p.stats.losses.Add(1)
	m.report.trouble(l.addr, "broker lost", p.connectError(l.addr, cause))
	l.mu.Lock()
	if l.proved { // it had worked: begin at the shortest backoff
		m.attempt = 0
	}
	l.mu.Unlock()
	m.retry()
}

// lookAtRefusals plans the refresh that partitions with a refusal wait for.
func (m *manager) lookAtRefusals() {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	trouble := false
	for i := range p.parts {
		t := &p.parts[i]
		trouble = trouble || t.tries > 0
		if t.refused != nil {
			m.report.trouble("refused", "the broker refuses batches", t.refused)
			m.schedule(max(time.Until(t.until), time.Millisecond))
		}
	}
	if !trouble {
		m.report.solved("refused", "the broker takes batches again")
	}
}
