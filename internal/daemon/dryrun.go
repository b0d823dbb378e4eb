package daemon

import (
	"context"
	"fmt"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/internal/kafka"
)

// dryProducer takes every batch and sends none.
type dryProducer struct {
	*kafka.Producer // makes the batches; it is never run
	topic           kafka.Topic
}

func newDryProducer(src *config.Source, p *kafka.Producer) *dryProducer {
	n := int32(1)
	if src.Partition != nil {
		n = *src.Partition + 1
	}
	d := &dryProducer{Producer: p, topic: kafka.Topic{Partitions: n}}
	for i := range n {
		d.topic.Usable = append(d.topic.Usable, i)
	}
	return d
}

// Ready always is.
func (d *dryProducer) Ready() (kafka.Topic, *kafka.Error) { return d.topic, nil }

// WaitReady gives a closed channel.
func (d *dryProducer) WaitReady() <-chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}

// Send says that each batch is through.
func (d *dryProducer) Send(rbs []*kafka.RecordBatch, done func(*kafka.RecordBatch, kafka.Result)) {
	for _, rb := range rbs {
		done(rb, kafka.Result{Partition: rb.Partition, Offset: -1, Attempted: true})
	}
}

// Deliver says that each batch is through.
func (d *dryProducer) Deliver(_ context.Context, rbs []*kafka.RecordBatch, _ kafka.Retry) []kafka.Result {
	results := make([]kafka.Result, len(rbs))
	for i, rb := range rbs {
		results[i] = kafka.Result{Partition: rb.Partition, Offset: -1, Attempted: true}
	}
	return results
}

// dryFailureLog takes every record and keeps none.
type dryFailureLog struct{}

// Append does nothing.
func (dryFailureLog) Append([]failedlog.Record) error { return nil }

// savedStates reads where a source stands, without touching anything.
func savedStates(cfg *config.Config, source string) ([]batch.State, error) {
	list, err := checkpoint.List(fsx.OS, CheckpointDir(cfg))
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Source == source && s.Err != nil {
			return nil, fmt.Errorf("checkpoint %s: %w", s.File, s.Err)
		}
		if s.Source == source {
			return s.States, nil
		}
	}
	return nil, nil
}
