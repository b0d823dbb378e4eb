package tailer

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
	"shiplog/tailer/internal/fsid"
)

// manyWarnings bounds how many paths are kept in mind that something was said about.
const manyWarnings = 10_000

// scan looks at all names and at all open files once. It reads no lines.
func (t *Tailer) scan(now time.Time) {
	t.scans++
	t.log.roll(now)
	found := t.list()
	if t.scans == 1 {
		t.resume(found, now)
	}
	if len(t.refused) > manyWarnings {
		clear(t.refused)
	}
	t.inspect(now)
	t.assign(found, now)
	t.tend(now)
	t.dirs.forget(t.scans)
	maps.DeleteFunc(t.copies, func(_ fsid.Identity, c judged) bool { return c.scan != t.scans })
	t.tellFound()
	t.publish(0)
}

// tellFound tells of the generations that no batch has announced yet. A batch announces one too, but
// only when somebody asks for a batch, which may be long after. A copy or a compressed form waits for
// its batch, since it may still turn out to be one of a generation that we know; and with it wait all
// newer ones of its path: what is older than the newest that is remembered counts as done after a
// restart.
func (t *Tailer) tellFound() {
	if t.cfg.Found == nil {
		return
	}
	for _, s := range t.series {
		for _, g := range s.gens {
			unsure := g.static || g.dead || g.state == orphan
			if unsure && !g.announced {
				break
			}
			if g.untold() && !unsure {
				t.cfg.Found(batch.State{ID: g.file.ID, Path: g.file.Path, Pos: g.position()})
			}
		}
	}
}

// list gives the files that the patterns match now.
func (t *Tailer) list() []entry {
	candidates, err := t.glob.Match()
	if err != nil {
		t.warnOnce("", unreadFolders, err)
	} else {
		t.mayWarnAgain("", unreadFolders)
	}
	t.tellRefused()
	found := make([]entry, 0, len(candidates))
	for _, c := range candidates {
		if info, ok := stat(c.Root, c.Path); ok {
			found = append(found, entry{c.Path, c.Root, info})
		}
	}
	if len(found) == 0 && len(t.series) == 0 {
		t.warnOnce("include", "no file matches the include patterns yet; looking on each second", nil,
			zap.Strings("include", t.cfg.Include))
	}
	return found
}

// tellRefused says once for each path why nothing is read there.
func (t *Tailer) tellRefused() {
	passed := t.glob.Refused()
	now := make(map[string]string, len(passed))
	for i := range passed {
		e := &passed[i]
		why := e.Kind.String()
		now[e.Path] = why
		if t.passed[e.Path] != why {
			t.log.warn("not read, since it is no regular file", zap.String("path", e.Path), zap.String("reason", why))
		}
	}
	t.passed = now
}

const unreadFolders = "some folders cannot be read"

func warning(path, msg string) string { return path + "\x00" + msg }

// mayWarnAgain is for something that is over: the next time it is said again.
func (t *Tailer) mayWarnAgain(path, msg string) { delete(t.refused, warning(path, msg)) }

// warnOnce warns about a path (or a topic, with no path) until mayWarnAgain is called for it.
func (t *Tailer) warnOnce(path, msg string, err error, fields ...zap.Field) {
	key := warning(path, msg)
	if t.refused[key] {
		return
	}
	t.refused[key] = true
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	if path != "" && err != nil {
		fields = append(fields, zap.String("path", path))
	}
	t.log.warn(msg, fields...)
}

// inspect looks at every open file, whatever its watch says: size, and whether the content behind the
// position is still what was read.
func (t *Tailer) inspect(now time.Time) {
	open := make([]*generation, 0, len(t.opened))
	for g := range t.opened {
		open = append(open, g)
	}
	for _, g := range open {
		if g.f != nil { // a truncation hands the descriptor on
			t.look(g, now)
		}
		if g.f != nil {
			t.compare(g, now)
		}
	}
}

// look takes the size of an open file.
func (t *Tailer) look(g *generation, now time.Time) {
	info, err := fsid.Stat(g.f)
	if err != nil {
		t.log.error("stat of an open file failed", append(g.fields(), zap.Error(err))...)
		return
	}
	t.observe(g, info, now)
}

// observe notes what a stat of a generation's file said. A file shorter than what was read of it was
// truncated.
func (t *Tailer) observe(g *generation, info fsid.Info, now time.Time) {
	g.mtime, g.links = info.MTime, info.Links
	switch {
	case g.gzip:
	case info.Size < g.offset():
		t.truncated(g, now)
		return
	default:
		if info.Size > g.size {
			g.grown, t.grew = now, now
			t.heat(g, now)
			g.final = g.final && (t.cfg.Once || g.static)
		}
		g.size = info.Size
	}
	if g.size == 0 && g.offset() == 0 {
		g.blank = t.scans
	}
	if g.more() {
		t.enqueue(g.ser)
	}
}

// compare checks that an open file, if it was written to, still begins and continues as we know it,
// and learns more of its beginning. Without demand nothing is read, and a truncated file may have
// grown past its old size.
func (t *Tailer) compare(g *generation, now time.Time) {
	if g.gzip || g.checked == g.mtime && g.head.n == int(min(g.size, batch.FingerprintBytes)) {
		return
	}
	at := g.position()
	ok, err := cut.Matches(g.f, at)
	switch {
	case err != nil:
		return // its turn to be read will tell
	case !ok:
		t.truncated(g, now)
		return
	}
	g.checked, g.sound = g.mtime, g.size
	if at.HeadLen < batch.FingerprintBytes && g.size > int64(at.HeadLen) {
		g.head = headOf(g.f, g.size)
	}
}

// headOf takes the fingerprint of what a file begins with.
func headOf(f *os.File, size int64) fingerprint {
	buf := make([]byte, min(size, batch.FingerprintBytes))
	n, _ := f.ReadAt(buf, 0) // what cannot be read now is learned later
	return fingerprint{batch.Hash(buf[:n]), n}
}

// assign brings what stands at the paths together with the generations we know.
func (t *Tailer) assign(found []entry, now time.Time) {
	var fresh []entry
	for _, e := range found {
		g := t.byNode[e.info.Identity]
		if g == nil {
			fresh = append(fresh, e)
			continue
		}
		delete(t.held, e.info.Identity)
		if e.path != g.ser.path { // a rotated name of it, or a second link
			if g.state != live {
				g.at = e.path
			}
			continue
		}
		t.atItsPath(g, e, now)
	}
	for _, s := range t.series {
		if g := s.live(); g != nil && s.seen != t.scans && !t.stillThere(g, now) {
			t.movedAway(g, now)
		}
		switch g := s.live(); {
		case g == nil && s.latest != nil:
			t.between(s, now, nil)
		case g != nil && g.blank >= t.scans-1:
			t.beforeBlank(s, g, now)
		}
	}
	for _, e := range fresh {
		if t.byNode[e.info.Identity] == nil && t.admit(e, now) {
			t.discover(e, now)
		}
	}
	maps.DeleteFunc(t.held, func(_ fsid.Identity, h *held) bool { return h.seen != t.scans })
}

// stillThere looks once more for a live file that was not listed: the folder may not be readable now, or
// the file was renamed and came back while the folder was read.
func (t *Tailer) stillThere(g *generation, now time.Time) bool {
	info, ok := stat(g.root, g.ser.path)
	if !ok || info.Identity != g.node {
		return false
	}
	t.atItsPath(g, entry{g.ser.path, g.root, info}, now)
	return true
}

// atItsPath notes that a generation's file stands where the application writes it.
func (t *Tailer) atItsPath(g *generation, e entry, now time.Time) {
	if g.state != live && (g.static || g.ser.live() != nil && g.ser.live() != g) {
		return // the copy of an older generation was moved back, or two names changed places
	}
	if g.state != live {
		if info, ok := stat(e.root, e.path); !ok || info.Identity != g.node {
			return // it was rotated away while we looked
		}
	}
	g.at, g.ser.seen = e.path, t.scans
	if g.state != live {
		t.revive(g, live, now)
	}
	if g.f == nil {
		t.observe(g, e.info, now)
		t.peek(g, now)
	}
}

// discover begins a generation with a file that we did not know. Its path may be a new one, or one
// whose file was replaced.
func (t *Tailer) discover(e entry, now time.Time) {
	s := t.series[e.path]
	isNew := s == nil
	if !isNew && s.latest != nil {
		t.between(s, now, nil)
		if t.byNode[e.info.Identity] != nil {
			return // renamed since it was listed, and found just now under its new name
		}
	}
	if isNew {
		s = &series{path: e.path, root: e.root}
		t.series[e.path] = s
		t.dirs.list(dirOf(e.path), t.scans).replaced(e, t.scans)
	}
	g := t.begin(s, e, live, now)
	s.seen = t.scans
	if t.cfg.StartAtEnd && t.scans == 1 && isNew {
		t.toEnd(g)
	}
	t.log.info("file found", g.fields()...)
}

// begin makes a generation for a file and takes hold of the file, if a descriptor is free.
func (t *Tailer) begin(s *series, e entry, st state, now time.Time) *generation {
	node := e.info.Identity
	g := &generation{
		file: &batch.File{ID: node.FileID(t.nextGen(node)), Path: s.path}, ser: s, state: st,
		blank: neverBlank, node: node, root: e.root, at: e.path, gzip: compressed(e.path), static: compressed(e.path),
		grown: now, final: t.cfg.Once || compressed(e.path),
	}
	g.from(t.opt, batch.Pos{})
	t.counts.found++
	t.adopt(s, g, e, now)
	return g
}

// adopt puts a generation into its series, with the file that carries it.
func (t *Tailer) adopt(s *series, g *generation, e entry, now time.Time) {
	s.add(g)
	t.own(g)
	t.observe(g, e.info, now)
	t.enqueue(s)
	t.take(g, now)
}

// own enters a generation into the books, with the inode that carries it now.
func (t *Tailer) own(g *generation) {
	t.byNode[g.node] = g
	t.expect(g)
}

// expect says that Settled will be told of a generation.
func (t *Tailer) expect(g *generation) {
	t.mu.Lock()
	t.settled[g.file.ID] = max(t.settled[g.file.ID], 0)
	t.mu.Unlock()
}

// take takes hold of a generation's file, or, when there are too many open ones, only looks into it.
func (t *Tailer) take(g *generation, now time.Time) {
	if t.cfg.MaxOpenFiles <= 0 || len(t.opened) < t.cfg.MaxOpenFiles {
		t.hold(g, now)
		return
	}
	t.peek(g, now)
}

// peek compares a file that is not held open with what is known of it, as inspect does with the open
// ones: whether it was truncated, and how it begins, since that is how it is found again should it be
// renamed and compressed.
func (t *Tailer) peek(g *generation, now time.Time) {
	if g.f != nil || g.gzip || g.checked == g.mtime {
		return
	}
	f, err := t.openCarrier(g)
	if err != nil {
		return // its turn to be read will tell
	}
	s := g.ser
	g.f = f
	t.opened[g] = struct{}{}
	t.look(g, now)
	if g.f != nil {
		t.compare(g, now)
	}
	for _, h := range append(slices.Clone(s.gens), g) { // a truncation hands the descriptor on
		if h.f == f {
			t.letGo(h)
		}
	}
}

// nextGen numbers the generations that one inode has carried.
func (t *Tailer) nextGen(node fsid.Identity) uint32 {
	n, used := t.maxGen[node]
	if used {
		n++
	}
	t.maxGen[node] = n
	return n
}

// toEnd begins a file at its end: behind the last whole line.
func (t *Tailer) toEnd(g *generation) {
	if g.f == nil && !t.hold(g, g.grown) {
		return
	}
	size := g.size
	offset, err := cut.LineStart(g.f, size, t.cfg.MaxLineBytes)
	if err == nil {
		var pos batch.Pos
		if pos, err = cut.PosAt(g.f, offset); err == nil {
			g.from(t.opt, pos)
			return
		}
	}
	if !errors.Is(err, cut.ErrChanged) {
		t.log.error("cannot begin at the end", append(g.fields(), zap.Error(err))...)
	}
}
