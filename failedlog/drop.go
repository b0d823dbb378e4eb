package failedlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// DropOptions says what Drop removes. Zero values mean the defaults.
type DropOptions struct {
	FS  fsx.FS // fsx.OS
	Dir string // <data_dir>/failed
	Filter
	DryRun bool // only count
	// LockWait is how long to wait for a replay or another drop to end; 0: not at all.
	LockWait time.Duration
	Bad      bool // also the lines that a replay kept aside; no filter but the source applies to them
	OnBad    func(BadLine)
	Log      *zap.Logger
}

// DropStats is what was dropped, or in a dry run would be.
type DropStats struct {
	Records  int64
	BadLines int64 // lines that were no records: in segments that went whole, and kept aside (see Bad)
	Kept     int64 // records that the filter did not pick
	Segments int   // that went
	Bytes    int64 // of what went

	OpenSegments int // left out: the daemon has them open
}

// Drop removes records for ever: sealed ones that the filter picks. The daemon may run meanwhile; a
// replay may not: then, after LockWait, the error wraps a *fsx.LockedError.
func Drop(opt DropOptions) (DropStats, error) {
	d := dropper{opt: opt}
	if d.opt.FS == nil {
		d.opt.FS = fsx.OS
	}
	if d.opt.Log == nil {
		d.opt.Log = zap.NewNop()
	}
	if opt.DryRun {
		err := d.run()
		return d.stats, err
	}
	lock, err := lockRoot(context.Background(), d.opt.FS, opt.Dir, opt.LockWait)
	if err != nil {
		return d.stats, err
	}
	err = d.release()
	if err == nil {
		err = d.run()
	}
	return d.stats, errors.Join(err, lock.Unlock())
}

type dropper struct {
	opt   DropOptions
	stats DropStats
}

func (d *dropper) release() error {
	dirs, err := sourceDirs(d.opt.FS, d.opt.Dir, d.opt.Source)
	for _, dir := range dirs {
		err = errors.Join(err, releaseStale(d.opt.FS, dir, d.opt.Log))
	}
	return err
}

func (d *dropper) run() error {
	segs, err := List(d.opt.FS, d.opt.Dir, d.opt.Source)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range segs {
		err := d.segment(s)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // evicted, or claimed (dry run)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *dropper) segment(s Segment) error {
	switch {
	case s.State == StateOpen:
		d.stats.OpenSegments++
		return nil
	case s.State == StateBad && d.opt.Bad:
		return d.badFile(s)
	case s.State != StateSealed:
		return nil
	case d.opt.DryRun:
		return Read(d.opt.FS, s, func(e *Entry) error { d.pick(e); return nil })
	}
	c, err := take(d.opt.FS, s, d.opt.Log)
	if err != nil {
		return err
	}
	err = d.claimed(c)
	removed, finishErr := c.finish()
	if removed {
		d.stats.Segments++
		d.stats.Bytes += s.Size
	}
	return errors.Join(err, finishErr)
}

// dropBatch is how many records are dropped between two notes in the progress file.
const dropBatch = 10_000

// claimed marks what the filter picks as done.
func (d *dropper) claimed(c *claim) error {
	var gone spans
	n := 0
	err := scan(c.file, c.seg, c.done, func(e *Entry) error {
		if !d.pick(e) {
			return nil
		}
		gone.add(e.from, e.to)
		if n++; n%dropBatch != 0 {
			return nil
		}
		err := c.commit(&outcome{done: gone})
		gone = nil
		return err
	})
	return errors.Join(err, c.commit(&outcome{done: gone}))
}

// pick says whether the entry goes, and counts it.
func (d *dropper) pick(e *Entry) bool {
	if e.Err != nil {
		if d.opt.OnBad != nil {
			d.opt.OnBad(BadLine{e.Segment, e.Line, e.Err})
		}
		if d.opt.all() {
			d.stats.BadLines++
		}
		return d.opt.all()
	}
	if !d.opt.Match(&e.Record) {
		d.stats.Kept++
		return false
	}
	d.stats.Records++
	return true
}

func (d *dropper) badFile(s Segment) error {
	lines, _, err := countLines(d.opt.FS, s)
	if err != nil {
		return fmt.Errorf("drop bad lines: %w", err)
	}
	if !d.opt.DryRun {
		if err := d.opt.FS.Remove(s.Path()); err != nil {
			return fmt.Errorf("drop bad lines: %w", err)
		}
		d.stats.Segments++
		d.stats.Bytes += s.Size
	}
	d.stats.BadLines += lines
	return nil
}
