package tailer

import (
	"time"

	"go.uber.org/zap"
)

// limited is a logger that lets no message become a flood: so many of each in a window, and then
// their count. Each state change is logged once by whoever sees it; thousands of files may change
// state at once.
type limited struct {
	log   *zap.Logger
	since time.Time
	sent  map[string]int
}

const (
	logWindow   = 10 * time.Second
	logPerTopic = 50
)

func newLimited(log *zap.Logger) *limited {
	return &limited{log: log, sent: map[string]int{}}
}

// roll begins a new window when the old one is over, and reports what was left out.
func (l *limited) roll(now time.Time) {
	if now.Sub(l.since) < logWindow {
		return
	}
	for msg, n := range l.sent {
		if n > logPerTopic {
			l.log.Warn("log messages left out", zap.String("message", msg), zap.Int("count", n-logPerTopic))
		}
	}
	clear(l.sent)
	l.since = now
}

func (l *limited) pass(msg string) bool {
	l.sent[msg]++
	return l.sent[msg] <= logPerTopic
}

func (l *limited) info(msg string, fields ...zap.Field) {
	if l.pass(msg) {
		l.log.Info(msg, fields...)
	}
}

func (l *limited) warn(msg string, fields ...zap.Field) {
	if l.pass(msg) {
		l.log.Warn(msg, fields...)
	}
}

func (l *limited) error(msg string, fields ...zap.Field) {
	if l.pass(msg) {
		l.log.Error(msg, fields...)
	}
}
