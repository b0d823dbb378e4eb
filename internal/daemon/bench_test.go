package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/kafka/kafkatest"
)

// BenchmarkFileToSocket is a line's whole way: tailer, JSON check, record, request, result, settle,
// checkpoint. One operation is one file of 254-byte lines; the broker decodes nothing. allocs/line
// counts everything, the start and the stop of a daemon included.
func BenchmarkFileToSocket(b *testing.B) {
	for _, bench := range []struct{ name, keys string }{
		{"callback/raw", "mode: callback, compression: none, on_invalid_json: pass"},
		{"callback", "mode: callback"},
		{"async", "mode: async"},
		{"callback/fields", "mode: callback, fields: {env: prod}"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const lines = 400_000
			logFile := writeLog(b, lines)
			sink := kafkatest.NewSink(b, "t")
			b.SetBytes(lines * 254)
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				shipOnce(b, logFile, sink.Addr, bench.keys, lines)
			}
			runtime.ReadMemStats(&after)
			shipped := float64(b.N) * lines
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/shipped, "allocs/line")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/shipped, "ns/line")
		})
	}
}

// A line costs no allocation on its whole way; what there is belongs to requests, and to the start
// and stop of a daemon.
func TestALineCostsNoAllocation(t *testing.T) {
	const lines = 200_000
	logFile := writeLog(t, lines)
	sink := kafkatest.NewSink(t, "t")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	shipOnce(t, logFile, sink.Addr, "mode: callback", lines)
	runtime.ReadMemStats(&after)
	if perLine := float64(after.Mallocs-before.Mallocs) / lines; perLine > 0.1 {
		t.Errorf("%.3f allocations a line, want 0", perLine)
	}
}

func writeLog(t testing.TB, lines int) string {
	t.Helper()
	line := `{"time":"2026-01-02T03:04:05Z","level":"info","service":"checkout","message":"`
	line += strings.Repeat("x", 253-len(line)-2) + "\"}\n"
	path := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(path, []byte(strings.Repeat(line, lines)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shipOnce runs a whole daemon over the file.
func shipOnce(t testing.TB, logFile, broker, keys string, lines int64) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s\nkafka: {brokers: [%q]}\nsources: [{id: a, topic: t, include: [%q], %s}]\n",
		filepath.Join(dir, "data"), broker, logFile, keys)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg, Options{Once: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	report, err := d.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if a := report.Accounts[0]; a.Delivered+a.Sent != lines || a.Missing() != 0 {
		t.Fatalf("shipped %s, want %d lines", a, lines)
	}
}
