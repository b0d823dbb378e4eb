package shipper

import (
	"sync"
	"time"
)

// Pulse says how a source fares, to those who want to send something beside its lines.
type Pulse struct {
	// Ready says that there is somewhere to send to.
	Ready bool
	// Proven says that a request got through since the last one that failed. Lines that were refused
	// for what they are do not count as failures.
	Proven bool
	// Stuck says that the failure log takes nothing: no fresh line is sent before it does.
	Stuck bool
	// Behind says that lines wait: the last block could not take all there was, or no further one is
	// asked for before those that are out are settled.
	Behind bool
	// Asked is since when the reader owes a block; zero while it does not. What comes to be read from
	// then on is in that block.
	Asked time.Time
}

type pulse struct {
	mu sync.Mutex
	p  Pulse
}

// Pulse gives how the source fared at its last look. Safe for concurrent use.
func (s *Source) Pulse() Pulse {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.p
}

// beat lets the others see how the source fares.
func (s *Source) beat(done bool) {
	p := Pulse{
		Ready:  !s.down && !s.fault.on && !done,
		Proven: s.proven,
		Stuck:  s.pending.stuck(),
		Behind: s.lastFull || len(s.out) >= s.mode.inFlight(),
	}
	if s.wanted {
		p.Asked = s.wantedAt
	}
	s.pulse.mu.Lock()
	s.pulse.p = p
	s.pulse.mu.Unlock()
}
