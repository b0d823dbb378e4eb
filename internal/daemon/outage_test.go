package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/kafka/kafkatest"
)

// A file that is rotated while the broker has been away since the very first start was never read, so
// no batch told of it. It must be known after a restart all the same.
func TestFilesRotatedBeforeTheFirstBatchAreShippedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	logFile := filepath.Join(dir, "app.log")
	d := outageDaemon(t, dir, "127.0.0.1:1", Options{Log: zap.NewNop()})
	ended := make(chan Report, 1)
	writeFile(t, logFile, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n")
	go func() {
		report, err := d.Run(t.Context())
		if err != nil {
			t.Error(err)
		}
		ended <- report
	}()
	eventually(t, "the first file to be found", func() bool { return d.pipes[0].tailer.Stats().Found == 1 })
	if err := os.Rename(logFile, logFile+".1"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, logFile, "{\"n\":4}\n{\"n\":5}\n")
	eventually(t, "the second file to be found", func() bool { return d.pipes[0].tailer.Stats().Found == 2 })
	d.Stop()
	report := <-ended
	if !report.TimedOut || len(report.Remainders) != 1 || report.Remainders[0].UnreadBytes != 5*8 {
		t.Errorf("report with a dead broker: %+v, want 40 bytes unread", report)
	}

	d = outageDaemon(t, dir, kafkatest.NewSink(t, "t").Addr, Options{Once: true, Log: zap.NewNop()})
	report, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := report.Accounts[0]; a.Delivered != 5 || len(report.Remainders) != 0 {
		t.Errorf("after the restart: %s, remainders %+v, want 5 lines delivered", a, report.Remainders)
	}
}

func outageDaemon(t *testing.T, dir, broker string, opt Options) *Daemon {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	writeFile(t, path, fmt.Sprintf("data_dir: %s\nshutdown_timeout: 200ms\nshutdown_quiet: 0s\nkafka: {brokers: [%q]}\n"+
		"sources: [{id: a, mode: callback, topic: t, include: [%q], rotate_wait: 100ms}]\n",
		filepath.Join(dir, "data"), broker, filepath.Join(dir, "app.log")))
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}
