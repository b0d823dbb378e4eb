//go:build linux

package systest

import (
	"math/rand/v2"
	"testing"
	"time"
)

// batchLines bounds a batch in the tests that compute a bound on repeats: what is in flight, five
// batches, is part of it.
const batchLines = 500

// TestKill kills shiplog with SIGKILL at random moments while it ships and while its file is rotated.
// Under sync and callback no line is lost, and what comes twice is what had arrived and was not yet
// covered by the checkpoint on disk at the kill: counted for each kill, from the data. Under async, what is
// lost was sent after the last barrier.
func TestKill(t *testing.T) {
	for i, mode := range []string{"sync", "callback", "async"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			k := newKiller(t, mode, seed(t)+uint64(i))
			k.kills(killCount())
			k.reckon()
		})
	}
}

func killCount() int {
	if testing.Short() {
		return 10
	}
	return 30
}

// linesPerSecond is the writers' rate. The race detector makes both sides some ten times slower.
func linesPerSecond() int {
	if raceEnabled {
		return 4000
	}
	return 20000
}

// killer is the scene of one mode.
type killer struct {
	t     *testing.T
	mode  string
	rand  *rand.Rand
	place *place
	b     *broker
	topic *topic
	w     *writer
	p     *process
	tally *tally

	order []int // the numbers of the lines, as they stand in the topic
	bound int   // how many repeats the kills so far allow
	lost  int   // lines that a checkpoint covers and that never arrived
}

func newKiller(t *testing.T, mode string, seed uint64) *killer {
	k := &killer{t: t, mode: mode, rand: rand.New(rand.NewPCG(seed, 0)), tally: newTally(t)}
	k.b = newBroker(t, 1, []string{"logs"})
	k.topic = k.b.open("logs")
	k.topic.next()
	k.place = newPlace(t, k.b.addrs(), `checkpoint_interval: 200ms
shutdown_quiet: 300ms
sources:
  - {id: app, include: [%s/app.log], mode: %s, topic: logs, max_batch_lines: %d, rotate_wait: 500ms}
`, mode, batchLines)
	k.w = newWriter(t, k.place.logPath(), linesPerSecond(), seed)
	return k
}

// kills lets the application write and rotate, and ends so many lives of shiplog.
func (k *killer) kills(n int) {
	end := k.w.begin()
	stop, rotated := make(chan struct{}), make(chan struct{})
	for i := range n {
		k.p = run(k.t, k.place.config)
		if i == 0 {
			k.place.remembered(k.t, "app")
			go k.rotate(rand.New(rand.NewPCG(k.rand.Uint64(), 3)), stop, rotated)
		}
		pass(time.Duration(20+k.rand.IntN(450)) * time.Millisecond)
		k.p.kill()
		k.afterKill()
	}
	close(stop)
	<-rotated
	end()
	k.p = run(k.t, k.place.config)
	if code := k.p.stop(); code != 0 {
		k.t.Errorf("exit code %d after the last start, want 0", code)
	}
	k.order = append(k.order, k.tally.add(k.topic.next())...)
}

// rotate renames or compresses the file at random moments, whatever shiplog is doing.
func (k *killer) rotate(r *rand.Rand, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+r.IntN(250)) * time.Millisecond):
		}
		if r.IntN(3) == 0 {
			k.w.compress(10 * time.Millisecond)
		} else {
			k.w.rename(time.Duration(r.IntN(20)) * time.Millisecond)
		}
	}
}

// afterKill compares what has arrived with the checkpoint that the dead process left.
func (k *killer) afterKill() {
	k.t.Helper()
	k.b.drained()
	born := len(k.order) // what stood in the topic when this life began
	k.order = append(k.order, k.tally.add(k.topic.next())...)
	at := k.place.checkpoint(k.t, "app")
	streams, written := k.w.state()
	open := 0 // what arrived in this life, and will be read again in the next
	for _, n := range k.order[born:] {
		if !at.covers(streams, n) {
			open++
		}
	}
	k.bound += open
	// What is not covered arrived after the checkpoint was saved, or was in flight at that moment.
	if most := k.b.since(at.At) + 5*batchLines; open > most {
		k.t.Errorf("%d lines that arrived are not covered by the checkpoint; since it was saved only %d arrived, those in flight included", open, most)
	}
	before, lost := k.beforeBarrier(born), 0
	for n := range written {
		if at.covers(streams, n) && !k.tally.arrived(n) {
			if lost++; n > before {
				continue
			}
			k.t.Errorf("line %d is lost, but line %d arrived before the last barrier", n, before)
			break
		}
	}
	k.lost = lost
}

// beforeBarrier gives the last line that arrived in this life before its last barrier, or -1.
func (k *killer) beforeBarrier(born int) int {
	_, barrier := k.b.arrived()
	last := -1
	for _, n := range k.order[born:min(max(born, barrier), len(k.order))] {
		last = max(last, n)
	}
	return last
}

// reckon compares the topic with what was written, once everything is drained.
func (k *killer) reckon() {
	missing, repeats := k.tally.missing(k.w.lines()), k.tally.repeats()
	k.t.Logf("%s: %d lines in %d files, %d kills; lost %d; repeats %d, allowed %d",
		k.mode, k.w.lines(), len(k.w.streams), killCount(), len(missing), repeats, k.bound)
	lost := 0 // under async, what was lost at a kill and nothing else
	if k.mode == "async" {
		lost = k.lost
	}
	if len(missing) != lost {
		k.t.Errorf("lost %d lines, want %d: %s", len(missing), lost, k.w.describe(missing))
	}
	if repeats > k.bound {
		k.t.Errorf("%d repeats, want at most %d", repeats, k.bound)
	}
	if k.tally.foreign > 0 {
		k.t.Errorf("%d records are no line that was written", k.tally.foreign)
	}
	if f := k.place.failures(k.t, "app"); len(f) > 0 {
		k.t.Errorf("%d lines in the failure log, but the broker refused none: %+v", len(f), f[0])
	}
}
