package shipper

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
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
