package shipper

import (
	"errors"
	"slices"
	"time"

	"shiplog/internal/kafka"
)

const (
	// enough is how many single lines must be refused alike, with nothing delivered, before the source
	// is to blame and not its lines.
	enough = 4
	// tooSmall is the size below which no line is too large for a broker that is set up well.
	tooSmall = 16 << 10
)

// hunt looks for the lines that a broker refuses in one record batch. The broker wrote nothing of a
// batch that it refused, so sending parts of it is no retry: the batch is halved, in order, down to
// single lines. One part of a hunt is with the producer at a time.
type hunt struct {
	todo     []*part // what is still to be tried or cut, in the order of the lines
	refused  []*part // single lines that the broker refused, until the verdict on them
	passed   bool    // some part was delivered: the source is well, and the refused lines are to blame
	blamed   string  // why the source was to blame at the last look, in Kafka's word
	forgiven bool    // the source was to blame, and nothing was delivered since
}

// A finding is what a hunt came to.
type finding uint8

const (
	tryNext  finding = iota // a part is to be sent
	allFound                // every part has an outcome but the refused ones
	atFault                 // too many lines alike were refused: it is not the lines
)

// next gives the part to send next. inOrder keeps the order of lines; without it, parts that were
// never tried are tried before the source is blamed, so that a few bad lines at the front of a good
// batch are not taken for a bad source.
func (h *hunt) next(inOrder bool, before *suspicion) (finding, *part) {
	for {
		if !h.passed && (alike(h.refused) >= enough || inOrder && h.asBefore()) || before.confirmed(h) {
			i := slices.IndexFunc(h.todo, func(p *part) bool { return p.err == nil })
			if inOrder || i < 0 {
				return atFault, nil
			}
			p := h.todo[i]
			h.todo = slices.Delete(h.todo, i, i+1)
			return tryNext, p
		}
		if len(h.todo) == 0 {
			return allFound, nil
		}
		p := h.todo[0]
		h.todo = slices.Delete(h.todo, 0, 1)
		switch {
		case p.err == nil:
			return tryNext, p
		case p.rb.Len() == 1:
			h.refused = append(h.refused, p)
		default:
			h.todo = slices.Insert(h.todo, 0, p.halves()...)
		}
	}
}

// asBefore says that a line is refused as those were for which the source was blamed. In order, no second line
// can be tried behind it, and it must not be condemned for what was found to be no line's fault.
func (h *hunt) asBefore() bool {
	return h.blamed != "" && alike(h.refused) > 0 && h.refused[0].err.Kafka == h.blamed
}

// forgive takes the verdicts back: the refused lines are tried again. What the broker named beside them keeps its
// error, so that it is not tried while nothing gets through.
func (h *hunt) forgive() {
	for _, p := range h.refused {
		p.err = nil
	}
	h.todo = append(h.refused, h.todo...)
	h.refused = nil
	h.forgiven = true
}

// pass notes that a part was delivered. After a time in which the source was to blame, what the broker said then
// is void for all lines.
func (h *hunt) pass() {
	h.passed = true
	if !h.forgiven {
		return
	}
	h.forgiven = false
	for _, p := range h.todo {
		p.err = nil
	}
}

// alike counts the refused lines when all were refused for the same reason, which may be the
// source's; else none.
func alike(refused []*part) int {
	for _, p := range refused {
		if !suspicious(p) || p.err.Kafka != refused[0].err.Kafka {
			return 0
		}
	}
	return len(refused)
}

// suspicious says whether a refused line may hint at the source. A line that is large may well be too
// large by itself.
func suspicious(p *part) bool {
	return p.err.Class != kafka.ClassTooLarge || p.rb.Size() < tooSmall
}

// halves cuts a part in two, and lets it go.
func (p *part) halves() []*part {
	mid, n := p.rb.Len()/2, p.rb.Len()
	two := []*part{p.cut(0, mid), p.cut(mid, n)}
	p.rb.Release()
	return two
}

// cut makes a part of the records i to j-1.
func (p *part) cut(i, j int) *part {
	c := &part{blk: p.blk, rb: p.rb.Slice(i, j), lines: p.lines[i:j], sticky: p.sticky, hunt: p.hunt, attempts: p.attempts, repeat: p.repeat}
	c.rb.Tag = c
	p.blk.stamp.stamp(c)
	return c
}

// named cuts a part at the records that the broker named: those are refused, the others were not
// tried without them.
func (p *part) named(errs []kafka.RecordError, why *kafka.Error) []*part {
	n := p.rb.Len()
	bad := make(map[int]*kafka.Error, len(errs))
	for _, e := range errs {
		if e.Index >= 0 && e.Index < n {
			bad[e.Index] = because(why, e.Message)
		}
	}
	if len(bad) == 0 || n == 1 {
		return nil
	}
	var parts []*part
	from := 0
	for i := 0; i <= n; i++ {
		if i < n && bad[i] == nil {
			continue
		}
		if from < i {
			parts = append(parts, p.cut(from, i))
		}
		if i < n {
			c := p.cut(i, i+1)
			c.err = bad[i]
			parts = append(parts, c)
		}
		from = i + 1
	}
	return parts
}

// because is the batch's error with the broker's words about one record.
func because(err *kafka.Error, message string) *kafka.Error {
	if message == "" {
		return err
	}
	e := *err
	e.Err = errors.New(message)
	return &e
}

// refused begins or goes on with a hunt after the broker refused a part for its lines.
func (s *Source) refused(now time.Time, p *part, res kafka.Result) {
	p.err = res.Err
	if p.hunt == nil {
		p.hunt = &hunt{}
	}
	h := p.hunt
	if parts := p.named(res.RecordErrors, res.Err); parts != nil {
		h.todo = slices.Insert(h.todo, 0, parts...)
		p.rb.Release()
	} else {
		h.todo = slices.Insert(h.todo, 0, p)
	}
	s.step(now, h)
}

// step goes on with a hunt: the next part is sent, or the source is blamed, or the lines are.
func (s *Source) step(now time.Time, h *hunt) {
	what, p := h.next(s.mode.inFlight() == 1, &s.suspect)
	switch what {
	case tryNext:
		s.again(p)
	case atFault:
		s.fault.hunts = append(s.fault.hunts, h)
		if s.halts() {
			h.blamed = h.refused[0].err.Kafka
		}
		s.blame(now, h.refused[0].err)
		return
	}
	if h.passed || what == allFound || s.halts() {
		s.condemn(now, h)
	}
}

// condemn gives the refused lines of a hunt up: it is they that are at fault.
func (s *Source) condemn(now time.Time, h *hunt) {
	refused := h.refused
	h.refused = nil
	for i, p := range refused {
		if s.halts() {
			h.refused = refused[i+1:]
			s.halt(p, p.err, false)
			return
		}
		if !h.passed {
			s.suspect.add(p)
		}
		s.writeOff(now, p, p.err)
	}
}

// suspicion counts single lines refused alike since the last delivery, over all blocks: lines that
// come one at a time must not each go to the failure log when it is the topic that refuses them all.
type suspicion struct {
	n    int
	last *kafka.Error
}

func (c *suspicion) add(p *part) {
	if !suspicious(p) || c.last != nil && c.last.Kafka != p.err.Kafka {
		c.clear()
	}
	if suspicious(p) {
		c.n, c.last = c.n+1, p.err
	}
}

func (c *suspicion) clear() { *c = suspicion{} }

// confirmed says that a hunt's refused lines, with those before, are too many to be at fault.
func (c *suspicion) confirmed(h *hunt) bool {
	if c.n == 0 || h.passed || len(h.refused) == 0 || h.refused[0].err.Kafka != c.last.Kafka {
		return false
	}
	n := alike(h.refused)
	return n > 0 && c.n+n >= enough
}
