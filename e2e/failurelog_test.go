package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// replayBatch is how many records a replay sends at once: what a kill may repeat.
const replayBatch = 500

// spooled gives a scene whose failure log holds that many lines, all of them, and whose brokers are well.
func spooled(t *testing.T, fault, top string, lines int) (*scene, *source) {
	t.Helper()
	s := newScene(t, fault, spec{modes: []string{"spool"}, brokers: []string{closedPort(t)}, top: top})
	src := s.sources[0]
	src.w.write(lines)
	s.start()
	until(t, "all lines to be in the failure log", func() bool { return s.checkpoint("spool").covers(src.w, lines-1) })
	s.drain()
	s.configure(s.withBrokers(spec{brokers: cluster(t).Plain()}))
	if n := total(s.failures("spool")); n != lines {
		t.Fatalf("the failure log holds %d lines, want %d", n, lines)
	}
	return s, src
}

// TestKillReplay kills the replay command at random moments.
func TestKillReplay(t *testing.T) {
	t.Parallel()
	kills := pick(8, 50)
	s, src := spooled(t, fmt.Sprintf("kill -9 of replay, %d times", kills), "", pick(40_000, 200_000))
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range kills {
		d := spawn(t, nil, "replay", "-c", s.config, "--rate", "20000")
		pass(time.Duration(100+r.IntN(300)) * time.Millisecond)
		d.kill()
	}
	settled(src.topic)
	early := src.topic.ends()
	s.replay()
	s.reckon(src, allowed{repeats: kills * replayBatch, note: fmt.Sprintf("%d records came before the last kill", early)})
}

// TestKillAutoReplay kills the daemon while it replays by itself and ships fresh lines.
func TestKillAutoReplay(t *testing.T) {
	t.Parallel()
	kills := pick(5, 30)
	const auto = "failure_log: {auto_replay: true}\n"
	s, src := spooled(t, fmt.Sprintf("kill -9 of shiplog while it replays by itself, %d times", kills), auto, pick(20_000, 100_000))
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	bound := 0
	for range kills {
		s.start()
		for range 10 {
			src.w.write(50) // fresh lines show that the broker is back, and are not held up
			pass(time.Duration(50+r.IntN(100)) * time.Millisecond)
		}
		s.d.kill()
		settled(src.topic)
		repeats, _ := s.afterKill(src) // what was replayed is covered, and not counted here
		bound += repeats + replayBatch
	}
	s.start()
	src.w.write(10)
	until(t, "the failure log to be empty", func() bool { return len(s.failures("spool")) == 0 })
	s.drain()
	s.reckon(src, allowed{repeats: bound, note: fmt.Sprintf("%d replayed by the last life", s.d.account("spool").number("auto_replayed"))})
}

// TestDamagedFailureLog spoils lines in the middle of a failure log, puts garbage between them, and cuts the last one.
func TestDamagedFailureLog(t *testing.T) {
	t.Parallel()
	const lines = 5000
	s, src := spooled(t, "failure log damaged in the middle, and its last record cut", "", lines)
	names, err := filepath.Glob(filepath.Join(s.data, "failed", "spool", "*.jsonl*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	slices.Sort(names)
	damaged := spoil(t, names[len(names)-1])
	code, out, errs := command(t, "replay", "-c", s.config)
	if code != 1 && code != 0 {
		t.Fatalf("replay: exit code %d\n%s\n%s", code, out, errs)
	}
	if !strings.Contains(errs, ".jsonl:10: ") || !strings.Contains(errs, "kept aside") {
		t.Errorf("replay does not name the damaged line 10:\n%s", errs)
	}
	bad, _ := filepath.Glob(filepath.Join(s.data, "failed", "spool", "*.bad*"))
	if len(bad) == 0 {
		t.Error("nothing was kept aside in a .bad file")
	}
	src.read(src.topic)
	if missing := len(src.missing(lines)); missing != damaged || src.repeats() != 0 || src.foreign != 0 {
		t.Errorf("%d lines missing, %d repeats, %d foreign; want %d, 0, 0", missing, src.repeats(), src.foreign, damaged)
	}
	theTable.add(row{fault: s.fault, mode: "spool", written: lines, lost: len(src.missing(lines)), repeats: src.repeats(),
		allowed: allowed{lost: damaged}, audit: "-", note: "the damaged records, kept aside in .bad", failed: t.Failed()})
}

// spoil damages a segment and gives how many records it spoiled.
func spoil(t *testing.T, name string) (damaged int) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines[9][0] = 'x' // no JSON any more
	lines[19] = append(bytes.Clone(lines[19][:len(lines[19])/2]), '\n')
	lines[29] = append([]byte("garbage between\n"), lines[29]...)
	last := len(lines) - 2 // behind the last newline is nothing
	lines[last] = lines[last][:len(lines[last])/2]
	if err := os.WriteFile(name, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return 3
}

// TestReplayBesideAFullSpeedDaemon lists and replays while the daemon appends and evicts: the topic refuses every line.
func TestReplayBesideAFullSpeedDaemon(t *testing.T) {
	t.Parallel()
	s := newScene(t, "replay, failed ls and drop_oldest beside a daemon that appends at full speed", spec{
		modes: []string{"spool"}, brokers: []string{closedPort(t)}, rate: 20000,
		top: "failure_log: {max_bytes: 32MiB, segment_bytes: 1MiB, when_full: drop_oldest}"})
	src := s.sources[0]
	s.start()
	s.write()
	until(t, "the first failures", func() bool { return len(s.failures("spool")) > 0 })
	// The replay has brokers; the daemon beside it has none, so all it reads goes to the failure log.
	well := filepath.Join(s.dir, "replay.yaml")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("brokers: ["+s.spec.brokers[0]), []byte("brokers: ["+strings.Join(cluster(t).Plain(), ", ")), 1)
	if err := os.WriteFile(well, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Duration(pick(6, 30)) * time.Second); time.Now().Before(end); {
		if code, _, errs := command(t, "replay", "-c", well); code != 0 {
			t.Errorf("replay: exit code %d\n%s", code, tail(errs, 5))
		}
		if code, _, errs := command(t, "failed", "ls", "-c", s.config); code != 0 {
			t.Errorf("failed ls: exit code %d\n%s", code, errs)
		}
	}
	s.drain()
	evicted := int(s.d.account("spool").number("failure_log_evicted"))
	s.config = well
	s.replay()
	s.reckon(src, allowed{lost: evicted, note: fmt.Sprintf("%d evicted by drop_oldest", evicted)})
	if lost := len(src.missing(src.w.count())); lost != evicted {
		t.Errorf("%d lines are missing, %d are counted as evicted", lost, evicted)
	}
}

// TestPoisonedSource fills the failure log of one source beside a healthy one: nearly all of its lines are no JSON.
func TestPoisonedSource(t *testing.T) {
	s := newScene(t, "a source that fills its failure log, beside a healthy one", spec{
		modes: []string{"callback", "spool"}, rate: 1, brokers: cluster(t).Plain(),
		top: "failure_log: {max_bytes: 32MiB, segment_bytes: 4MiB, when_full: block}\nshutdown_timeout: 3s", source: "on_invalid_json: fail"})
	healthy, poisoned := s.source("callback"), s.source("spool")
	s.start()
	const lines, poison, rounds = 100_000, 120_000, 9
	rate := func() float64 {
		begin, upTo := time.Now(), int64(healthy.w.count()+lines)
		healthy.w.write(lines)
		until(t, "the healthy source", func() bool { return healthy.topic.ends() >= upTo })
		return lines / time.Since(begin).Seconds()
	}
	var alone, beside []float64
	for range rounds {
		alone = append(alone, rate())
	}
	poisoned.w.write(1000)
	poisoned.w.raw(bytes.Repeat([]byte(strings.Repeat("no JSON ", 25)+"\n"), poison))
	poisoned.w.write(1000)
	for range rounds {
		beside = append(beside, rate())
	}
	until(t, "a full failure log", func() bool { return s.d.said("the failure log takes no records") })
	slices.Sort(alone)
	slices.Sort(beside)
	if beside[rounds/2] < 0.8*alone[rounds/2] {
		t.Errorf("the healthy source ships %.0f lines/s beside the poisoned one, %.0f alone: less than 80 %%", beside[rounds/2], alone[rounds/2])
	}
	s.drainLong()
	s.replay() // sends the lines as they are
	s.reckon(healthy, allowed{note: fmt.Sprintf("%.0f %% of its rate alone", 100*beside[rounds/2]/alone[rounds/2])})
	s.reckon(poisoned, allowed{torn: poison, note: fmt.Sprintf("%d lines that are no JSON, replayed as they are", poison)})
}

// drainLong drains with as many starts as it takes: shutdown_timeout may cut a long backlog short.
func (s *scene) drainLong() {
	s.t.Helper()
	for range 10 {
		if code := s.d.stop(); code == 0 {
			return
		}
		shiplogAny(s.t, "replay", "-c", s.config)
		s.start()
	}
	s.t.Error("not drained after ten starts")
}

// shiplogAny runs a command of shiplog whatever its exit code.
func shiplogAny(t *testing.T, args ...string) {
	t.Helper()
	if code, _, errs := command(t, args...); code != 0 && code != 1 {
		t.Errorf("shiplog %v: exit code %d\n%s", args, code, tail(errs, 5))
	}
}
