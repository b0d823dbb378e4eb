package shipper

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

func TestABrokerThatComesAndGoesDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		r := newRig(t, c, 1)
		r.build(c, zap.New(core))
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
			r.producer.fail(unknown) // each request fails, and nothing can be sent for a second
			return kafka.Result{Err: unknown}
		}
		r.start()
		for i := range 50 {
			r.reader.add(f.block(numbered(i, i+1)...))
			pass(time.Second)
			r.producer.mend()
		}
		if n := logs.Len(); n > 5 {
			t.Errorf("%d lines of log for one lasting trouble: %v", n, logs.All()[:5])
		}
		r.producer.answer = nil
		r.producer.mend()
		r.reader.add(f.block(numbered(50, 51)...))
		pass(time.Second)
		if n := logs.FilterMessage("going on: lines get through again").Len(); n != 1 {
			t.Errorf("the end of the trouble was said %d times", n)
		}
		_ = r.stop()
	})
}

func TestWhatIsAcknowledgedWhenTheSourceIsCutShortIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeSync), 1, f.block(numbered(0, 3)...))
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
			r.cancel() // the answer and the end come together
			return kafka.Result{}
		}
		r.start()
		if err := <-r.result; err == nil {
			t.Fatal("it was not cut short")
		}
		if a := r.source.Account(); a.Delivered != 3 || a.InFlight != 0 {
			t.Errorf("account: %v", a)
		}
		if got := r.tracker.Settled(f.file.ID); got != f.offset {
			t.Errorf("settled to %d, want %d: the next start sends it twice", got, f.offset)
		}
	})
}

func TestAHaltedSourceGivesItsMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := batch.NewPool(64 << 10)
		quota, other := pool.Source(1<<10), pool.Source(1<<10)
		quota.TryGet(1 << 10)
		other.TryGet(1 << 10)       // the reserves are taken
		b := quota.TryGet(64 << 10) // so this is the shared part
		newFakeFile("/log/a.log").run(b, numbered(0, 3)...)
		r := newRig(t, settings(config.ModeSync), 1, b)
		r.producer.answer = refuseValues(tooLarge, `"n":1}`)
		if err := r.run(); !errors.Is(err, ErrHalted) {
			t.Fatalf("Run: %v", err)
		}
		if other.TryGet(64<<10) == nil {
			t.Error("the shared memory stays with a source that ended")
		}
		if a := r.source.Account(); a.InFlight != 2 || a.Missing() != 0 {
			t.Errorf("account: %v", a)
		}
	})
}
