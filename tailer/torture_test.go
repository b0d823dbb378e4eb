package tailer

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestTorture lets a writer and a rotator run against the loop itself, without any agreement about
// when: renames, many of them between two looks, compression, and a tailer that is cut short and started again.
func TestTorture(t *testing.T) {
	r := newRig(t, "app.log*")
	r.cfg.Poll = false
	const rotations, lines = 40, 200
	total := make(chan int, 1)
	r.append("app.log", "line 0")
	r.start()
	r.tick() // from now on the checkpoint knows of the file
	go func() { total <- writeAndRotate(r, rotations, lines) }()
	want := -1
	for life := 0; want < 0 || len(r.all) < want; life++ {
		r.start()
		ctx, cancel := context.WithCancel(context.Background())
		done := r.runs(ctx)
		for range 20 + life {
			r.tl.Want()
			select {
			case b := <-r.tl.Batches():
				r.receive(b)
				b.Release()
			case want = <-total:
			case <-time.After(testPatience):
				cancel()
				t.Fatalf("%d lines arrived of %d\n%s", len(r.all), want, r.dump())
			}
			if len(r.all) == want {
				break
			}
		}
		cancel()
		r.ended(done, context.Canceled)
		r.seen = time.Now()
	}
	defer func() { r.tl = nil }()
	for i, line := range r.lines[r.path("app.log")] {
		if want := fmt.Sprintf("line %d", i); line != want {
			t.Fatalf("line %d is %q, want %q\n%s", i, line, want, r.dump())
		}
	}
	r.wantAll(want)
}

// writeAndRotate is the application and its rotator in one: it writes, renames, goes on writing into the
// old file for a while, and opens a new one. Every third rotation follows at once.
func writeAndRotate(r *rig, rotations, lines int) int {
	n := 1
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	open := func() *os.File {
		f, err := os.OpenFile(r.path("app.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			panic(err)
		}
		return f
	}
	f := open()
	write := func(count int) {
		for range count {
			if _, err := fmt.Fprintf(f, "line %d\n", n); err != nil {
				panic(err)
			}
			n++
		}
	}
	for i := range rotations {
		for range i % 3 * 3 { // every third rotation follows at once
			write(lines / 4)
			<-pace.C
		}
		write(lines)
		for k := i; k > 0; k-- {
			for _, gz := range []string{"", ".gz"} {
				_ = os.Rename(r.path(fmt.Sprintf("app.log.%d%s", k, gz)), r.path(fmt.Sprintf("app.log.%d%s", k+1, gz)))
			}
		}
		if err := os.Rename(r.path("app.log"), r.path("app.log.1")); err != nil {
			panic(err)
		}
		write(10) // it has not noticed yet
		_ = f.Close()
		if i%5 == 4 {
			r.gzip("app.log.3")
		}
		f = open()
	}
	write(lines)
	_ = f.Close()
	return n
}
