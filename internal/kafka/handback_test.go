package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDeliverEndsAtMaxElapsed(t *testing.T) {
	for _, tt := range []struct {
		code  int16
		class Class
	}{{kerr.NotEnoughReplicas.Code, ClassRetriable}, {kerr.RequestTimedOut.Code, ClassUnknown}, {kerr.TopicAuthorizationFailed.Code, ClassAuthorization}} {
		c := cluster(t, 1)
		p := start(t, idempotent(c))
		answerProduce(c, 1<<30, tt.code, nil)
		retry := quick
		retry.MaxElapsed = 50 * time.Millisecond
		r := deliver(t, p, retry, lines(p, 0, 3, "a"))[0]
		if r.Err == nil || r.Err.Class != tt.class || !r.Attempted || r.PossibleRepeat {
			t.Errorf("%d: result %+v", tt.code, r)
		}
	}
}

// A batch that comes back with its outcome unknown is still the same batch when it is delivered
// again; another one in its place must not take its numbers.
func TestAnUnknownOutcomeMayBeDeliveredAgain(t *testing.T) {
	for _, same := range []bool{true, false} {
		c := cluster(t, 1)
		f := &faults{}
		conf := idempotent(c)
		conf.Dial = f.dial
		p := start(t, conf)
		ready(t, p, 1)
		f.onWrite(loseAnswer())
		rb := lines(p, 0, 3, "a")
		ctx, cancel := context.WithCancel(context.Background())
		retry := Retry{OnRetry: func(_ *Error, n int) {
			if n > 0 {
				cancel()
			}
		}}
		r := p.Deliver(ctx, []*RecordBatch{rb}, retry)[0]
		if r.Err == nil || r.Err.Class != ClassUnknown || !r.Attempted {
			t.Fatalf("result %+v", r)
		}
		if same {
			if r := deliver(t, p, quick, rb)[0]; r.Err != nil || r.PossibleRepeat {
				t.Errorf("result %+v", r)
			}
			if stored(c, 0) != 3 || p.Stats().ProducerIDs != 1 {
				t.Errorf("%d records stored, want 3; %+v", stored(c, 0), p.Stats())
			}
			continue
		}
		if r := deliver(t, p, quick, lines(p, 0, 2, "b"))[0]; r.Err != nil {
			t.Errorf("result %+v", r)
		}
		if stored(c, 0) != 5 || p.Stats().PossibleRepeats != 1 {
			t.Errorf("%d records stored, want 5; %+v", stored(c, 0), p.Stats())
		}
	}
}

// Deliver must not return while a request is out: its batches point into memory of the caller.
func TestDeliverEndsAtOnceWithItsContext(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	ctx, cancel := context.WithCancel(context.Background())
	c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		cancel()
		return nil, nil, true // never an answer
	})
	began := time.Now()
	r := p.Deliver(ctx, []*RecordBatch{lines(p, 0, 3, "a")}, quick)[0]
	if r.Err == nil || r.Err.Class != ClassUnknown || !r.Attempted {
		t.Errorf("result %+v", r)
	}
	if took := time.Since(began); took > p.conf.RequestTimeout/2 {
		t.Errorf("took %v", took)
	}
}

func TestRecordErrorsReachTheCaller(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, idempotent(c))
	message := "one bad record"
	answerProduce(c, 1, kerr.InvalidRecord.Code, func(p *kmsg.ProduceResponseTopicPartition) {
		p.ErrorMessage = &message
		p.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{{RelativeOffset: 1, ErrorMessage: &message}, {RelativeOffset: 2}}
	})
	r := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]
	if diff := cmp.Diff([]RecordError{{1, message}, {2, ""}}, r.RecordErrors); diff != "" {
		t.Error(diff)
	}
	if r.Err == nil || r.Err.Kafka != "INVALID_RECORD" || r.Err.Err.Error() != message {
		t.Errorf("error %+v", r.Err)
	}
}

func TestDeliverWithoutIdempotenceSaysWhatMayRepeat(t *testing.T) {
	c := cluster(t, 1)
	f := &faults{}
	conf := settings(c.ListenAddrs())
	conf.Dial = f.dial
	p := start(t, conf)
	ready(t, p, 1)
	f.onWrite(loseAnswer())
	r := deliver(t, p, quick, lines(p, 0, 3, "a"))[0]
	if r.Err != nil || !r.PossibleRepeat {
		t.Errorf("result %+v", r)
	}
	if stored(c, 0) != 6 {
		t.Errorf("%d records stored", stored(c, 0))
	}
}
