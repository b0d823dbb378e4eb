package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"shiplog/e2e/kafka"
)

// stamped makes the brokers write their own time into each record: when it arrived.
var stamped = []string{"message.timestamp.type", "LogAppendTime"}

// TestBrokersDie kills each of the three brokers in turn, with shiplog's own leaders on it, and starts it
// again.
func TestBrokersDie(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "kill -9 of one broker of three, each in turn", spec{modes: []string{"sync", "callback", "leader", "async"}, rate: 2000})
	s.start()
	s.write()
	s.flowing(1000)
	for _, n := range c.Nodes {
		n.Kill()
		pass(time.Duration(pick(1, 10)) * time.Second)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		whole(t)
		s.flowing(1000)
	}
	s.reckonByContract("")
}

// TestRollingRestart stops and starts one node after the other, as an upgrade does, and gives it its leaders
// back: both move them while lines flow.
func TestRollingRestart(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "rolling restart of all brokers, leaders moved by preferred election after each", spec{modes: []string{"sync", "callback", "leader", "async"}, rate: 2000})
	s.start()
	s.write()
	s.flowing(1000)
	moved := 0
	for _, n := range c.Nodes {
		if err := errors.Join(n.Stop(), n.Start()); err != nil {
			t.Fatal(err)
		}
		whole(t)
		moved += s.electPreferred()
		s.flowing(1000)
	}
	if moved == 0 {
		t.Error("no leader was moved by election: the fault was none")
	}
	s.reckonByContract("")
}

// electPreferred moves the leaders of all topics of the scene to where they belong, and counts them.
func (s *scene) electPreferred() (moved int) {
	s.t.Helper()
	for _, src := range s.sources {
		res, err := src.topic.admin.ElectLeaders(s.t.Context(), kadm.ElectPreferredReplica, nil)
		if err != nil {
			s.t.Fatalf("elect leaders: %v", err)
		}
		for _, p := range res[src.topic.name] {
			if p.Err == nil {
				moved++
			}
		}
	}
	return moved
}

// reckonByContract drains, replays, and reckons each source by what its mode promises while brokers fail and
// shiplog does not.
func (s *scene) reckonByContract(note string) {
	s.t.Helper()
	s.drain()
	unknown := map[string]int{}
	for _, src := range s.sources {
		unknown[src.name] = s.failures(src.name)["unknown_outcome"]
	}
	s.replay()
	for _, src := range s.sources {
		may := allowed{note: note}
		a := s.d.account(src.name)
		if n := a.number("possible_repeats"); n != 0 {
			s.t.Errorf("%s: %d possible repeats in the account, want none", src.name, n)
		}
		switch src.name {
		case "async":
			may.lost = int(a.number("sent_unconfirmed") + a.total("dropped"))
		case "leader":
			may.lost = src.w.count() // measured and stated, not promised
			may.note = "acks: leader promises nothing when a leader dies or is replaced"
			may.repeats = unknown[src.name]
		case "callback", "spool":
			may.repeats = unknown[src.name]
		}
		s.reckon(src, may)
	}
}

// startNodes starts nodes that are down side by side: one alone may wait for the others.
func startNodes(nodes ...*kafka.Node) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		if !n.Running() {
			all.Go(func() { errs[i] = n.Start() })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// led waits until each partition of the scene's topics has a leader, another one than that node, and as many
// replicas in sync, and gives that moment. It asks these brokers only, each time anew: a client that lives
// on would hold its questions back after failures.
func (s *scene) led(not *kafka.Node, inSync int, ask ...string) (at time.Time) {
	s.t.Helper()
	var names []string
	for _, src := range s.sources {
		names = append(names, src.topic.name)
	}
	until(s.t, "leaders", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
		defer cancel()
		cl, err := kgo.NewClient(kgo.SeedBrokers(ask...))
		if err != nil {
			s.t.Fatal(err)
		}
		defer cl.Close()
		at = time.Now()
		topics, err := kadm.NewClient(cl).ListTopics(ctx, names...)
		if err != nil {
			return false
		}
		for _, tp := range topics {
			for _, p := range tp.Partitions {
				if p.Leader < 0 || not != nil && int(p.Leader) == not.ID || len(p.ISR) < inSync {
					return false
				}
			}
		}
		return len(topics) == len(names)
	})
	return at
}

// nextRecord gives the time at which the first record arrived that came later than that. The topic must be
// a stamped one.
func (tp *topic) nextRecord(after time.Time) (at time.Time) {
	tp.t.Helper()
	until(tp.t, "a record in "+tp.name, func() bool {
		list, err := tp.admin.ListOffsetsAfterMilli(tp.t.Context(), after.UnixMilli()+1, tp.name)
		if err != nil {
			return false
		}
		list.Each(func(o kadm.ListedOffset) {
			if stamp := time.UnixMilli(o.Timestamp); o.Err == nil && o.Timestamp > 0 && (at.IsZero() || stamp.Before(at)) {
				at = stamp
			}
		})
		return !at.IsZero()
	})
	return at
}

// resumed checks that each source goes on soon enough after something came back, and says how soon.
func (s *scene) resumed(what string, down, back time.Time) {
	s.t.Helper()
	for _, src := range s.sources {
		took := src.topic.nextRecord(down).Sub(back)
		s.t.Logf("%s: the next record %v after %s (%s)", src.name, took.Round(time.Millisecond), what, s.fault)
		if took > 5*time.Second {
			s.t.Errorf("%s: the next record came %v after %s, want at most 5 s", src.name, took, what)
		}
	}
}

// leaderOf gives the node that leads the partition with most records of the topic.
func (tp *topic) leaderOf(c *kafka.Cluster) *kafka.Node {
	tp.t.Helper()
	ends, err := tp.admin.ListEndOffsets(tp.t.Context(), tp.name)
	if err := errors.Join(err, ends.Error()); err != nil {
		tp.t.Fatal(err)
	}
	most, partition := int64(-1), int32(0)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > most {
			most, partition = o.Offset, o.Partition
		}
	})
	topics, err := tp.admin.ListTopics(tp.t.Context(), tp.name)
	if err != nil {
		tp.t.Fatal(err)
	}
	leader := topics[tp.name].Partitions[partition].Leader
	if leader < 0 {
		tp.t.Fatalf("partition %d of %s has no leader", partition, tp.name)
	}
	return c.Node(leader)
}
