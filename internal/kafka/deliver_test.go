package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const initKey = int16(22)

var quick = Retry{Initial: time.Millisecond, Max: 5 * time.Millisecond}

func idempotent(c *kfake.Cluster) Config {
	conf := settings(c.ListenAddrs())
	conf.Idempotent, conf.MaxInFlight = true, 1
	return conf
}

// deliver calls Deliver and fails the test when it does not return.
func deliver(t *testing.T, p *Producer, retry Retry, rbs ...*RecordBatch) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	results := p.Deliver(ctx, rbs, retry)
	if ctx.Err() != nil {
		t.Fatalf("Deliver took too long: %+v", results)
	}
	return results
}

// values reads back what the topic holds.
func values(t *testing.T, c *kfake.Cluster, n int) []string {
	t.Helper()
	var out []string
	for _, r := range consume(t, c, n) {
		out = append(out, string(r.Value))
	}
	return out
}

func want(prefixes ...string) []string {
	var out []string
	for _, p := range prefixes {
		for i := range 3 {
			out = append(out, fmt.Sprintf("%s-%d", p, i))
		}
	}
	return out
}

func TestDeliverNumbersBatchesPerPartition(t *testing.T) {
	c := cluster(t, 2)
	seen := watchProduce(c)
	p := start(t, idempotent(c))
	rbs := []*RecordBatch{lines(p, 0, 3, "a"), lines(p, 1, 2, "b"), lines(p, 0, 3, "c")}
	got := deliver(t, p, quick, rbs...)
	want := []Result{
		{Partition: 0, Offset: 0, Attempted: true},
		{Partition: 1, Offset: 0, Attempted: true},
		{Partition: 0, Offset: 3, Attempted: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var sequences []int32
	for _, b := range seen() {
		if b.ProducerID < 0 || b.ProducerEpoch < 0 {
			t.Errorf("producer id %d epoch %d: the batch is not idempotent", b.ProducerID, b.ProducerEpoch)
		}
		if b.NumRecords == 3 {
			sequences = append(sequences, b.FirstSequence)
		}
	}
	if diff := cmp.Diff([]int32{0, 3}, sequences); diff != "" {
		t.Error(diff)
	}
	if p.Stats().ProducerIDs != 1 {
		t.Errorf("%d producer ids taken, want 1 for both partitions", p.Stats().ProducerIDs)
	}
}

func TestSendIsNoPartOfASequence(t *testing.T) {
	c := cluster(t, 1)
	seen := watchProduce(c)
	p := start(t, settings(c.ListenAddrs()))
	ready(t, p, 1)
	for range 3 {
		send(t, p, lines(p, 0, 3, "a"))
	}
	for _, b := range seen() {
		if b.ProducerID != -1 || b.ProducerEpoch != -1 || b.FirstSequence != -1 {
			t.Errorf("producer %d epoch %d sequence %d, want -1 everywhere", b.ProducerID, b.ProducerEpoch, b.FirstSequence)
		}
	}
	if stored(c, 0) != 9 {
		t.Errorf("%d records stored, want 9", stored(c, 0))
	}
}

// The connection breaks after the broker wrote the batch: the retry must be the same batch to it.
func TestALostAnswerIsRepeatedByteForByte(t *testing.T) {
	c := cluster(t, 1)
	seen := watchProduce(c)
	f := &faults{}
	conf := idempotent(c)
	conf.Dial, conf.Codec = f.dial, "lz4"
	p := start(t, conf)
	deliver(t, p, quick, lines(p, 0, 3, "a"))
	f.onWrite(loseAnswer())
	b := lines(p, 0, 3, "b")
	var retries atomic.Int64
	retry := quick
	retry.OnRetry = func(err *Error, n int) {
		if n > 0 && err.Class != ClassUnknown {
			t.Errorf("retry after %v, want an unknown outcome", err)
		}
		retries.Add(1)
		// Nobody may do that; here it shows that the retry does not encode the records once more.
		_, value, _ := b.Record(0)
		value[0] = 'X'
	}
	got := deliver(t, p, retry, b, lines(p, 0, 3, "c"))
	for _, r := range got {
		if r.Err != nil || r.PossibleRepeat {
			t.Errorf("result %+v", r)
		}
	}
	if retries.Load() == 0 {
		t.Error("no retry took place")
	}
	if diff := cmp.Diff(want("a", "b", "c"), values(t, c, 9)); diff != "" {
		t.Error(diff)
	}
	all := seen()
	if len(all) != 4 {
		t.Fatalf("%d batches seen, want 4", len(all))
	}
	if diff := cmp.Diff(all[1], all[2]); diff != "" {
		t.Errorf("the retry is not the same batch: %s", diff)
	}
}

func TestADuplicateAnswerToARetryIsSuccess(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	// The first answer says: timed out after the append; the second: already there.
	answerProduce(c, 1, kerr.RequestTimedOut.Code, nil)
	answerProduce(c, 1, kerr.DuplicateSequenceNumber.Code, nil)
	got := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]
	if diff := cmp.Diff(Result{Offset: -1, Attempted: true}, got); diff != "" {
		t.Error(diff)
	}
	// The sequence has moved on behind it.
	seen := watchProduce(c)
	deliver(t, p, quick, lines(p, 0, 3, "b"))
	if got := seen()[0].FirstSequence; got != 3 {
		t.Errorf("next sequence %d, want 3", got)
	}
}

// At a first attempt the same answer cannot be about our batch, and taking it for success would
// lose the lines.
func TestADuplicateAnswerToAFirstAttemptIsNoSuccess(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	answerProduce(c, 1, kerr.DuplicateSequenceNumber.Code, nil)
	got := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]
	if diff := cmp.Diff(Result{Offset: 0, Attempted: true}, got); diff != "" {
		t.Error(diff)
	}
	if p.Stats().ProducerIDs != 2 {
		t.Errorf("%d producer ids, want a fresh one", p.Stats().ProducerIDs)
	}
}

func TestSequencesAdvanceOnSuccessOnly(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	answerProduce(c, 3, kerr.NotEnoughReplicas.Code, nil)
	deliver(t, p, quick, lines(p, 0, 3, "a"))
	answerProduce(c, 1, kerr.MessageTooLarge.Code, nil)
	if r := deliver(t, p, quick, lines(p, 0, 3, "b"))[0]; r.Err == nil || r.Err.Class != ClassTooLarge || !r.Attempted || r.PossibleRepeat {
		t.Errorf("result %+v", r)
	}
	seen := watchProduce(c)
	deliver(t, p, quick, lines(p, 0, 3, "c"))
	if got := seen()[0].FirstSequence; got != 3 {
		t.Errorf("sequence %d, want 3", got)
	}
	if diff := cmp.Diff(want("a", "c"), values(t, c, 6)); diff != "" {
		t.Error(diff)
	}
}

func TestASequenceErrorTakesAFreshID(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping} {
		for _, unknown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s after unknown %v", code.Message, unknown), func(t *testing.T) {
				c := cluster(t, 1)
				log, logs := observed()
				conf := idempotent(c)
				conf.Log = log
				p := start(t, conf)
				deliver(t, p, quick, lines(p, 0, 3, "a"))
				if unknown {
					answerProduce(c, 1, kerr.NotEnoughReplicasAfterAppend.Code, nil)
				}
				answerProduce(c, 1, code.Code, nil)
				seen := watchProduce(c)
				r := deliver(t, p, quick, lines(p, 0, 3, "b"))[0]
				if r.Err != nil || r.PossibleRepeat != unknown {
					t.Errorf("result %+v, want a possible repeat: %v", r, unknown)
				}
				if got := p.Stats(); got.ProducerIDs != 2 || got.PossibleRepeats != map[bool]int64{true: 1}[unknown] {
					t.Errorf("stats %+v", got)
				}
				if got := seen(); len(got) != 1 || got[0].FirstSequence != 0 {
					t.Errorf("sent under the fresh id: %+v", got)
				}
				if n := logs.FilterMessageSnippet("possible repeat").Len(); n != int(p.Stats().PossibleRepeats) {
					t.Errorf("%d log lines", n)
				}
			})
		}
	}
}

// Only the partition whose id was given up takes another one: a frozen batch elsewhere keeps its own.
func TestGivingAnIDUpTouchesOnePartition(t *testing.T) {
	c := cluster(t, 2)
	p := start(t, idempotent(c))
	deliver(t, p, quick, lines(p, 0, 3, "a"), lines(p, 1, 3, "b"))
	c.ControlKey(produceKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		return produceAnswer(r.(*kmsg.ProduceRequest), kerr.RequestTimedOut.Code, func(p *kmsg.ProduceResponseTopicPartition) {
			if p.Partition == 0 {
				p.ErrorCode = kerr.OutOfOrderSequenceNumber.Code
			}
		}), nil, true
	})
	seen := watchProduce(c)
	for _, r := range deliver(t, p, quick, lines(p, 0, 3, "c"), lines(p, 1, 2, "d")) {
		if r.Err != nil || r.PossibleRepeat {
			t.Errorf("result %+v", r)
		}
	}
	for _, b := range seen() {
		if want := map[int32]int32{3: 0, 2: 3}[b.NumRecords]; b.FirstSequence != want {
			t.Errorf("batch of %d records has sequence %d, want %d", b.NumRecords, b.FirstSequence, want)
		}
	}
}

// After an unknown attempt, halves under the same numbers could be taken for what it wrote.
func TestALineErrorAfterAnUnknownOutcomeGivesTheIDUp(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	answerProduce(c, 1, kerr.RequestTimedOut.Code, nil)
	answerProduce(c, 1, kerr.InvalidRecord.Code, nil)
	r := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]
	if r.Err == nil || r.Err.Class != ClassInvalid || !r.PossibleRepeat {
		t.Errorf("result %+v", r)
	}
	deliver(t, p, quick, lines(p, 0, 3, "b"))
	if p.Stats().ProducerIDs != 2 || p.Stats().PossibleRepeats != 1 {
		t.Errorf("stats %+v", p.Stats())
	}
}

func TestAFreshIDWellBeforeTheSequencesEnd(t *testing.T) {
	c := cluster(t, 1)
	seen := watchProduce(c)
	p := start(t, idempotent(c), func(p *Producer) { p.sequences.limit = 7 })
	for range 5 {
		if r := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]; r.Err != nil || r.PossibleRepeat {
			t.Errorf("result %+v", r)
		}
	}
	var got []int32
	ids := map[int64]bool{}
	for _, b := range seen() {
		got = append(got, b.FirstSequence)
		ids[b.ProducerID] = true
	}
	if diff := cmp.Diff([]int32{0, 3, 0, 3, 0}, got); diff != "" {
		t.Error(diff)
	}
	if len(ids) != 3 || p.Stats().PossibleRepeats != 0 {
		t.Errorf("%d ids, stats %+v", len(ids), p.Stats())
	}
	if stored(c, 0) != 15 {
		t.Errorf("%d records stored", stored(c, 0))
	}
}

func TestACoordinatorThatIsLoadingIsWaitedFor(t *testing.T) {
	c := cluster(t, 1)
	for range 3 {
		c.ControlKey(initKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
			resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			if id := r.(*kmsg.InitProducerIDRequest).ProducerID; id != -1 {
				t.Errorf("asks with producer id %d", id)
			}
			return resp, nil, true
		})
	}
	p := start(t, idempotent(c))
	if r := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]; r.Err != nil || r.PossibleRepeat {
		t.Errorf("result %+v", r)
	}
}

// A broker that has just started has no producer ids yet. That is no failed attempt of a line, so the
// retries of lines do not say how soon it is asked again.
func TestAProducerIDIsAskedForAgainSoon(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(initKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
	p := start(t, idempotent(c))
	ready(t, p, 1)
	done := make(chan Result, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		done <- p.Deliver(ctx, []*RecordBatch{lines(p, 0, 3, "a")}, Retry{Initial: time.Hour, Max: time.Hour})[0]
	}()
	select {
	case r := <-done:
		if r.Err != nil || stored(c, 0) != 3 {
			t.Errorf("result %+v, %d records stored", r, stored(c, 0))
		}
	case <-time.After(patience):
		t.Error("no producer id was asked for again")
	}
}
