package tailer

import (
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
)

// keepUnsettled is how long a finished generation without a file is kept in mind when nobody says that
// it is settled.
const keepUnsettled = time.Hour

func dirOf(path string) string { return filepath.Dir(path) }

// movedAway notes that a live file no longer stands at its path: renamed, deleted or replaced.
func (t *Tailer) movedAway(g *generation, now time.Time) {
	e, found := t.locate(g)
	if found && g.f == nil {
		g.at = e.path
		t.observe(g, e.info, now)
		t.peek(g, now)
		g = g.ser.live() // it may have been truncated before it was renamed
	}
	if g.blank >= t.scans-1 {
		t.beforeBlank(g.ser, g, now)
	}
	g.state, g.grown = rotated, now
	t.counts.rotated++
	if found {
		g.at = e.path
		t.log.info("rotated", append(g.fields(), zap.String("to", g.at))...)
	} else {
		g.at = ""
		g.goneAt = now
		t.log.info("file gone", g.fields()...)
	}
	t.enqueue(g.ser)
}

// locate finds where a generation's file stands now: by its inode, at its last place, in the folder of
// its path, and in the folders of `rotated`.
func (t *Tailer) locate(g *generation) (entry, bool) {
	if g.at != "" {
		if info, ok := stat(g.root, g.at); ok && info.Identity == g.node {
			return entry{g.at, g.root, info}, true
		}
	}
	if e, ok := t.dirs.list(dirOf(g.file.Path), t.scans).of(g.node); ok {
		return t.now(t.below(g.file.Path, e))
	}
	if len(t.cfg.Rotated) > 0 {
		for _, e := range t.besideAnd(g.file.Path) {
			if e.info.Identity == g.node {
				return t.now(e)
			}
		}
	}
	return entry{}, false
}

// between finds the files that came and were rotated away while nobody looked: generations after the
// newest one that we know of this path. They are put behind it, the oldest first. truncated is the
// live file when a truncation was seen, else nil.
func (t *Tailer) between(s *series, now time.Time, truncated *generation) {
	if t.scans == 1 && truncated == nil {
		return // everything is new at the first look; betweenRuns decides by age
	}
	if t.dirs.changedAt(dirOf(s.path), t.scans) {
		t.dirs.steady(dirOf(s.path), t.scans)
	}
	var found []entry
	all := t.siblings(s.path)
	for _, e := range all {
		if t.byNode[e.info.Identity] == nil && t.firstSeen(e) >= s.seen && t.mayFollow(s, e, all, truncated) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, older)
	for _, e := range found {
		delete(t.held, e.info.Identity)
		g := t.begin(s, e, rotated, now)
		t.log.info("rotated file found", append(g.fields(), zap.String("at", e.path))...)
	}
}

// beforeBlank is for a live file that was empty a moment ago: it may have been filled, copied and
// truncated since, which nothing in it can tell. The copy then holds what came before.
func (t *Tailer) beforeBlank(s *series, g *generation, now time.Time) {
	if !t.dirs.changedAt(dirOf(s.path), t.scans) {
		return
	}
	s.remove(g)
	t.between(s, now, g)
	s.add(g)
}

// mayFollow says that a file beside a path may be a generation younger than the newest we know.
func (t *Tailer) mayFollow(s *series, e entry, all []entry, truncated *generation) bool {
	if h := t.held[e.info.Identity]; h != nil && h.info.Size > 0 && truncated == nil {
		return false // it holds what the live file held
	}
	last := s.latest
	birth := last.node.Birth
	if compressed(e.path) {
		plain := e.path[:len(e.path)-len(".gz")]
		if slices.ContainsFunc(all, func(o entry) bool { return o.path == plain }) {
			return false // still being compressed
		}
		if truncated != nil && e.info.MTime > truncated.mtime {
			return false
		}
		return e.info.MTime >= birth && t.formOf(s, e) == nil && (truncated == nil || !t.isForm(truncated, e)) &&
			!t.copyOfRead(s, e)
	}
	if t.copyOfRead(s, e) {
		return false
	}
	if e.info.Birth != 0 && e.info.Birth < birth && !last.static {
		return false
	}
	// What was written after the live file was last written came after it: it was renamed, not copied.
	return truncated == nil || e.info.MTime <= truncated.mtime && !t.copyOfLive(e, truncated)
}

// copyOfLive says that a file holds what the live file begins with: a copy that is made just now, and
// not one of what was there before.
func (t *Tailer) copyOfLive(e entry, g *generation) bool {
	if g.f == nil {
		return false
	}
	f, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	at, err := cut.PosAt(f, e.info.Size)
	if err != nil {
		return false
	}
	same, err := cut.Matches(g.f, at)
	return same && err == nil
}

// tend looks after what is no longer at its path.
func (t *Tailer) tend(now time.Time) {
	for _, s := range t.series {
		for _, g := range slices.Clone(s.gens) {
			switch g.state {
			case rotated:
				t.tendRotated(g, now)
			case orphan:
				t.seek(g, now)
			case live, finished:
			}
		}
		if len(s.gens) == 0 && s.known == 0 {
			delete(t.series, s.path)
		}
	}
	for _, g := range slices.Clone(t.known) {
		t.tendFinished(g, now)
	}
}

// tendRotated follows a rotated file: it is finished when it was read and was quiet for RotateWait.
func (t *Tailer) tendRotated(g *generation, now time.Time) {
	if g.dead {
		t.enqueue(g.ser)
		return
	}
	e, ok := t.locate(g)
	switch {
	case ok:
		g.at, g.goneAt = e.path, time.Time{}
		if g.f == nil {
			t.observe(g, e.info, now)
		}
	case g.f == nil:
		t.carrierGone(g, now)
		return
	case g.goneAt.IsZero():
		g.at, g.goneAt = "", now
		t.log.info("file gone", g.fields()...)
	default:
		g.at = ""
	}
	if g.state != rotated {
		return // it was found to be truncated
	}
	if t.cfg.ReleaseAfter > 0 && g.at == "" && g.unread() > 0 && now.Sub(g.goneAt) >= t.cfg.ReleaseAfter {
		g.lost = LostReleased
		t.giveUp(g)
		return
	}
	if !g.more() && now.Sub(g.grown) >= t.cfg.RotateWait {
		g.final = true
	}
	if g.more() {
		t.enqueue(g.ser)
	}
}

// carrierGone is for a file that was not held open and is no longer there: what we have not read of
// it may stand in a compressed form.
func (t *Tailer) carrierGone(g *generation, now time.Time) {
	g.state, g.at, g.grown, g.tries, g.lost = orphan, "", now, 0, LostGone
	t.seek(g, now)
}

// disown takes a generation's inode out of the books.
func (t *Tailer) disown(g *generation) {
	if t.byNode[g.node] == g {
		delete(t.byNode, g.node)
	}
}

// end closes the books of a generation that was read to its end. It is kept in mind while its file is
// there, so that the file is not taken for a new one.
func (t *Tailer) end(g *generation) {
	g.pos = g.position()
	g.head = fingerprint{}
	t.letGo(g)
	g.state, g.cut, g.tries = finished, nil, 0
	g.ser.remove(g)
	g.ser.known++
	t.known = append(t.known, g)
	if g.at == "" {
		t.disown(g)
	}
}

// tendFinished looks whether the file of a finished generation is still there, has grown, or was
// compressed.
func (t *Tailer) tendFinished(g *generation, now time.Time) {
	if e, ok := t.locate(g); ok && t.byNode[g.node] == g {
		g.at, g.goneAt, g.tries = e.path, time.Time{}, 0
		if !g.gzip && e.info.Size != g.pos.Offset {
			t.changedAfterEnd(g, e, now)
		}
		return
	}
	t.disown(g)
	g.at = ""
	if g.goneAt.IsZero() {
		g.goneAt = now
	}
	if g.tries++; g.tries <= 3 && t.findForm(g) {
		return
	}
	t.mu.Lock()
	settled := t.settled[g.file.ID] >= g.pos.Offset
	t.mu.Unlock()
	if g.tries > 3 && settled || now.Sub(g.goneAt) > keepUnsettled {
		t.forget(g)
	}
}

// changedAfterEnd is for the file of a finished generation that is longer or shorter than what was
// read: an application still writes to it, or its inode holds something else now.
func (t *Tailer) changedAfterEnd(g *generation, e entry, now time.Time) {
	f, _, err := t.openEntry(e)
	if err != nil {
		return
	}
	same, err := cut.Matches(f, g.pos)
	_ = f.Close() // opened for reading
	switch {
	case err != nil:
	case same && !g.static:
		t.log.info("finished file has grown", append(g.fields(), zap.String("at", e.path))...)
		t.revive(g, rotated, now)
		t.observe(g, e.info, now)
	case !same || e.info.Size < g.pos.Offset:
		t.forget(g)
	}
}

// revive opens the books of a generation again.
func (t *Tailer) revive(g *generation, st state, now time.Time) {
	s := g.ser
	if g.state == finished {
		t.known = slices.DeleteFunc(t.known, func(k *generation) bool { return k == g })
		s.known--
		g.from(t.opt, g.pos)
		g.size, g.sound, g.final, g.passed, g.checked = g.pos.Offset, g.pos.Offset, t.cfg.Once, true, 0
	} else {
		s.remove(g)
	}
	g.state, g.grown = st, now
	if st == live {
		s.gens = append(s.gens, g)
	} else {
		s.gens = slices.Insert(s.gens, 0, g)
	}
	t.series[s.path] = s
	t.enqueue(s)
}

// forget drops a finished generation.
func (t *Tailer) forget(g *generation) {
	t.disown(g)
	t.known = slices.DeleteFunc(t.known, func(k *generation) bool { return k == g })
	g.ser.known--
	if g.node.Birth != 0 && t.byNode[g.node] == nil {
		delete(t.maxGen, g.node) // inode and birth never come again; without birth the number has to go on
	}
	t.mu.Lock()
	delete(t.settled, g.file.ID)
	t.mu.Unlock()
}

// giveUp ends a generation whose rest cannot be had, and says what is lost.
func (t *Tailer) giveUp(g *generation) {
	n := g.unread()
	t.counts.lose(g.lost, n)
	fields := append(g.fields(), zap.String("reason", g.lost), zap.Int64("unread_bytes_lost", n))
	switch {
	case n == 0 && g.position().HeadLen == 0:
		t.log.info("file is gone; it was empty when it was last seen", fields...)
	case n > 0 || g.remembered && g.lost == LostGone:
		t.counts.filesLost++
		t.log.error("unread rest of a file is lost: no rotated form of it was found", fields...)
	case g.remembered:
		t.counts.filesLost++
		t.log.error("file was truncated while nobody looked, and no copy of it was found", fields...)
	default:
		t.log.info("no copy of the file found; everything seen of it was read", fields...)
	}
	t.letGo(g)
	t.disown(g)
	g.dead, g.at = true, ""
	g.pos = g.position()
	t.enqueue(g.ser)
}

// headOnly is a position's fingerprint without its offset.
func headOnly(p batch.Pos) batch.Pos { return batch.Pos{Head: p.Head, HeadLen: p.HeadLen} }
