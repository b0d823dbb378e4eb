package batch

import (
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func freed(q *Quota) bool {
	select {
	case <-q.Freed():
		return true
	default:
		return false
	}
}

func TestTheReserveComesFirst(t *testing.T) {
	p := NewPool(100)
	q, other := p.Source(100), p.Source(100)
	first, second := q.TryGet(100), q.TryGet(100)
	if first == nil || second == nil || q.TryGet(1) != nil {
		t.Fatal("want the reserve, then the shared part, then nothing")
	}
	if p.Used(100) != 200 {
		t.Errorf("used %d", p.Used(100))
	}
	if other.TryGet(100) == nil || other.TryGet(1) != nil {
		t.Error("the other source must have its reserve and no more")
	}
	first.Release()
	if !freed(q) || freed(other) {
		t.Error("a freed reserve is told to its owner alone")
	}
	second.Release()
	if !freed(q) || !freed(other) {
		t.Error("a freed shared part is told to everybody")
	}
	if other.TryGet(100) == nil {
		t.Error("the shared part is free again, and is not given")
	}
}

func TestABatchLargerThanTheReserveIsLetThroughAlone(t *testing.T) {
	p := NewPool(0)
	q := p.Source(10)
	b := q.TryGet(1000)
	if b == nil || cap(b.Buf) < 1000 {
		t.Fatal("not let through")
	}
	if q.TryGet(1) != nil || q.TryGet(1000) != nil {
		t.Fatal("let through beside another")
	}
	b.Release()
	if q.TryGet(10) == nil || q.TryGet(1000) != nil {
		t.Fatal("the reserve is not what it was")
	}
}

func TestALimitedSourceKeepsToItsReserve(t *testing.T) {
	p := NewPool(1000)
	q := p.Source(100)
	a, b := q.TryGet(100), q.TryGet(100)
	q.Limit(true)
	if q.TryGet(1) != nil {
		t.Error("got of the shared part while limited")
	}
	b.Release()
	freed(q)
	if q.TryGet(1) != nil {
		t.Error("what it had of the shared part is not its own")
	}
	q.Limit(false)
	if !freed(q) || q.TryGet(100) == nil {
		t.Error("after the limit: not told, or not given")
	}
	a.Release()
}

func TestReleasedBatchesAreUsedAgain(t *testing.T) {
	p := NewPool(0)
	q := p.Source(4 << 20)
	b := q.TryGet(1 << 20)
	b.Buf = append(b.Buf, "text"...)
	b.Lines = append(b.Lines, Line{End: 4})
	b.Runs = append(b.Runs, Run{Last: 1})
	b.Scratch = append(b.Scratch, "more"...)
	b.Full = true
	b.Release()
	again := q.TryGet(1 << 20)
	if again != b {
		t.Fatal("another batch")
	}
	if !again.Empty() || len(again.Buf)+len(again.Lines)+len(again.Scratch) != 0 || again.Full || cap(again.Lines) == 0 {
		t.Errorf("not empty, or without its capacity: %+v", again)
	}
	again.Release()
	if small := q.TryGet(64 << 10); small == b {
		t.Error("a large block for a small batch")
	}
	if allocs := testing.AllocsPerRun(100, func() { q.TryGet(1 << 20).Release() }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestAKeptBatchIsNotChargedBeyondTheReserve(t *testing.T) {
	p := NewPool(50)
	q := p.Source(100)
	q.TryGet(110).Release()
	if b := q.TryGet(100); b == nil || p.Used(50) != 100 {
		t.Errorf("%d bytes are out of a reserve of 100", p.Used(50))
	}
}

func TestFewBatchesAreKept(t *testing.T) {
	p := NewPool(0)
	q := p.Source(1 << 20)
	var all []*Batch
	for range 10 * idleKept {
		all = append(all, q.TryGet(100))
	}
	for _, b := range all {
		b.Release()
	}
	if len(p.idle) != idleKept || p.kept != 100*idleKept {
		t.Errorf("%d kept, %d bytes", len(p.idle), p.kept)
	}
}

// A source that grew has small batches behind it, which must not take the place of those it uses now.
func TestOldSizesDoNotStay(t *testing.T) {
	p := NewPool(0)
	q := p.Source(64 << 20)
	var small []*Batch
	for range 2 * idleKept {
		small = append(small, q.TryGet(1000))
	}
	for _, b := range small {
		b.Release()
	}
	if allocs := testing.AllocsPerRun(10, func() {
		a, b := q.TryGet(1<<20), q.TryGet(1<<20)
		a.Release()
		b.Release()
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestKeptBatchesStayWithinTheBound(t *testing.T) {
	p := NewPool(1000)
	q, other := p.Source(1000), p.Source(1000)
	a, b := q.TryGet(1000), q.TryGet(1000)
	a.Release()
	b.Release()
	c := other.TryGet(600) // too small for what is kept, and there is room beside it for one
	if c == nil || p.out+p.kept > p.total {
		t.Errorf("%d out, %d kept, of %d", p.out, p.kept, p.total)
	}
	big := q.TryGet(5000) // alone in its reserve
	big.Release()
	if p.kept > p.total {
		t.Errorf("%d kept, of %d", p.kept, p.total)
	}
}

func TestShortLinesDoNotLeaveTheirListBehind(t *testing.T) {
	if size := unsafe.Sizeof(Line{}); size != lineBytes {
		t.Fatalf("a Line has %d bytes", size)
	}
	q := NewPool(0).Source(1000)
	b := q.TryGet(1000)
	b.Lines = make([]Line, 0, 1000)
	b.Scratch = make([]byte, 0, 5000)
	b.Release()
	if b = q.TryGet(1000); cap(b.Lines) != 0 || cap(b.Scratch) != 0 {
		t.Errorf("kept %d lines and %d bytes", cap(b.Lines), cap(b.Scratch))
	}
}

// model drives a pool with random calls and knows what must hold after each.
type model struct {
	pool     *Pool
	shared   int
	quotas   []*Quota
	reserves []int
	limited  []bool
	out      [][]*Batch
}

func (m *model) check(t *rapid.T) {
	total, out, fromShared := m.shared, 0, 0
	for i, held := range m.out {
		total += m.reserves[i]
		own := 0
		for _, b := range held {
			if b.size < 0 {
				fromShared -= b.size
			} else {
				own += b.size
			}
			out += max(b.size, -b.size)
			if cap(b.Buf) > max(b.size, -b.size) {
				t.Fatalf("a block of %d is accounted for as %d", cap(b.Buf), b.size)
			}
		}
		if own > m.reserves[i] {
			alone := 0
			for _, b := range held {
				if b.size > 0 {
					alone++
				}
			}
			if alone != 1 {
				t.Fatalf("source %d has %d of its reserve of %d in %d batches", i, own, m.reserves[i], alone)
			}
			total += own - m.reserves[i]
		}
	}
	if fromShared > m.shared || out+m.pool.kept > max(total, out) {
		t.Fatalf("%d out (%d shared of %d), %d kept, of %d", out, fromShared, m.shared, m.pool.kept, total)
	}
	if used := m.pool.Used(m.shared); used != out {
		t.Fatalf("Used says %d, %d are out", used, out)
	}
}

func (m *model) get(t *rapid.T) {
	i := rapid.IntRange(0, len(m.quotas)-1).Draw(t, "source")
	size := rapid.IntRange(1, 300).Draw(t, "size")
	b := m.quotas[i].TryGet(size)
	own := 0
	for _, held := range m.out[i] {
		own += max(0, held.size)
	}
	switch {
	case b == nil && own == 0:
		t.Fatalf("source %d has nothing of its reserve out and got nothing", i)
	case b == nil && own+size <= m.reserves[i]:
		t.Fatalf("source %d has %d of %d out and did not get %d", i, own, m.reserves[i], size)
	case b == nil:
		return
	case b.size < 0 && m.limited[i]:
		t.Fatalf("source %d is limited and got of the shared part", i)
	case cap(b.Buf) < size || !b.Empty() || len(b.Buf) != 0:
		t.Fatalf("asked for %d, got %+v", size, b)
	}
	m.out[i] = append(m.out[i], b)
}

func (m *model) release(t *rapid.T) {
	i := rapid.IntRange(0, len(m.quotas)-1).Draw(t, "source")
	if len(m.out[i]) == 0 {
		t.Skip("nothing out")
	}
	j := rapid.IntRange(0, len(m.out[i])-1).Draw(t, "batch")
	b := m.out[i][j]
	for _, q := range m.quotas {
		freed(q)
	}
	shared := b.size < 0
	b.Release()
	m.out[i] = append(m.out[i][:j], m.out[i][j+1:]...)
	for k, q := range m.quotas {
		if got := freed(q); got != (shared || k == i) {
			t.Fatalf("source %d told: %v, after a release of source %d (shared: %v)", k, got, i, shared)
		}
	}
}

func TestThePoolUnderAnyUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{shared: rapid.IntRange(0, 1000).Draw(t, "shared")}
		m.pool = NewPool(m.shared)
		for range rapid.IntRange(1, 4).Draw(t, "sources") {
			reserve := rapid.IntRange(1, 400).Draw(t, "reserve")
			m.reserves = append(m.reserves, reserve)
			m.quotas = append(m.quotas, m.pool.Source(reserve))
			m.limited = append(m.limited, false)
			m.out = append(m.out, nil)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"get":     m.get,
			"get too": m.get,
			"release": m.release,
			"limit": func(t *rapid.T) {
				i := rapid.IntRange(0, len(m.quotas)-1).Draw(t, "source")
				m.limited[i] = rapid.Bool().Draw(t, "on")
				m.quotas[i].Limit(m.limited[i])
			},
		})
	})
}

// Twenty sources hold all they can get and never let go; one goes on as if they were not there.
func TestBlockedSourcesDoNotStarveAnother(t *testing.T) {
	p := NewPool(1000)
	for range 20 {
		q := p.Source(100)
		for q.TryGet(50) != nil {
		}
	}
	q := p.Source(100)
	for range 1000 {
		a, b := q.TryGet(50), q.TryGet(50)
		if a == nil || b == nil {
			t.Fatal("starved")
		}
		a.Release()
		b.Release()
	}
}

// Many goroutines wait for memory by Freed alone: no wake-up may be lost, and no block be given twice.
func TestNoWakeUpIsLost(t *testing.T) {
	p := NewPool(100)
	var done sync.WaitGroup
	for i := range 8 {
		q := p.Source(50)
		handed := make(chan *Batch, 100)
		done.Go(func() { // the owner of files
			defer close(handed)
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 2000 {
				size := 1 + r.IntN(60)
				b := q.TryGet(size)
				for ; b == nil; b = q.TryGet(size) {
					<-q.Freed()
				}
				for range size {
					b.Buf = append(b.Buf, byte(i))
				}
				handed <- b
			}
		})
		done.Go(func() { // who ships
			for b := range handed {
				for _, got := range b.Buf {
					if got != byte(i) {
						t.Errorf("block of source %d holds a byte of source %d", i, got)
						break
					}
				}
				b.Release()
			}
		})
	}
	done.Wait()
	if used := p.Used(100); used != 0 {
		t.Errorf("%d bytes are still out", used)
	}
}

func BenchmarkTryGet(b *testing.B) {
	q := NewPool(0).Source(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		q.TryGet(256 << 10).Release()
	}
}
