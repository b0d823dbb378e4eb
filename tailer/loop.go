package tailer

import (
	"context"
	"time"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/fsid"
)

const (
	scanEvery = time.Second
	drainPoll = 50 * time.Millisecond
)

// Run owns the files until ctx ends, or until everything was read after Once or Drain. Call it once.
// It returns nil after it has closed Batches, and the context's error when it was cut short.
func (t *Tailer) Run(ctx context.Context) error {
	l := loop{t: t, timer: time.NewTimer(0)}
	defer l.end()
	for {
		if l.step(time.Now()) {
			close(t.out)
			return nil
		}
		if err := l.wait(ctx); err != nil {
			return err
		}
	}
}

// loop is when things are done: nothing of what they are.
type loop struct {
	t        *Tailer
	timer    *time.Timer
	wanted   bool
	pending  *batch.Batch // filled, not yet taken
	nextScan time.Time
	nextFill time.Time
	draining time.Time // when Drain was called
	checked  bool      // a last scan was made before the end
}

// step does what is due; true when everything was read and nothing more will come.
func (l *loop) step(now time.Time) bool {
	t := l.t
	if !now.Before(l.nextScan) {
		t.scan(now)
		l.nextScan = now.Add(scanEvery)
	}
	t.takeWakes(now)
	if l.wanted && l.pending == nil && !now.Before(l.nextFill) {
		t.poll(now)
		if l.pending = t.fill(now); l.pending != nil {
			l.wanted = false
			l.nextFill = now.Add(t.cfg.Linger)
			if l.pending.Full || len(t.ready) > 0 {
				l.nextFill = now
			}
		}
	}
	return l.pending == nil && l.through(now)
}

// through says that Once or Drain is at its end. A last scan looks for what came meanwhile.
func (l *loop) through(now time.Time) bool {
	t := l.t
	switch quiet := t.drain.Load(); {
	case t.cfg.Once:
		return t.idle()
	case quiet == 0:
		return false
	case l.draining.IsZero():
		l.draining = now
		return false
	case !t.idle() || t.holding() || now.Sub(later(l.draining, t.grew)) < time.Duration(quiet-1):
		l.checked = false
		return false
	}
	if !l.checked {
		l.checked = true
		t.scan(now)
		l.nextScan = now.Add(scanEvery)
		return l.through(now)
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// idle says that nothing is left to read, as far as we know.
func (t *Tailer) idle() bool {
	if len(t.ready) > 0 {
		return false
	}
	for _, s := range t.series {
		for _, g := range s.gens {
			if g.more() && !g.denied {
				return false
			}
		}
	}
	return true
}

// holding says that a new file with lines waits until it is clear that it is no copy.
func (t *Tailer) holding() bool {
	for _, h := range t.held {
		if h.info.Size > 0 {
			return true
		}
	}
	return false
}

// wait sleeps until something may be due.
func (l *loop) wait(ctx context.Context) error {
	t := l.t
	l.timer.Reset(time.Until(l.due(time.Now())))
	var out chan *batch.Batch
	if l.pending != nil {
		out = t.out
	}
	var freed <-chan struct{}
	if t.starved {
		freed = t.cfg.Quota.Freed()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case out <- l.pending:
		l.pending = nil
	case <-t.want:
		l.wanted = true
	case <-freed:
	case <-t.wake:
	case <-t.drainC:
	case <-l.timer.C:
	}
	return nil
}

// due is when to look again if nothing happens.
func (l *loop) due(now time.Time) time.Time {
	t, at := l.t, l.nextScan
	if l.wanted && l.pending == nil {
		switch {
		case len(t.ready) > 0 && !t.starved:
			at = earlier(at, l.nextFill)
		case len(t.hot) > 0:
			at = earlier(at, now.Add(max(t.cfg.Linger, time.Duration(len(t.hot))*pollCost)))
		case t.unwatched > 0:
			at = earlier(at, now.Add(coldPoll))
		}
	}
	if t.drain.Load() > 0 {
		at = earlier(at, now.Add(drainPoll))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// end takes the last snapshot, so that what is unread now is what is said to be left, and gives
// everything back.
func (l *loop) end() {
	l.timer.Stop()
	untaken := int64(0)
	if l.pending != nil {
		for i := range l.pending.Runs {
			untaken += l.pending.Runs[i].End.Offset - l.pending.Runs[i].Start
		}
		l.pending.Release()
	}
	for g := range l.t.opened {
		if info, err := fsid.Stat(g.f); err == nil && !g.gzip {
			g.size = max(g.size, info.Size)
		}
	}
	l.t.publish(untaken)
	for g := range l.t.opened {
		l.t.letGo(g)
	}
}
