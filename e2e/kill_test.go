package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKillShiplog kills shiplog with SIGKILL at random moments, under load and rotation. What comes twice
// is what had arrived and was not yet covered by the checkpoint on disk at a kill; what async loses was
// sent after the last barrier.
func TestKillShiplog(t *testing.T) {
	kills := pick(10, 100)
	s := newScene(t, fmt.Sprintf("kill -9 of shiplog, %d times, under rotation", kills), spec{rate: 5000})
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	bound := map[string]int{}
	lost := map[string]int{}
	s.start()
	s.write()
	s.remembered()
	for i := range kills {
		if i > 0 {
			s.start()
		}
		pass(time.Duration(20+r.IntN(900)) * time.Millisecond)
		if r.IntN(3) == 0 {
			s.rotate()
			pass(time.Duration(r.IntN(100)) * time.Millisecond)
		}
		s.d.kill()
		s.settle()
		for _, src := range s.sources {
			repeats, gone := s.afterKill(src)
			bound[src.name] += repeats
			lost[src.name] = gone
		}
	}
	s.start()
	s.drain()
	for _, src := range s.sources {
		may := allowed{repeats: bound[src.name]}
		if src.mode == "async" {
			may.lost = lost[src.name]
		}
		s.reckon(src, may)
	}
}

// settle waits until nothing more arrives of a dead process.
func (s *scene) settle() {
	s.t.Helper()
	topics := make([]*topic, len(s.sources))
	for i, src := range s.sources {
		topics[i] = src.topic
	}
	settled(topics...)
}

// afterKill says how many lines stand in the topic that the checkpoint of the dead process does not
// cover, and how many are not there though it covers them. The topic must have settled.
func (s *scene) afterKill(src *source) (repeats, lost int) {
	s.t.Helper()
	born := len(src.order)
	src.read(src.topic)
	at := s.checkpoint(src.name)
	for _, n := range src.order[born:] {
		if !at.covers(src.w, n) {
			repeats++
		}
	}
	src.w.mu.Lock()
	defer src.w.mu.Unlock()
	for n := range src.w.written {
		if at.covers(src.w, n) && !src.arrived(n) {
			lost++
		}
	}
	// At most a second and a half lies between two barriers, or between a save and the kill.
	if most := src.w.rate*3/2 + 5*batchLines; src.mode == "async" && lost > most {
		s.t.Errorf("%s: %d lines that the checkpoint covers never arrived, want at most %d", src.name, lost, most)
	}
	return repeats, lost
}
