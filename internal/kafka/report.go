package kafka

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatEvery is how often a trouble that goes on is logged again.
const repeatEvery = time.Minute

// reporter logs each change of state once: when a trouble begins, when it becomes one of another
// kind, and when it ends. One that goes on is repeated each minute, with a count.
type reporter struct {
	log   *zap.Logger
	topic string
	now   func() time.Time
	open  map[string]*trouble
}

// trouble is something that is wrong now.
type trouble struct {
	since  time.Time
	said   map[kind]time.Time
	silent int // times it came up since it was said
}

// kind tells troubles apart that a person mends in different ways.
type kind struct {
	class       Class
	kafka, hint string
}

func newReporter(log *zap.Logger, topic string) reporter {
	return reporter{log: log, topic: topic, now: time.Now, open: make(map[string]*trouble)}
}

// trouble notes that something, named by the key, is wrong.
func (r *reporter) trouble(key, message string, err *Error) {
	now := r.now()
	t, this := r.open[key], kind{err.Class, err.Kafka, err.Hint}
	if t == nil {
		t = &trouble{since: now, said: make(map[kind]time.Time)}
		r.open[key] = t
	}
	// Two brokers that are wrong in two ways take turns; each way is said.
	if said, ok := t.said[this]; ok && now.Sub(said) < repeatEvery {
		t.silent++
		return
	}
	level := zapcore.WarnLevel
	if err.Class.OfSource() {
		level = zapcore.ErrorLevel
	}
	fields := []zap.Field{zap.String("topic", r.topic), zap.String("class", string(err.Class)), zap.Error(err)}
	if err.Broker != "" {
		fields = append(fields, zap.String("broker", err.Broker))
	}
	if t.silent > 0 {
		fields = append(fields, zap.Int("times", t.silent+1), zap.Duration("since", now.Sub(t.since)))
	}
	t.said[this], t.silent = now, 0
	r.log.Log(level, message, fields...)
}

// solved notes that it is right again; nothing is said when it was not wrong.
func (r *reporter) solved(key, message string, fields ...zap.Field) {
	t := r.open[key]
	if t == nil {
		return
	}
	delete(r.open, key)
	fields = append(fields, zap.String("topic", r.topic), zap.Duration("after", r.now().Sub(t.since)))
	r.log.Info(message, fields...)
}

// forget drops a trouble that is nobody's any more.
func (r *reporter) forget(key string) { delete(r.open, key) }
