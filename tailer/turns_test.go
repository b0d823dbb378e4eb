package tailer

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestFairTurns(t *testing.T) {
	const files = 500
	r := newRig(t, "*.log")
	pad := strings.Repeat("x", 1000)
	r.append("a-huge.log", seq(pad, 1, 3000)...)
	for i := range files {
		r.append(fmt.Sprintf("b-%03d.log", i), "1")
	}
	r.start()
	r.look()
	for range 10 {
		r.take()
	}
	if n := len(r.all) - len(r.lines[r.path("a-huge.log")]); n != files {
		t.Errorf("%d of %d small files had their turn beside the huge one", n, files)
	}
	r.drain()
	r.want("a-huge.log", seq(pad, 1, 3000)...)
}

func TestTwoBacklogsTakeTurns(t *testing.T) {
	r := newRig(t, "*.log")
	lines := seq(strings.Repeat("x", 1000), 1, 3000)
	r.append("a.log", lines...)
	r.append("b.log", lines...)
	r.start()
	r.look()
	for range 8 {
		r.take()
		a, b := len(r.lines[r.path("a.log")]), len(r.lines[r.path("b.log")])
		if d := a - b; d > 300 || d < -300 {
			t.Fatalf("%d lines of one, %d of the other", a, b)
		}
	}
}

func TestMaxOpenFiles(t *testing.T) {
	r := newRig(t, "*.log*")
	r.cfg.MaxOpenFiles = 4
	var want int
	write := func(n int) {
		for i := range 30 {
			r.append(fmt.Sprintf("%02d.log", i), seq(fmt.Sprint(i), n*10, n*10+9)...)
			want += 10
		}
	}
	write(0)
	r.start()
	for n := 1; n < 12; n++ {
		r.ticks(2) // a closed file that is gone is looked for twice before newer lines pass
		r.wantAll(want)
		if open := len(r.tl.opened); open > 4 {
			t.Fatalf("%d files are open", open)
		}
		if n%3 == 0 {
			for i := range 30 {
				r.rename(fmt.Sprintf("%02d.log", i), fmt.Sprintf("%02d.log.1", i))
			}
		}
		write(n)
	}
	r.ticks(3)
	for i := range 30 {
		r.want(fmt.Sprintf("%02d.log", i), seq(fmt.Sprint(i), 0, 119)...)
	}
	if s := r.tl.Stats(); len(s.UnreadBytesLost) > 0 || s.FilesLost > 0 {
		t.Errorf("lost %v, %d files", s.UnreadBytesLost, s.FilesLost)
	}
}

func TestMoreBacklogsThanDescriptors(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.MaxOpenFiles = 2
	lines := seq(strings.Repeat("x", 1000), 1, 700)
	for i := range 6 {
		r.append(fmt.Sprintf("%d.log", i), lines...)
	}
	r.start()
	r.tick()
	for i := range 6 {
		r.want(fmt.Sprintf("%d.log", i), lines...)
	}
	if n := r.logs.FilterMessageSnippet("max_open_files").Len(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// A file that is not held open is looked into all the same, so that a truncation is not taken for growth.
func TestTruncationOfAFileThatIsNotHeldOpen(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.MaxOpenFiles = 1
	r.append("a.log", "a")
	r.append("b.log", "b1", "b2")
	r.start()
	for range 3 {
		r.look()
	}
	if r.tl.series[r.path("b.log")].live().f != nil {
		t.Fatal("the file is held open")
	}
	r.copytruncate("b.log", "b.log.1")
	r.append("b.log", seq("b3", 1, 20)...)
	r.look()
	r.rename("b.log.1", "b.log.2")
	r.copytruncate("b.log", "b.log.1")
	r.append("b.log", seq("b4", 1, 30)...)
	r.look()
	r.ticks(3)
	r.want("a.log", "a")
	r.want("b.log", append(append([]string{"b1", "b2"}, seq("b3", 1, 20)...), seq("b4", 1, 30)...)...)
}

// The consumer asks for nothing while files rotate under its feet; what they held is there later.
func TestBlockedConsumerThroughRotations(t *testing.T) {
	var want []string
	r := newRig(t, "app.log")
	write := func(n int) {
		lines := seq(fmt.Sprint("gen", n), 1, 20)
		want = append(want, lines...)
		r.append("app.log", lines...)
	}
	write(0)
	r.start()
	for n := 1; n < 20; n++ {
		r.look()
		switch n % 4 {
		case 0, 1:
			r.rename("app.log", "app.log.1") // over the one before
		case 2:
			r.remove("app.log")
		case 3:
			_ = os.Remove(r.path("app.log.1")) // a rotator never writes over a rotated file
			r.copytruncate("app.log", "app.log.1")
		}
		write(n)
	}
	r.look()
	s := r.tl.Stats()
	if s.UnreadRotatedBytes == 0 || s.Truncated != 5 {
		t.Errorf("unread rotated %d, truncated %d", s.UnreadRotatedBytes, s.Truncated)
	}
	r.drain()
	r.want("app.log", want...)
	r.ticks(10)
	r.want("app.log", want...)
	r.wantOpen(1)
	if s := r.tl.Stats(); len(s.UnreadBytesLost) > 0 || s.FilesLost > 0 || s.UnreadRotatedBytes != 0 {
		t.Errorf("%+v", s)
	}
}
