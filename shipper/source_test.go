package shipper

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/config"
	"shiplog/internal/batch"
)

func TestFullBlocksGoAtOnceUpToTheModesBound(t *testing.T) {
	for mode, want := range map[string]int{config.ModeSync: 1, config.ModeAsync: 5, config.ModeCallback: 5} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				var blocks []*batch.Batch
				for i := range 30 {
					b := f.block(numbered(i, i+1)...)
					b.Full = true
					blocks = append(blocks, b)
				}
				r := newRig(t, settings(mode), 1, blocks...)
				r.producer.delay = func() time.Duration { return 10 * time.Millisecond }
				start := time.Now()
				r.mustRun()
				if r.producer.maxOut != want {
					t.Errorf("%d requests out at once, want %d", r.producer.maxOut, want)
				}
				if got, wantTook := time.Since(start), 300*time.Millisecond/time.Duration(want); got != wantTook {
					t.Errorf("took %v, want %v", got, wantTook)
				}
			})
		})
	}
}

func TestATrickleWaitsForTheRequestThatIsOut(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeAsync, config.ModeCallback} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				r := newRig(t, settings(mode), 1, f.block(numbered(0, 1)...))
				r.producer.delay = func() time.Duration { return 100 * time.Millisecond }
				r.start()
				pass(50 * time.Millisecond)
				if got := r.reader.demands(); got != 1 {
					t.Errorf("%d demands while a request is out, want 1", got)
				}
				pass(60 * time.Millisecond)
				if got := r.reader.demands(); got != 2 {
					t.Errorf("%d demands after its answer, want 2", got)
				}
				_ = r.stop()
			})
		})
	}
}

func TestLingerBoundsTheRateWhenNothingIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var blocks []*batch.Batch
		for i := range 10 {
			blocks = append(blocks, f.block(numbered(i, i+1)...))
		}
		c := settings(config.ModeCallback)
		c.Linger = 20 * time.Millisecond
		r := newRig(t, c, 1, blocks...)
		start := time.Now()
		r.mustRun()
		if got := time.Since(start); got < 180*time.Millisecond || got > 200*time.Millisecond {
			t.Errorf("10 trickling blocks took %v, want 9 or 10 times linger", got)
		}
	})
}

func TestNothingIsAskedForBeforeTheProducerIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings(config.ModeCallback), 1)
		r.producer.fail(retriable)
		r.start()
		pass(time.Hour)
		if got := r.reader.demands(); got != 0 {
			t.Errorf("%d demands", got)
		}
		r.producer.mend()
		synctest.Wait()
		if got := r.reader.demands(); got != 1 {
			t.Errorf("%d demands at once after it was ready, want 1", got)
		}
		_ = r.stop()
	})
}

func TestAProducerThatComesBackWhileAllBlocksAreOutDoesNotMakeTheLoopSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeSync), 1)
		r.producer.delay = func() time.Duration { return time.Minute }
		r.start()
		pass(time.Second)
		r.producer.fail(retriable)
		r.reader.add(f.block(numbered(0, 3)...)) // asked for before: it finds the producer down
		pass(time.Second)
		r.producer.mend()
		pass(2 * time.Minute)
		if a := r.source.Account(); a.Delivered != 3 || r.producer.waits > 100 {
			t.Errorf("%v, %d turns while down", a, r.producer.waits)
		}
		_ = r.stop()
	})
}

func TestHoldStopsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		var hold atomic.Bool
		hold.Store(true)
		c.Hold = hold.Load
		r := newRig(t, c, 1, f.block(numbered(0, 3)...))
		r.start()
		pass(time.Hour)
		if got := r.reader.demands(); got != 0 {
			t.Errorf("%d demands while held", got)
		}
		hold.Store(false)
		pass(holdCheck)
		if a := r.source.Account(); a.Delivered != 3 {
			t.Errorf("account: %v", a)
		}
		_ = r.stop()
	})
}

func TestTheSourceGoesBackToItsReserveAfterASecondOfFailingSends(t *testing.T) {
	for name, spoil := range map[string]func(r *rig){
		"no leader": func(r *rig) { r.producer.fail(retriable) },
		"no answer": func(r *rig) { r.producer.slow(3 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				r := newRig(t, settings(config.ModeCallback), 1, f.block(numbered(0, 3)...))
				r.start()
				pass(time.Hour) // idle: no reason to be confined
				if got := r.quota.limits(); len(got) != 0 {
					t.Fatalf("limits while idle: %v", got)
				}
				spoil(r)
				r.reader.add(f.block(numbered(3, 6)...))
				pass(999 * time.Millisecond)
				if got := r.quota.limits(); len(got) != 0 {
					t.Errorf("limits before a second is over: %v", got)
				}
				pass(time.Millisecond)
				if got := r.quota.limits(); !slices.Equal(got, []bool{true}) {
					t.Errorf("limits after a second: %v", got)
				}
				r.producer.mend()
				pass(3 * time.Second)
				if got := r.quota.limits(); !slices.Equal(got, []bool{true, false}) {
					t.Errorf("limits after a success: %v", got)
				}
				_ = r.stop()
			})
		})
	}
}

func TestUnkeyedPartsTakeTurnsAmongUsablePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var blocks []*batch.Batch
		for i := range 30 {
			blocks = append(blocks, f.block(numbered(10*i, 10*i+10)...))
		}
		r := newRig(t, settings(config.ModeCallback), 4, blocks...)
		r.producer.topic.Usable = []int32{0, 1, 3}
		r.mustRun()
		got := make(map[int32]int)
		for _, s := range r.producer.topicLog {
			got[s.partition]++
		}
		if got[0] != 100 || got[1] != 100 || got[2] != 0 || got[3] != 100 {
			t.Errorf("records by partition: %v", got)
		}
	})
}

func TestAPartWithoutALeaderMovesToAnotherPartitionUnlessAKeyBindsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		c.Key.Field = "k"
		r := newRig(t, c, 2)
		r.start()
		r.producer.mu.Lock()
		r.producer.topic.Usable = []int32{0}
		r.producer.mu.Unlock()
		// By Java's murmur2 "a" goes to one of the two, "b" to the other or the same: take both.
		var lines []string
		for i := range 20 {
			lines = append(lines, fmt.Sprintf(`{"k":"key-%d"}`, i))
		}
		r.reader.add(f.block(lines...), f.block(numbered(0, 20)...))
		pass(time.Minute)
		a := r.source.Account()
		if a.Delivered <= 20 || a.Delivered >= 40 || a.InFlight != 40-a.Delivered {
			t.Errorf("with one partition of two: %v", a)
		}
		r.producer.mu.Lock()
		r.producer.topic.Usable = []int32{0, 1}
		r.producer.mu.Unlock()
		pass(parkMax)
		if a := r.source.Account(); a.Delivered != 40 {
			t.Errorf("with both: %v", a)
		}
		_ = r.stop()
	})
}

func TestAnUnkeyedPartThatFoundNoLeaderGoesToAnotherPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeCallback), 2, f.block(numbered(0, 3)...), f.block(numbered(3, 6)...))
		r.producer.gone = 2 // partition 1
		start := time.Now()
		a := r.mustRun()
		if took := time.Since(start); a.Delivered != 6 || took > parkMax {
			t.Errorf("%v after %v", a, took)
		}
	})
}

func TestABlockIsNotLetGoWhileItIsBeingPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		b := batch.NewPool(0).Source(1 << 20).TryGet(1000) // a real one: Release takes its runs away
		f.run(b, "not json")
		run := f.run(b)
		run.Finished = true
		c := settings(config.ModeCallback)
		c.OnInvalidJSON = config.ActionDrop
		r := newRig(t, c, 1, b)
		r.mustRun()
		if s := r.tracker.States(); len(s) != 1 || !s[0].Finished {
			t.Errorf("states: %+v", s)
		}
	})
}

func TestABlockOfNothingButPositionsMovesTheCheckpoint(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeAsync, config.ModeCallback} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				f.offset = 500 // begun at its end
				start := f.block()
				f.offset = 503
				skipped := &batch.Batch{}
				run := f.run(skipped)
				run.Start, run.Finished = 500, true
				run.Skipped[batch.SkipEmpty] = 3
				r := newRig(t, settings(mode), 1, start, skipped, &batch.Batch{})
				a := r.mustRun()
				if a.Read != 3 || a.Skipped["empty"] != 3 {
					t.Errorf("account: %v", a)
				}
				s := r.tracker.States()
				if len(s) != 1 || s[0].Pos.Offset != 503 || !s[0].Finished {
					t.Errorf("states: %+v", s)
				}
			})
		})
	}
}

func TestStartSaysTheContractInWords(t *testing.T) {
	for mode, words := range map[string][]string{
		config.ModeSync:     {"order", "never", "halts the source"},
		config.ModeAsync:    {"written to the socket", "dropped and counted"},
		config.ModeCallback: {"failure log", "never retried"},
	} {
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			r := newRig(t, settings(mode), 1)
			r.build(settings(mode), zap.New(core))
			r.mustRun()
			started := logs.FilterMessage("source started").All()
			if len(started) != 1 {
				t.Fatalf("%d start lines", len(started))
			}
			said := fmt.Sprint(started[0].ContextMap())
			for _, w := range words {
				if !strings.Contains(said, w) {
					t.Errorf("%s: %q is missing in %s", mode, w, said)
				}
			}
		})
	}
}

func TestALastingTroubleIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		r := newRig(t, settings(config.ModeCallback), 1)
		r.producer.fail(denied)
		r.build(settings(config.ModeCallback), zap.New(core))
		r.start()
		pass(150 * time.Second)
		if got := logs.Len(); got != 3 {
			t.Errorf("said %d times in 150 s, want 3: %v", got, logs.All())
		}
		if got := logs.All(); len(got) > 0 && got[0].Level != zap.ErrorLevel {
			t.Errorf("level %v, want error", got[0].Level)
		}
		_ = r.stop()
	})
}
