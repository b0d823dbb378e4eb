package tailer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"shiplog/internal/batch"
)

// BenchmarkFill reads a file of 254-byte lines, batch by batch, as a consumer that never blocks does.
func BenchmarkFill(b *testing.B) {
	const lines = 200_000
	dir := b.TempDir()
	line := append(bytes.Repeat([]byte("x"), 253), '\n')
	if err := os.WriteFile(filepath.Join(dir, "a.log"), bytes.Repeat(line, lines), 0o600); err != nil {
		b.Fatal(err)
	}
	quota := batch.NewPool(8 << 20).Source(2 << 20)
	b.SetBytes(lines * 254)
	b.ReportAllocs()
	for b.Loop() {
		t, err := New(Config{Include: []string{filepath.Join(dir, "*.log")}, Quota: quota, Poll: true})
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		t.scan(now)
		n := 0
		for bt := t.fill(now); bt != nil; bt = t.fill(now) {
			n += len(bt.Lines)
			bt.Release()
		}
		if n != lines {
			b.Fatalf("%d lines", n)
		}
		(&loop{t: t, timer: time.NewTimer(0)}).end()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
}

// BenchmarkScan looks at 1,000 quiet files, which is what each second costs.
func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		name := filepath.Join(dir, string(rune('a'+i%26))+time.Duration(i).String()+".log")
		if err := os.WriteFile(name, []byte("line\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	t, err := New(Config{
		Include: []string{filepath.Join(dir, "*.log")}, Poll: true, RotateWait: time.Second,
		Quota: batch.NewPool(8 << 20).Source(2 << 20),
	})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	t.scan(now)
	for bt := t.fill(now); bt != nil; bt = t.fill(now) {
		bt.Release()
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		t.scan(now)
	}
	(&loop{t: t, timer: time.NewTimer(0)}).end()
}
