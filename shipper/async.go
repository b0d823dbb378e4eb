package shipper

import (
	"context"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/kafka"
)

// asyncMode is for throughput, where some loss is fine: acks=0, no retries, five blocks in flight, by
// key or sticky a batch. A line is settled when it was written to the socket, and the word for that
// is sent, never delivered. What fails is dropped, and counted by the error's class.
type asyncMode struct{ s *Source }

func newAsyncMode(s *Source) mode { return &asyncMode{s} }

func (m *asyncMode) inFlight() int { return 5 }

func (m *asyncMode) send(_ context.Context, now time.Time) { m.s.sendAll(now) }

func (m *asyncMode) acknowledged(p *part, _ kafka.Result) { m.s.settlePart(p, sent, "") }

func (m *asyncMode) failed(now time.Time, p *part, res kafka.Result) {
	m.s.complain(now, "lines were dropped", res.Err, zap.Int("lines", len(p.lines)))
	m.s.settlePart(p, dropped, string(res.Err.Class))
}

func (m *asyncMode) contract() []zap.Field {
	return []zap.Field{
		zap.String("acks", "0"),
		zap.String("order", "as read within a partition, unless a request fails"),
		zap.String("settled_when", "written to the socket; failures are dropped and counted"),
		zap.String("can_lose", "what was sent since the last barrier when a connection or broker breaks"),
		zap.String("can_repeat", "after a crash of shiplog, what was sent since the last saved checkpoint"),
	}
}
