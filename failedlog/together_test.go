package failedlog

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// TestWritersReplayAndReadersTogether lets four writers, a replay, a drop that picks nothing, and
// readers work on one failure log at once: each record is delivered once.
func TestWritersReplayAndReadersTogether(t *testing.T) {
	root := ramDir(t)
	fsys := fsxtest.New()
	l := openLog(t, fsys, root, "app", Options{Fsync: true, SegmentBytes: 3000})
	const writers, calls = 4, 40
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for c := range calls {
				n := (w*calls + c) * 3
				if err := l.Append(records("app", n, n+3)); err != nil {
					t.Error(err)
				}
				if rand.IntN(10) == 0 {
					l.Tick(start.Add(time.Duration(c) * time.Minute))
				}
			}
		})
	}
	stop := make(chan struct{})
	loop := func(f func() error) {
		reading.Go(func() {
			for {
				if err := f(); err != nil {
					if locked := (*fsx.LockedError)(nil); !errors.As(err, &locked) {
						t.Error(err)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	var b broker
	b.verdict = func(_ string, r *Record) error {
		if r.Attempts == 1 && r.Offset%700 == 0 {
			return &Failure{Class: "retriable"}
		}
		return nil
	}
	loop(func() error { _, err := Replay(t.Context(), ReplayOptions{FS: fsys, Dir: root}, &b); return err })
	loop(func() error {
		_, err := Drop(DropOptions{FS: fsys, Dir: root, Filter: Filter{Classes: []string{"none"}}})
		return err
	})
	loop(func() error {
		_, err := Export(io.Discard, ExportOptions{FS: fsys, Dir: root, OnBad: func(b BadLine) { t.Error(b) }})
		return err
	})
	loop(func() error { _, err := Summarize(fsys, root, Filter{}); return err })
	writing.Wait()
	must(t, l.Close())
	close(stop)
	reading.Wait()
	for range 3 {
		replay(t, root, ReplayOptions{FS: fsys}, &b)
	}
	if n := repeats(t, b.got, payloads(records("app", 0, writers*calls*3))); n != 0 {
		t.Errorf("%d came twice", n)
	}
	diff(t, "files", names(t, root, "app"), []string(nil))
}

// TestMemoryOfAReplayIsBounded replays a full segment of 64 MiB and looks at the live heap.
func TestMemoryOfAReplayIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 64 MiB")
	}
	root := ramDir(t)
	l, err := Open(fsxtest.New(), filepath.Join(root, "app"), Options{})
	must(t, err)
	func() { // so that the records are garbage when the heap is measured
		rs := records("app", 0, 500)
		for i := range rs {
			rs[i].Payload = fmt.Appendf(nil, `{"n":%d,"msg":%q}`, i, strings.Repeat("x", 1800))
		}
		for range 64 {
			must(t, l.Append(rs))
		}
	}()
	must(t, l.Close())
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, batches, sent := heap(), uint64(0), 0, 0
	begin := time.Now()
	stats := replay(t, root, ReplayOptions{}, senderFunc(func(rs []Record) []error {
		if batches++; batches%20 == 0 {
			most = max(most, heap())
		}
		sent += len(rs)
		return make([]error, len(rs))
	}))
	t.Logf("%d records of %d MiB in %v, %d KiB live at most", sent, stats.Bytes>>20, time.Since(begin), (most-before)>>10)
	if sent != 32_000 || most-before > 8<<20 {
		t.Errorf("%d records sent, %d KiB live, want 32000 and at most 8 MiB", sent, (most-before)>>10)
	}
}
