package kafka

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// The tests of e2e/ run this file's test against a real Kafka: they name its brokers and a topic of two
// partitions, and look at what stands in it afterwards.
const (
	realBrokers = "SHIPLOG_E2E_BROKERS"
	realTopic   = "SHIPLOG_E2E_TOPIC"
)

// TestSequenceNumbersRunOutOnARealBroker begins shortly before the end of the numbers: partition 0 where
// shiplog takes a fresh producer id, partition 1 at the last numbers that there are (2^31). In each an answer
// is lost, so that a batch with such numbers goes out twice.
func TestSequenceNumbersRunOutOnARealBroker(t *testing.T) {
	brokers, topic := os.Getenv(realBrokers), os.Getenv(realTopic)
	if brokers == "" || topic == "" {
		t.Skipf("run by the tests of e2e, with %s and %s", realBrokers, realTopic)
	}
	for partition, limit := range []int64{sequenceLimit, math.MaxInt32} {
		f := &faults{}
		conf := settings(strings.Split(brokers, ","))
		conf.Topic, conf.Idempotent, conf.MaxInFlight, conf.Dial = topic, true, 1, f.dial
		p := start(t, conf, func(p *Producer) { p.sequences.limit = limit })
		ready(t, p, 2)
		beginAt(t, p, int32(partition), int32(limit-6))
		for i := range 3 { // 4 and 2 numbers are left, and then none
			f.onWrite(loseAnswer())
			rb := lines(p, int32(partition), []int{4, 2, 4}[i], fmt.Sprintf("batch-%d", i))
			if r := deliver(t, p, quick, rb)[0]; r.Err != nil || r.PossibleRepeat {
				t.Errorf("partition %d, batch %d: result %+v", partition, i, r)
			}
		}
		if s := p.Stats(); s.ProducerIDs != 2 || s.PossibleRepeats != 0 || s.Losses < 3 {
			t.Errorf("partition %d: %+v, want 2 producer ids, no possible repeat, 3 lost connections", partition, s)
		}
	}
}

// beginAt takes a producer id and numbers the next record of a partition with next.
func beginAt(t *testing.T, p *Producer, partition, next int32) {
	t.Helper()
	for {
		pid, err := p.sequences.fresh(context.Background(), partition, noID)
		if err == nil {
			q := p.sequences.of(partition)
			q.pid, q.next = pid, next
			return
		}
		if err.Class != ClassRetriable {
			t.Fatal(err)
		}
	}
}
