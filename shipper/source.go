package shipper

import (
	"context"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// Source ships one source in its mode. The goroutine that calls Run owns all of it but the account,
// the inbox and the pulse, which have locks of their own.
type Source struct {
	cfg      Config
	log      *zap.Logger
	reader   Reader
	producer Producer
	failures FailureLog
	tracker  Tracker
	quota    Limiter
	mode     mode
	prep     *preparer
	stamp    *stamper // nil without provenance headers
	account  account
	inbox    *inbox
	pulse    pulse

	// What the next block waits for.
	wanted   bool      // one was asked for and has not come
	wantedAt time.Time // when it was asked for
	ended    bool      // no more is to come
	lastFull bool      // the last one could not take more, so more is waiting
	lastAt   time.Time // when it came
	seen     bool      // the producer was ready once
	started  time.Time

	topic  kafka.Topic // as last known
	turnOf int         // whose turn it is among the usable partitions

	out     []*block
	queue   []*part // to be sent, in order within each partition
	sending int     // parts that are with the producer
	rbs     []*kafka.RecordBatch
	free    []*part

	pending pending // on its way to the failure log
	fault   fault   // the source itself is at fault: nothing is sent until fault.wait is due
	suspect suspicion
	halted  error
	said    map[complaint]time.Time

	troubled bool // trouble was said, and since then nothing got through
	proven   bool // something got through since the last request that failed

	// What Quota.Limit is decided by.
	down      bool      // the producer was not ready at the last look
	bad       bool      // the last result was a failure
	busySince time.Time // since when there has been something to deliver
	lastGood  time.Time // when something was delivered
	limited   bool

	timer *time.Timer
	alarm time.Time // the earliest time at which there is something to do
}

// A mode decides what may go out together, and what a failed request means for its lines.
type mode interface {
	// inFlight is how many blocks may be out at once.
	inFlight() int
	// send hands parts of the queue to the producer.
	send(ctx context.Context, now time.Time)
	// acknowledged is told of a success; the lines are settled by the mode.
	acknowledged(p *part, res kafka.Result)
	// failed is told of a request that failed with an error of its lines, of the moment, or with an
	// unknown outcome. Errors of the source, and batches that were never sent, do not come here.
	failed(now time.Time, p *part, res kafka.Result)
	// contract is the mode's promise in words.
	contract() []zap.Field
}

// Account gives a consistent snapshot. Safe for concurrent use.
func (s *Source) Account() Account {
	a := s.account.snapshot()
	a.SentUnconfirmed = s.producer.Unconfirmed()
	return a
}

// Run ships until Batches is closed and every result is in (nil), until a sync source halts (an
// error that is ErrHalted), or until ctx ends (its error): what is out then stays unsettled, and is
// read again after a restart. It must be called once.
func (s *Source) Run(ctx context.Context) error {
	s.started = time.Now()
	s.lastFull = true // nothing says that there is no backlog
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	s.log.Info("source started", s.mode.contract()...)
	batches := s.reader.Batches()
	for {
		done, err := s.turn(ctx)
		s.beat(done)
		if done {
			s.log.Info("source ended", zap.Error(err))
			return err
		}
		select {
		case <-ctx.Done():
		case b, ok := <-batches:
			if !ok {
				s.ended, batches = true, nil
				break
			}
			s.accept(b)
		case <-s.inbox.wake:
		case <-s.readyAgain():
		case <-s.timer.C:
		}
	}
}

// turn does all that can be done now, and sets the alarm for what cannot.
func (s *Source) turn(ctx context.Context) (done bool, err error) {
	now := time.Now()
	if err := ctx.Err(); err != nil {
		s.join()
		s.lastAnswers(now)
		return true, err
	}
	s.alarm = time.Time{}
	if s.down {
		_ = s.lookReady(now) // whatever else there is to do: readyAgain must not ring for ever
	}
	answers, retried := s.inbox.take()
	if retried != nil {
		s.bad, s.proven = true, false
		s.complain(now, "an attempt failed; it is made again", retried)
	}
	for _, a := range answers {
		s.result(now, a.p, a.res)
	}
	s.flush(now)
	if s.halted != nil {
		s.join()
		s.settleDelivered()
		s.giveBack()
		return true, s.halted
	}
	if s.ended && len(s.out) == 0 {
		return true, nil
	}
	if s.faultOver(now) {
		s.mode.send(ctx, now)
	}
	s.demand(now)
	s.limit(now)
	s.setTimer(now)
	return false, nil
}

// join waits for the goroutines of the mode, which end with the context or are about to.
func (s *Source) join() {
	if j, ok := s.mode.(interface{ join() }); ok {
		j.join()
	}
}

// accept takes a block in: from here on it is in flight.
func (s *Source) accept(b *batch.Batch) {
	now := time.Now()
	s.wanted, s.lastFull, s.lastAt = false, b.Full, now
	if b.Empty() {
		b.Release()
		return
	}
	blk := &block{b: b, preparing: true}
	s.stamp.begin(blk)
	s.begin(blk)
	s.account.begin(blk)
	s.out = append(s.out, blk)
	s.oversize(blk)
	down := s.lookReady(now)
	if down != nil && s.spools(now) {
		s.spool(now, blk, down)
	} else {
		s.queue = append(s.queue, s.stamp.stamped(s.prep.block(blk), s.cfg.MaxBatchBytes)...)
	}
	blk.preparing = false
	s.release(blk, s.account.openOf(blk))
}

// demand asks for the next block when there is use for it.
//
// What arrives while a request is out goes with the next one: so behind a block that was not full
// the next is asked for when nothing is being sent, and not before linger has passed. Behind a full
// one there is a backlog, and it is asked for at once.
func (s *Source) demand(now time.Time) {
	if s.wanted || s.ended || len(s.out) >= s.mode.inFlight() || s.pending.stuck() || s.fault.on {
		return
	}
	if !s.lastFull {
		if s.sending > 0 {
			return
		}
		if next := s.lastAt.Add(s.cfg.Linger); now.Before(next) {
			s.wakeAt(next)
			return
		}
	}
	if s.cfg.Hold != nil && s.cfg.Hold() {
		s.wakeAt(now.Add(holdCheck))
		return
	}
	if s.lookReady(now) != nil && !s.spools(now) {
		return // readyAgain wakes us
	}
	s.wanted, s.wantedAt = true, now
	s.reader.Want()
}

// lookReady asks for the producer's state, and says so when it changed.
func (s *Source) lookReady(now time.Time) *kafka.Error {
	topic, err := s.producer.Ready()
	if topic.Partitions > 0 {
		s.topic = topic
	}
	if err != nil {
		s.down = true
		if grace := s.started.Add(startGrace); !s.seen && !err.Class.OfSource() && now.Before(grace) {
			s.wakeAt(grace) // it is still connecting
			return err
		}
		s.complain(now, noPartition, err)
		s.wakeAt(s.said[complaint{noPartition, err.Class}].Add(repeatEvery))
		return err
	}
	s.down, s.seen = false, true
	return nil
}

// spools says whether an outage sends lines to the failure log at once. At the start the producer
// gets some time for its first connection.
func (s *Source) spools(now time.Time) bool {
	if s.cfg.OnOutage != config.ActionSpool {
		return false
	}
	if over := s.started.Add(startGrace); !s.seen && now.Before(over) {
		s.wakeAt(over)
		return false
	}
	return true
}

// readyAgain gives the channel that tells of a producer which is ready again; nil while it is ready.
func (s *Source) readyAgain() <-chan struct{} {
	if !s.down {
		return nil
	}
	return s.producer.WaitReady()
}

// limit confines the source to its own reserve of memory while nothing gets through, so that it
// never starves another, and frees it again with the first success.
func (s *Source) limit(now time.Time) {
	busy := len(s.out) > 0 || s.down || s.fault.on || s.pending.stuck()
	switch {
	case !busy && !s.bad:
		s.busySince = time.Time{}
	case s.busySince.IsZero():
		s.busySince = now
	}
	over := false
	if !s.busySince.IsZero() {
		end := later(s.busySince, s.lastGood).Add(limitAfter)
		if over = !now.Before(end); !over {
			s.wakeAt(end)
		}
	}
	if over != s.limited && s.quota != nil {
		s.limited = over
		s.quota.Limit(over)
	}
}

// wakeAt sets the alarm, unless an earlier one is set.
func (s *Source) wakeAt(t time.Time) {
	if s.alarm.IsZero() || t.Before(s.alarm) {
		s.alarm = t
	}
}

func (s *Source) setTimer(now time.Time) {
	wait := time.Hour
	if !s.alarm.IsZero() {
		wait = max(s.alarm.Sub(now), 0)
	}
	s.timer.Reset(wait)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
