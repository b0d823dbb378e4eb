package tailer

import (
	"time"

	"go.uber.org/zap"

	"shiplog/tailer/internal/cut"
)

// held is a new file that may be the copy which copytruncate has just made or is making. Its lines
// would be shipped twice if it were taken for a log; so it waits until the truncation is seen, or
// until it has been quiet for RotateWait without one.
type held struct {
	entry
	grown time.Time
	seen  int64 // the scan at which it was there
}

// admit decides whether a file that we do not know is a log to read, now or later.
func (t *Tailer) admit(e entry, now time.Time) bool {
	if compressed(e.path) || otherFormat(e.path) {
		if t.rotatedFrom(e.path) != nil && compressed(e.path) {
			return false // a form of what we read, or on its way to become one
		}
		t.warnOnce(e.path, "compressed file is not read: it is no rotated form of a log that was being read", nil,
			zap.String("path", e.path))
		return false
	}
	if s := t.series[e.path]; s != nil {
		return true
	}
	atEnd := t.cfg.StartAtEnd && t.scans == 1
	if !atEnd && t.cfg.IgnoreOlder > 0 && now.Sub(time.Unix(0, e.info.MTime)) > t.cfg.IgnoreOlder {
		return false
	}
	if t.cfg.Once || !t.mayBeCopy(e) {
		delete(t.held, e.info.Identity)
		return true
	}
	h := t.held[e.info.Identity]
	if h == nil || h.info.Size != e.info.Size {
		t.held[e.info.Identity] = &held{e, now, t.scans}
		return false
	}
	h.seen = t.scans
	if e.info.Size == 0 || now.Sub(h.grown) < t.cfg.RotateWait {
		return false
	}
	delete(t.held, e.info.Identity)
	return true
}

// rotatedFrom gives the series whose rotated form a path seems to be.
func (t *Tailer) rotatedFrom(path string) *series {
	for _, base := range basesOf(path) {
		if s := t.series[base]; s != nil {
			return s
		}
	}
	return nil
}

// mayBeCopy says that a file holds the beginning of the live log that its name belongs to, or nothing yet.
func (t *Tailer) mayBeCopy(e entry) bool {
	for _, base := range basesOf(e.path) {
		s := t.series[base]
		if s == nil || s.live() == nil {
			continue
		}
		if e.info.Size == 0 || t.sameHead(e, s.live()) {
			return true
		}
	}
	return false
}

// sameHead says that the file begins as a generation does, as far as both go.
func (t *Tailer) sameHead(e entry, g *generation) bool {
	if e.info.Size > g.size || g.size == 0 {
		return false
	}
	f, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if g.f == nil || g.gzip {
		pos := g.position()
		pos.Offset, pos.TailLen = 0, 0
		ok, err := cut.Matches(f, pos)
		return ok && err == nil && pos.HeadLen > 0
	}
	return headOf(f, e.info.Size) == headOf(g.f, e.info.Size)
}
