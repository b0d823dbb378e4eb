package tailer

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"shiplog/tailer/internal/cut"
	"shiplog/tailer/internal/fsid"
	"shiplog/tailer/internal/watch"
)

const (
	hotFor     = time.Second            // a file without data for so long is watched instead of polled
	coldPoll   = 250 * time.Millisecond // how often idle files are polled that cannot be watched
	pollCost   = 40 * time.Microsecond  // wait at least so long for each file that is polled
	manyWakes  = 16                     // a watched file that wakes us so often is polled instead
	notWatched = "files cannot be watched; they are polled instead"
	unreadOnce = "more files have unread lines than max_open_files allows to hold: they take turns"
)

// hold makes sure that a generation's file is open, closing an idle one when there are too many. It
// is false when the file cannot be opened now; the next scan tries again.
func (t *Tailer) hold(g *generation, now time.Time) bool {
	if g.f != nil {
		return true
	}
	if g.at == "" || g.tried == t.scans || !t.room(g) {
		return false
	}
	f, err := t.openCarrier(g)
	if errors.Is(err, syscall.EMFILE) && t.evict(g) {
		f, err = t.openCarrier(g)
	}
	if err != nil {
		g.tried = t.scans
		t.refuse(g, err)
		return false
	}
	g.f = f
	if g.gzip {
		g.z, g.sought = cut.NewGzip(f, t.gzipBody()), false
	}
	t.opened[g] = struct{}{}
	t.heat(g, now)
	g.checked = 0
	t.look(g, now)
	if g.f != nil {
		t.compare(g, now)
	}
	return g.f != nil
}

// openCarrier opens the file that carries a generation, wherever in its folder it stands by now.
func (t *Tailer) openCarrier(g *generation) (*os.File, error) {
	f, e, err := t.openEntry(entry{g.at, g.root, fsid.Info{Identity: g.node}})
	if err == nil {
		g.at = e.path
	}
	return f, err
}

// readable notes that a file which could not be read can be.
func (t *Tailer) readable(g *generation) {
	if g.denied {
		g.denied = false
		t.log.info("file can be read again", g.fields()...)
	}
}

// refuse notes that a file cannot be opened or read: said once, counted each time.
func (t *Tailer) refuse(g *generation, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return // rotated away just now
	}
	t.counts.openErrors++
	if !g.denied {
		g.denied = true
		t.log.error("file cannot be read; trying again each second", append(g.fields(), zap.Error(err))...)
	}
}

// unreadable counts the files that cannot be opened now.
func (t *Tailer) unreadable() int {
	n := 0
	for _, s := range t.series {
		for _, g := range s.gens {
			if g.denied {
				n++
			}
		}
	}
	return n
}

// room makes room for one more open file.
func (t *Tailer) room(g *generation) bool {
	return t.cfg.MaxOpenFiles <= 0 || len(t.opened) < t.cfg.MaxOpenFiles || t.evict(g)
}

// evict closes the open file that needs it least: one without unread lines, else the one whose turn
// is longest ago. A file without a name is never closed, since it could not be opened again.
func (t *Tailer) evict(for_ *generation) bool {
	victim := t.leastNeeded(for_)
	for victim != nil {
		info, err := fsid.Stat(victim.f)
		if err != nil || info.Links > 0 {
			break
		}
		victim.links = 0 // deleted since the last look
		victim = t.leastNeeded(for_)
	}
	if victim == nil {
		return false
	}
	if victim.more() {
		t.warnOnce("", unreadOnce, nil, zap.Int("max_open_files", t.cfg.MaxOpenFiles))
	}
	t.letGo(victim)
	return true
}

// leastNeeded chooses the open file to close.
func (t *Tailer) leastNeeded(for_ *generation) (victim *generation) {
	for g := range t.opened {
		if g == for_ || g.at == "" || g.links == 0 || g.gzip || g.used == t.fills && g.used > 0 && g.more() {
			continue
		}
		if victim == nil || lessNeeded(g, victim) {
			victim = g
		}
	}
	return victim
}

func lessNeeded(a, b *generation) bool {
	if ma, mb := a.more(), b.more(); ma != mb {
		return mb
	}
	return a.used < b.used
}

// letGo closes a generation's file.
func (t *Tailer) letGo(g *generation) {
	if g.f == nil {
		return
	}
	released := t.disarm(g)
	if g.z != nil {
		g.z.Close()
		g.z = nil
	}
	if released {
		_ = g.f.Close() // opened for reading
	} else {
		t.log.warn("a watch did not end; its descriptor stays open", g.fields()...)
	}
	g.f = nil
	delete(t.opened, g)
}

// heat marks a file as one in use: it is polled, and not watched.
func (t *Tailer) heat(g *generation, now time.Time) {
	g.hotTill = now.Add(hotFor)
	if !g.isHot && g.f != nil {
		g.isHot = true
		t.hot = append(t.hot, g)
	}
}

// poll looks at the files in use; those that have been idle for a while are watched from now on.
func (t *Tailer) poll(now time.Time) {
	keep := t.hot[:0]
	hot := t.hot
	t.hot = nil // look may heat others
	for _, g := range hot {
		g.isHot = false
		if g.f == nil {
			continue
		}
		if now.Before(g.hotTill) || !t.watchIt(g, now) {
			t.look(g, now)
		}
		if g.f != nil && now.Before(g.hotTill) && !g.isHot {
			g.isHot = true
			keep = append(keep, g)
		}
	}
	t.hot = append(keep, t.hot...)
	if now.Sub(t.coldAt) >= coldPoll {
		t.coldAt = now
		t.pollCold(now)
	}
}

// pollCold looks at the idle files that are not watched.
func (t *Tailer) pollCold(now time.Time) {
	var cold []*generation
	for g := range t.opened {
		if !g.isHot && (g.watch == nil || !g.watch.Alive()) {
			cold = append(cold, g)
		}
	}
	for _, g := range cold {
		if g.f != nil {
			t.look(g, now)
		}
	}
	t.unwatched = len(cold)
}

// watchIt arms a watch on an idle file, and looks at it once more, since what happened before the
// watch is not reported.
func (t *Tailer) watchIt(g *generation, now time.Time) bool {
	g.wakes = 0
	if g.watch != nil && g.watch.Alive() {
		return true
	}
	t.disarm(g)
	if t.cfg.Poll || g.static {
		return false
	}
	w, err := t.arm(g.f, func() { t.wakeUp(g) })
	if err != nil {
		t.unwatched++
		if !errors.Is(err, watch.ErrEnough) {
			t.warnOnce("", notWatched, err)
		}
		return false
	}
	g.watch = w
	t.look(g, now)
	return true
}

// disarm ends a generation's watch; false says that its descriptor must not be closed.
func (t *Tailer) disarm(g *generation) bool {
	if g.watch == nil {
		return true
	}
	released := g.watch.Stop()
	g.watch = nil
	return released
}

// wakeUp is called by watches, on their goroutines.
func (t *Tailer) wakeUp(g *generation) {
	t.mu.Lock()
	if !g.woke {
		g.woke = true
		t.woken = append(t.woken, g)
	}
	t.mu.Unlock()
	nudge(t.wake)
}

// takeWakes looks at the files whose watches fired.
func (t *Tailer) takeWakes(now time.Time) {
	t.mu.Lock()
	woken := t.woken
	t.woken = nil
	for _, g := range woken {
		g.woke = false
	}
	t.mu.Unlock()
	for _, g := range woken {
		if g.f == nil {
			continue
		}
		g.wakes++
		if g.wakes > manyWakes || g.watch != nil && !g.watch.Alive() {
			t.disarm(g)
		}
		t.heat(g, now)
		t.look(g, now)
	}
}
