package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"shiplog/failedlog"
	"shiplog/shipper"
)

func TestAutoReplayBringsFailedLinesHome(t *testing.T) {
	s := newScene(t, "")
	s.answers(kerr.NotEnoughReplicas, nil)
	s.start(nil)
	s.write(0, 50)
	s.until("the lines to fail", func() bool { return s.logged() == 50 })
	s.answers(nil, nil)
	s.write(50, 60)
	s.until("the failed lines to be delivered, and that to be said", func() bool {
		return s.logs.FilterMessage("auto_replay: all lines that failed for the moment are delivered").Len() > 0 && s.replayed() == 50
	})
	s.stop()
	s.once(60)
	if got := s.logs.FilterMessage("account").All()[0].ContextMap()["auto_replayed"]; got != int64(50) {
		t.Errorf("the account says that %v lines were replayed, want 50", got)
	}
	if list := s.failed(); len(list) > 0 {
		t.Errorf("%d lines in the failure log", len(list))
	}
}

// What is wrong with a line itself does not pass by itself.
func TestAutoReplayLeavesLinesThatAreToBlame(t *testing.T) {
	s := newScene(t, ", on_invalid_json: fail, compression: none")
	s.start(nil)
	s.append("no json\n{\"n\":0}\n{\"huge\":1}\n")
	s.until("the bad lines to fail", func() bool { return s.logged() == 2 })
	before := map[string]int{}
	for _, rec := range s.failed() {
		before[string(rec.Payload)] = rec.Attempts
	}
	s.answers(kerr.NotEnoughReplicas, nil)
	s.write(1, 20)
	s.until("the good lines to fail", func() bool { return s.logged() == 21 })
	s.answers(nil, nil)
	s.write(20, 21)
	s.until("the good lines to be delivered", func() bool { return s.replayed() == 19 })
	s.stop()
	s.once(21)
	got := map[string]string{}
	for _, rec := range s.failed() {
		got[string(rec.Payload)] = rec.Error.Class
		if rec.Attempts != before[string(rec.Payload)] {
			t.Errorf("%s was sent %d times, and %d times before", rec.Payload, rec.Attempts, before[string(rec.Payload)])
		}
	}
	want := map[string]string{"no json": "invalid_json", `{"huge":1}`: "too_large"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in the failure log (-want +got):\n%s", d)
	}
}

// A record that fails again and again is left to people; the command still sends it.
func TestAutoReplayGivesARecordSoManyAttempts(t *testing.T) {
	s := newScene(t, "")
	s.answers(kerr.NotEnoughReplicas, kerr.NotEnoughReplicas)
	s.start(func(p *autoPace) { p.attempts, p.patience = 3, 10*time.Millisecond })
	s.write(0, 10)
	s.until("the lines to fail", func() bool { return s.logged() == 10 })
	s.answers(nil, kerr.NotEnoughReplicas)
	s.write(10, 11)
	s.until("the replay to give up", func() bool {
		return s.logs.FilterMessageSnippet("left to `shiplog replay`").Len() == 1
	})
	for _, rec := range s.failed() {
		if rec.Attempts != 3 || rec.Error.Kafka != "NOT_ENOUGH_REPLICAS" {
			t.Errorf("%s was sent %d times, want 3; error %+v", rec.Payload, rec.Attempts, rec.Error)
		}
	}
	s.answers(nil, nil)
	if st := s.command(t); st.Delivered != 10 {
		t.Errorf("the command: %+v, want 10 delivered", st)
	}
	s.stop()
	s.once(11)
	if s.replayed() != 0 {
		t.Errorf("%d lines were replayed by themselves", s.replayed())
	}
}

// command does what `shiplog replay` does.
func (s *scene) command(t *testing.T) failedlog.Stats {
	t.Helper()
	to := NewReplayer(s.cfg, zap.NewNop())
	st, err := failedlog.Replay(t.Context(), failedlog.ReplayOptions{Dir: FailedDir(s.cfg), SealWait: 3 * time.Second, LockWait: 20 * time.Second}, to)
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Error(err)
	}
	return st
}

// A backlog in the files goes first: what was replayed stands behind it in the topic, but for the last
// blocks, which are out when the reader has caught up.
func TestAutoReplaySendsFreshLinesFirst(t *testing.T) {
	const failed, backlog, batchLines = 2000, 20_000, 500
	s := newScene(t, ", max_batch_lines: 500")
	s.answers(kerr.NotEnoughReplicas, nil)
	s.start(nil)
	s.write(0, failed)
	s.until("the lines to fail", func() bool { return s.logged() == failed })
	s.stop()
	s.answers(nil, nil)
	s.write(failed, failed+backlog)
	s.start(nil)
	s.until("all lines to be delivered", func() bool { return s.replayed() == failed && s.delivered() == backlog })
	s.stop()
	for i, v := range s.once(failed + backlog) {
		if n, _ := number(v); n < failed && i < backlog-6*batchLines {
			t.Fatalf("line %d of the failure log is record %d of the topic: before %d fresh lines that were waiting", n, i, backlog-i)
		}
	}
}

func TestCalm(t *testing.T) {
	now := time.Now()
	long, just := now.Add(-3*time.Second), now.Add(-time.Second)
	for _, tc := range []struct {
		name   string
		pulse  shipper.Pulse
		queued int
		want   bool
	}{
		{"at the start", shipper.Pulse{Behind: true}, 0, false},
		{"lines get through and none waits", shipper.Pulse{Ready: true, Proven: true}, 0, true},
		{"nothing got through since the last failure", shipper.Pulse{Ready: true}, 0, false},
		{"no leader", shipper.Pulse{Proven: true}, 0, false},
		{"a backlog", shipper.Pulse{Ready: true, Proven: true, Behind: true}, 0, false},
		{"a backlog whose next block was just asked for", shipper.Pulse{Ready: true, Proven: true, Behind: true, Asked: just}, 0, false},
		{"a backlog that waits for memory", shipper.Pulse{Ready: true, Proven: true, Behind: true, Asked: long}, 1, false},
		{"the last full block was the last one", shipper.Pulse{Ready: true, Proven: true, Behind: true, Asked: long}, 0, true},
		{"the same, but it failed", shipper.Pulse{Ready: true, Behind: true, Asked: long}, 0, false},
		{"the failure log is full", shipper.Pulse{Ready: true, Stuck: true, Behind: true}, 1, true},
		{"the failure log is full and there is no leader", shipper.Pulse{Stuck: true}, 0, false},
	} {
		if got := calm(tc.pulse, now, func() int { return tc.queued }); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}

// While the command is at work auto_replay waits and says nothing; then it goes on.
func TestAutoReplayWaitsForTheCommand(t *testing.T) {
	s := newScene(t, "")
	s.answers(kerr.NotEnoughReplicas, nil)
	s.start(nil)
	s.write(0, 20)
	s.until("the lines to fail", func() bool { return s.logged() == 20 })
	if err := s.d.pipes[0].failures.Seal(); err != nil {
		t.Fatal(err)
	}
	holds, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := failedlog.Replay(t.Context(), failedlog.ReplayOptions{Dir: FailedDir(s.cfg)}, senderFunc(func(n int) []error {
			close(holds)
			<-release
			errs := make([]error, n)
			for i := range errs {
				errs[i] = errNotNow
			}
			return errs
		}))
		done <- err
	}()
	<-holds
	s.answers(nil, nil)
	s.write(20, 21)
	s.until("the fresh line", func() bool { return s.delivered() == 1 })
	s.until("a try", func() bool { return s.logs.FilterMessageSnippet("somebody else is at work").Len() > 0 })
	if n := s.replayed(); n != 0 {
		t.Errorf("%d lines were replayed behind the command's back", n)
	}
	close(release)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("the command: %v", err)
	}
	s.until("the failed lines to be delivered", func() bool { return s.replayed() == 20 })
	s.stop()
	s.once(21)
	if n := s.logs.FilterLevelExact(zap.WarnLevel).FilterMessageSnippet("auto_replay").Len(); n > 0 {
		t.Errorf("%d warnings, want none: %v", n, s.logs.FilterMessageSnippet("auto_replay").All())
	}
}

type senderFunc func(n int) []error

func (f senderFunc) Send(_ context.Context, _ string, records []failedlog.Record) []error {
	return f(len(records))
}

// The lock is free between two rounds, so that the command gets in while there is much to do.
func TestTheCommandGetsInBetweenTwoRounds(t *testing.T) {
	const lines = 5000
	s := newScene(t, "")
	s.answers(kerr.NotEnoughReplicas, nil)
	s.start(func(p *autoPace) { p.turn, p.tick = time.Millisecond, 60*time.Millisecond })
	s.write(0, lines)
	s.until("the lines to fail", func() bool { return s.logged() == lines })
	s.answers(nil, nil)
	s.write(lines, lines+1)
	s.until("a first round", func() bool { return s.replayed() > 0 })
	byHand := s.command(t).Delivered
	s.until("all lines to be delivered", func() bool { return s.replayed()+byHand == lines })
	s.stop()
	s.once(lines + 1)
	if byHand == 0 {
		t.Error("the command delivered nothing")
	}
}

// A stop waits for no answer to a replay: what is not answered stays in the failure log.
func TestAStopDoesNotWaitForAutoReplay(t *testing.T) {
	s := newScene(t, "")
	s.cfg.ShutdownTimeout = time.Minute
	s.stall = make(chan struct{})
	s.answers(kerr.NotEnoughReplicas, nil)
	s.start(nil)
	s.write(0, 20)
	s.until("the lines to fail", func() bool { return s.logged() == 20 })
	s.answers(nil, nil)
	s.write(20, 21)
	s.until("a replay under way", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.stalled > 0 })
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
	close(s.stall)
	if got := len(s.failed()); got != 20 {
		t.Errorf("%d lines in the failure log, want 20", got)
	}
}

// A failure log that is full holds its source, so no fresh line can show that the broker is back: the
// replay makes room.
func TestAutoReplayMakesRoomInAFullFailureLog(t *testing.T) {
	const lines = 3000
	s := newScene(t, ", max_batch_lines: 100")
	s.cfg.FailureLog.MaxBytes = 256 << 10
	s.answers(kerr.NotEnoughReplicas, kerr.NotEnoughReplicas)
	s.start(func(p *autoPace) { p.attempts, p.patience = 1000, 10*time.Millisecond })
	s.write(0, lines)
	s.until("the failure log to be full", func() bool { return s.d.pipes[0].source.Pulse().Stuck })
	s.mu.Lock()
	s.proven = true // nothing can prove it
	s.mu.Unlock()
	s.answers(nil, nil)
	s.until("all lines to be delivered", func() bool { return s.delivered()+s.replayed() == lines })
	s.mu.Lock()
	s.early = 0
	s.mu.Unlock()
	s.stop()
	s.once(lines)
}
