package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Auditor reads a topic for an audit: each record batch once, in the order of time over all
// partitions, with no more than an audit needs. It writes nothing, joins no group and commits no
// offset.
type Auditor struct {
	p *Producer // for its way to a broker; it is never run

	mu      sync.Mutex
	addrs   []string
	leaders map[int32]string
	links   map[string]*auditLink
	looked  time.Time
}

// Bound is the part of a partition that an audit reads: the records from From on, up to Until.
type Bound struct {
	Partition   int32
	Start, End  int64 // what the partition holds
	From, Until int64 // what is to be read
}

// NewAuditor checks the configuration, files included, without touching the network. What speaks of
// sending is of no use to it.
func NewAuditor(conf Config) (*Auditor, error) {
	conf.Acks, conf.Idempotent, conf.Codec, conf.CompressionLevel = -1, false, "", nil
	p, err := New(conf)
	if err != nil {
		return nil, err
	}
	return &Auditor{p: p, addrs: conf.Brokers, links: make(map[string]*auditLink)}, nil
}

// Close ends the connections. Nothing else may be running.
func (a *Auditor) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links {
		closeBroker(l.wire, l.b, errClosed)
	}
	a.links = nil
}

// auditTries is how often in a row one request of an audit may fail.
const auditTries = 8

// try calls fn with the connection to a partition's leader, and again after a failure that may pass.
func (a *Auditor) try(ctx context.Context, partition int32, fn func(*auditLink) error) error {
	for n := 0; ; n++ {
		l, err := a.link(ctx, partition, n > 0)
		if err == nil {
			err = fn(l)
		}
		var e *Error
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n+1 >= auditTries || errors.As(err, &e) && e.Class.OfSource() || errors.Is(err, errBatch):
			return err
		}
		select {
		case <-time.After(backoff(n)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// link gives a living connection to the partition's leader. After a failure it asks who that is now.
func (a *Auditor) link(ctx context.Context, partition int32, failed bool) (*auditLink, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaders == nil || failed && time.Since(a.looked) > minBackoff {
		if err := a.look(ctx); err != nil {
			return nil, err
		}
	}
	addr := a.leaders[partition]
	if addr == "" {
		return nil, &Error{Class: ClassRetriable, Kafka: "LEADER_NOT_AVAILABLE", Topic: a.p.conf.Topic,
			Err: fmt.Errorf("partition %d has no leader", partition)}
	}
	if l := a.links[addr]; l != nil {
		if l.wire.why() == nil {
			return l, nil
		}
		closeBroker(l.wire, l.b, errClosed)
		delete(a.links, addr)
	}
	l, err := a.openLink(ctx, addr)
	if err != nil {
		return nil, err
	}
	a.links[addr] = l
	return l, nil
}

// look asks the brokers for the leaders; a.mu is held.
func (a *Auditor) look(ctx context.Context) error {
	meta, broker, e := a.p.fetchMetadata(ctx, a.addrs)
	if e != nil {
		return e
	}
	partitions, e := a.p.topicOf(meta, broker)
	if e != nil {
		return e
	}
	a.looked = time.Now()
	known := make(map[int32]string, len(meta.Brokers))
	addrs := make([]string, 0, len(meta.Brokers))
	for _, b := range meta.Brokers {
		known[b.ID()] = b.Addr()
		addrs = append(addrs, b.Addr())
	}
	a.leaders = make(map[int32]string, len(partitions))
	for _, pm := range partitions {
		a.leaders[pm.ID] = known[pm.Leader]
	}
	a.addrs = addrs
	return nil
}

// Offsets as ListOffsets knows them.
const (
	offsetEnd   int64 = -1
	offsetStart int64 = -2
)

// Bounds finds what the topic holds now and what of that lies in the time from from (or the start)
// until until (or now), by the records' timestamps.
func (a *Auditor) Bounds(ctx context.Context, from, until time.Time) ([]Bound, error) {
	if err := a.try(ctx, 0, func(*auditLink) error { return nil }); err != nil {
		return nil, err
	}
	a.mu.Lock()
	bounds := make([]Bound, 0, len(a.leaders))
	for id := range a.leaders {
		bounds = append(bounds, Bound{Partition: id})
	}
	a.mu.Unlock()
	slices.SortFunc(bounds, func(x, y Bound) int { return int(x.Partition) - int(y.Partition) })
	for i := range bounds {
		if err := a.bound(ctx, &bounds[i], from, until); err != nil {
			return nil, err
		}
	}
	return bounds, nil
}

func (a *Auditor) bound(ctx context.Context, b *Bound, from, until time.Time) error {
	ask := func(at int64) (offset int64, err error) {
		err = a.try(ctx, b.Partition, func(l *auditLink) error {
			all, err := l.offsets([]int32{b.Partition}, at)
			offset = all[b.Partition]
			return err
		})
		return offset, err
	}
	var err error
	if b.Start, err = ask(offsetStart); err != nil {
		return err
	}
	if b.End, err = ask(offsetEnd); err != nil {
		return err
	}
	b.From, b.Until = b.Start, b.End
	if !from.IsZero() {
		if b.From, err = ask(max(from.UnixMilli(), 0)); err != nil {
			return err
		}
		if b.From < 0 { // all records are older
			b.From = b.End
		}
	}
	if !until.IsZero() {
		if b.Until, err = ask(max(until.UnixMilli(), 0)); err != nil {
			return err
		}
		if b.Until < 0 || b.Until > b.End {
			b.Until = b.End
		}
	}
	return nil
}

// Audit reads the batches within the bounds and calls fn for each, with the headers of that name. Each
// partition's batches come in their order; of several partitions, the one whose next batch is the
// oldest comes first, so that lines that were spread over partitions come close to each other again.
// It ends at the first error, fn's included.
func (a *Auditor) Audit(ctx context.Context, bounds []Bound, header string, fn func(*AuditBatch) error) error {
	group, ctx := errgroup.WithContext(ctx)
	m := merge{fn: fn}
	slots := make(chan *auditDecoder, decoders)
	for range decoders {
		slots <- &auditDecoder{header: header}
	}
	for _, b := range bounds {
		if b.From >= b.Until {
			continue
		}
		r := &auditReader{a: a, bound: b, slots: slots, max: fetchBytes(len(bounds)), out: make(chan []AuditBatch, 1)}
		m.in = append(m.in, &lane{out: r.out, partition: b.Partition})
		group.Go(func() error { return r.run(ctx) })
	}
	group.Go(func() error { return m.run(ctx) })
	return group.Wait()
}

// fetchBytes is how much is fetched of each partition at once: there is an answer that is decoded, one
// that waits and one that is on its way for each.
func fetchBytes(partitions int) int32 {
	const total, most, least = 12 << 20, 1 << 20, 64 << 10
	return int32(min(max(total/max(partitions, 1), least), most))
}
