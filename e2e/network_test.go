package e2e

import (
	"fmt"
	"testing"
	"time"

	"shiplog/e2e/kafka"
)

// TestNetwork breaks the network between shiplog and the brokers in all the ways that toxiproxy knows, while
// lines flow, and mends it.
func TestNetwork(t *testing.T) {
	rounds := pick(3, 15)
	for _, f := range []struct {
		fault  string
		kafka  string
		during func(*scene, *kafka.Cluster)
	}{
		{"network cut in the middle of requests", "", func(s *scene, c *kafka.Cluster) {
			for i := range rounds {
				n := c.Nodes[i%len(c.Nodes)]
				s.add(n, "limit_data", "upstream", "bytes", 30_000) // closes behind so many bytes, wherever that is
				pass(time.Second)
				s.heal(n)
			}
		}},
		{"brokers cannot be reached for a while", "", func(s *scene, c *kafka.Cluster) {
			for _, n := range c.Nodes {
				n.Proxy.Cut()
			}
			pass(time.Duration(pick(3, 20)) * time.Second)
			for _, n := range c.Nodes {
				s.heal(n)
			}
		}},
		{"500 ms of latency", "", func(s *scene, c *kafka.Cluster) {
			for _, n := range c.Nodes {
				s.add(n, "latency", "downstream", "latency", 500)
			}
			s.flowing(1000)
			pass(time.Duration(pick(3, 20)) * time.Second)
			for _, n := range c.Nodes {
				s.heal(n)
			}
		}},
		{"1 MB/s to each broker", "", func(s *scene, c *kafka.Cluster) {
			for _, n := range c.Nodes {
				s.add(n, "bandwidth", "upstream", "rate", 1000)
			}
			s.flowing(1000)
			pass(time.Duration(pick(3, 20)) * time.Second)
			for _, n := range c.Nodes {
				s.heal(n)
			}
		}},
		{"all connections reset each second", "", func(s *scene, c *kafka.Cluster) {
			for range 2 * rounds {
				for _, n := range c.Nodes {
					if err := n.Proxy.Reset(); err != nil {
						s.t.Fatal(err)
					}
				}
				pass(time.Second)
			}
		}},
		{"half-open connections: open, and nothing comes through", "request_timeout: 2s, dial_timeout: 2s", func(s *scene, c *kafka.Cluster) {
			for i := range rounds {
				n := c.Nodes[i%len(c.Nodes)]
				s.add(n, "timeout", []string{"upstream", "downstream"}[i%2], "timeout", 0) // requests, or answers
				pass(4 * time.Second)
				s.heal(n)
			}
		}},
	} {
		t.Run(f.fault, func(t *testing.T) {
			c := cluster(t)
			mended(t)
			s := newScene(t, f.fault, spec{rate: 3000, kafka: f.kafka})
			s.start()
			s.write()
			s.flowing(1000)
			f.during(s, c)
			s.resumes(5 * time.Second)
			if peak := s.d.peakMemory(); peak > maxRSS {
				t.Errorf("shiplog held %d MiB at its peak, want at most %d", peak>>20, maxRSS>>20)
			}
			s.drain()
			s.reckonNetwork()
		})
	}
}

// reckonNetwork replays and reckons: what callback may repeat are the lines with an unknown outcome, and what
// async may lose is what it counted.
func (s *scene) reckonNetwork() {
	s.t.Helper()
	unknown := map[string]int{}
	for _, src := range s.sources {
		classes := s.failures(src.name)
		unknown[src.name] = classes["unknown_outcome"]
		for class := range classes {
			if class != "unknown_outcome" && class != "retriable" {
				s.t.Errorf("%s: lines in the failure log with class %s: the network refused them, no broker did", src.name, class)
			}
		}
		if src.mode == "sync" && len(classes) > 0 {
			s.t.Errorf("sync: lines in the failure log: %v", classes)
		}
	}
	s.replay()
	for _, src := range s.sources {
		may := allowed{}
		a := s.d.account(src.name)
		switch src.mode {
		case "async":
			may.lost = int(a.number("sent_unconfirmed") + a.total("dropped"))
		case "callback":
			may.repeats = unknown[src.name]
			may.note = fmt.Sprintf("%d lines failure-logged and replayed", a.number("failure_logged"))
		}
		s.reckon(src, may)
	}
}

// resumes checks that every source delivers again within the limit, now that everything is mended.
func (s *scene) resumes(limit time.Duration) {
	s.t.Helper()
	begin, from := time.Now(), map[string]int64{}
	for _, src := range s.sources {
		from[src.name] = src.topic.ends()
	}
	for _, src := range s.sources {
		until(s.t, "delivery of "+src.name+" to go on", func() bool { return src.topic.ends() > from[src.name] })
		if took := time.Since(begin); took > limit {
			s.t.Errorf("%s: delivery went on %s after the mend, want at most %s", src.name, took.Round(time.Millisecond), limit)
		}
	}
}

// maxRSS bounds what shiplog may hold with three sources, whatever the network does: the pool, what sarama encodes of
// the requests that are out, and the Go runtime.
const maxRSS = 100 << 20

func (s *scene) add(n *kafka.Node, kind, stream, attribute string, value int64) {
	s.t.Helper()
	if err := n.Proxy.Add(kafka.Toxic{Type: kind, Stream: stream, Attributes: map[string]int64{attribute: value}}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) heal(n *kafka.Node) {
	s.t.Helper()
	if err := n.Proxy.Heal(); err != nil {
		s.t.Fatal(err)
	}
}
