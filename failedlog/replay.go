package failedlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// Sender delivers records again.
type Sender interface {
	// Send sends the records in order to topic, which is not the records' own under ToTopic (their
	// partitions say nothing then). It returns one error a record: nil only when Kafka acknowledged
	// it, a *Failure when it failed again, and any other error when there is no answer for it. Then
	// the record stays as it was, and the replay ends. records must not be kept.
	Send(ctx context.Context, topic string, records []Record) []error
}

// Failure is a Sender's verdict that a record failed again.
type Failure ErrorInfo

// Error gives class and cause.
func (f *Failure) Error() string {
	if f.Kafka != "" {
		return fmt.Sprintf("%s (%s): %s", f.Kafka, f.Class, f.Message)
	}
	return f.Class + ": " + f.Message
}

// ReplayOptions says what Replay sends. Zero values mean the defaults.
type ReplayOptions struct {
	FS  fsx.FS // fsx.OS
	Dir string // <data_dir>/failed
	Filter
	DryRun      bool // look and count, send nothing
	Rate        int  // records a second; 0: as fast as it goes
	ToTopic     string
	Consume     bool // with ToTopic: a delivered record is done, instead of staying in place
	MaxAttempts int  // leave records alone that were sent so often; 0: no bound
	// Pick says which sealed segments are looked at; nil: all.
	Pick func(Segment) bool

	BatchRecords int // 500
	BatchBytes   int // of lines of the failure log in one batch; 900,000
	// SealWait is how long to wait for the daemon to seal what it has open; 0: do not ask.
	SealWait time.Duration
	// LockWait is how long to wait for another replay or drop to end; 0: not at all.
	LockWait time.Duration
	Progress func(Stats)   // after each batch and segment; must not block for long
	OnBad    func(BadLine) // each line that is no record; nil: logged
	Log      *zap.Logger
}

// inPlace says that the records stay in the failure log whatever becomes of them.
func (o *ReplayOptions) inPlace() bool { return o.DryRun || (o.ToTopic != "" && !o.Consume) }

func (o *ReplayOptions) setDefaults() {
	if o.FS == nil {
		o.FS = fsx.OS
	}
	if o.BatchRecords <= 0 {
		o.BatchRecords = 500
	}
	if o.Rate > 0 {
		o.BatchRecords = max(1, min(o.BatchRecords, o.Rate/10)) // a flow, not a burst a minute
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 900_000
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OnBad == nil {
		o.OnBad = func(b BadLine) { o.Log.Error("failure log: a line is no record", zap.Error(b)) }
	}
}

// Stats is what a replay has found and done. When it has looked at everything,
// Seen = Selected + Filtered + NotReplayable + Exhausted + Bad and
// Selected = Delivered + FailedAgain + Unanswered (but for a dry run).
type Stats struct {
	Segments, SegmentsSeen int   // in the failure log when it began; looked at so far
	Lines, Bytes           int64 // in them, but for what was done before
	Seen, SeenBytes        int64

	Selected      int64 // given to the Sender, or in a dry run: would be
	Delivered     int64
	FailedAgain   int64 // now in a segment of their own, with the new cause
	Unanswered    int64 // stay as they were: no verdict, or the disk refused it
	Filtered      int64
	NotReplayable int64
	Exhausted     int64 // sent MaxAttempts times before
	Bad           int64 // no records; kept aside

	// OpenSegments is how many the daemon still had open: not looked at.
	OpenSegments int
	// Next is where the next replay goes on, when this one ended before its time.
	Next *Position
}

// Position is a place in the failure log.
type Position struct {
	Source, Segment string
	Line            int
	Time            time.Time // of the record there
}

// Replay sends the sealed records of the failure log again, oldest first, and takes out what was
// delivered. What fails again goes to a segment of its own. Killed at any moment it repeats at most
// one batch, after a loss of power one segment. When ctx ends it stops cleanly after the batch that
// is out and returns its error; Stats.Next says where it goes on. Only one replay or drop runs at a
// time: else, after LockWait, the error wraps a *fsx.LockedError.
func Replay(ctx context.Context, opt ReplayOptions, sender Sender) (_ Stats, err error) {
	opt.setDefaults()
	r := &replayer{opt: opt, sender: sender}
	if opt.DryRun {
		err := r.run(ctx)
		return r.stats, err
	}
	lock, err := lockRoot(ctx, opt.FS, opt.Dir, opt.LockWait)
	if err != nil {
		return r.stats, err
	}
	// Also when the sender panics: whoever catches that must be able to replay again.
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := r.prepare(ctx); err != nil {
		return r.stats, err
	}
	err = r.run(ctx)
	return r.stats, err
}

// replayer is one run of Replay. Only its goroutine touches it.
type replayer struct {
	opt    ReplayOptions
	sender Sender
	stats  Stats
	paced  time.Time // when the rate allows the next batch
	halt   bool      // nothing more may be sent: ctx, the sender or the disk says so
}

// prepare puts the folders in order and has the daemon seal what it has open.
func (r *replayer) prepare(ctx context.Context) error {
	dirs, err := sourceDirs(r.opt.FS, r.opt.Dir, r.opt.Source)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := releaseStale(r.opt.FS, dir, r.opt.Log); err != nil {
			return err
		}
	}
	if r.opt.SealWait <= 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, r.opt.SealWait)
	defer cancel()
	for _, dir := range dirs {
		err := RequestSeal(wait, r.opt.FS, dir)
		if err != nil && ctx.Err() == nil {
			r.opt.Log.Warn("failure log: the open segment is left out: no daemon sealed it",
				zap.String("source", filepath.Base(dir)), zap.Error(err))
		}
	}
	return ctx.Err()
}

func (r *replayer) run(ctx context.Context) error {
	queue, err := r.list(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range queue {
		if err := ctx.Err(); err != nil {
			r.next(&Entry{Segment: s, Line: 1})
			return errors.Join(append(errs, err)...)
		}
		err := r.segment(ctx, s)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // evicted since: not ours any more
			errs = append(errs, err)
		}
		r.stats.SegmentsSeen++
		r.report()
		if r.halt {
			break
		}
	}
	return errors.Join(errs...)
}

// list gives the segments to work on, oldest first, and counts what is in them.
func (r *replayer) list(ctx context.Context) ([]Segment, error) {
	segs, err := List(r.opt.FS, r.opt.Dir, r.opt.Source)
	if err != nil {
		return nil, err
	}
	var queue []Segment
	for _, s := range segs {
		switch {
		case s.State == StateOpen && !r.opt.DryRun:
			r.stats.OpenSegments++
			continue
		case r.opt.Pick != nil && !r.opt.Pick(s):
			continue
		case s.State == StateSealed:
		case r.opt.DryRun && (s.State == StateOpen || s.State == StateClaimed || s.State == StateCollecting):
		default:
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lines, bytes, err := countLines(r.opt.FS, s)
		if errors.Is(err, fs.ErrNotExist) {
			continue // evicted since
		}
		if err != nil {
			return nil, fmt.Errorf("count failure log: %w", err)
		}
		queue = append(queue, s)
		r.stats.Segments++
		r.stats.Lines += lines
		r.stats.Bytes += bytes
	}
	return oldestFirst(r.opt.FS, queue), nil
}

// segment works on one segment. Errors of the segment leave the others to be worked on.
func (r *replayer) segment(ctx context.Context, s Segment) error {
	if r.opt.inPlace() {
		w := &work{replayer: r}
		err := Read(r.opt.FS, s, func(e *Entry) error { return w.entry(ctx, e) })
		if err == nil {
			err = w.flush(ctx)
		}
		return err
	}
	c, err := take(r.opt.FS, s, r.opt.Log)
	if err != nil {
		return err
	}
	w := &work{replayer: r, claim: c}
	err = scan(c.file, c.seg, c.done, func(e *Entry) error { return w.entry(ctx, e) })
	if !r.halt { // also what was read before the segment could be read no further
		err = errors.Join(err, w.flush(ctx))
	}
	if err == nil {
		err = w.moveKept()
	}
	_, finishErr := c.finish()
	return errors.Join(err, finishErr)
}

func (r *replayer) report() {
	if r.opt.Progress != nil {
		r.opt.Progress(r.stats)
	}
}

// next notes where a replay that ends early goes on.
func (r *replayer) next(e *Entry) {
	if r.stats.Next == nil {
		r.stats.Next = &Position{e.Segment.Source(), e.Segment.Name(), e.Line, e.Record.Time}
	}
}
