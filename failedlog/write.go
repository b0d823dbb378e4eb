package failedlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// active is the segment that records are appended to.
type active struct {
	seg  Segment
	file fsx.File
	// durable is how far Append has answered for it, written how far it holds whole records. What
	// lies beyond durable after a failure must go before anything else is done with the segment.
	durable, written int64
	torn             bool // a write or sync failed: bytes beyond durable are void
	named            bool // its entry in the folder is on disk
	touched          bool // since the last Tick
	idleSince        time.Time
}

// commit writes a group and syncs it. Called under disk, as all that follows here.
func (l *Log) commit(members []*member) {
	for _, m := range members {
		m.err = l.write(m)
		if m.err == nil {
			l.pending = append(l.pending, m)
		}
	}
	l.flush()
	l.measure()
}

// write puts one call's records behind the others, all into one segment.
func (l *Log) write(m *member) error {
	if l.closed {
		return ErrClosed
	}
	n := int64(len(m.buf))
	if err := l.makeRoom(n); err != nil {
		return err
	}
	if err := l.prepare(n); err != nil {
		return err
	}
	c := l.cur
	if _, err := c.file.WriteAt(m.buf, c.written); err != nil {
		err = fmt.Errorf("write to failure log: %w", err)
		if cut := c.file.Truncate(c.written); cut != nil {
			// What stands before it in this group cannot be told from the rest any more.
			l.fail(errors.Join(err, cut))
		}
		return err
	}
	c.written += n
	c.touched = true
	return nil
}

// prepare has an open segment that takes n more bytes.
func (l *Log) prepare(n int64) error {
	if l.cur != nil && l.cur.torn {
		if err := l.mend(); err != nil {
			return err
		}
	}
	if l.cur != nil && l.cur.written > 0 && l.cur.written+n > l.opt.SegmentBytes {
		if err := l.seal(); err != nil {
			return err
		}
	}
	if l.cur != nil {
		return nil
	}
	return l.create()
}

// create opens the next segment. Its number was never used by a file that is still there.
func (l *Log) create() error {
	for {
		s := Segment{Dir: l.dir, Seq: l.seq + 1, State: StateOpen}
		free, err := l.free(s)
		if err != nil {
			return fmt.Errorf("open segment: %w", err)
		}
		if !free {
			l.seq++
			continue
		}
		f, err := l.fs.OpenFile(s.Path(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
		if errors.Is(err, fs.ErrNotExist) { // somebody removed the folder
			if err = l.makeDir(); err == nil {
				f, err = l.fs.OpenFile(s.Path(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
			}
		}
		if err != nil {
			return fmt.Errorf("open segment: %w", err)
		}
		l.seq++
		l.cur = &active{seg: s, file: f}
		return nil
	}
}

// free says that no file of that name is there in any state, nor its progress.
func (l *Log) free(s Segment) (bool, error) {
	paths := []string{s.donePath()}
	for _, e := range suffixes {
		paths = append(paths, s.in(e.state))
	}
	for _, p := range paths {
		if _, err := l.fs.Stat(p); err == nil {
			return false, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// flush has all pending records on disk, or fails them all.
func (l *Log) flush() {
	c := l.cur
	if c == nil || len(l.pending) == 0 {
		return
	}
	if err := l.sync(c); err != nil {
		l.fail(fmt.Errorf("sync failure log: %w", err))
		return
	}
	c.durable = c.written
	l.pending = nil
}

func (l *Log) sync(c *active) error {
	if !l.opt.Fsync {
		return nil
	}
	if err := c.file.Sync(); err != nil {
		return err
	}
	if c.named {
		return nil
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	c.named = true
	return nil
}

// fail gives up what is pending, and takes it away again if that can be done now.
func (l *Log) fail(err error) {
	for _, m := range l.pending {
		m.err = err
	}
	l.pending = nil
	l.cur.torn = true
	if err := l.mend(); err != nil {
		l.log.Error("failure log: what was written in vain could not be cut yet; tried again with the next record",
			zap.String("segment", l.cur.seg.Path()), zap.Error(err))
	}
}

// mend cuts a torn segment to what Append has answered for, and ends it: after a failed sync nobody
// knows what the kernel still holds of it, so nothing more is built on it.
func (l *Log) mend() error {
	c := l.cur
	if err := c.file.Truncate(c.durable); err != nil {
		return fmt.Errorf("cut failure log: %w", err)
	}
	if l.opt.Fsync {
		if err := c.file.Sync(); err != nil {
			return fmt.Errorf("cut failure log: %w", err)
		}
	}
	c.written, c.torn = c.durable, false
	return l.seal()
}

// seal ends the open segment: syncs it, renames it and closes it; an empty one is removed.
func (l *Log) seal() error {
	l.flush()
	c := l.cur
	if c == nil {
		return nil
	}
	if c.torn {
		return l.mend() // which ends here again, with nothing torn
	}
	var err error
	if c.durable == 0 {
		err = l.fs.Remove(c.seg.Path())
	} else {
		err = l.fs.Rename(c.seg.Path(), c.seg.in(StateSealed))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("seal segment: %w", err)
	}
	if err != nil {
		l.log.Error("failure log: the open segment was taken away by somebody", zap.String("segment", c.seg.Path()))
	}
	if err := c.file.Close(); err != nil { // its records are on disk since their sync
		l.log.Warn("failure log: close", zap.String("segment", c.seg.Path()), zap.Error(err))
	}
	l.others += c.durable
	l.cur = nil
	return nil
}

// measure tells Size.
func (l *Log) measure() {
	n := l.others
	if l.cur != nil {
		n += l.cur.written
	}
	l.size.Store(n)
}
