package failedlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// broker is a Sender that remembers what it took. verdict decides about each record; nil: all pass.
type broker struct {
	verdict func(topic string, r *Record) error
	before  func(batch int) // called with the number of the batch, from 1
	got     []string
	batches []int
	topics  map[string]int
}

func (b *broker) Send(_ context.Context, topic string, rs []Record) []error {
	b.batches = append(b.batches, len(rs))
	if b.before != nil {
		b.before(len(b.batches))
	}
	errs := make([]error, len(rs))
	for i := range rs {
		if b.verdict != nil {
			errs[i] = b.verdict(topic, &rs[i])
		}
		if errs[i] == nil {
			b.got = append(b.got, string(rs[i].Payload))
			if b.topics == nil {
				b.topics = map[string]int{}
			}
			b.topics[topic]++
		}
	}
	return errs
}

func replay(t *testing.T, root string, opt ReplayOptions, s Sender) Stats {
	t.Helper()
	opt.Dir = root
	if opt.FS == nil {
		opt.FS = fsxtest.New() // the disk, without the time that a real sync takes
	}
	stats, err := Replay(t.Context(), opt, s)
	must(t, err)
	return stats
}

func TestReplaySendsAllOldestFirstAndEmptiesTheLog(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "b", records("b", 0, 3), records("b", 20, 23))
	fill(t, root, "a", records("a", 10, 13), records("a", 30, 33))
	var b broker
	var last Stats
	stats := replay(t, root, ReplayOptions{Progress: func(s Stats) { last = s }}, &b)
	var want []string
	for i, source := range []string{"b", "a", "b", "a"} {
		want = append(want, payloads(records(source, 10*i, 10*i+3))...)
	}
	diff(t, "sent", b.got, want)
	diff(t, "stats", stats, Stats{Segments: 4, SegmentsSeen: 4, Lines: 12, Bytes: stats.SeenBytes, Seen: 12,
		SeenBytes: stats.SeenBytes, Selected: 12, Delivered: 12})
	diff(t, "last progress", last, stats)
	diff(t, "files", append(names(t, root, "a"), names(t, root, "b")...), []string(nil))
}

func TestReplayMovesWhatFailsAgainIntoASegmentOfItsOwn(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 10))
	odd := func(_ string, r *Record) error {
		if r.Offset%200 != 0 {
			return fmt.Errorf("wrapped: %w", &Failure{"too_large", "MESSAGE_TOO_LARGE", "no"})
		}
		return nil
	}
	stats := replay(t, root, ReplayOptions{BatchRecords: 3}, &broker{verdict: odd})
	if stats.Delivered != 5 || stats.FailedAgain != 5 {
		t.Errorf("got %+v, want 5 delivered and 5 failed again", stats)
	}
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.r1.jsonl"})
	must(t, each(fsx.OS, root, "", func(e *Entry) error {
		want := record("app", e.Line*2-1)
		want.Attempts, want.Error = 2, ErrorInfo{"too_large", "MESSAGE_TOO_LARGE", "no"}
		diff(t, "record", e.Record, want)
		return nil
	}))
	replay(t, root, ReplayOptions{}, &broker{verdict: odd})
	diff(t, "files after the second", names(t, root, "app"), []string{"00000000000000000001.r2.jsonl"})
	var b broker
	replay(t, root, ReplayOptions{}, &b)
	if len(b.got) != 5 || len(names(t, root, "app")) != 0 {
		t.Errorf("got %q and files %q", b.got, names(t, root, "app"))
	}
}

// tree reads all files below root.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root+"/")] = string(data)
		return err
	}))
	return out
}

func TestBatchesKeepTheirBoundsAndOneTopic(t *testing.T) {
	root := t.TempDir()
	rs := records("app", 0, 7)
	rs[3].Topic = "other"
	fill(t, root, "app", rs)
	var b broker
	replay(t, root, ReplayOptions{BatchRecords: 2}, &b)
	diff(t, "batches", b.batches, []int{2, 1, 1, 2, 1})
	fill(t, root, "app", rs[4:])
	b = broker{}
	replay(t, root, ReplayOptions{BatchBytes: 2*len(rs[4].AppendJSON(nil)) + 10}, &b)
	diff(t, "batches by bytes", b.batches, []int{2, 1})
}

func TestCancelledReplayStopsAfterTheBatchThatIsOut(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 4), records("app", 4, 8))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := broker{before: func(batch int) {
		if batch == 3 {
			cancel()
		}
	}}
	stats, err := Replay(ctx, ReplayOptions{Dir: root, BatchRecords: 2}, &b)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	diff(t, "goes on at", stats.Next, &Position{"app", "00000000000000000002", 3, record("app", 6).Time})
	diff(t, "sent", b.got, payloads(records("app", 0, 6)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000002.done", "00000000000000000002.jsonl"})
	b.before = nil
	replay(t, root, ReplayOptions{}, &b)
	diff(t, "sent in all", b.got, payloads(records("app", 0, 8)))
}

func TestNoVerdictEndsTheReplayAndChangesNothing(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 4))
	down := errors.New("broker is down")
	b := broker{verdict: func(_ string, r *Record) error {
		switch r.Offset {
		case 100:
			return down
		case 200:
			return &Failure{Class: "invalid"}
		}
		return nil
	}}
	stats, err := Replay(t.Context(), ReplayOptions{Dir: root, BatchRecords: 3}, &b)
	if !errors.Is(err, down) || stats.Delivered != 1 || stats.FailedAgain != 1 || stats.Unanswered != 1 {
		t.Errorf("got %+v, %v", stats, err)
	}
	diff(t, "goes on at", stats.Next, &Position{"app", "00000000000000000001", 1, record("app", 0).Time})
	diff(t, "left", held(t, root, "app"), payloads([]Record{record("app", 1), record("app", 3), record("app", 2)}))
	var attempts []int
	must(t, each(fsx.OS, root, "", func(e *Entry) error { attempts = append(attempts, e.Record.Attempts); return nil }))
	diff(t, "attempts", attempts, []int{1, 1, 2})
}

func TestWrongCountOfAnswersChangesNothing(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 2))
	stats, err := Replay(t.Context(), ReplayOptions{Dir: root}, senderFunc(func([]Record) []error { return nil }))
	if err == nil || stats.Delivered != 0 || stats.Unanswered != 2 {
		t.Errorf("got %+v, %v", stats, err)
	}
	diff(t, "left", held(t, root, "app"), payloads(records("app", 0, 2)))
}

// TestSegmentThatSealedItselfLeavesNoRequest: else the next one would be sealed too early.
func TestSegmentThatSealedItselfLeavesNoRequest(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, fsx.OS, root, "app", Options{})
		must(t, l.Append(records("app", 0, 1)))
		time.AfterFunc(time.Second, func() { must(t, l.Seal()) })
		must(t, RequestSeal(t.Context(), fsx.OS, filepath.Join(root, "app")))
	})
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
}

type senderFunc func([]Record) []error

func (f senderFunc) Send(_ context.Context, _ string, rs []Record) []error { return f(rs) }

func TestOnlyOneReplayOrDropAtATime(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 1))
	b := broker{before: func(int) {
		var locked *fsx.LockedError
		if _, err := Replay(t.Context(), ReplayOptions{Dir: root}, &broker{}); !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Errorf("second replay: error is %v, want a LockedError with our pid", err)
		}
		if _, err := Drop(DropOptions{Dir: root}); !errors.As(err, &locked) {
			t.Errorf("drop: error is %v, want a LockedError", err)
		}
	}}
	replay(t, root, ReplayOptions{}, &b)
	if len(b.got) != 1 {
		t.Errorf("sent %d, want 1", len(b.got))
	}
}

func TestRateIsKept(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 300))
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var b broker
		replay(t, root, ReplayOptions{Rate: 100}, &b)
		// The first batch goes at once; each later one when the ones before have had their time.
		if took := time.Since(begin); took != 2900*time.Millisecond || len(b.got) != 300 || b.batches[0] != 10 {
			t.Errorf("%d records in batches of %d took %v, want 2.9s", len(b.got), b.batches[0], took)
		}
	})
}

func TestRateIsLeftWhenCancelled(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 5))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		var b broker
		stats, err := Replay(ctx, ReplayOptions{Dir: root, Rate: 1}, &b)
		if !errors.Is(err, context.DeadlineExceeded) || stats.Delivered != 2 || stats.Next == nil || stats.Next.Line != 3 {
			t.Errorf("got %+v at %+v, %v; want 2 delivered and line 3", stats, stats.Next, err)
		}
	})
	diff(t, "left", held(t, root, "app"), payloads(records("app", 2, 5)))
}

func TestReplayHasTheDaemonSealWhatIsOpen(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, fsx.OS, root, "app", Options{SealAfter: time.Hour})
		must(t, l.Append(records("app", 0, 3)))
		var b broker
		if stats := replay(t, root, ReplayOptions{}, &b); stats.OpenSegments != 1 || stats.Seen != 0 {
			t.Errorf("not asked to seal: %+v", stats)
		}
		// Nobody hears it: the replay goes on without.
		if stats := replay(t, root, ReplayOptions{SealWait: time.Second}, &b); stats.OpenSegments != 1 {
			t.Errorf("without a daemon: %+v", stats)
		}
		diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.open.jsonl"})
		stop := make(chan struct{})
		go func() {
			for tick := time.NewTicker(time.Second); ; {
				select {
				case <-stop:
					return
				case now := <-tick.C:
					l.Tick(now)
				}
			}
		}()
		stats := replay(t, root, ReplayOptions{SealWait: 5 * time.Second}, &b)
		close(stop)
		diff(t, "files at the end", names(t, root, "app"), []string(nil))
		if stats.Delivered != 3 || stats.OpenSegments != 0 {
			t.Errorf("with a daemon: %+v", stats)
		}
	})
}
