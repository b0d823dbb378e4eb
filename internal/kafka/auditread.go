package kafka

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// decoders bounds how many batches are expanded at once: an expanded batch may be many times its size,
// and there may be many partitions.
const decoders = 2

// mostFetch is as far as a fetch grows for a batch that is larger than what is asked for otherwise; an
// answer may not be larger than maxAnswer.
const mostFetch = maxAnswer - 1<<20

// outOfRange says that the records at an offset are gone.
const outOfRange = sarama.ErrOffsetOutOfRange

// auditReader reads one partition.
type auditReader struct {
	a     *Auditor
	bound Bound
	max   int32
	slots chan *auditDecoder
	out   chan []AuditBatch
}

// run reads the partition and closes out. The next fetch is under way while the last one is decoded.
func (r *auditReader) run(ctx context.Context) error {
	defer close(r.out)
	raw := make(chan []byte)
	failed := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer close(raw)
		failed <- r.fetchAll(ctx, raw)
	}()
	err := r.decodeAll(ctx, raw)
	stop()
	for range raw { //nolint:revive // until the goroutine has ended
	}
	if fetchErr := <-failed; err == nil {
		err = fetchErr
	}
	if err != nil {
		return fmt.Errorf("partition %d: %w", r.bound.Partition, err)
	}
	return nil
}

// fetchAll passes on whole batches, from the first to the last one within the bounds.
func (r *auditReader) fetchAll(ctx context.Context, raw chan<- []byte) error {
	size, empty := r.max, 0
	for next := r.bound.From; next < r.bound.Until; {
		var got fetched
		err := r.a.try(ctx, r.bound.Partition, func(l *auditLink) error {
			var err error
			if got, err = l.read(ctx, r.bound.Partition, next, size); err == nil && got.code != sarama.ErrNoError && got.code != outOfRange {
				err = r.a.p.brokerError(got.code, nil, l.addr)
			}
			return err
		})
		if err != nil {
			return err
		}
		if got.code == outOfRange {
			if next, err = r.skipLost(ctx, next); err != nil {
				return err
			}
			continue
		}
		whole, end, err := wholeBatches(got.records, r.bound.Until)
		if err != nil {
			return err
		}
		if len(whole) == 0 {
			if empty++; empty > auditTries {
				return fmt.Errorf("the broker gives nothing at offset %d, though the partition goes on to %d", next, r.bound.Until)
			}
			size = min(2*size, mostFetch) // the batch may be larger than what was asked for
			continue
		}
		size, empty = r.max, 0
		select {
		case raw <- whole:
			next = max(end, next+1)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// skipLost goes on where the partition begins now: retention has overtaken the audit.
func (r *auditReader) skipLost(ctx context.Context, next int64) (int64, error) {
	b := r.bound
	if err := r.a.bound(ctx, &b, time.Time{}, time.Time{}); err != nil {
		return 0, err
	}
	if b.Start <= next {
		return 0, fmt.Errorf("offset %d is out of range, though the partition holds %d to %d: was the topic made anew?", next, b.Start, b.End)
	}
	return b.Start, nil
}

// wholeBatches gives the whole batches of an answer that begin before until, and where they end.
func wholeBatches(p []byte, until int64) (whole []byte, end int64, err error) {
	rest := p
	for {
		b, next, err := nextBatch(rest)
		if err != nil {
			return nil, 0, err
		}
		if b == nil || end >= until {
			return p[:len(p)-len(rest)], end, nil
		}
		end, rest = batchEnd(b), next
	}
}

func (r *auditReader) decodeAll(ctx context.Context, raw <-chan []byte) error {
	for p := range raw {
		var d *auditDecoder
		select {
		case d = <-r.slots:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		batches, err := d.all(r.bound.Partition, p)
		r.slots <- d
		if err != nil {
			return err
		}
		select {
		case r.out <- batches:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (d *auditDecoder) all(partition int32, p []byte) ([]AuditBatch, error) {
	var out []AuditBatch
	for len(p) > 0 {
		b, rest, err := nextBatch(p)
		if err == nil && b == nil {
			err = fmt.Errorf("%w: %d bytes are left over", errBatch, len(p))
		}
		if err != nil {
			return nil, err
		}
		batch, err := d.decode(partition, b)
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", batch.Offset, err)
		}
		out = append(out, batch)
		p = rest
	}
	return out, nil
}

// lane is one partition's batches, in their order.
type lane struct {
	out       <-chan []AuditBatch
	partition int32
	batches   []AuditBatch
	time      int64 // of the next batch; never goes back, so that a lane with wild times is not starved
}

// advance makes sure that there is a next batch; false at the end.
func (l *lane) advance(ctx context.Context) (bool, error) {
	for len(l.batches) == 0 {
		select {
		case batches, ok := <-l.out:
			if !ok {
				return false, nil
			}
			l.batches = batches
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	l.time = max(l.time, l.batches[0].Time)
	return true, nil
}

// merge brings the partitions' batches into one order, which does not depend on how fast the brokers
// are.
type merge struct {
	in []*lane
	fn func(*AuditBatch) error
}

func (m *merge) Len() int      { return len(m.in) }
func (m *merge) Swap(i, j int) { m.in[i], m.in[j] = m.in[j], m.in[i] }
func (m *merge) Push(x any)    { m.in = append(m.in, x.(*lane)) }
func (m *merge) Less(i, j int) bool {
	x, y := m.in[i], m.in[j]
	return x.time < y.time || x.time == y.time && x.partition < y.partition
}

// Pop takes the last lane away.
func (m *merge) Pop() any {
	last := m.in[len(m.in)-1]
	m.in = m.in[:len(m.in)-1]
	return last
}

func (m *merge) run(ctx context.Context) error {
	all := m.in
	m.in = nil
	for _, l := range all {
		ok, err := l.advance(ctx)
		if err != nil {
			return err
		}
		if ok {
			m.in = append(m.in, l)
		}
	}
	heap.Init(m)
	for len(m.in) > 0 {
		l := m.in[0]
		if err := m.fn(&l.batches[0]); err != nil {
			return err
		}
		l.batches = l.batches[1:]
		ok, err := l.advance(ctx)
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
	}
	return nil
}
