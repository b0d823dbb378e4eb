//go:build linux

package systest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRotationTorture rotates the file of a busy application 60 times in a random order of all the
// ways in which files are rotated, and restarts shiplog in between, by SIGTERM and by SIGKILL. Every
// line arrives but those that copytruncate itself takes away before anybody can read them: the lines
// that are written between the end of its copy and its truncation, which the writer knows exactly.
func TestRotationTorture(t *testing.T) {
	for i, mode := range []string{"callback", "sync"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tt := newTorture(t, mode, seed(t)+uint64(i))
			tt.rotate()
			tt.drain()
			tt.reckon()
		})
	}
}

// The ways to rotate.
const (
	byRename        = "rename"
	byRenameTwice   = "rename twice between two looks"
	byCompress      = "rename and compress"
	byCopyStill     = "copytruncate, the application pausing"
	byCopyBusy      = "copytruncate, the application writing on"
	rotationsInAll  = 60
	restartsPerKind = 4
)

type torture struct {
	t     *testing.T
	mode  string
	rand  *rand.Rand
	place *place
	b     *broker
	topic *topic
	w     *writer
	p     *process // nil while shiplog is down

	kinds  map[string]int
	tally  *tally
	order  []int       // the lines in the order of the topic
	cuts   map[int]int // where in order shiplog was killed -> repeats that are allowed behind
	stops  int
	kills  int
	failed map[int]bool // lines in the failure log
}

func newTorture(t *testing.T, mode string, seed uint64) *torture {
	tt := &torture{t: t, mode: mode, rand: rand.New(rand.NewPCG(seed, 0)), tally: newTally(t),
		kinds: map[string]int{}, cuts: map[int]int{}}
	partitions := int32(3)
	if mode == "sync" {
		partitions = 1 // one path has one partition anyway; so its order is the topic's
	}
	tt.b = newBroker(t, partitions, []string{"logs"})
	tt.topic = tt.b.open("logs")
	tt.topic.next()
	tt.place = newPlace(t, tt.b.addrs(), `checkpoint_interval: 200ms
shutdown_quiet: 200ms
sources:
  - {id: app, include: [%s/app.log], mode: %s, topic: logs, max_batch_lines: %d, rotate_wait: 500ms}
`, mode, batchLines)
	tt.w = newWriter(t, tt.place.logPath(), linesPerSecond(), seed)
	return tt
}

// plan lists the rotations, each kind often, in random order.
func (tt *torture) plan() []string {
	var plan []string
	for range rotationsInAll / 5 {
		plan = append(plan, byRename, byRenameTwice, byCompress, byCopyStill, byCopyBusy)
	}
	tt.rand.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}

// rotate runs the plan, and brings shiplog down at random places in it for up to two rotations.
func (tt *torture) rotate() {
	end := tt.w.begin()
	defer end()
	down := map[int]func(){}
	for i, at := range tt.rand.Perm(rotationsInAll/4 - 1)[:2*restartsPerKind] {
		down[4*at+2] = []func(){tt.stop, tt.kill}[i%2]
	}
	tt.p = run(tt.t, tt.place.config)
	tt.place.remembered(tt.t, "app")
	up := 0
	for i, kind := range tt.plan() {
		if bring := down[i]; bring != nil {
			bring()
			tt.p, up = nil, i+tt.rand.IntN(3)
		}
		tt.once(kind)
		if tt.p == nil && i >= up {
			tt.p = run(tt.t, tt.place.config)
		}
		pass(tt.between())
	}
}

func (tt *torture) between() time.Duration {
	return time.Duration(40+tt.rand.IntN(260)) * time.Millisecond
}

// once rotates in one way.
func (tt *torture) once(kind string) {
	tt.kinds[kind]++
	moment := time.Duration(tt.rand.IntN(25)) * time.Millisecond
	switch kind {
	case byRename:
		tt.w.rename(moment)
	case byRenameTwice:
		tt.w.rename(moment)
		pass(moment)
		tt.w.rename(0)
	case byCompress:
		tt.w.compress(moment)
	case byCopyStill:
		tt.w.copyTruncate(true, 0)
	case byCopyBusy:
		tt.w.copyTruncate(false, moment)
	}
}

// stop ends shiplog with SIGTERM. The application pauses, so that its file falls quiet.
func (tt *torture) stop() {
	defer tt.w.pause()()
	tt.stops++
	if code := tt.p.stop(); code != 0 {
		tt.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	tt.collect()
}

// kill ends shiplog with SIGKILL, and notes how many repeats that allows: what arrived after the last
// checkpoint was saved, or was in flight then.
func (tt *torture) kill() {
	tt.kills++
	tt.p.kill()
	tt.b.drained()
	tt.collect()
	tt.cuts[len(tt.order)] = tt.b.since(tt.place.checkpoint(tt.t, "app").At) + 5*batchLines
}

func (tt *torture) collect() { tt.order = append(tt.order, tt.tally.add(tt.topic.next())...) }

// drain lets shiplog read to the end.
func (tt *torture) drain() {
	if tt.p == nil {
		tt.p = run(tt.t, tt.place.config)
	}
	if code := tt.p.stop(); code != 0 {
		tt.t.Errorf("exit code %d at the end, want 0", code)
	}
	tt.collect()
	tt.failed = map[int]bool{}
	for _, f := range tt.place.failures(tt.t, "app") {
		if n, ok := number(f.payload(tt.t)); ok {
			tt.failed[n] = true
		}
	}
}

// reckon says what was lost and what came twice, and why that much was allowed.
func (tt *torture) reckon() {
	var lost, taken []int
	for _, n := range tt.tally.missing(tt.w.written) {
		switch {
		case tt.failed[n]:
		case tt.w.exposed[n]:
			taken = append(taken, n)
		default:
			lost = append(lost, n)
		}
	}
	allowed := 0
	for _, n := range tt.cuts {
		allowed += n
	}
	tt.t.Logf("%s: %d lines, %d rotations %v, %d stops, %d kills", tt.mode, tt.w.written, rotationsInAll, tt.kinds, tt.stops, tt.kills)
	tt.t.Logf("%s: lost %d; copytruncate took %d of the %d lines that were written between a copy's end and its truncation; "+
		"repeats %d, allowed %d; cut lines %d; in the failure log %d",
		tt.mode, len(lost), len(taken), len(tt.w.exposed), tt.tally.repeats(), allowed, tt.tally.foreign, len(tt.failed))
	if len(lost) > 0 {
		tt.t.Errorf("lost %d lines: %s", len(lost), tt.w.describe(lost))
	}
	if r := tt.tally.repeats() - tt.ofBusyCopies(); r > allowed {
		tt.t.Errorf("%d repeats, want at most %d", r, allowed)
	}
	// A copy that is made of a file that is being written may end in the middle of a line.
	if most := tt.kinds[byCopyBusy]; tt.tally.foreign > most {
		tt.t.Errorf("%d records are no line that was written, want at most %d", tt.tally.foreign, most)
	}
	if tt.mode == "sync" {
		tt.inOrder()
	}
}

// ofBusyCopies counts the repeats in files that were copied while they were written to, which it
// prints. When shiplog has read beyond the end of such a copy, and did not stop on its way at a place
// within it, then nothing tells it that the copy is one: it ships it, as it must not lose a line.
func (tt *torture) ofBusyCopies() int {
	repeats := 0
	for n, times := range tt.tally.times {
		if times > 1 && tt.w.streams[tt.w.streamOf(n)].busy {
			repeats += times - 1
		}
	}
	tt.t.Logf("%s: %d of the repeats are lines of files that were copied while they were written to", tt.mode, repeats)
	return repeats
}

// inOrder checks sync's contract: lines come in the order in which they were written, and only behind
// a kill does the order go back, to what came since the checkpoint.
func (tt *torture) inOrder() {
	last, shown := -1, 0
	for i, n := range tt.order {
		if back, killed := last-n, tt.cuts[i]; n <= last && (killed == 0 || back > killed) && !tt.w.streams[tt.w.streamOf(n)].busy {
			if shown++; shown <= 5 {
				tt.t.Errorf("record %d: line %d behind line %d; %s", i, n, last, tt.nearest(i))
			}
		}
		last = n
	}
}

// nearest names the kill before a place in the topic.
func (tt *torture) nearest(i int) string {
	best := -1
	for at := range tt.cuts {
		if at <= i && at > best {
			best = at
		}
	}
	return fmt.Sprintf("the last kill was at record %d, from where %d repeats are allowed", best, tt.cuts[best])
}
