package shipper

import (
	"time"

	"shiplog/internal/kafka"
)

// fault is the state of a source whose topic, permissions or settings are wrong: no line is to blame,
// so nothing is given up, and everything waits.
type fault struct {
	on    bool
	wait  backoff
	hunts []*hunt // that found that it is not their lines
}

// blame stops the source for a while, and says why.
func (s *Source) blame(now time.Time, err *kafka.Error) {
	if !s.fault.on {
		s.fault.wait.push(now, faultFirst, faultMax)
	}
	s.fault.on = true
	s.complain(now, "the source itself is at fault, not its lines; nothing is given up, it is tried again", err)
}

// faultOver says whether parts may be sent now, and lets the hunts go on when a wait is over.
func (s *Source) faultOver(now time.Time) bool {
	if !s.fault.on {
		return true
	}
	if !s.fault.wait.due(now) {
		s.wakeAt(s.fault.wait.at)
		return false
	}
	s.fault.on = false
	hunts := s.fault.hunts
	s.fault.hunts = nil
	for _, h := range hunts {
		h.forgive()
		s.step(now, h)
	}
	return !s.fault.on
}
