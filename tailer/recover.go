package tailer

import (
	"cmp"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/fsid"
)

// resume goes on from what the checkpoint remembers. It finds each generation again: by its inode,
// wherever in the folder it stands now, and where that fails by its content, in a copy or a compressed
// form. What was written and rotated away while nobody ran comes between.
func (t *Tailer) resume(found []entry, now time.Time) {
	byPath := map[string][]batch.State{}
	var paths []string
	for _, st := range t.cfg.Resume {
		node := fsid.Of(st.ID)
		if n, ok := t.maxGen[node]; !ok || st.ID.Gen > n {
			t.maxGen[node] = st.ID.Gen
		}
		if byPath[st.Path] == nil {
			paths = append(paths, st.Path)
		}
		byPath[st.Path] = append(byPath[st.Path], st)
	}
	slices.Sort(paths)
	for _, p := range paths {
		if !t.glob.Has(p) {
			t.log.info("remembered file is no longer included", zap.String("path", p))
			continue
		}
		t.resumePath(p, rootOf(p, found), byPath[p], now)
	}
	t.cfg.Resume = nil
}

// seenSlack is how much older the look may be that a checkpoint tells of than it says: the checkpoint
// is saved with the time of saving, and files are looked for each second.
const seenSlack = 2 * time.Second

// place is where a remembered generation was found.
type place struct {
	g    *generation
	key  int64 // orders generations by age: the time of the last write
	seen int64 // when it was last there
	// blank says that the file was empty when it was last seen: its content does not tell it.
	blank bool
}

// resumePath brings the generations of one path back.
func (t *Tailer) resumePath(path string, root *fsid.Root, states []batch.State, now time.Time) {
	s := &series{path: path, root: root, seen: t.scans}
	t.series[path] = s
	places := t.placesFor(s)
	found := make([]*place, 0, len(states))
	for _, st := range states {
		found = append(found, t.recall(s, st, places, now))
	}
	for _, p := range found {
		if p.g.state == finished && p.g.at == "" && !t.findForm(p.g) {
			t.findCopy(p.g)
		}
		if info, ok := stat(p.g.root, p.g.at); ok && p.g.state == finished {
			p.key = info.MTime // when it was last seen says nothing of its age: a later file may be older than that
		}
	}
	for _, p := range found {
		if p.g.state == orphan {
			t.seek(p.g, now)
			if p.g.state != orphan && !p.g.dead {
				p.key = p.g.mtime
			}
		}
	}
	slices.SortStableFunc(found, byAge)
	for _, p := range found { // so that their compressed forms are known for what they are
		if p.g.state != finished {
			s.gens = append(s.gens, p.g)
		}
	}
	between, atPath := t.betweenAndNow(s, found, now)
	found = append(found, between...)
	slices.SortStableFunc(found, byAge)
	s.gens = s.gens[:0]
	for _, p := range found {
		s.latest = p.g
		if p.g.state != finished {
			s.gens = append(s.gens, p.g)
			t.enqueue(s)
		}
	}
	// What stands at the path now, if it is another file: it may be rotated away before the next look.
	if atPath != nil && t.byNode[atPath.Identity] == nil && s.live() == nil {
		t.discover(entry{path, root, *atPath}, now)
	}
}

// betweenAndNow finds what came between the remembered generations and what stands at the path now. The
// folder may change while we look: a file that was renamed before we looked at the path, or compressed
// before we looked at its sibling, is in neither look. So it lists again until nothing has moved.
// Else the newest one would be remembered, and after the next restart the older ones counted as done.
func (t *Tailer) betweenAndNow(s *series, remembered []*place, now time.Time) (between []*place, atPath *fsid.Info) {
	dir := dirOf(s.path)
	for range renameTries {
		listed := t.dirs.list(dir, t.scans).at(s.path)
		found, moved := t.betweenRuns(s, remembered, now)
		between = append(between, found...)
		atPath = nil
		if info, there := stat(s.root, s.path); there {
			atPath = &info
		}
		same := listed == nil && atPath == nil || listed != nil && atPath != nil && listed.Identity == atPath.Identity
		if same && !moved {
			break
		}
		t.dirs.fresh(dir)
		t.dirs.steady(dir, t.scans)
	}
	return between, atPath
}

// places is where the generations of a path may stand.
type places struct {
	dir    *dirList // the folder of the path
	beside map[fsid.Identity]entry
}

func (p places) of(node fsid.Identity) (entry, bool) {
	if e, ok := p.beside[node]; ok {
		return e, true
	}
	return p.dir.of(node)
}

// placesFor looks where the generations of a path may stand. The folder may have been listed for another
// path a moment ago; what was renamed since is found when it is looked at.
func (t *Tailer) placesFor(s *series) places {
	dir := dirOf(s.path)
	t.dirs.steady(dir, t.scans)
	p := places{t.dirs.list(dir, t.scans), map[fsid.Identity]entry{}}
	for _, e := range t.beside(s.path) {
		p.beside[e.info.Identity] = e
	}
	if info, ok := stat(s.root, s.path); ok {
		p.beside[info.Identity] = entry{s.path, s.root, info}
	}
	return p
}

// byAge orders generations as older orders files.
func byAge(a, b *place) int {
	if a.key != b.key || a.g.at == "" || b.g.at == "" {
		return cmp.Compare(a.key, b.key)
	}
	return olderName(a.g.at, b.g.at)
}

// rootOf gives the folder below which no symbolic link may lead to a path: that of its pattern, if a
// file that matched shows it.
func rootOf(path string, found []entry) *fsid.Root {
	root := &fsid.Root{Dir: dirOf(path)}
	for _, e := range found {
		if e.path == path {
			return e.root
		}
		if len(e.root.Dir) < len(root.Dir) && strings.HasPrefix(path, e.root.Dir+"/") {
			root = e.root
		}
	}
	return root
}

// recall makes a generation of what is remembered, with the file that carries it if that is there.
func (t *Tailer) recall(s *series, st batch.State, places places, now time.Time) *place {
	g := &generation{
		blank: neverBlank,
		file:  &batch.File{ID: st.ID, Path: st.Path}, ser: s, state: orphan, node: fsid.Of(st.ID), root: s.root,
		pos: st.Pos, size: st.Pos.Offset, sound: st.Pos.Offset, announced: true, told: st.Pos.HeadLen, remembered: true, final: t.cfg.Once,
		grown: now, lost: LostGone,
	}
	seen := st.Seen
	if seen.IsZero() {
		seen = now // nothing is known: so nothing came after it
	}
	t.expect(g)
	seen = seen.Add(-seenSlack)
	p := &place{g: g, key: seen.UnixNano(), seen: seen.UnixNano(), blank: st.Pos.HeadLen == 0}
	e, there := t.placeOf(g.node, st, places)
	newest := t.maxGen[fsid.Of(st.ID)] == st.ID.Gen
	switch {
	case there && newest && t.holds(e, st.Pos):
		p.key = e.info.MTime
		t.recalled(g, e)
	case there, !newest:
		g.lost = LostTruncated
	}
	switch {
	case st.Finished:
		g.state = finished
		s.known++
		t.known = append(t.known, g)
		return p
	case g.state == live:
		p.key = math.MaxInt64
	}
	g.from(t.opt, st.Pos)
	if g.state != orphan {
		g.grown = lastWrite(e, now)
		t.observe(g, e.info, now)
		t.take(g, now)
	}
	return p
}

// recalled ties a remembered generation to the file that carries it.
func (t *Tailer) recalled(g *generation, e entry) {
	g.node, g.at, g.root = e.info.Identity, e.path, e.root
	g.state = rotated
	if e.path == g.ser.path {
		g.state = live
	}
	if compressed(e.path) {
		g.gzip, g.static, g.final = true, true, true
	}
	t.own(g)
}

// lastWrite is when a file was written last, or now if that lies in the future.
func lastWrite(e entry, now time.Time) time.Time {
	if at := time.Unix(0, e.info.MTime); at.Before(now) {
		return at
	}
	return now
}

// placeOf finds the inode of a remembered generation. Device numbers may change when a machine starts
// again; inode and birth together, and content that was read, are certain enough without.
func (t *Tailer) placeOf(node fsid.Identity, st batch.State, places places) (entry, bool) {
	if e, ok := places.of(node); ok {
		return t.now(e)
	}
	if node.Birth == 0 || st.Pos.Offset == 0 {
		return entry{}, false
	}
	for _, e := range slices.Concat(places.dir.entries, slices.Collect(maps.Values(places.beside))) {
		if id := e.info.Identity; id.Inode == node.Inode && id.Birth == node.Birth && t.holds(e, st.Pos) {
			return t.now(e)
		}
	}
	return entry{}, false
}

// betweenRuns finds the files that came and were rotated away while nobody ran: those that were
// written after the newest generation that is remembered, and of which nothing is known. moved says that
// a file was gone when it was looked at, so that the listing is old.
func (t *Tailer) betweenRuns(s *series, known []*place, now time.Time) (out []*place, moved bool) {
	newest := known[len(known)-1]
	since := newest.key
	last := entry{path: newest.g.at, info: fsid.Info{Identity: newest.g.node, MTime: since}}
	if newest.blank {
		// It was empty when it was last seen, so it may have been filled, copied and truncated since,
		// which nothing in it can tell.
		since = min(since, newest.seen)
	}
	for _, p := range known {
		if p.g.dead && p.blank { // it cannot be told by its content: so by its age
			since = min(since, known[0].key)
		}
	}
	var found []entry
	for _, e := range t.siblings(s.path) {
		e, same := t.now(e)
		moved = moved || !same
		if !same || t.byNode[e.info.Identity] != nil || e.info.MTime < since {
			continue
		}
		if e.info.MTime == last.info.MTime && newest.g.at != "" && older(e, last) < 0 {
			continue
		}
		if t.fromBetween(s, e, newest) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, older)
	for _, e := range found {
		g := t.begin(s, e, rotated, now)
		g.grown = lastWrite(e, now)
		t.log.info("rotated file found", append(g.fields(), zap.String("at", e.path))...)
		out = append(out, &place{g: g, key: e.info.MTime})
	}
	return out, moved
}

// fromBetween says that a file is none of those that are remembered in another form.
func (t *Tailer) fromBetween(s *series, e entry, newest *place) bool {
	if compressed(e.path) {
		plain := e.path[:len(e.path)-len(filepath.Ext(e.path))]
		if _, there := stat(e.root, plain); there || t.formOf(s, e) != nil { // looked at anew: it may be gone since
			return false
		}
	}
	if newest.g.state == live && t.copyOfLive(e, newest.g) {
		return false
	}
	return !t.copyOfKnown(s, e)
}

// copyOfKnown says that a file holds all that a remembered generation held, and no more: a copy that
// somebody made of it, compressed or not.
func (t *Tailer) copyOfKnown(s *series, e entry) bool {
	for _, g := range slices.Concat(s.gens, t.knownOf(s)) {
		if at := g.position(); at.Offset > 0 && g.size == e.info.Size && at.Offset == e.info.Size && t.holds(e, at) || t.isTwin(g, e) {
			return true
		}
	}
	return false
}
