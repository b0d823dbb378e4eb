package shipper

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
	"shiplog/internal/batch"
)

func TestAsyncCountsSentAndNeverDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeAsync), 1, f.block(numbered(0, 3)...))
		r.producer.unconfirmed = 2
		a := r.mustRun()
		if a.Sent != 3 || a.Delivered != 0 || a.SentUnconfirmed != 2 {
			t.Errorf("account: %+v", a)
		}
	})
}

func TestAsyncDropsWhatFailsAndCountsItByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		r := newRig(t, settings(config.ModeAsync), 1,
			f.block(numbered(0, 3)...), f.block(numbered(3, 5)...), f.block(numbered(5, 9)...))
		r.producer.answer = refuseValues(unknown, `"n":1}`)
		r.producer.answer = both(r.producer.answer, refuseValues(tooLarge, `"n":8}`))
		a := r.mustRun()
		want := map[string]int64{"unknown_outcome": 3, "too_large": 4}
		if diff := cmp.Diff(want, a.Dropped); diff != "" {
			t.Error(diff)
		}
		if a.Sent != 2 || len(r.failures.recs) != 0 || r.producer.requests() != 3 {
			t.Errorf("%v, %d in the failure log, %d requests", a, len(r.failures.recs), r.producer.requests())
		}
		if got := r.tracker.Settled(f.file.ID); got != f.offset {
			t.Errorf("settled to %d, want %d", got, f.offset)
		}
	})
}

func TestAsyncNeedsNoFailureLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeAsync)
		c.OnInvalidJSON = config.ActionFail
		b := f.block(`{"n":1}`, `not json`)
		b.Runs[0].Oversize = []batch.Oversize{{Offset: 100, Length: 5000}}
		r := newRig(t, c, 1, b)
		s, err := New(c, Deps{Reader: r.reader, Producer: r.producer, Tracker: r.tracker})
		if err != nil {
			t.Fatal(err)
		}
		r.source = s
		a := r.mustRun()
		want := map[string]int64{"invalid_json": 1, "oversize": 1}
		if diff := cmp.Diff(want, a.Dropped); diff != "" || a.Sent != 1 || a.Read != 3 {
			t.Errorf("%v %s", a, diff)
		}
	})
}

func TestOtherModesNeedAFailureLog(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeCallback} {
		if _, err := New(settings(mode), Deps{Reader: newFakeReader(), Producer: newFakeProducer(1)}); err == nil {
			t.Errorf("%s: no error without a failure log", mode)
		}
	}
	if _, err := New(settings("exactly-once"), Deps{}); err == nil {
		t.Error("no error for an unknown mode")
	}
}
