package failedlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// tick is Tick, under disk.
func (l *Log) tick(now time.Time) {
	if l.leftover {
		l.sealLeft()
	}
	if c := l.cur; c != nil {
		if c.touched || c.idleSince.IsZero() {
			c.touched, c.idleSince = false, now
		}
		asked, err := l.takeRequest()
		if err != nil {
			l.log.Error("failure log: look for a seal request", zap.String("dir", l.dir), zap.Error(err))
		}
		if asked || now.Sub(c.idleSince) >= l.opt.SealAfter {
			if err := l.seal(); err != nil {
				l.log.Error("failure log: seal", zap.String("segment", c.seg.Path()), zap.Error(err))
			}
		}
	}
	if _, err := l.look(); err != nil {
		l.log.Error("failure log: look at the folder", zap.String("dir", l.dir), zap.Error(err))
	}
	l.measure()
}

// takeRequest says whether a reader has asked to seal. The request goes first: one that comes while
// the segment is being sealed is for the next.
func (l *Log) takeRequest() (bool, error) {
	err := l.fs.Remove(filepath.Join(l.dir, requestName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// look finds out what the folder holds: others remove segments and write into it too.
func (l *Log) look() ([]Segment, error) {
	entries, err := l.fs.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list failure log: %w", err)
	}
	var segs []Segment
	var others int64
	seen := l.cur == nil
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() {
			continue // gone since, or none of ours
		}
		s, ok := parseName(e.Name())
		s.Dir, s.Size, s.ModTime = l.dir, info.Size(), info.ModTime()
		if l.cur != nil && ok && s.Path() == l.cur.seg.Path() {
			seen = true
			continue
		}
		others += s.Size
		if ok {
			segs = append(segs, s)
			l.seq = max(l.seq, s.Seq)
		} else if done, ok := parseDone(e.Name()); ok {
			l.seq = max(l.seq, done.Seq) // its segment may be in the middle of a rename
		}
	}
	l.others = others
	if !seen {
		l.lost()
	}
	slices.SortFunc(segs, byAge)
	return segs, nil
}

// lost gives up an open segment that somebody has removed: what would be written there is nowhere.
func (l *Log) lost() {
	l.log.Error("failure log: the open segment was removed by somebody; its records are lost",
		zap.String("segment", l.cur.seg.Path()), zap.Int64("bytes", l.cur.durable))
	for _, m := range l.pending {
		m.err = fmt.Errorf("write to failure log: %s was removed by somebody", l.cur.seg.Path())
	}
	l.pending = nil
	_ = l.cur.file.Close() // nothing of it can be reached any more
	l.cur = nil
}

// makeRoom answers whether n more bytes may be written, and evicts where it may.
func (l *Log) makeRoom(n int64) error {
	if l.fits(n) {
		return nil
	}
	segs, err := l.look()
	if err != nil {
		return err
	}
	if l.fits(n) {
		return nil
	}
	if l.opt.DropOldest && n <= l.opt.MaxBytes {
		if err := l.evict(segs, n); err != nil {
			return err
		}
		if l.fits(n) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s holds %d of %d bytes, and %d more are to come",
		ErrFull, l.dir, l.held(), l.opt.MaxBytes, n)
}

func (l *Log) fits(n int64) bool { return l.opt.MaxBytes <= 0 || l.held()+n <= l.opt.MaxBytes }

func (l *Log) held() int64 {
	if l.cur != nil {
		return l.others + l.cur.written
	}
	return l.others
}

// evict removes sealed segments, oldest first, until n more bytes fit. When that is not enough, it
// takes claims back from a replay that died, then the open segment, then the lines kept aside.
func (l *Log) evict(segs []Segment, n int64) error {
	if err := l.evictAll(segs, StateSealed, n); err != nil || l.fits(n) {
		return err
	}
	l.releaseStale()
	if err := l.seal(); err != nil {
		return err
	}
	segs, err := l.look()
	if err != nil {
		return err
	}
	if err := l.evictAll(segs, StateSealed, n); err != nil {
		return err
	}
	return l.evictAll(segs, StateBad, n)
}

func (l *Log) evictAll(segs []Segment, state State, n int64) error {
	for _, s := range segs {
		if l.fits(n) {
			return nil
		}
		if s.State != state {
			continue
		}
		if err := l.evictOne(s); err != nil {
			return err
		}
	}
	return nil
}

// evictOne removes a segment and counts what is lost with it. The rename makes it ours: a replay
// that claims it at the same moment either has it or does not find it.
func (l *Log) evictOne(s Segment) error {
	gone := s
	if s.State == StateSealed {
		gone.State = StateEvicted
		if err := l.fs.Rename(s.Path(), gone.Path()); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("evict segment: %w", err)
		}
	}
	return l.dropEvicted(gone)
}

func (l *Log) dropEvicted(s Segment) error {
	lines, _, err := countLines(l.fs, s)
	if err != nil {
		// A disk that cannot read it would never let it go; the count is what is missing then.
		l.log.Error("failure log: count evicted lines", zap.String("segment", s.Path()), zap.Error(err))
	}
	if err := l.fs.Remove(s.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("evict segment: %w", err)
	}
	l.others -= s.Size
	l.evicted.Add(lines)
	l.log.Warn("failure log is full: the oldest segment was dropped", zap.String("segment", s.Name()),
		zap.Int64("lines", lines), zap.Int64("bytes", s.Size))
	if s.State != StateBad {
		removeDone(l.fs, s, l.log)
	}
	return nil
}

// removeDone removes the progress of a segment that is gone. A leftover only takes room.
func removeDone(fsys fsx.FS, s Segment, log *zap.Logger) {
	if err := removeIfThere(fsys, s.donePath()); err != nil {
		log.Warn("failure log: remove progress", zap.String("file", s.donePath()), zap.Error(err))
	}
}

// countLines counts the lines of a segment that are not done, and their bytes.
func countLines(fsys fsx.FS, s Segment) (n, size int64, err error) {
	f, err := openSegment(fsys, s)
	if err != nil {
		return 0, 0, err
	}
	done, err := readDone(fsys, s, f)
	if err == nil {
		n, size, err = countOpen(f, s, done)
	}
	return n, size, errors.Join(err, f.Close())
}

// countOpen is countLines on an open file.
func countOpen(f io.ReaderAt, s Segment, done spans) (n, size int64, err error) {
	ls := newLines(f, s.Size, maxLine)
	for {
		e, err := ls.next()
		if errors.Is(err, io.EOF) {
			return n, size, nil
		}
		if err != nil {
			return n, size, err
		}
		if !done.has(e.from) && (e.whole || !s.growing()) {
			n++
			size += e.to - e.from
		}
	}
}
