package batch

import (
	"slices"
	"sync"
)

// Pool bounds the memory that all batches hold together: a shared part, and a reserve for each
// source which no other source can take, so that a source whose output is blocked never starves
// another. Released batches are kept for reuse within the same bound. Safe for concurrent use.
type Pool struct {
	mu     sync.Mutex
	shared int      // bytes of the shared part that are free
	total  int      // shared part and reserves
	out    int      // bytes of the blocks that are out
	kept   int      // bytes of the blocks in idle
	idle   []*Batch // released batches, the latest last
	quotas []*Quota
}

// NewPool makes a pool with a shared part of so many bytes; each source's reserve comes on top.
func NewPool(shared int) *Pool { return &Pool{shared: shared, total: shared} }

// Quota is the account of one source with the Pool. Safe for concurrent use.
type Quota struct {
	pool    *Pool
	reserve int // size of the reserve
	used    int // bytes taken from the reserve
	limited bool
	freed   chan struct{}
}

const (
	// idleKept is how many released batches are kept at most, for all sources together: enough for the
	// few that are busy at a time.
	idleKept = 16
	// sideKept is how many times its block the lines and the scratch of a kept batch may take: a batch of
	// very short lines must not hold memory that nobody accounts for until it is used again.
	sideKept = 2
	// lineBytes is the size of a Line.
	lineBytes = 24
)

// Source opens an account with a reserve of so many bytes. A batch up to the size of the reserve
// can always be had once the source's own batches are released.
func (p *Pool) Source(reserve int) *Quota {
	q := &Quota{pool: p, reserve: reserve, freed: make(chan struct{}, 1)}
	p.mu.Lock()
	p.quotas = append(p.quotas, q)
	p.total += reserve
	p.mu.Unlock()
	return q
}

// TryGet gives an empty batch with room for size bytes in Buf, or nil when there is no memory for
// it now: wait on Freed then. It takes from the reserve first, then from the shared part. A batch that
// is larger than the whole reserve is let through when the source has nothing else of its reserve out.
func (q *Quota) TryGet(size int) *Batch {
	p := q.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.fitting(size); i >= 0 {
		b := p.idle[i]
		if q.charge(b, cap(b.Buf), size) {
			p.forget(i)
			return b
		}
	}
	b := &Batch{}
	if !q.charge(b, size, size) {
		return nil
	}
	for len(p.idle) > 0 && p.out+p.kept > p.total {
		p.forget(0)
	}
	b.Buf = make([]byte, 0, size)
	return b
}

// charge takes size bytes out of the account for b, of which so many were asked for, and remembers in
// the sign of b.size where they came from: negative is the shared part. Called under mu.
func (q *Quota) charge(b *Batch, size, asked int) bool {
	p := q.pool
	switch {
	case q.used+size <= q.reserve, q.used == 0 && asked > q.reserve:
		q.used += size
		b.size = size
	case !q.limited && size <= p.shared:
		p.shared -= size
		b.size = -size
	default:
		return false
	}
	b.quota = q
	p.out += size
	return true
}

// fitting finds the latest idle batch that fits without wasting more than a quarter, or -1. Called
// under mu.
func (p *Pool) fitting(size int) int {
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := cap(p.idle[i].Buf); c >= size && c <= size+size/4 {
			return i
		}
	}
	return -1
}

// forget takes batch i out of idle. Called under mu.
func (p *Pool) forget(i int) {
	p.kept -= cap(p.idle[i].Buf)
	p.idle = slices.Delete(p.idle, i, i+1)
}

// keep puts a released batch into idle. The oldest one makes room for it, so that sizes that are no
// longer asked for do not stay. Called under mu.
func (p *Pool) keep(b *Batch) {
	size := cap(b.Buf)
	if size > p.total-p.out {
		return
	}
	for len(p.idle) > 0 && (len(p.idle) >= idleKept || p.out+p.kept+size > p.total) {
		p.forget(0)
	}
	if cap(b.Lines)*lineBytes > sideKept*size {
		b.Lines = nil
	}
	if cap(b.Scratch) > sideKept*size {
		b.Scratch = nil
	}
	p.idle = append(p.idle, b)
	p.kept += size
}

// put takes a released batch back.
func (q *Quota) put(b *Batch) {
	b.reset()
	p := q.pool
	p.mu.Lock()
	wake := []*Quota{q}
	if b.size < 0 {
		p.shared -= b.size
		p.out += b.size
		wake = p.quotas
	} else {
		q.used -= b.size
		p.out -= b.size
	}
	b.quota, b.size = nil, 0
	p.keep(b)
	p.mu.Unlock()
	for _, w := range wake {
		w.wake()
	}
}

// wake leaves a value in Freed.
func (q *Quota) wake() {
	select {
	case q.freed <- struct{}{}:
	default: // one is there already
	}
}

// Freed gets a value after memory was given back that this source may use: try TryGet again then.
func (q *Quota) Freed() <-chan struct{} { return q.freed }

// Limit confines the source to its reserve (true), which is for a source whose sends fail, or lets
// it use the shared part again, which Freed tells. Batches it has already stay with it until they are
// released.
func (q *Quota) Limit(on bool) {
	q.pool.mu.Lock()
	q.limited = on
	q.pool.mu.Unlock()
	if !on {
		q.wake()
	}
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
