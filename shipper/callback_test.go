package shipper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

func TestCallbackDeliversEveryLineAndMovesTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeCallback), 1, f.block(numbered(0, 50)...), f.block(numbered(50, 100)...))
		a := r.mustRun()
		if diff := cmp.Diff(numbered(0, 100), r.producer.values()); diff != "" {
			t.Error(diff)
		}
		if a.Read != 100 || a.Delivered != 100 {
			t.Errorf("account: %v", a)
		}
		if got := r.tracker.Settled(f.file.ID); got != f.offset {
			t.Errorf("settled to %d, want %d", got, f.offset)
		}
		if got := r.reader.settled[f.file.ID]; got != f.offset {
			t.Errorf("the reader heard %d, want %d", got, f.offset)
		}
	})
}

func TestCallbackNeverRetriesAFailedRequest(t *testing.T) {
	for _, why := range []*kafka.Error{retriable, unknown} {
		t.Run(string(why.Class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				c := settings(config.ModeCallback)
				c.Key.Field = "n"
				r := newRig(t, c, 1, f.block(numbered(0, 3)...), f.block(numbered(3, 6)...))
				r.producer.answer = refuseValues(why, `"n":1`)
				a := r.mustRun()
				if diff := cmp.Diff(numbered(0, 3), r.failures.payloads()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(numbered(3, 6), r.producer.values()); diff != "" {
					t.Error(diff)
				}
				if a.Delivered != 3 || a.FailureLogged != 3 || r.producer.requests() != 2 {
					t.Errorf("%v in %d requests", a, r.producer.requests())
				}
				rec := r.failures.recs[1]
				if rec.Error.Class != string(why.Class) || rec.Error.Kafka != why.Kafka || rec.Error.Message != why.Err.Error() ||
					rec.Attempts != 1 || rec.File != "/log/a.log" || rec.FileID != f.file.ID.String() || rec.Offset != 8 ||
					rec.Topic != "t" || rec.Partition != 0 || rec.Source != "app" || rec.Timestamp != 1_700_000_000_000 || string(rec.Key) != "1" {
					t.Errorf("record: %+v", rec)
				}
			})
		})
	}
}

func TestCallbackKeepsWhatCouldNotBeSentAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeCallback), 1, f.block(numbered(0, 3)...))
		r.start()
		pass(10 * time.Millisecond) // the next block is asked for
		before := r.reader.demands()
		r.producer.fail(retriable)
		r.reader.add(f.block(numbered(3, 6)...), f.block(numbered(6, 9)...))
		pass(time.Minute)
		if a := r.source.Account(); a.InFlight != 3 || a.FailureLogged != 0 || a.Delivered != 3 {
			t.Errorf("during the outage: %v", a)
		}
		if got := r.reader.demands(); got != before {
			t.Errorf("%d demands during the outage", got-before)
		}
		r.producer.mend()
		pass(time.Second)
		if diff := cmp.Diff(numbered(0, 9), r.producer.values()); diff != "" {
			t.Error(diff)
		}
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})
}

func TestSpoolSendsLinesToTheFailureLogDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		c.OnOutage = config.ActionSpool
		r := newRig(t, c, 2, f.block(numbered(0, 3)...))
		r.start()
		pass(0)
		r.producer.fail(retriable)
		r.reader.add(f.block(numbered(3, 6)...), f.block(numbered(6, 9)...))
		pass(time.Second)
		if diff := cmp.Diff(numbered(3, 9), r.failures.payloads()); diff != "" {
			t.Error(diff)
		}
		rec := r.failures.recs[0]
		if rec.Attempts != 0 || rec.Error.Class != "retriable" || rec.Partition != -1 {
			t.Errorf("record: %+v", rec)
		}
		if got := r.tracker.Settled(f.file.ID); got != f.offset {
			t.Errorf("settled to %d, want %d", got, f.offset)
		}
		r.producer.mend()
		r.reader.add(f.block(numbered(9, 12)...))
		r.reader.finish()
		if err := <-r.result; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(append(numbered(0, 3), numbered(9, 12)...), r.producer.values()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSpoolGivesTheFirstConnectionSomeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		c.OnOutage, c.Key.File = config.ActionSpool, true
		r := newRig(t, c, 0, f.block(numbered(0, 3)...)) // the topic is not known yet
		r.producer.fail(retriable)
		r.start()
		pass(startGrace - time.Millisecond)
		if n := r.reader.demands(); n != 0 {
			t.Errorf("%d demands before the first connection had its time", n)
		}
		pass(time.Second)
		if got := len(r.failures.payloads()); got != 3 {
			t.Errorf("%d lines spooled, want 3", got)
		}
		if rec := r.failures.recs[0]; rec.Partition != -1 || string(rec.Key) != "/log/a.log" {
			t.Errorf("record: %+v", rec)
		}
		_ = r.stop()
	})
}

func TestAPartRefusedForItsLinesIsHalvedDownToTheBadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeCallback), 1, f.block(numbered(0, 1000)...))
		r.producer.answer = refuseValues(invalid, `"n":617}`)
		a := r.mustRun()
		if a.Delivered != 999 || a.FailureLogged != 1 {
			t.Errorf("account: %v", a)
		}
		if got := r.failures.payloads(); !slices.Equal(got, []string{`{"n":617}`}) {
			t.Errorf("failure log: %q", got)
		}
		if n := r.producer.requests(); n > 2*10+1 {
			t.Errorf("%d requests for one bad line in 1000", n)
		}
		if rec := r.failures.recs[0]; rec.Error.Class != "invalid" || rec.Offset != offsetOf(numbered(0, 617)) {
			t.Errorf("record: %+v", rec)
		}
	})
}

func offsetOf(before []string) int64 {
	var n int64
	for _, s := range before {
		n += int64(len(s)) + 1
	}
	return n
}

func TestRecordErrorsSpareTheHalving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeCallback), 1, f.block(numbered(0, 1000)...))
		refuse := refuseValues(invalid, `"n":0}`, `"n":617}`, `"n":618}`)
		r.producer.answer = func(rb *kafka.RecordBatch) kafka.Result {
			res := refuse(rb)
			for i := range rb.Len() {
				if _, v, _ := rb.Record(i); res.Err != nil && refuseValue(string(v)) {
					res.RecordErrors = append(res.RecordErrors, kafka.RecordError{Index: i, Message: "bad " + string(v)})
				}
			}
			return res
		}
		a := r.mustRun()
		if a.Delivered != 997 || a.FailureLogged != 3 || r.producer.requests() != 3 {
			t.Errorf("%v in %d requests", a, r.producer.requests())
		}
		if diff := cmp.Diff([]string{`{"n":0}`, `{"n":617}`, `{"n":618}`}, r.failures.payloads()); diff != "" {
			t.Error(diff)
		}
		if got := r.failures.recs[1].Error.Message; got != `bad {"n":617}` {
			t.Errorf("message: %s", got)
		}
	})
}

func refuseValue(v string) bool { return v == `{"n":0}` || v == `{"n":617}` || v == `{"n":618}` }

func TestWhenEverySingleLineIsRefusedAlikeTheSourceWaits(t *testing.T) {
	for name, blocks := range map[string]func(f *fakeFile) []*batch.Batch{
		"one block": func(f *fakeFile) []*batch.Batch { return []*batch.Batch{f.block(numbered(0, 1000)...)} },
		"line by line": func(f *fakeFile) (blocks []*batch.Batch) {
			for _, line := range numbered(0, 100) {
				blocks = append(blocks, f.block(line))
			}
			return blocks
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				r := newRig(t, settings(config.ModeCallback), 1, blocks(f)...)
				var broken atomic.Bool
				broken.Store(true)
				r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
					if broken.Load() {
						return kafka.Result{Err: invalid}
					}
					return kafka.Result{}
				}
				r.start()
				pass(10 * time.Minute)
				if n := r.producer.requests(); n > 300 {
					t.Errorf("%d requests in ten minutes: a storm", n)
				}
				if got := len(r.failures.payloads()); got >= enough {
					t.Errorf("%d lines were given up for a fault of the source", got)
				}
				broken.Store(false)
				r.reader.finish()
				if err := <-r.result; err != nil {
					t.Error(err)
				}
				if a := r.source.Account(); a.Delivered+a.FailureLogged != a.Read || a.FailureLogged >= enough {
					t.Errorf("account: %v", a)
				}
			})
		})
	}
}

func TestAFewBadLinesAtTheFrontAreNotTakenForABadSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		lines := append([]string{`{"x":1}`, `{"x":2}`, `{"x":3}`, `{"x":4}`, `{"x":5}`, `{"x":6}`}, numbered(0, 500)...)
		r := newRig(t, settings(config.ModeCallback), 1, f.block(lines...))
		r.producer.answer = refuseValues(invalid, `"x"`)
		start := time.Now()
		a := r.mustRun()
		if a.Delivered != 500 || a.FailureLogged != 6 || time.Since(start) > 0 {
			t.Errorf("%v after %v", a, time.Since(start))
		}
	})
}

func TestLargeLinesRefusedAsTooLargeAreNeverTheSourcesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var blocks []*batch.Batch
		for i := range 10 {
			blocks = append(blocks, f.block(fmt.Sprintf(`{"big":%d,"s":"%s"}`, i, strings.Repeat("x", 20<<10))))
		}
		r := newRig(t, settings(config.ModeCallback), 1, blocks...)
		r.producer.answer = refuseValues(tooLarge, `"big"`)
		if a := r.mustRun(); a.FailureLogged != 10 {
			t.Errorf("account: %v", a)
		}
	})
}

func TestErrorsOfTheSourceAreWaitedOut(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeAsync, config.ModeCallback} {
		for _, why := range []*kafka.Error{denied, noTopic} {
			t.Run(mode+"/"+string(why.Class), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFakeFile("/log/a.log")
					r := newRig(t, settings(mode), 1, f.block(numbered(0, 3)...), f.block(numbered(3, 6)...))
					var broken atomic.Bool
					broken.Store(true)
					r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
						if broken.Load() {
							return kafka.Result{Err: why}
						}
						return kafka.Result{}
					}
					r.start()
					pass(10 * time.Minute)
					if n := r.producer.requests(); n < 20 || n > 100 {
						t.Errorf("%d requests in ten minutes", n)
					}
					if a := r.source.Account(); a.InFlight == 0 || a.InFlight != a.Read {
						t.Errorf("account: %v", a)
					}
					broken.Store(false)
					r.reader.finish()
					if err := <-r.result; err != nil {
						t.Error(err)
					}
					if a := r.source.Account(); a.Delivered+a.Sent != 6 {
						t.Errorf("account: %v", a)
					}
				})
			})
		}
	}
}

func TestAFailureLogThatTakesNothingStopsTheSourceWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var blocks []*batch.Batch
		for i := range 20 {
			blocks = append(blocks, f.block(numbered(3*i, 3*i+3)...))
		}
		r := newRig(t, settings(config.ModeCallback), 1, blocks...)
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result { return kafka.Result{Err: unknown} }
		r.failures.err = errors.New("no space left on device")
		r.start()
		pass(time.Minute)
		a := r.source.Account()
		if a.FailureLogged != 0 || a.InFlight != a.Read || a.Read == 0 || a.Read > 15 {
			t.Errorf("with a full disk: %v", a)
		}
		if got := r.tracker.Settled(f.file.ID); got != 0 {
			t.Errorf("the checkpoint passed lines that are nowhere: %d", got)
		}
		if r.failures.asks > 40 {
			t.Errorf("%d appends in a minute", r.failures.asks)
		}
		r.failures.set(nil)
		r.reader.finish()
		if err := <-r.result; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(numbered(0, 60), r.failures.payloads()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCancelLeavesWhatIsOutUnsettled(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeAsync, config.ModeCallback} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				r := newRig(t, settings(mode), 1, f.block(numbered(0, 3)...))
				r.producer.delay = func() time.Duration { return time.Hour }
				r.start()
				pass(time.Second)
				if err := r.stop(); err == nil || errors.Is(err, ErrHalted) {
					t.Errorf("Run: %v", err)
				}
				if a := r.source.Account(); a.InFlight != 3 || a.Missing() != 0 {
					t.Errorf("account: %v", a)
				}
				if got := r.tracker.Settled(f.file.ID); got != 0 {
					t.Errorf("settled to %d", got)
				}
				pass(2 * time.Hour)
			})
		})
	}
}
