package shipper

import (
	"slices"
	"time"

	"shiplog/config"
	"shiplog/internal/kafka"
)

// sendAll sends every part of the queue that may go now: for the modes that keep no order beyond a
// partition's.
func (s *Source) sendAll(now time.Time) {
	if len(s.queue) == 0 {
		return
	}
	if err := s.lookReady(now); err != nil {
		if s.spools(now) {
			s.spoolQueue(now, err)
		}
		return // readyAgain wakes us
	}
	keep := s.queue[:0]
	s.rbs = s.rbs[:0]
	for _, p := range s.queue {
		if !p.park.due(now) {
			s.wakeAt(p.park.at)
			keep = append(keep, p)
			continue
		}
		s.sending++
		s.rbs = append(s.rbs, p.rb)
	}
	clear(s.queue[len(keep):])
	s.queue = keep
	if len(s.rbs) > 0 {
		s.producer.Send(s.rbs, s.inbox.done)
		clear(s.rbs)
	}
}

// takeHeads takes the first part of each partition out of the queue, where it may go now.
func (s *Source) takeHeads(now time.Time) []*part {
	var heads []*part
	seen := make(map[int32]bool, 1)
	s.queue = slices.DeleteFunc(s.queue, func(p *part) bool {
		if seen[p.rb.Partition] {
			return false
		}
		seen[p.rb.Partition] = true
		if !p.park.due(now) {
			s.wakeAt(p.park.at)
			return false
		}
		heads = append(heads, p)
		return true
	})
	return heads
}

// spoolQueue sends what waits for a broker to the failure log: on_outage: spool.
func (s *Source) spoolQueue(now time.Time, err *kafka.Error) {
	for len(s.queue) > 0 {
		p := s.queue[0]
		s.queue = slices.Delete(s.queue, 0, 1)
		s.giveUp(now, p, err)
	}
}

// halts says whether a refused line stops the source.
func (s *Source) halts() bool {
	return s.cfg.Mode == config.ModeSync && s.cfg.OnPermanentError != config.ActionFail
}
