package cut

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"shiplog/internal/batch"
)

// repeated is an endless stream of one line.
type repeated struct{ line []byte }

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, r.line[off%int64(len(r.line)):])
	for n < len(p) {
		n += copy(p[n:], r.line)
	}
	return n, nil
}

func BenchmarkCut(b *testing.B) {
	for _, bench := range []struct {
		name  string
		line  int
		block int
	}{{"254B lines, 64KiB blocks", 254, 64 << 10}, {"254B lines, 256KiB blocks", 254, 256 << 10}, {"254B lines, 1MB blocks", 254, 1 << 20}, {"40B lines, 256KiB blocks", 40, 256 << 10}} {
		b.Run(bench.name, func(b *testing.B) {
			line := append(bytes.Repeat([]byte("x"), bench.line-1), '\n')
			path := filepath.Join(b.TempDir(), "app.log")
			if err := os.WriteFile(path, bytes.Repeat(line, 16<<20/len(line)), 0o600); err != nil {
				b.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			q := batch.NewPool(0).Source(bench.block)
			c := New(Options{MaxLineBytes: 1 << 20}, testFile, batch.Pos{})
			lines := 0
			b.ReportAllocs()
			for b.Loop() {
				blk := q.TryGet(bench.block)
				res, err := c.Fill(f, blk, bench.block, false)
				if err != nil {
					b.Fatal(err)
				}
				if lines += len(blk.Lines); res.AtEOF {
					c = New(Options{MaxLineBytes: 1 << 20}, testFile, batch.Pos{})
				}
				blk.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
			b.ReportMetric(float64(lines)/float64(b.N), "lines/op")
		})
	}
}

// BenchmarkTrickle is a file that gets one line at a time.
func BenchmarkTrickle(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 253), '\n')
	f, err := os.Create(filepath.Join(b.TempDir(), "app.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	q := batch.NewPool(0).Source(64 << 10)
	c := New(Options{MaxLineBytes: 1 << 20}, testFile, batch.Pos{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		blk := q.TryGet(64 << 10)
		if res, err := c.Fill(f, blk, 64<<10, false); err != nil || len(blk.Lines) != 1 {
			b.Fatal(res, err)
		}
		blk.Release()
	}
}

// BenchmarkOversize is the cost of a byte of a line that is too long, beside that of its hash alone.
func BenchmarkOversize(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 8<<20), '\n')
	b.Run("cut", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		c := New(Options{MaxLineBytes: 1 << 20}, testFile, batch.Pos{})
		blk := newBatch(64 << 10)
		for b.Loop() {
			for len(blk.Runs) == 0 {
				if _, err := c.Fill(repeated{line}, blk, 64<<10, false); err != nil {
					b.Fatal(err)
				}
			}
			blk.Runs = blk.Runs[:0]
		}
	})
	b.Run("hash", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			sha256.Sum256(line)
		}
	})
}
