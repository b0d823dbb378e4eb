package tailer

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
)

// Blocks begin small and grow while there is a backlog, so that a source that trickles holds little.
const (
	smallBlock  = 64 << 10
	middleBlock = 256 << 10
	windStep    = 4 << 20 // how much of a compressed file is skipped at a time
)

// sizer chooses how large the next block is.
type sizer struct {
	max   int // MaxBatchBytes
	size  int
	need  int  // what a single long line needs, for the next block only
	roomy bool // this block was made for one long line
}

func (s *sizer) next() int {
	s.size = min(max(s.size, smallBlock), s.max)
	return max(s.size, s.need)
}

// done learns from a batch how large the next one should be.
func (s *sizer) done(full bool, used int) {
	switch {
	case full && s.size < middleBlock:
		s.size = middleBlock
	case full:
		s.size = s.max
	case used*4 < s.size && s.size > middleBlock:
		s.size = middleBlock
	case used*4 < s.size:
		s.size = smallBlock
	}
}

// enqueue puts a series behind those with something to read.
func (t *Tailer) enqueue(s *series) {
	if !s.queued {
		s.queued = true
		t.ready = append(t.ready, s)
	}
}

// fill makes a batch of what can be read now, from many files if need be; nil when there is nothing,
// or no memory for it (then starved is set). Each path gets its turn: one block of the longest backlog
// goes out, then the next path is asked.
func (t *Tailer) fill(now time.Time) *batch.Batch {
	t.starved = false
	if len(t.ready) == 0 {
		return nil
	}
	b := t.block()
	if b == nil {
		t.starved = true
		return nil
	}
	t.fills++
	full := false
	for turns := len(t.ready); turns > 0 && len(t.ready) > 0 && !full; turns-- {
		s := t.ready[0]
		t.ready = t.ready[1:]
		s.queued = false
		var again bool
		full, again = t.read(s, b, now)
		if again && t.blocks.need > 0 { // it goes first with a block that is large enough
			s.queued = true
			t.ready = append([]*series{s}, t.ready...)
		} else if again {
			t.enqueue(s)
		}
	}
	return t.seal(b, full, now)
}

// block gets an empty batch: of the size that suits the backlog, or a smaller one.
func (t *Tailer) block() *batch.Batch {
	want := t.blocks.next()
	for _, size := range []int{want, middleBlock, smallBlock} {
		if size > want || size < t.blocks.need {
			continue
		}
		if b := t.cfg.Quota.TryGet(size); b != nil {
			t.blocks.roomy = size >= t.blocks.need && t.blocks.need > 0
			t.blocks.need = 0
			return b
		}
	}
	return nil
}

// seal finishes a batch; one that moves nothing is given back.
func (t *Tailer) seal(b *batch.Batch, full bool, now time.Time) *batch.Batch {
	t.blocks.roomy = false
	if b.Empty() {
		b.Release()
		return nil
	}
	b.Full = full
	b.ReadAt = now
	t.blocks.done(full, len(b.Buf))
	for i := range b.Runs {
		t.counts.nuls += b.Runs[i].NULBytes
	}
	return b
}

// limit is how many bytes of a batch may be filled now; 0 when it is as good as full.
func (t *Tailer) limit(b *batch.Batch) int {
	free := cap(b.Buf) - len(b.Buf)
	if t.blocks.roomy {
		return free
	}
	free = min(free, t.cfg.MaxBatchBytes-len(b.Buf))
	if len(b.Buf) > 0 && free < cap(b.Buf)/16 {
		return 0
	}
	return free
}

// read reads the generations of a path into the batch, the oldest first: a newer one only after the
// older ones have been read to their end, and once more after the newer one had begun. full says that
// the batch takes no more, again that the path has more to read now.
func (t *Tailer) read(s *series, b *batch.Batch, now time.Time) (full, again bool) {
	for i := 0; i < len(s.gens); i++ {
		if i == 0 && len(s.gens) > 1 {
			t.announce(s, b) // in order, and before a newer one moves on
		}
		g := s.gens[i]
		begun := t.laterBegun(s, i, now)
		r := t.readOn(g, b, begun && !g.passed, now)
		switch {
		case r == full_ || r == more:
			return r == full_, true
		case r == changed:
			i = -1 // the generations of the path are others now
			continue
		case r == ended:
			i--
			continue
		case r == blocked:
			if g.state != rotated || !g.denied || now.Sub(g.grown) < t.cfg.RotateWait && !t.cfg.Once {
				t.announce(s, b)
				return false, false
			}
			continue // nobody knows when it can be read; the newer ones go on
		}
		if i+1 == len(s.gens) || !g.passed && (!begun || g.cut.Partial() > 0 && !g.final) {
			break
		}
		g.passed = true
	}
	t.announce(s, b)
	return false, false
}

// laterBegun says that a generation behind the i-th has bytes: the application writes there now.
func (t *Tailer) laterBegun(s *series, i int, now time.Time) bool {
	if s.gens[i].passed {
		return true
	}
	for _, g := range s.gens[i+1:] {
		if g.state != live {
			return true
		}
		if g.f != nil && g.size == 0 {
			t.look(g, now)
		}
		if g.size > 0 {
			return true
		}
	}
	return false
}

// announce tells the checkpoint of generations of which nothing was read so far: that they are there,
// and how they begin, since that is how they are found again when they have been compressed meanwhile.
func (t *Tailer) announce(s *series, b *batch.Batch) {
	for _, g := range s.gens {
		if g.state != orphan && !g.dead && g.untold() {
			t.mark(g, b, false)
		}
	}
}

// mark appends a run without lines: the position as it is.
func (t *Tailer) mark(g *generation, b *batch.Batch, finished bool) {
	g.announced, g.told = true, g.head.n
	if n := len(b.Runs); finished && n > 0 && b.Runs[n-1].File == g.file {
		b.Runs[n-1].Finished = true
		return
	}
	at, n := g.position(), len(b.Lines)
	b.Runs = append(b.Runs, batch.Run{File: g.file, Start: at.Offset, End: at, First: n, Last: n, Finished: finished})
}

// outcome is how reading a generation ended for now.
type outcome uint8

const (
	atEnd   outcome = iota // everything there was read, or waits for its newline
	full_                  // the batch takes no more
	more                   // there is more, and another turn for it
	ended                  // it is finished, and gone from its series
	changed                // its carrier was truncated, or another one was found
	blocked                // it cannot be read now
)

// readOn reads a generation into the batch. look says to look for more even if nothing is known of it.
func (t *Tailer) readOn(g *generation, b *batch.Batch, look bool, now time.Time) outcome {
	if g.dead {
		return t.finish(g, b)
	}
	if g.state == orphan {
		return blocked
	}
	for look || g.more() && (g.announced || g.size > g.offset() || g.final || g.gzip) {
		look = false
		s := g.ser
		if !t.hold(g, now) || g.state == orphan {
			if s.live() != nil && s.live() != g || g.state == orphan {
				return t.moved(g)
			}
			return blocked
		}
		if t.cameBefore(g, now) {
			return changed
		}
		if !t.wind(g) {
			return more
		}
		limit := t.limit(b)
		if limit <= 0 {
			return full_
		}
		if !t.sameBeginning(g) {
			return t.failed(g, cut.ErrChanged, now)
		}
		res, err := g.cut.Fill(g.reader(), b, limit, g.final)
		if err != nil {
			return t.failed(g, err, now)
		}
		t.readable(g)
		if done, r := t.filled(g, b, res); done {
			return r
		}
	}
	return atEnd
}

// moved tells a generation that has lost its carrier while it was opened from one that only could not be.
func (t *Tailer) moved(g *generation) outcome {
	if g.state == orphan {
		return changed
	}
	return blocked
}

// filled takes note of what a Fill did; done says that the generation's turn is over.
func (t *Tailer) filled(g *generation, b *batch.Batch, res cut.Result) (done bool, r outcome) {
	g.used = t.fills
	seen := g.cut.Offset() + g.cut.Partial()
	g.size = max(g.size, seen)
	g.sound = max(g.sound, seen)
	if res.Consumed > 0 {
		g.announced = true
		g.trail.add(g.position())
	}
	switch {
	case res.Need > 0 && len(b.Runs) > 0:
		return true, full_
	case res.Need > 0:
		t.blocks.need = res.Need
		return true, more
	case res.AtEOF && !res.More:
		if !g.gzip {
			g.size = seen
		}
		g.eof = true
		if g.final && (g.state != live || t.cfg.Once) {
			return true, t.finish(g, b)
		}
		return true, atEnd
	case res.Consumed == 0:
		return true, more // a long line: other paths have their turn between
	case t.opt.MaxLines > 0 && len(b.Lines) >= t.opt.MaxLines:
		return true, full_
	}
	return false, atEnd
}

// finish ends a generation that was read to its end. A live one, with Once, only waits.
func (t *Tailer) finish(g *generation, b *batch.Batch) outcome {
	if g.state == live && !g.dead {
		g.final = false
		return atEnd
	}
	if g.static {
		t.counts.copies++
	}
	t.mark(g, b, true)
	t.end(g)
	return ended
}

// failed decides what an error of a read means.
func (t *Tailer) failed(g *generation, err error, now time.Time) outcome {
	switch {
	case errors.Is(err, cut.ErrChanged) && g.static:
		t.reject(g, false, now)
		return changed
	case errors.Is(err, cut.ErrChanged):
		t.truncated(g, now)
		return changed
	case errors.Is(err, cut.ErrIncomplete), errors.Is(err, cut.ErrExpansion):
		t.log.warn("compressed file cannot be read", append(g.fields(), zap.Error(err))...)
		t.reject(g, errors.Is(err, cut.ErrIncomplete), now)
		return changed
	}
	t.refuse(g, err)
	t.letGo(g)
	g.tried = t.scans
	return blocked
}

// cameBefore looks, before the first read of a file that was empty at the last scan, for a copy of
// what it may have held since.
func (t *Tailer) cameBefore(g *generation, now time.Time) bool {
	if g.state != live || g.blank < t.scans-1 || g.offset() > 0 || g.size == 0 {
		return false
	}
	n := len(g.ser.gens)
	g.blank = neverBlank
	if t.look(g, now); g.ser.live() == g {
		t.compare(g, now)
	}
	if g.ser.live() != g {
		return true // it was truncated
	}
	t.dirs.fresh(dirOf(g.ser.path))
	t.beforeBlank(g.ser, g, now)
	return len(g.ser.gens) != n
}

// sameBeginning checks, before the first read, that a file still begins as it did when it was seen:
// there is nothing before the offset yet by which the cutter could tell.
func (t *Tailer) sameBeginning(g *generation) bool {
	if g.offset() > 0 || g.head.n == 0 {
		return true
	}
	same, err := cut.Matches(g.reader(), headOnly(g.position()))
	return same || err != nil // an error comes again with the read
}

// wind moves a compressed carrier towards the offset, a step at a time.
func (t *Tailer) wind(g *generation) bool {
	if g.z == nil || g.sought {
		return true
	}
	there, err := g.z.Skip(g.offset(), windStep)
	g.sought = there || err != nil // an error comes again with the read, which knows what to do
	return g.sought
}
