package batch

import "sync"

// Pool bounds the memory that all batches hold together: a shared part, and a reserve for each
// source which no other source can take, so that a source whose output is blocked never starves
// another. Safe for concurrent use.
type Pool struct {
	mu     sync.Mutex
	shared int // bytes of the shared part that are free
	quotas []*Quota
}

// NewPool makes a pool with a shared part of so many bytes; each source's reserve comes on top.
func NewPool(shared int) *Pool { return &Pool{shared: shared} }

// Quota is the account of one source with the Pool. Safe for concurrent use.
type Quota struct {
	pool    *Pool
	reserve int // size of the reserve
	used    int // bytes taken from the reserve
	limited bool
	freed   chan struct{}
	idle    []*Batch // released batches, kept for reuse
}

// idleKept is how many released batches a source keeps for reuse.
const idleKept = 4

// Source opens an account with a reserve of so many bytes. A batch up to the size of the reserve
// can always be had once the source's own batches are released.
func (p *Pool) Source(reserve int) *Quota {
	q := &Quota{pool: p, reserve: reserve, freed: make(chan struct{}, 1)}
	p.mu.Lock()
	p.quotas = append(p.quotas, q)
	p.mu.Unlock()
	return q
}

// TryGet gives an empty batch with room for size bytes in Buf, or nil when there is no memory for
// it now: wait on Freed then. It takes from the reserve first, then from the shared part.
func (q *Quota) TryGet(size int) *Batch {
	p := q.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case q.used+size <= q.reserve:
		q.used += size
	case q.used == 0 && size > q.reserve: // larger than the reserve: alone, it is let through
		q.used += size
	case !q.limited && size <= p.shared:
		p.shared -= size
		return q.take(size, true)
	default:
		return nil
	}
	return q.take(size, false)
}

// take gives a batch of that size; fromShared is remembered in the sign of size. Called under mu.
func (q *Quota) take(size int, fromShared bool) *Batch {
	b := q.reuse(size)
	b.quota, b.size = q, size
	if fromShared {
		b.size = -size
	}
	return b
}

// reuse finds a released batch that fits without wasting more than half. Called under mu.
func (q *Quota) reuse(size int) *Batch {
	for i, b := range q.idle {
		if c := cap(b.Buf); c >= size && c <= 2*size {
			last := len(q.idle) - 1
			q.idle[i] = q.idle[last]
			q.idle[last] = nil
			q.idle = q.idle[:last]
			return b
		}
	}
	return &Batch{Buf: make([]byte, 0, size)}
}

// put takes a released batch back.
func (q *Quota) put(b *Batch) {
	p := q.pool
	p.mu.Lock()
	if b.size < 0 {
		p.shared += -b.size
	} else {
		q.used -= b.size
	}
	fromShared := b.size < 0
	b.quota, b.size = nil, 0
	b.reset()
	if len(q.idle) < idleKept && !q.limited {
		q.idle = append(q.idle, b)
	}
	wake := []*Quota{q}
	if fromShared {
		wake = p.quotas
	}
	p.mu.Unlock()
	for _, w := range wake {
		select {
		case w.freed <- struct{}{}:
		default:
		}
	}
}

// Freed gets a value after memory was given back that this source may use: try TryGet again then.
func (q *Quota) Freed() <-chan struct{} { return q.freed }

// Limit confines the source to its reserve (true), which is for a source whose sends fail, or lets
// it use the shared part again. Batches it has already stay with it until they are released.
func (q *Quota) Limit(on bool) {
	q.pool.mu.Lock()
	q.limited = on
	if on {
		q.idle = nil
	}
	q.pool.mu.Unlock()
}

// Used is how many bytes of batches are out over all sources.
func (p *Pool) Used(shared int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	used := shared - p.shared
	for _, q := range p.quotas {
		used += q.used
	}
	return used
}
