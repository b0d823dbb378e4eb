package checkpoint

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// TestStaleSince: it tells the first failed save since the last good one; one failing source does
// not keep the others from being saved.
func TestStaleSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := fsxtest.New()
		s := openStore(t, fsys, t.TempDir())
		a := testFile(1, 0, "/a")
		app, other := tracker(t, s, "app"), tracker(t, s, "other")
		settle(app, a, 0, 10)
		settle(other, a, 0, 10)
		fsys.FailFrom(fsxtest.OpWrite, 1, syscall.ENOSPC)
		fsys.Only(func(path string) bool { return strings.HasSuffix(path, "app.json"+fsx.TempSuffix) })

		begin := time.Now()
		for range 3 {
			if err := s.Save(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("save: %v, want ENOSPC", err)
			}
			time.Sleep(10 * time.Second) // of the bubble's time
			if since, stale := s.StaleSince(); !stale || !since.Equal(begin) {
				t.Errorf("stale since %v, %v, want %v", since, stale, begin)
			}
		}
		wantOffset(t, tracker(t, openStore(t, fsx.OS, s.dir), "other"), a, 10)
		fsys.Heal()
		mustSave(t, s)
		if _, stale := s.StaleSince(); stale {
			t.Error("stale after a good save")
		}
		wantOffset(t, tracker(t, openStore(t, fsx.OS, s.dir), "app"), a, 10)
	})
}

func TestRunSavesEachIntervalAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := openStore(t, fsx.OS, dir)
		tr := tracker(t, s, "app")
		a := testFile(1, 0, "/a")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx, time.Second) }()

		settle(tr, a, 0, 10)
		time.Sleep(1001 * time.Millisecond) // of the bubble's time
		wantOffset(t, tracker(t, openStore(t, fsx.OS, dir), "app"), a, 10)
		settle(tr, a, 10, 20)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantOffset(t, tracker(t, openStore(t, fsx.OS, dir), "app"), a, 20)
	})
}

func TestRunTellsOnceThatSavingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := fsxtest.New()
		core, logs := observer.New(zapcore.InfoLevel)
		s, err := Open(fsys, t.TempDir(), zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		settle(tracker(t, s, "app"), testFile(1, 0, "/a"), 0, 10)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx, time.Second) }()

		fsys.FailFrom(fsxtest.OpSync, 1, syscall.EIO)
		time.Sleep(5500 * time.Millisecond) // of the bubble's time
		if got := logs.FilterLevelExact(zapcore.ErrorLevel).Len(); got != 1 {
			t.Errorf("%d errors logged, want 1", got)
		}
		fsys.Heal()
		time.Sleep(2 * time.Second)
		if got := logs.FilterLevelExact(zapcore.InfoLevel).Len(); got != 1 {
			t.Errorf("%d messages that it works again, want 1", got)
		}
		settle(tracker(t, s, "app"), testFile(1, 0, "/a"), 10, 20)
		fsys.FailFrom(fsxtest.OpSync, 1, syscall.EIO)
		cancel()
		if err := <-done; !errors.Is(err, syscall.EIO) {
			t.Errorf("Run ends with %v, want the error of the last save", err)
		}
	})
}

// TestEntriesLiveADayAfterTheirFile: an entry goes 24 hours after its file was last there, its
// partition with it; files that are there, or have runs out, stay.
func TestEntriesLiveADayAfterTheirFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, fsx.OS, t.TempDir())
		tr := tracker(t, s, "app")
		kept, gone, busy := testFile(1, 0, "/kept"), testFile(2, 0, "/gone"), testFile(3, 0, "/busy")
		older := testFile(1, 1, "/kept") // goes, but the path lives on
		for i, f := range []*batch.File{kept, gone, busy, older} {
			b := oneRun(f, 0, 10)
			b.ReadAt = time.Now()
			tr.Settle(tr.Begin(b))
			tr.SetPartition(f.Path, int32(i%3))
		}
		tr.Begin(oneRun(busy, 10, 20))
		s.Present("app", func() map[batch.FileID]string { return map[batch.FileID]string{kept.ID: "/kept.1"} })

		time.Sleep(entryLife - time.Minute) // of the bubble's time
		mustSave(t, s)
		wantPaths(t, tr, "/busy", "/gone", "/kept", "/kept")
		time.Sleep(2 * time.Minute)
		mustSave(t, s)
		wantPaths(t, tr, "/busy", "/kept")
		if _, ok := tr.Partition("/gone"); ok {
			t.Error("the partition of a path that is gone is still there")
		}
		if p, ok := tr.Partition("/kept"); !ok || p != 0 {
			t.Errorf("partition of /kept is %d, %v, want 0", p, ok)
		}
	})
}

// TestAClockThatIsSetMovesTheDayOfAnEntry: entries from before a clock was set an hour back or forward live an
// hour longer or shorter than a day, and no more than that.
func TestAClockThatIsSetMovesTheDayOfAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, fsx.OS, t.TempDir())
		tr := tracker(t, s, "app")
		for i, shift := range []time.Duration{time.Hour, -time.Hour} {
			b := oneRun(testFile(uint64(i+1), 0, []string{"/before it was set back", "/before it was set forward"}[i]), 0, 10)
			b.ReadAt = time.Now().Add(shift)
			tr.Settle(tr.Begin(b))
		}
		s.Present("app", func() map[batch.FileID]string { return nil })
		for _, step := range []struct {
			wait time.Duration // of the bubble's time
			want []string
		}{
			{entryLife - time.Hour - time.Minute, []string{"/before it was set back", "/before it was set forward"}},
			{2 * time.Minute, []string{"/before it was set back"}},
			{2*time.Hour - 2*time.Minute, []string{"/before it was set back"}},
			{2 * time.Minute, nil},
		} {
			time.Sleep(step.wait)
			mustSave(t, s)
			wantPaths(t, tr, step.want...)
		}
	})
}

// TestNothingIsForgottenRightAfterAStart: shiplog was down for days, and the files have to be found
// again first.
func TestNothingIsForgottenRightAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := openStore(t, fsx.OS, dir)
		settle(tracker(t, s, "app"), testFile(1, 0, "/a"), 0, 10)
		mustSave(t, s)

		time.Sleep(72 * time.Hour) // of the bubble's time
		s = openStore(t, fsx.OS, dir)
		tr := tracker(t, s, "app")
		s.Present("app", func() map[batch.FileID]string { return nil })
		mustSave(t, s)
		wantPaths(t, tr, "/a")
		time.Sleep(settleIn + time.Minute)
		mustSave(t, s)
		wantPaths(t, tr)
	})
}

// TestPresenceIsSavedEachHour: a file that does not change must not look long gone after a crash.
func TestPresenceIsSavedEachHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := fsxtest.New()
		dir := t.TempDir()
		s := openStore(t, fsys, dir)
		a := testFile(1, 0, "/a")
		settle(tracker(t, s, "app"), a, 0, 10)
		s.Present("app", func() map[batch.FileID]string { return map[batch.FileID]string{a.ID: a.Path} })
		for range 48 * 60 {
			mustSave(t, s)
			time.Sleep(time.Minute) // of the bubble's time
		}
		if got := fsys.Count(fsxtest.OpRename); got > 49 {
			t.Errorf("%d saves in 48 idle hours, want about one an hour", got)
		}
		seen := tracker(t, openStore(t, fsx.OS, dir), "app").States()[0].Seen
		if age := time.Since(seen); age > seenEvery+time.Minute {
			t.Errorf("the saved presence is %v old", age)
		}
	})
}
