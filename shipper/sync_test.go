package shipper

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

func TestSyncKeepsTheOrderThroughRetriesAndRefusedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeSync)
		c.OnPermanentError = config.ActionFail
		var blocks []*batch.Batch
		for i := range 10 {
			blocks = append(blocks, f.block(numbered(100*i, 100*i+100)...))
		}
		c.MaxBatchBytes = 1000 // several record batches a block, all of one partition
		r := newRig(t, c, 3, blocks...)
		n := 0
		refuse := refuseValues(tooLarge, `"n":7}`, `"n":555}`, `"n":556}`, `"n":999}`)
		r.producer.answer = func(rb *kafka.RecordBatch) kafka.Result {
			if n++; n%3 == 0 {
				return kafka.Result{Err: unknown}
			}
			return refuse(rb)
		}
		a := r.mustRun()
		if a.Delivered != 996 || a.FailureLogged != 4 {
			t.Errorf("account: %v", a)
		}
		want := slices.DeleteFunc(numbered(0, 1000), func(s string) bool {
			return slices.Contains([]string{`{"n":7}`, `{"n":555}`, `{"n":556}`, `{"n":999}`}, s)
		})
		if diff := cmp.Diff(want, r.producer.values()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSyncHaltsAtALineThatIsRefusedAndRepeatsNothingAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := newFakeFile("/log/a.log"), newFakeFile("/log/other.log")
		b := g.block(numbered(900, 950)...)
		f.run(b, numbered(0, 100)...)
		r := newRig(t, settings(config.ModeSync), 1, b, f.block(numbered(100, 200)...))
		r.producer.answer = refuseValues(tooLarge, `"n":42}`)
		err := r.run()
		var halted *HaltedError
		if !errors.Is(err, ErrHalted) || !errors.As(err, &halted) {
			t.Fatalf("Run: %v", err)
		}
		want := HaltedError{
			Source: "app", File: "/log/a.log", FileID: f.file.ID, Offset: offsetOf(numbered(0, 42)), Line: `"{\"n\":42}"`,
			Cause: tooLarge,
		}
		if diff := cmp.Diff(want, *halted, cmp.Comparer(func(a, b *kafka.Error) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
		for _, part := range []string{"/log/a.log", "on_permanent_error", "checkpoint seek", "MESSAGE_TOO_LARGE"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is missing in: %v", part, err)
			}
		}
		if diff := cmp.Diff(append(numbered(900, 950), numbered(0, 42)...), r.producer.values()); diff != "" {
			t.Error(diff)
		}
		if got := r.tracker.Settled(f.file.ID); got != halted.Offset {
			t.Errorf("settled to %d, want %d: the lines before would be sent twice", got, halted.Offset)
		}
		if got := r.tracker.Settled(g.file.ID); got != g.offset {
			t.Errorf("the other file is settled to %d, want %d", got, g.offset)
		}
		if a := r.source.Account(); a.Delivered != 92 || a.InFlight != 58 || a.Missing() != 0 {
			t.Errorf("account: %v", a)
		}
		for _, s := range r.tracker.States() {
			if s.ID == f.file.ID && (s.Pos.Tail != batch.Hash([]byte("{\"n\":41}\n")) || s.Pos.TailLen != 9) {
				t.Errorf("position: %+v", s.Pos)
			}
		}
	})
}

// A topic that takes no line at all is not the first line's fault, however often it is asked, and what it said of
// the lines is void once it takes them.
func TestATopicThatNamesAllLinesIsWaitedFor(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeCallback} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFile("/log/a.log")
			r := newRig(t, settings(mode), 1, f.block(numbered(0, 100)...))
			var broken atomic.Bool
			broken.Store(true)
			r.producer.answer = func(rb *kafka.RecordBatch) (res kafka.Result) {
				if broken.Load() {
					res.Err = invalid
					for i := range rb.Len() {
						res.RecordErrors = append(res.RecordErrors, kafka.RecordError{Index: i, Message: "no key"})
					}
				}
				return res
			}
			r.start()
			pass(10 * time.Minute)
			if n := r.producer.requests(); n > 300 {
				t.Errorf("%s: %d requests in ten minutes: a storm", mode, n)
			}
			broken.Store(false)
			r.reader.finish()
			if err := <-r.result; err != nil {
				t.Errorf("%s: %v", mode, err)
			}
			if diff := cmp.Diff(numbered(0, 100), r.producer.values()); diff != "" {
				t.Errorf("%s: %s", mode, diff)
			}
		})
	}
}

func TestSyncHaltsWhenItsRetriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeSync)
		c.Retry.MaxElapsedTime = time.Minute
		r := newRig(t, c, 1, f.block(numbered(0, 3)...))
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result { return kafka.Result{Err: unknown} }
		start := time.Now()
		err := r.run()
		var halted *HaltedError
		if !errors.As(err, &halted) || !halted.GaveUp || halted.Offset != 0 {
			t.Fatalf("Run: %v", err)
		}
		if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
			t.Errorf("halted after %v", took)
		}
		if got := r.tracker.Settled(f.file.ID); got != 0 {
			t.Errorf("settled to %d", got)
		}
	})
}

func TestSyncRetriesForEverWithoutABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeSync), 1, f.block(numbered(0, 3)...))
		start := time.Now()
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
			if time.Since(start) < 24*time.Hour {
				return kafka.Result{Err: retriable}
			}
			return kafka.Result{}
		}
		if a := r.mustRun(); a.Delivered != 3 {
			t.Errorf("account: %v", a)
		}
	})
}

func TestSyncKeepsOnePartitionAPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var files []*fakeFile
		var b batch.Batch
		for i := range 8 {
			f := newFakeFile(fmt.Sprintf("/log/%d.log", i))
			files = append(files, f)
			f.run(&b, fmt.Sprintf(`{"file":%d,"n":0}`, i))
		}
		r := newRig(t, settings(config.ModeSync), 4, &b)
		r.tracker.SetPartition("/log/0.log", 3) // chosen when the topic was another
		r.tracker.SetPartition("/log/1.log", 7) // no longer there
		var c batch.Batch
		for i, f := range files {
			f.run(&c, fmt.Sprintf(`{"file":%d,"n":1}`, i))
		}
		r.reader.add(&c)
		r.mustRun()
		got := make(map[string]int32)
		for _, s := range r.producer.topicLog {
			file := s.value[:strings.Index(s.value, ",")]
			if p, ok := got[file]; ok && p != s.partition {
				t.Errorf("%s went to partitions %d and %d", file, p, s.partition)
			}
			got[file] = s.partition
		}
		if got[`{"file":0`] != 3 {
			t.Errorf("the partition chosen before was not kept: %d", got[`{"file":0`])
		}
		for i := 1; i < 8; i++ {
			path := fmt.Sprintf("/log/%d.log", i)
			want := kafka.Partition([]byte(path), 4)
			if p, ok := r.tracker.Partition(path); !ok || p != want || got[fmt.Sprintf(`{"file":%d`, i)] != want {
				t.Errorf("%s: partition %d, %v, want %d", path, p, ok, want)
			}
		}
		if len(r.producer.delivers) != 2 {
			t.Errorf("%d round trips for two blocks, want 2", len(r.producer.delivers))
		}
	})
}

func TestSyncPinnedPartitionTakesKeyedLinesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeSync)
		pin := int32(2)
		c.Partition, c.Key.Field = &pin, "n"
		r := newRig(t, c, 4, f.block(numbered(0, 20)...))
		r.mustRun()
		for i, s := range r.producer.topicLog {
			if s.partition != 2 || s.key != fmt.Sprint(i) {
				t.Errorf("record %d: %+v", i, s)
			}
		}
	})
}

func TestSyncLogsPartitionAndOffsetsOfEachBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeSync)
		r := newRig(t, c, 1, f.block(numbered(0, 3)...), f.block(numbered(3, 10)...))
		r.build(c, zap.New(core))
		r.mustRun()
		lines := logs.FilterMessage("acknowledged").All()
		if len(lines) != 2 {
			t.Fatalf("%d lines", len(lines))
		}
		want := map[string]any{"source": "app", "partition": int32(0), "first_offset": int64(3), "last_offset": int64(9), "records": int64(7)}
		if diff := cmp.Diff(want, lines[1].ContextMap()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSyncOneByOneIsLiterallyOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var blocks []*batch.Batch
		for _, line := range numbered(0, 20) { // what the reader makes of max_batch_lines: 1
			b := f.block(line)
			b.Full = true
			blocks = append(blocks, b)
		}
		r := newRig(t, settings(config.ModeSync), 1, blocks...)
		r.producer.delay = func() time.Duration { return time.Millisecond }
		r.mustRun()
		if r.producer.maxOut != 1 || !slices.Equal(slices.Compact(slices.Clone(r.producer.sizes)), []int{1}) {
			t.Errorf("requests of %v records, %d at once", r.producer.sizes, r.producer.maxOut)
		}
		if diff := cmp.Diff(numbered(0, 20), r.producer.values()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPossibleRepeatsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeSync), 1, f.block(numbered(0, 3)...))
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result { return kafka.Result{PossibleRepeat: true} }
		if a := r.mustRun(); a.PossibleRepeats != 3 || a.Delivered != 3 {
			t.Errorf("account: %v", a)
		}
	})
}

// What is cut from a batch that may have been written before it was refused may be there twice, too.
func TestPossibleRepeatsAreCountedThroughARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeSync), 1, f.block(numbered(0, 7)...), f.block(numbered(7, 9)...))
		r.producer.answer = func(rb *kafka.RecordBatch) kafka.Result {
			if rb.Len() == 7 {
				return kafka.Result{Err: tooLarge, PossibleRepeat: true}
			}
			return kafka.Result{}
		}
		if a := r.mustRun(); a.PossibleRepeats != 7 || a.Delivered != 9 {
			t.Errorf("account: %v, want 7 possible repeats of 9 delivered", a)
		}
	})
}
