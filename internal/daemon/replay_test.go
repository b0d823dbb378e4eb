package daemon

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"shiplog/failedlog"
	"shiplog/internal/kafka"
)

// pickyProducer refuses every batch that holds a record named "bad", and keeps the order of the others.
type pickyProducer struct{ stored []string }

func (p *pickyProducer) Ready() (kafka.Topic, *kafka.Error) {
	return kafka.Topic{Partitions: 1, Usable: []int32{0}}, nil
}

func (p *pickyProducer) NewBatch(partition int32) *kafka.RecordBatch {
	return (*kafka.Producer)(nil).NewBatch(partition)
}

func (p *pickyProducer) Deliver(_ context.Context, rbs []*kafka.RecordBatch, _ kafka.Retry) []kafka.Result {
	results := make([]kafka.Result, len(rbs))
	for i, rb := range rbs {
		var values []string
		for j := range rb.Len() {
			_, v, _ := rb.Record(j)
			values = append(values, string(v))
		}
		if slices.Contains(values, "bad") {
			results[i].Err = &kafka.Error{Class: kafka.ClassTooLarge, Err: errors.New("too large")}
			continue
		}
		p.stored = append(p.stored, values...)
	}
	return results
}

func TestReplayKeepsTheOrderWhileItLooksForABadLine(t *testing.T) {
	p := &pickyProducer{}
	s := &resend{p: p, errs: make([]error, 8), patience: time.Second}
	var want []string
	for i := range 8 {
		payload := strconv.Itoa(i)
		if i == 1 {
			payload = "bad"
		} else {
			want = append(want, payload)
		}
		s.records = append(s.records, failedlog.Record{Topic: "t", Payload: []byte(payload)})
	}
	s.deliver(t.Context(), s.split("t", 0))
	if !slices.Equal(p.stored, want) {
		t.Errorf("stored %v, want %v", p.stored, want)
	}
	for i, err := range s.errs {
		if failure := (*failedlog.Failure)(nil); errors.As(err, &failure) != (i == 1) {
			t.Errorf("record %d: %v", i, err)
		}
	}
}
