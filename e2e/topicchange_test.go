package e2e

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestTopicIsDeletedAndMadeAgain deletes the topics under load and makes them again. What stood in a topic is
// gone with it; nothing behind that is.
func TestTopicIsDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, "topic deleted under load and created again", spec{rate: 1000})
	s.start()
	s.write()
	s.flowing(1000)
	for _, src := range s.sources {
		if _, err := src.topic.admin.DeleteTopic(t.Context(), src.topic.name); err != nil {
			t.Fatal(err)
		}
	}
	for _, src := range s.sources {
		until(t, "shiplog to miss the topic of "+src.name, func() bool { return s.complained(src.name, "no_topic") })
	}
	gone := map[string]int{}
	for _, src := range s.sources {
		gone[src.name] = src.w.count()
	}
	pass(time.Duration(pick(1, 20)) * time.Second)
	for _, src := range s.sources {
		until(t, "the topic to be made again", func() bool { return src.topic.again(s.spec.partitions) == nil })
		src.oracle = newOracle(t, src.name, src.topic) // the old one has read of another topic
	}
	s.flowing(1000)
	s.drain()
	unknown := s.failures("callback")
	s.replay()
	for _, src := range s.sources {
		src.read(src.topic)
		missing := src.missing(src.w.count())
		may := allowed{lost: len(missing), note: "lost is what stood in the deleted topic"}
		if n := len(missing); n > 0 && missing[n-1] >= gone[src.name] {
			t.Errorf("%s: line %d is not there, and was written after the topic was missed (%d)", src.name, missing[n-1], gone[src.name])
		}
		switch src.name {
		case "sync": // in order, so a beginning and nothing else
			if n := len(missing); n == 0 || missing[n-1] != n-1 {
				t.Errorf("sync: lost%s, want a beginning only", ranges(missing))
			}
		case "callback":
			may.repeats = unknown["unknown_outcome"]
		}
		s.reckon(src, may)
	}
}

// complained says that the log holds an error of that class about a source.
func (s *scene) complained(source, class string) bool {
	for _, e := range s.d.log("") {
		if e.text("source") == source && e.text("class") == class && e.text("level") == "error" {
			return true
		}
	}
	return false
}

// again makes the topic anew under its name.
func (tp *topic) again(partitions int32) error {
	made, err := tp.admin.CreateTopic(tp.t.Context(), partitions, -1, nil, tp.name)
	if err != nil {
		return err
	}
	return made.Err
}

// TestPartitionsAreAdded adds partitions under load and restarts shiplog, which takes them in use then. The
// lines have keys: within the old and within the new count their order stays.
func TestPartitionsAreAdded(t *testing.T) {
	t.Parallel()
	s := newScene(t, "partitions added under load, then a restart", spec{rate: 1000, source: "key: {field: pad}"})
	s.start()
	s.write()
	s.flowing(1000)
	for _, src := range s.sources {
		res, err := src.topic.admin.CreatePartitions(t.Context(), 3, src.topic.name)
		if err != nil || res.Error() != nil {
			t.Fatalf("add partitions: %v, %v", err, res.Error())
		}
	}
	s.flowing(1000)
	for _, src := range s.sources {
		for p, end := range src.topic.offsets() {
			if p >= 3 && end > 0 {
				t.Errorf("%s: %d records in the new partition %d before a restart", src.name, end, p)
			}
		}
	}
	s.drain()
	s.start()
	s.write()
	for _, src := range s.sources {
		until(t, "lines in the new partitions of "+src.name, func() bool {
			for p, end := range src.topic.offsets() {
				if p >= 3 && end > 0 {
					return true
				}
			}
			return false
		})
	}
	for _, src := range s.sources {
		src.oracle = newOracle(t, src.name, src.topic) // the old one knows three partitions
	}
	s.reckonByContract("")
	src := s.source("sync")
	if len(src.last) < 5 {
		t.Errorf("the lines of 26 keys are in %d partitions, want nearly all of 6", len(src.last))
	}
}

// offsets are the end offsets by partition.
func (tp *topic) offsets() map[int32]int64 {
	tp.t.Helper()
	ends := map[int32]int64{}
	until(tp.t, "the ends of "+tp.name, func() bool {
		list, err := tp.admin.ListEndOffsets(tp.t.Context(), tp.name)
		if err != nil || list.Error() != nil {
			return false
		}
		list.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
		return true
	})
	return ends
}
