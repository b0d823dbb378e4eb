package shipper

import (
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// Under the race detector and on real time: many readers of the account while lines get every
// outcome.
func TestAccountIsTrueForReadersOnOtherGoroutines(t *testing.T) {
	f := newFakeFile("/log/a.log")
	c := settings(config.ModeCallback)
	c.OnInvalidJSON, c.Linger = config.ActionDrop, 0
	var blocks []*batch.Batch
	for i := range 300 {
		b := f.block(append(numbered(20*i, 20*i+20), "not json")...)
		b.Full = true
		b.Runs[0].Skipped[batch.SkipEmpty] = 2
		blocks = append(blocks, b)
	}
	r := newRig(t, c, 3, blocks...)
	n := 0
	r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
		if n++; n%3 == 0 {
			return kafka.Result{Err: retriable}
		}
		return kafka.Result{}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				if a := r.source.Account(); a.Missing() != 0 {
					t.Errorf("%d lines are missing: %v", a.Missing(), a)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	a := r.mustRun()
	close(stop)
	wg.Wait()
	if a.Read != 300*23 || a.Delivered != 4000 || a.FailureLogged != 2000 || a.Dropped["invalid_json"] != 300 || a.Skipped["empty"] != 600 {
		t.Errorf("account: %v", a)
	}
}

func TestAccountInWords(t *testing.T) {
	a := Account{
		Source: "app", Mode: "callback", Read: 20, Delivered: 10, FailureLogged: 2, InFlight: 4,
		Dropped: map[string]int64{"oversize": 1}, Skipped: map[string]int64{"nul": 1, "empty": 2},
	}
	want := "app (callback): read 20 = delivered 10 + sent 0 + failure_logged 2 + dropped 1 (oversize 1) + " +
		"skipped 3 (empty 2, nul 1) + in_flight 4"
	if got := a.String(); got != want || a.Missing() != 0 {
		t.Errorf("got  %s\nwant %s, missing %d", got, want, a.Missing())
	}
	if a.Read++; a.Missing() != 1 {
		t.Errorf("missing %d, want 1", a.Missing())
	}
	table := Table([]Account{a, {Source: "other", Mode: "async", Sent: 12345}})
	for _, word := range []string{"app", "callback", "3 (empty 2, nul 1)", "12345"} {
		if !strings.Contains(table, word) {
			t.Errorf("%q is missing in\n%s", word, table)
		}
	}
}

func TestAnAccountStandsInALogLineUnderItsOwnNames(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	zap.New(core).Info("account", zap.Inline(Account{Read: 5, Sent: 3, InFlight: 2}))
	got := logs.All()[0].ContextMap()
	if got["read"] != int64(5) || got["sent"] != int64(3) || got["in_flight"] != int64(2) {
		t.Errorf("account: %v", got)
	}
}

func TestBackoffDoublesUpToItsBoundAndJitters(t *testing.T) {
	var b backoff
	now := time.Unix(0, 0)
	if !b.due(now) {
		t.Error("a new backoff is not due")
	}
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		b.push(now, 100, 1000)
		if d := b.at.Sub(now); d > want || d < want*3/4 {
			t.Errorf("wait %d: %v, want %v less up to a quarter", i, d, want)
		}
	}
}
