package shipper

import (
	"slices"
	"time"

	"shiplog/internal/kafka"
)

// result decides what a part's result means, as far as all modes agree; the rest is the mode's.
func (s *Source) result(now time.Time, p *part, res kafka.Result) {
	s.sending--
	p.repeat = p.repeat || res.PossibleRepeat
	switch {
	case res.Err == nil:
		s.passed(now, p)
		if p.repeat {
			s.account.mayRepeat(int64(len(p.lines)))
		}
		h := p.hunt
		s.mode.acknowledged(p, res)
		if h != nil {
			s.step(now, h)
		}
	case !res.Attempted:
		// No request went out, so nothing failed: it goes out when there is a way.
		s.complain(now, "could not be sent yet; kept", res.Err)
		p.park.push(now, parkFirst, parkMax)
		if p.sticky {
			_ = s.lookReady(now) // for the partitions that can be sent to now
			p.rb.Partition = s.nextPartition()
		}
		s.again(p)
	case res.Err.Class.OfSource():
		// It says nothing about a line, in no mode: the topic, its permissions or the settings are to
		// be mended, and the part is sent again then.
		s.bad, s.proven = true, false
		s.blame(now, res.Err)
		s.again(p)
	default:
		s.bad = true
		s.proven = s.proven && res.Err.Class.OfLine() // a broker that refuses a line is there
		p.attempts++
		s.mode.failed(now, p, res)
	}
}

// passed notes that something got through: the source is well.
func (s *Source) passed(now time.Time, p *part) {
	s.bad, s.proven, s.lastGood = false, true, now
	s.suspect.clear()
	if p.hunt != nil {
		p.hunt.pass()
	}
	if !s.fault.on {
		s.fault = fault{}
	}
	s.recovered()
}

// lastAnswers settles what has been acknowledged when the source is cut short, so that it is neither
// reported as left over nor sent again. Everything else stays in flight.
func (s *Source) lastAnswers(now time.Time) {
	answers, _ := s.inbox.take()
	for _, a := range answers {
		if a.res.Err == nil {
			s.result(now, a.p, a.res)
		}
	}
}

// again puts a part back in front of the queue: what was sent before it in its partition has had its
// result, and what comes behind it must stay behind.
func (s *Source) again(p *part) { s.queue = slices.Insert(s.queue, 0, p) }

// settlePart gives all lines of a part their outcome and lets the part go.
func (s *Source) settlePart(p *part, o outcome, reason string) {
	blk, n := p.blk, int64(len(p.lines))
	s.drop(p)
	s.settle(blk, n, o, reason)
}

// settle gives n lines of a block their outcome; with the last of them the block as a whole is
// settled.
func (s *Source) settle(blk *block, n int64, o outcome, reason string) {
	if n > 0 {
		s.release(blk, s.account.settle(blk, n, o, reason))
	}
}

// release lets a block go when none of its lines is open: the checkpoint may pass it, the reader
// hears of it, and its memory goes back. The order matters: the tracker must know before the reader
// asks, and the memory is the last.
func (s *Source) release(blk *block, open int64) {
	if open > 0 || blk.preparing {
		return
	}
	i := slices.Index(s.out, blk)
	if i < 0 {
		return
	}
	s.out = slices.Delete(s.out, i, i+1)
	s.account.end(blk)
	s.end(blk)
	for i := range blk.b.Runs {
		id := blk.b.Runs[i].File.ID
		if i == 0 || id != blk.b.Runs[i-1].File.ID {
			s.reader.Settled(id, s.tracker.Settled(id))
		}
	}
	if cap(blk.b.Scratch) > 2*cap(blk.b.Buf)+len(blk.b.Lines) {
		blk.b.Scratch = nil // of a strange block: no pool accounts for so much
	}
	blk.b.Release()
}

// newPart makes an empty part, out of a used one where there is one.
func (s *Source) newPart(blk *block, partition int32, sticky bool) *part {
	p := &part{}
	if n := len(s.free); n > 0 {
		p, s.free = s.free[n-1], s.free[:n-1]
	}
	*p = part{blk: blk, rb: s.producer.NewBatch(partition), lines: p.lines[:0], sticky: sticky}
	p.rb.Tag = p
	return p
}

// drop gives a part's memory back.
func (s *Source) drop(p *part) {
	p.rb.Release()
	lines := p.lines[:0]
	if p.hunt != nil {
		lines = nil // shared by what was cut from one part
	}
	*p = part{lines: lines}
	s.free = append(s.free, p)
}

// nextPartition gives each usable partition its turn.
func (s *Source) nextPartition() int32 {
	s.turnOf++
	if n := len(s.topic.Usable); n > 0 {
		return s.topic.Usable[s.turnOf%n]
	}
	return int32(s.turnOf) % max(s.topic.Partitions, 1)
}
