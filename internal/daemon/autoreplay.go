package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/fsx"
	"shiplog/internal/kafka"
	"shiplog/shipper"
)

// autoPace is how fast auto_replay goes.
type autoPace struct {
	tick     time.Duration // between two looks at the sources; and what others have between two rounds
	idle     time.Duration // before the next look at a failure log with nothing to send
	turn     time.Duration // after which a round ends and lets the lock go
	patience time.Duration // for one batch, and for a connection
	first    time.Duration // pause after a round that failed; doubled with each further one
	most     time.Duration
	seal     time.Duration // how often an open segment is sealed to be sent, if it does not come to rest
	say      time.Duration // how often a long replay is told of
	attempts int           // records that were sent so often stay
}

var defaultPace = autoPace{
	tick: 250 * time.Millisecond, idle: time.Second, turn: 2 * time.Second, patience: 5 * time.Second,
	first: time.Second, most: time.Minute, seal: 30 * time.Second, say: 10 * time.Second, attempts: 10,
}

// autoClasses are the errors that pass by themselves. All others speak of a line: to send it again
// would bring the same answer.
var autoClasses = []string{string(kafka.ClassRetriable), string(kafka.ClassUnknown)}

// autoReplay does what the replay command does, inside the daemon and without being asked, for
// callback sources: whenever a source's fresh lines get through and none of them waits, it sends what
// stands in its failure log, one segment a round and never more than one batch at once. Between two
// rounds the lock on the failure log is free. It ends with ctx, or when the daemon is told to stop.
func (d *Daemon) autoReplay(ctx context.Context) error {
	var queue []*autoSource
	for i, p := range d.pipes {
		if d.cfg.Sources[i].Mode == config.ModeCallback {
			queue = append(queue, &autoSource{d: d, p: p, log: d.log.With(zap.String("source", p.id))})
		}
	}
	tick := time.NewTicker(d.pace.tick)
	defer tick.Stop()
	for turn := 0; ; {
		select {
		case <-d.stop:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for worked, n := false, 0; n < len(queue) && !worked; n++ {
			worked = queue[turn].step(ctx, time.Now())
			turn = (turn + 1) % len(queue)
		}
		tick.Reset(d.pace.tick) // however long that took, the others get their time
	}
}

func (d *Daemon) stopping() bool {
	select {
	case <-d.stop:
		return true
	default:
		return false
	}
}

// autoSource is a callback source in the hands of autoReplay, whose goroutine owns it.
type autoSource struct {
	d   *Daemon
	p   *pipeline
	log *zap.Logger

	// through holds the segments of which only records are left that are not ours to send. Sealed
	// segments do not change.
	through map[segmentKey]bool
	next    time.Time // when there may be something to do again
	pause   time.Duration
	sealed  time.Time // when the open segment was sealed last

	burst  int64     // lines that were delivered since there was nothing to send
	saidAt time.Time // when that was told of
}

// segmentKey tells a segment from a later one of the same name.
type segmentKey struct {
	name string
	size int64
	time time.Time
}

func keyOf(s failedlog.Segment) segmentKey { return segmentKey{s.Name(), s.Size, s.ModTime} }

// calm says that a batch may be sent beside the source's fresh lines: they get through, and none of
// them waits. A last block that was full says nothing any more when the reader, which owes a block
// since before its own last look, has found nothing to read. While the failure log is full no fresh
// line is sent, so none can prove anything: then to send what is in it is the way on, and the trial.
func (s *autoSource) calm(now time.Time) bool {
	if s.d.stopping() || s.d.checkpointStale() {
		return false
	}
	return calm(s.p.source.Pulse(), now, func() int { return s.p.tailer.Stats().Queued })
}

func calm(pulse shipper.Pulse, now time.Time, queued func() int) bool {
	switch {
	case !pulse.Ready:
		return false
	case pulse.Stuck:
		return true
	case pulse.Behind && (pulse.Asked.IsZero() || now.Sub(pulse.Asked) <= statsAge || queued() > 0):
		return false
	}
	return pulse.Proven
}

// statsAge is more than the age that a tailer's Stats may have.
const statsAge = 2 * time.Second

// step does one round, if there is something to do, and says whether it did.
func (s *autoSource) step(ctx context.Context, now time.Time) (worked bool) {
	if now.Before(s.next) || !s.calm(now) {
		return false
	}
	segment, ok, err := s.pick(now)
	if err != nil {
		s.failed(now, err)
		return false
	}
	if !ok && s.sealed.Equal(now) {
		return false // what was sealed is for the next look
	}
	if !ok {
		s.next = now.Add(s.d.pace.idle)
		s.tell("auto_replay: all lines that failed for the moment are delivered", now)
		s.burst = 0
		return false
	}
	sender := &politeSender{to: NewReplayer(s.d.cfg, s.d.log), calm: s.calm, until: now.Add(s.d.pace.turn)}
	sender.to.patience, sender.to.counts = s.d.pace.patience, true
	stats, err := s.round(ctx, segment, sender)
	if s.burst == 0 {
		s.saidAt = now
	}
	s.burst += stats.Delivered
	if stats.Delivered > 0 {
		s.pause = 0
	}
	s.judge(time.Now(), segment, sender, stats, errors.Join(err, sender.to.Close()))
	return true
}

// pick gives the oldest sealed segment that may hold something for us.
func (s *autoSource) pick(now time.Time) (segment failedlog.Segment, ok bool, err error) {
	segments, err := failedlog.List(s.d.root, FailedDir(s.d.cfg), s.p.id)
	if err != nil {
		return segment, false, err
	}
	through, open := make(map[segmentKey]bool), false
	for _, seg := range segments {
		switch {
		case seg.State == failedlog.StateOpen:
			open = true
		case seg.State == failedlog.StateClaimed || seg.State == failedlog.StateCollecting: // by hand, or by one that died
			if !ok {
				segment, ok = seg, true
			}
		case seg.State != failedlog.StateSealed:
		case s.through[keyOf(seg)]:
			through[keyOf(seg)] = true
		case !ok:
			segment, ok = seg, true
		}
	}
	s.through = through
	if open && !ok && now.Sub(s.sealed) >= s.d.pace.seal {
		s.sealed = now
		err = s.p.failures.Seal()
	}
	return segment, ok, err
}

// round sends what is ours of one segment.
func (s *autoSource) round(ctx context.Context, segment failedlog.Segment, to failedlog.Sender) (failedlog.Stats, error) {
	before := s.p.replayed.Load()
	return failedlog.Replay(ctx, failedlog.ReplayOptions{
		FS: s.d.root, Dir: FailedDir(s.d.cfg), Filter: failedlog.Filter{Source: s.p.id, Classes: autoClasses},
		MaxAttempts: s.d.pace.attempts, Log: s.log,
		Pick:     func(seg failedlog.Segment) bool { return seg.Name() == segment.Name() },
		Progress: func(st failedlog.Stats) { s.p.replayed.Store(before + st.Delivered) },
	}, to)
}

// judge decides what comes after a round.
func (s *autoSource) judge(now time.Time, segment failedlog.Segment, sender *politeSender, stats failedlog.Stats, err error) {
	var locked *fsx.LockedError
	switch {
	case errors.As(err, &locked):
		s.log.Debug("auto_replay: somebody else is at work on the failure log", zap.Int("pid", locked.PID))
		s.next = now.Add(s.d.pace.idle)
	case sender.trouble != nil && !s.d.stopping():
		s.failed(now, sender.trouble, zap.Int64("attempts_counted", stats.FailedAgain))
	case sender.sentOff, s.d.stopping():
		// It goes on as soon as there is calm.
	case err != nil:
		s.failed(now, err)
	default:
		s.through[keyOf(segment)] = true
		if stats.Exhausted > 0 {
			s.log.Warn("auto_replay: lines were sent too often in vain and are left to `shiplog replay`", zap.Int64("lines", stats.Exhausted),
				zap.Int("attempts", s.d.pace.attempts), zap.String("segment", filepath.Base(segment.Path())))
		}
	}
	if now.Sub(s.saidAt) >= s.d.pace.say {
		s.tell("auto_replay: lines of the failure log are being delivered", now)
	}
}

// failed lets some time pass before the next round.
func (s *autoSource) failed(now time.Time, err error, more ...zap.Field) {
	s.pause = min(max(2*s.pause, s.d.pace.first), s.d.pace.most)
	s.next = now.Add(s.pause)
	s.log.Warn("auto_replay: a round failed; its lines stay in the failure log", append(more, zap.Duration("next_in", s.pause), zap.Error(err))...)
}

// tell says how much was delivered since the failure log had nothing to send, if anything was.
func (s *autoSource) tell(message string, now time.Time) {
	if s.burst == 0 {
		return
	}
	s.log.Info(message, zap.Int64("lines", s.burst), zap.Int64("auto_replayed", s.p.replayed.Load()))
	s.saidAt = now
}

// politeSender ends a round when fresh lines wait, when its time is over, or when a batch failed.
type politeSender struct {
	to    *Replayer
	calm  func(time.Time) bool
	until time.Time

	begun   bool  // a batch went out: each round gets on, however long it takes to begin
	sentOff bool  // a batch was not begun
	trouble error // why a batch failed
}

// errNotNow is the answer to records that are not sent for now.
var errNotNow = errors.New("not now")

// Send implements failedlog.Sender.
func (s *politeSender) Send(ctx context.Context, topic string, records []failedlog.Record) []error {
	now := time.Now()
	if s.trouble != nil || s.begun && now.After(s.until) || !s.calm(now) {
		s.sentOff = true
		errs := make([]error, len(records))
		for i := range errs {
			errs[i] = errNotNow
		}
		return errs
	}
	s.begun = true
	errs := s.to.Send(ctx, topic, records)
	for _, err := range errs {
		var refused *failedlog.Failure
		if err != nil && !(errors.As(err, &refused) && kafka.Class(refused.Class).OfLine()) {
			s.trouble = err
		}
	}
	return errs
}
