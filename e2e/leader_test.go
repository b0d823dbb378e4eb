package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"shiplog/e2e/kafka"
)

// TestControllerDies kills the node that is the active controller, and then a second one, so that no
// controller is left to move leaders. Three shiplogs live through it: one on ordinary topics, one whose
// topics want three replicas in sync, and one whose topics have a single replica of each of twelve
// partitions.
func TestControllerDies(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "kill -9 of the active controller, then of a second broker of three", spec{
		modes: []string{"sync", "callback", "leader", "async"}, rate: 1000, topic: stamped, kafka: "request_timeout: 2s"})
	short := newScene(t, "min.insync.replicas not met", spec{modes: []string{"sync", "callback"}, rate: 1000,
		topic: append([]string{"min.insync.replicas", "3"}, stamped...)})
	single := newScene(t, "some of twelve partitions without a leader", spec{rate: 1000, partitions: 12,
		topic: append([]string{"min.insync.replicas", "1"}, stamped...)})
	single.oneReplica()
	scenes := []*scene{s, short, single}
	for _, s := range scenes {
		s.start()
		s.write()
	}
	for _, s := range scenes {
		s.flowing(1000)
	}
	first := c.Node(s.controller())
	second := c.Nodes[first.ID%len(c.Nodes)]
	first.Kill()
	killed := time.Now()
	s.resumed("the election", killed, s.led(first, 2, others(c, first)...))
	short.refusedForReplicas()
	single.goesElsewhere(first)
	pass(time.Duration(pick(0, 20)) * time.Second)
	second.Kill()
	pass(time.Duration(pick(4, 20)) * time.Second)
	if err := startNodes(first, second); err != nil {
		t.Fatal(err)
	}
	whole(t)
	for _, s := range scenes {
		s.flowing(1000)
	}
	for _, s := range scenes {
		s.reckonByContract("")
	}
}

// controller asks for the active controller.
func (s *scene) controller() int32 {
	s.t.Helper()
	p := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, p)
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(s.t.Context(), s.sources[0].topic.client)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		s.t.Fatalf("describe quorum: %v, %+v", err, resp)
	}
	return resp.Topics[0].Partitions[0].LeaderID
}

// others are the addresses of all nodes but one.
func others(c *kafka.Cluster, n *kafka.Node) (list []string) {
	for _, o := range c.Nodes {
		if o != n {
			list = append(list, o.Plain)
		}
	}
	return list
}

// refusedForReplicas waits until the lack of replicas has shown in each mode, and checks what it did there.
func (s *scene) refusedForReplicas() {
	s.t.Helper()
	until(s.t, "the brokers to refuse lines for want of replicas", func() bool {
		named := map[string]bool{}
		for _, e := range s.d.log("") {
			if strings.Contains(e.text("error"), "NOT_ENOUGH_REPLICAS") {
				named[e.text("source")] = true
			}
		}
		return named["sync"] && named["callback"] && s.failures("callback")["retriable"] > 0
	})
	if n := total(s.failures("sync")); n != 0 {
		s.t.Errorf("sync: %d lines in the failure log, want none: they are retried", n)
	}
}

// oneReplica leaves each partition of the topics with one replica, on the nodes in turn.
func (s *scene) oneReplica() {
	s.t.Helper()
	for _, src := range s.sources {
		var req kadm.AlterPartitionAssignmentsReq
		for p := range s.spec.partitions {
			req.Assign(src.topic.name, p, []int32{p%3 + 1})
		}
		res, err := src.topic.admin.AlterPartitionAssignments(s.t.Context(), req)
		if err != nil || res.Error() != nil {
			s.t.Fatalf("assign partitions: %v, %v", err, res.Error())
		}
		until(s.t, "single replicas", func() bool {
			topics, err := src.topic.admin.ListTopics(s.t.Context(), src.topic.name)
			if err != nil {
				return false
			}
			for _, p := range topics[src.topic.name].Partitions {
				if len(p.Replicas) != 1 || p.Leader != p.Replicas[0] {
					return false
				}
			}
			return true
		})
	}
}

// goesElsewhere checks that the sources that are bound to no partition go on in those that have a leader: lines
// that are written from now on arrive.
func (s *scene) goesElsewhere(dead *kafka.Node) {
	s.t.Helper()
	for _, name := range []string{"callback", "async"} {
		src := s.source(name)
		now, seen, more := src.w.count(), len(src.order), 0
		until(s.t, "new lines of "+name+" in the partitions that have a leader", func() bool {
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
			defer cancel()
			src.client.PollFetches(ctx).EachRecord(src.add)
			for ; seen < len(src.order); seen++ {
				if src.order[seen] >= now {
					more++
				}
			}
			return more >= 1000
		})
	}
	if dead.Running() {
		s.t.Errorf("node %d runs: all partitions have a leader", dead.ID)
	}
}

// TestAnIDIsGivenUpWithAnOutcomeUnknown makes the one thing happen that repeats lines in sync while
// shiplog lives: all answers are swallowed after a batch was written, and before it can be sent again
// the topic's limit sinks below it. It has to be halved, and the halves are no batch that the broker knows.
func TestAnIDIsGivenUpWithAnOutcomeUnknown(t *testing.T) {
	c := cluster(t)
	mended(t)
	s := newScene(t, "a producer id given up with an outcome unknown", spec{modes: []string{"sync"}, rate: 3000,
		kafka: "request_timeout: 2s", source: "compression: none"})
	src := s.source("sync")
	s.start()
	s.write()
	s.flowing(1000)
	for _, n := range c.Nodes {
		if err := n.Proxy.Add(kafka.Toxic{Type: "timeout", Stream: "downstream", Attributes: map[string]int64{"timeout": 0}}); err != nil {
			t.Fatal(err)
		}
	}
	settled(src.topic)                                            // what was out is written, and nobody heard of it
	src.topic.set("max.message.bytes", fmt.Sprint(lineBytes*5/2)) // one line in a batch of its own
	until(t, "an unknown outcome", func() bool {
		for _, e := range s.d.log("") {
			if strings.Contains(e.text("error"), "unknown_outcome") {
				return true
			}
		}
		return false
	})
	for _, n := range c.Nodes {
		if err := n.Proxy.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	const said = "possible repeat: a producer id was given up while an outcome was unknown"
	until(t, "a producer id to be given up", func() bool { return s.d.said(said) })
	src.topic.set("max.message.bytes", "1000000")
	s.flowing(1000)
	s.drain()
	if n := len(s.d.log(said)); n != 1 {
		t.Errorf("the possible repeat is in the log %d times, want once", n)
	}
	may := int(s.d.account("sync").number("possible_repeats"))
	if may == 0 || may > batchLines {
		t.Errorf("possible_repeats: %d, want one batch (at most %d lines)", may, batchLines)
	}
	s.reckon(src, allowed{repeats: may, disorder: true, note: "possible_repeats of the account"})
	if got := src.repeats(); got == 0 {
		t.Error("no line came twice: the fault was none")
	}
}
