package shipper

import (
	"context"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/kafka"
)

// callbackMode is for certainty without order: acks=all or leader, no retries ever, five blocks in
// flight, by key or sticky a batch among the partitions that have a leader. A line is settled when
// Kafka acknowledged it, or when the failure log holds it on disk with the cause.
type callbackMode struct{ s *Source }

func newCallbackMode(s *Source) mode { return &callbackMode{s} }

func (m *callbackMode) inFlight() int { return 5 }

func (m *callbackMode) send(_ context.Context, now time.Time) { m.s.sendAll(now) }

func (m *callbackMode) acknowledged(p *part, _ kafka.Result) { m.s.settlePart(p, delivered, "") }

func (m *callbackMode) failed(now time.Time, p *part, res kafka.Result) {
	if res.Err.Class.OfLine() {
		m.s.refused(now, p, res)
		return
	}
	m.s.giveUp(now, p, res.Err)
}

func (m *callbackMode) contract() []zap.Field {
	loss := "never, while the file exists and the topic is replicated"
	if m.s.cfg.Acks == config.AcksLeader {
		loss = "when a leader dies, or is replaced, before it replicated what it acknowledged"
	}
	return []zap.Field{
		zap.String("acks", m.s.cfg.Acks),
		zap.String("order", "none"),
		zap.String("settled_when", "acknowledged by Kafka, or on disk in the failure log; never retried"),
		zap.String("on_outage", m.s.cfg.OnOutage),
		zap.String("can_lose", loss),
		zap.String("can_repeat", "after a crash of shiplog, what was acknowledged since the last saved checkpoint; "+
			"a line with an unknown outcome that is replayed"),
	}
}
