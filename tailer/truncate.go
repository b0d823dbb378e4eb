package tailer

import (
	"encoding/binary"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
	"shiplog/tailer/internal/fsid"
)

// truncated is for a generation whose carrier no longer holds what was read of it. A live file begins
// a new generation at 0; what was unread of the old one may stand in the copy that copytruncate made.
func (t *Tailer) truncated(g *generation, now time.Time) {
	g.size = max(g.sound, g.offset())
	g.lost = LostTruncated
	if g.state != live || g.static {
		t.log.warn("rotated file was truncated or written over", g.fields()...)
		t.giveUp(g)
		return
	}
	t.counts.truncated++
	t.log.info("truncated", g.fields()...)
	s := g.ser
	next := t.succeed(g, now)
	g.state, g.at, g.tries, g.grown = orphan, "", 0, now
	t.dirs.fresh(dirOf(s.path))
	t.seek(g, now)
	t.between(s, now, next)
	s.add(next)
	t.own(next)
	t.counts.found++
	if next.f != nil {
		t.look(next, now)
		t.compare(next, now)
	}
	t.enqueue(s)
}

// succeed makes the generation that the live file holds after a truncation, with the descriptor of
// the one before. It is not in its series yet.
func (t *Tailer) succeed(g *generation, now time.Time) *generation {
	next := &generation{
		file: &batch.File{ID: g.node.FileID(t.nextGen(g.node)), Path: g.ser.path}, ser: g.ser, state: live,
		blank: neverBlank, node: g.node, root: g.root, at: g.at, grown: now, links: g.links, final: t.cfg.Once,
	}
	next.from(t.opt, batch.Pos{})
	if g.f != nil {
		t.disarm(g)
		next.f, g.f = g.f, nil
		delete(t.opened, g)
		t.opened[next] = struct{}{}
		t.heat(next, now)
		if info, err := fsid.Stat(next.f); err == nil {
			next.size, next.mtime, next.links = info.Size, info.MTime, info.Links
			next.head = headOf(next.f, next.size)
		}
	}
	return next
}

const (
	// patience is how many looks are taken for the copy of a truncated or lost file: when the second one
	// finds none, there is none, and newer lines need not wait any longer.
	patience = 2
	// morePatience is how many are taken for a compressed form that is there but not complete.
	morePatience = 10
)

// seek looks for a carrier of a generation that has lost its own. Newer generations wait for it.
func (t *Tailer) seek(g *generation, now time.Time) {
	g.tries++
	limit := patience
	if g.incomplete {
		limit = morePatience
	}
	e, found := t.carrierOf(g)
	switch {
	case g.lost == LostGone && t.reappeared(g, now):
	case g.dead:
	case found && g.tries <= limit:
		t.carry(g, e, now)
	case t.cfg.Once || g.tries >= limit:
		t.giveUp(g)
	}
}

// reappeared says that the file of a generation is there after all: it was renamed while the folder was
// read, and stood in no listing.
func (t *Tailer) reappeared(g *generation, now time.Time) bool {
	e, ok := t.now(entry{g.file.Path, g.root, fsid.Info{Identity: g.node}})
	if !ok || t.byNode[g.node] != nil && t.byNode[g.node] != g || !t.holds(e, g.position()) {
		return false
	}
	g.state, g.at = rotated, e.path
	t.own(g)
	t.observe(g, e.info, now)
	t.enqueue(g.ser)
	return true
}

// carry lets a copy or a compressed form take over a generation.
func (t *Tailer) carry(g *generation, e entry, now time.Time) {
	t.letGo(g)
	t.disown(g)
	g.pos = g.position()
	g.from(t.opt, g.pos)
	g.state, g.node, g.root, g.at = rotated, e.info.Identity, e.root, e.path
	g.gzip, g.static, g.final = compressed(e.path), true, true
	g.eof, g.sought, g.checked = false, false, 0
	g.size = max(g.size, g.pos.Offset)
	t.own(g)
	delete(t.held, g.node)
	t.log.info("reading on from a copy", append(g.fields(), zap.String("at", e.path))...)
	t.observe(g, e.info, now)
	t.hold(g, now)
	t.enqueue(g.ser)
}

// carrierOf finds the file that holds what was read of a generation, and what follows.
func (t *Tailer) carrierOf(g *generation) (entry, bool) {
	at := g.position()
	if at.HeadLen == 0 {
		return entry{}, false
	}
	var found []entry
	for _, e := range t.siblings(g.file.Path) {
		if g.rejected[e.info.Identity] || e.info.Identity == g.node {
			continue
		}
		e, same := t.now(e)
		if !same || !t.holds(e, at) {
			continue
		}
		if other := t.byNode[e.info.Identity]; other != nil && other != g {
			switch {
			case other.state == live && g.lost == LostTruncated:
				g.dead = true // taken for a log of its own before the truncation was seen: it ships there
				t.enqueue(g.ser)
				return entry{}, false
			case other.state != finished || !other.static:
				continue
			}
			t.forget(other) // a copy that was written over with the next one
		}
		found = append(found, e)
	}
	if len(found) == 0 {
		return entry{}, false
	}
	return slices.MaxFunc(found, betterCarrier), true
}

// betterCarrier prefers plain files, then longer, then younger ones.
func betterCarrier(a, b entry) int {
	if za, zb := compressed(a.path), compressed(b.path); za != zb {
		if za {
			return -1
		}
		return 1
	}
	if a.info.Size != b.info.Size {
		return int(min(max(a.info.Size-b.info.Size, -1), 1))
	}
	return older(a, b)
}

// holds says that a file has, up to a position, the content that the position was taken from. Of a
// compressed file only the beginning and the length are looked at here; it is verified when it is
// wound to the offset.
func (t *Tailer) holds(e entry, at batch.Pos) bool {
	if !compressed(e.path) && e.info.Size < at.Offset {
		return false
	}
	f, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if compressed(e.path) {
		return gzipHolds(f, e.info.Size, at)
	}
	ok, err := cut.Matches(f, at)
	return ok && err == nil
}

// gzipHolds compares the beginning and the length of a compressed file with a position.
func gzipHolds(f *os.File, size int64, at batch.Pos) bool {
	n, ok := gzipSize(f, size)
	if !ok || at.Offset < 1<<32 && n < at.Offset && size < 1<<22 {
		return false // gzip keeps the length modulo 2^32: a large file may have any
	}
	z := cut.NewGzip(f, gzipHead)
	defer z.Close()
	ok, err := cut.Matches(z, headOnly(at))
	return ok && err == nil
}

// gzipSize reads the length of the uncompressed stream, modulo 2^32, from the end of the file.
func gzipSize(f *os.File, size int64) (int64, bool) {
	var b [4]byte
	if _, err := f.ReadAt(b[:], size-int64(len(b))); err != nil {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint32(b[:])), true
}

// formOf finds the generation of a series whose compressed form a file is. A rotated file that still stands
// somewhere was not compressed: what is equal to it is another file.
func (t *Tailer) formOf(s *series, e entry) *generation {
	for _, g := range slices.Concat(s.gens, t.knownOf(s)) {
		if t.isForm(g, e) && (g.state == live || !t.stands(g)) {
			return g
		}
	}
	return nil
}

// stands says that a generation's own file has a name.
func (t *Tailer) stands(g *generation) bool {
	_, there := t.locate(g)
	return there
}

func (t *Tailer) knownOf(s *series) []*generation {
	if s.known == 0 {
		return nil
	}
	var out []*generation
	for _, g := range t.known {
		if g.ser == s {
			out = append(out, g)
		}
	}
	return out
}

// isForm says that a compressed file is one of a generation: it begins alike and is as long.
func (t *Tailer) isForm(g *generation, e entry) bool {
	at := g.position()
	if at.HeadLen == 0 || g.gzip {
		return false
	}
	f, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	length := at.Offset
	if g.state != finished {
		length = g.size
	}
	if g.f != nil { // the file may have grown since the last look, and then have lost its name
		if info, err := fsid.Stat(g.f); err == nil {
			length = info.Size
		}
	}
	n, ok := gzipSize(f, e.info.Size)
	return ok && n == length&(1<<32-1) && gzipHolds(f, e.info.Size, headOnly(at))
}

// findForm finds the compressed form of a finished generation whose file is gone; it stands in for
// the file from then on.
func (t *Tailer) findForm(g *generation) bool {
	for _, e := range t.siblings(g.file.Path) {
		if compressed(e.path) && t.byNode[e.info.Identity] == nil && t.isForm(g, e) {
			g.node, g.at, g.root, g.gzip, g.static = e.info.Identity, e.path, e.root, true, true
			g.goneAt, g.tries = time.Time{}, 0
			t.byNode[g.node] = g
			return true
		}
	}
	return false
}

// findCopy finds a file that holds all that a finished generation held and no more, which is what
// copytruncate made of it.
func (t *Tailer) findCopy(g *generation) {
	if g.pos.HeadLen == 0 || g.pos.Offset == 0 {
		return
	}
	for _, e := range t.siblings(g.file.Path) {
		if t.byNode[e.info.Identity] == nil && e.info.Size == g.pos.Offset && t.holds(e, g.pos) {
			g.node, g.at, g.root, g.static = e.info.Identity, e.path, e.root, true
			t.byNode[g.node] = g
			return
		}
	}
}

// maxUncompressed bounds what a compressed file that another program wrote may cost.
const maxUncompressed = 1 << 40

// gzipHead is for a look at the beginning of a compressed file.
var gzipHead = cut.GzipOptions{Window: batch.FingerprintBytes, MaxBytes: maxUncompressed}

// gzipBody is for reading one.
func (t *Tailer) gzipBody() cut.GzipOptions {
	return cut.GzipOptions{Window: t.opt.BlockBytes() + 64<<10, MaxBytes: maxUncompressed}
}

// reject takes a carrier away that is not what it seemed to be, or not complete yet, and looks for
// another one, or for the same one later.
func (t *Tailer) reject(g *generation, incomplete bool, now time.Time) {
	node := g.node
	t.letGo(g)
	t.disown(g)
	g.pos = g.position()
	g.state, g.gzip, g.static, g.at, g.final, g.incomplete = orphan, false, false, "", false, incomplete
	if incomplete {
		return // the next scan looks again
	}
	if g.rejected == nil {
		g.rejected = map[fsid.Identity]bool{}
	}
	g.rejected[node] = true
	g.tries = 0
	t.seek(g, now)
}
