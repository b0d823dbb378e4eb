package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/internal/kafka/kafkatest"
)

// Asked at any moment while lines are shipped, the account adds up, and has the fields of the one at
// the end.
func TestTheAccountSoFarIsTrueAtEveryInstant(t *testing.T) {
	dir := t.TempDir()
	linkFile(t, writeLog(t, 20_000), filepath.Join(dir, "app.log"))
	core, logs := observer.New(zapcore.InfoLevel)
	d := outageDaemon(t, dir, kafkatest.NewSink(t, "t").Addr, Options{Log: zap.New(core)})
	ended := make(chan error, 1)
	go func() {
		_, err := d.Run(t.Context())
		ended <- err
	}()
	eventually(t, "all lines to be delivered", func() bool {
		d.LogState()
		return d.Accounts()[0].Delivered == 20_000
	})
	d.Stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	final := logs.FilterMessage("account").All()
	if len(final) != 1 {
		t.Fatalf("%d accounts at the end, want 1", len(final))
	}
	want := keys(final[0].ContextMap())
	for _, e := range logs.FilterMessage("account so far").All() {
		got := e.ContextMap()
		if d := cmp.Diff(want, keys(got)); d != "" {
			t.Fatalf("fields of the account so far (-at the end +got):\n%s", d)
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Read, Delivered, Sent int64
			FailureLogged         int64 `json:"failure_logged"`
			InFlight              int64 `json:"in_flight"`
			Dropped, Skipped      map[string]int64
		}
		if err := json.Unmarshal(data, &a); err != nil {
			t.Fatal(err)
		}
		if a.Read != a.Delivered+a.Sent+a.FailureLogged+a.InFlight || len(a.Dropped)+len(a.Skipped) > 0 {
			t.Errorf("does not add up: %s", data)
		}
	}
}

func TestWhatTheSystemTellsOfTheProcess(t *testing.T) {
	status := "Name:\tshiplog\nVmPeak:\t  900000 kB\nVmHWM:\t   30720 kB\nVmRSS:\t   20480 kB\nVmSwap:\tnone\nVmRSS:\n"
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range resident([]byte(status)) {
		f.AddTo(enc)
	}
	want := map[string]any{"rss_bytes": int64(20 << 20), "rss_peak_bytes": int64(30 << 20)}
	if d := cmp.Diff(want, enc.Fields); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func keys(m map[string]any) map[string]bool {
	set := make(map[string]bool)
	for k := range m {
		set[k] = true
	}
	return set
}

func linkFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Link(from, to); err != nil {
		t.Fatal(err)
	}
}
