package shipper

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/kafka"
)

// syncMode is for order and certainty: acks=all and idempotent, retried until Kafka acknowledged, one
// block and one request a partition in flight; pinned, by key, or one partition a path. A line is
// settled when Kafka acknowledged it. A line that can never be accepted halts the source, or goes to
// the failure log (on_permanent_error).
type syncMode struct {
	s  *Source
	wg sync.WaitGroup
}

func newSyncMode(s *Source) mode { return &syncMode{s: s} }

func (m *syncMode) inFlight() int { return 1 }

// send delivers the first part of each partition, together; what stands behind it in its partition
// waits for its result, so that no error of a line lets a later line overtake.
func (m *syncMode) send(ctx context.Context, now time.Time) {
	s := m.s
	if s.sending > 0 || len(s.queue) == 0 {
		return
	}
	heads := s.takeHeads(now)
	if len(heads) == 0 {
		return
	}
	rbs := make([]*kafka.RecordBatch, len(heads))
	for i, p := range heads {
		rbs[i] = p.rb
		s.sending++
	}
	retry := kafka.Retry{
		Initial: s.cfg.Retry.InitialInterval, Max: s.cfg.Retry.MaxInterval, MaxElapsed: s.cfg.Retry.MaxElapsedTime,
		OnRetry: func(err *kafka.Error, _ int) { s.inbox.note(err) },
	}
	m.wg.Go(func() {
		results := s.producer.Deliver(ctx, rbs, retry)
		s.inbox.putAll(heads, results)
	})
}

// join waits for Deliver, which returns soon after its context ended.
func (m *syncMode) join() { m.wg.Wait() }

func (m *syncMode) acknowledged(p *part, res kafka.Result) {
	if e := m.s.log.Check(zap.DebugLevel, "acknowledged"); e != nil {
		last := int64(-1)
		if res.Offset >= 0 {
			last = res.Offset + int64(len(p.lines)) - 1
		}
		e.Write(zap.Int32("partition", p.rb.Partition), zap.Int64("first_offset", res.Offset),
			zap.Int64("last_offset", last), zap.Int("records", len(p.lines)))
	}
	m.s.settlePart(p, delivered, "")
}

func (m *syncMode) failed(now time.Time, p *part, res kafka.Result) {
	switch {
	case res.Err.Class.OfLine():
		m.s.refused(now, p, res)
	case m.s.cfg.Retry.MaxElapsedTime > 0:
		m.s.halt(p, res.Err, true)
	default: // Deliver came back without a definite answer: the batch is still the same
		p.park.push(now, parkFirst, parkMax)
		m.s.again(p)
	}
}

func (m *syncMode) contract() []zap.Field {
	bad := "halts the source"
	if m.s.cfg.OnPermanentError == config.ActionFail {
		bad = "goes to the failure log"
	}
	return []zap.Field{
		zap.String("acks", "all, idempotent"),
		zap.String("order", "as read within a partition; lines that an application still writes to a rotated file after "+
			"rotate_wait, and lines replayed from the failure log, come later"),
		zap.String("settled_when", "acknowledged by Kafka; retried until then; a line that can never be accepted "+bad),
		zap.String("can_lose", "never, while the file exists and the topic is replicated"),
		zap.String("can_repeat", "when a crash (or a stop that shutdown_timeout cut short) falls between the acknowledgement and the checkpoint, or a producer id is "+
			"given up with an outcome unknown"),
	}
}
