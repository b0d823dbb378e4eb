package e2e

import (
	"testing"
	"time"
)

// TestBrokersDie kills each of the three brokers in turn, with shiplog's own leaders on it, and starts it
// again.
func TestBrokersDie(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "kill -9 of one broker of three, each in turn", spec{modes: []string{"sync", "callback", "leader", "async"}, rate: 3000})
	s.start()
	s.write()
	s.flowing(1000)
	for _, n := range c.Nodes {
		n.Kill()
		pass(2 * time.Second)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		whole(t)
		s.flowing(1000)
	}
	s.drain()
	unknown := s.failures("callback")["unknown_outcome"] + s.failures("leader")["unknown_outcome"]
	s.replay()
	for _, src := range s.sources {
		may := allowed{}
		a := s.d.account(src.name)
		switch src.name {
		case "async":
			may.lost = int(a.number("sent_unconfirmed") + a.total("dropped"))
		case "leader":
			may.lost = src.w.count() // measured and stated, not promised
			may.note = "acks: leader promises nothing when a leader dies"
			may.repeats = unknown
		case "callback":
			may.repeats = unknown
		}
		s.reckon(src, may)
	}
}
