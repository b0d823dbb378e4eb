//go:build linux

package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// TestLumberjack lets a Go application write through lumberjack, which rotates by size and compresses
// beside it.
func TestLumberjack(t *testing.T) {
	t.Parallel()
	s := newScene(t, "lumberjack: rotation by size each second, compressed at once", spec{})
	s.start()
	s.remembered()
	stop := make(chan struct{})
	apps := make([]*lumberjackApp, len(s.sources))
	for i, src := range s.sources {
		apps[i] = newLumberjackApp(src.w)
		go apps[i].loop(stop)
	}
	for _, a := range apps {
		until(t, "enough rotations", func() bool { return a.w.count() > pick(27_000, 200_000) })
	}
	close(stop)
	for _, a := range apps {
		<-a.done
	}
	s.drain()
	for i, src := range s.sources {
		s.reckon(src, allowed{lost: s.unconfirmed(src), note: fmt.Sprintf("%d rotations", apps[i].rotations(t))})
	}
}

// lumberjackApp writes the lines of a writer through lumberjack.
type lumberjackApp struct {
	w    *writer
	out  *lumberjack.Logger
	done chan struct{}
}

func newLumberjackApp(w *writer) *lumberjackApp {
	out := &lumberjack.Logger{Filename: w.path, MaxSize: 1, Compress: true} // 1 MB, the least that it knows
	return &lumberjackApp{w: w, out: out, done: make(chan struct{})}
}

// loop writes a megabyte a second, a line at a time as log libraries do.
func (a *lumberjackApp) loop(stop <-chan struct{}) {
	defer close(a.done)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			a.w.check(a.out.Close())
			return
		case <-tick.C:
			a.w.mu.Lock()
			for range a.w.rate / 100 {
				_, err := a.out.Write(numbered(a.w.source, a.w.written))
				a.w.check(err)
				a.w.written++
			}
			a.w.mu.Unlock()
		}
	}
}

// rotations counts the rotated files. lumberjack compresses them on a goroutine of its own, for which
// nobody can wait.
func (a *lumberjackApp) rotations(t *testing.T) int {
	t.Helper()
	rotated := func(pattern string) int {
		names, err := filepath.Glob(filepath.Join(filepath.Dir(a.w.path), pattern))
		a.w.check(err)
		return len(names)
	}
	until(t, "lumberjack to compress", func() bool { return rotated("app-*.log") == 0 && rotated("app-*.gz") > 1 })
	return rotated("app-*.gz")
}

// TestLogrotateCreate: the application gets a SIGHUP behind the rename and opens its file anew.
func TestLogrotateCreate(t *testing.T) {
	t.Parallel()
	logrotated(t, "logrotate: create, SIGHUP to a shell script", spec{}, "create 0644", hangUp)
}

// TestLogrotateCompress also compresses what was rotated the time before, now and then while the script has not
// opened its file anew.
func TestLogrotateCompress(t *testing.T) {
	t.Parallel()
	logrotated(t, "logrotate: create, delaycompress and compress", spec{}, "create 0644\n  compress\n  delaycompress", hangUp)
}

// TestLogrotateCopytruncate rotates under a script that knows nothing of it. What logrotate takes away
// between its copy and its truncation stands in no file any more.
func TestLogrotateCopytruncate(t *testing.T) {
	t.Parallel()
	logrotated(t, "logrotate: copytruncate under a shell script", spec{audited: "app.log"}, "copytruncate", "")
}

// hangUp tells the application to open its file anew, as packages' configurations do.
const hangUp = "postrotate\n    kill -HUP $(cat PID) || true\n  endscript"

// shellApp appends lines from its standard input to a file, some thousand a second, and opens it anew
// on SIGHUP.
const shellApp = `log=$1
echo $$ >"$2"
exec 3>>"$log"
trap 'exec 3>>"$log"' HUP
n=0
while IFS= read -r line; do
	printf '%s\n' "$line" >&3
	n=$((n + 1))
	[ $((n % 40)) -ne 0 ] || sleep 0.01
done
`

// logrotated ships what shell scripts write while logrotate rotates their files again and again.
func logrotated(t *testing.T, fault string, sp spec, how, post string) {
	t.Helper()
	rotator, err := exec.LookPath("logrotate")
	if err != nil {
		if rotator, err = exec.LookPath("/usr/sbin/logrotate"); err != nil {
			t.Fatalf("no logrotate to test with (apt-get install logrotate): %v", err)
		}
	}
	s := newScene(t, fault, sp)
	s.start()
	s.remembered()
	lines := pick(12000, 120000)
	var conf strings.Builder
	apps := make(chan error, len(s.sources))
	for _, src := range s.sources {
		fmt.Fprintf(&conf, "%s {\n  rotate 1000\n  missingok\n  %s\n  %s\n}\n", src.w.path, how, strings.ReplaceAll(post, "PID", pidFile(src.w)))
		runShellApp(t, src.w, lines, apps)
	}
	config := filepath.Join(s.dir, "logrotate.conf")
	if err := os.WriteFile(config, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	rotations, pace := 0, time.Duration(pick(250, 400))*time.Millisecond
	for left := len(s.sources); left > 0; {
		select {
		case err := <-apps:
			if left--; err != nil {
				t.Fatalf("the script: %v", err)
			}
		default:
			pass(pace)
			if out, err := exec.Command(rotator, "-f", "-s", config+".state", config).CombinedOutput(); err != nil {
				t.Fatalf("logrotate: %v\n%s", err, out)
			}
			rotations++
		}
	}
	s.drain()
	for _, src := range s.sources {
		src.w.written = lines
		may := allowed{lost: s.unconfirmed(src), note: fmt.Sprintf("%d rotations", rotations)}
		if how == "copytruncate" {
			s.copytruncated(src, lines, &may)
		}
		s.reckon(src, may)
	}
}

// pidFile lies outside of the folder: a name that begins like the log's may be one of its rotated forms.
func pidFile(w *writer) string { return filepath.Dir(w.path) + ".pid" }

// runShellApp starts the script on the lines of a writer, and sends how it ended.
func runShellApp(t *testing.T, w *writer, lines int, ended chan<- error) {
	t.Helper()
	var prepared bytes.Buffer
	for n := range lines {
		prepared.Write(numbered(w.source, n))
	}
	cmd := exec.Command("sh", "-c", shellApp, "app", w.path, pidFile(w))
	cmd.Stdin = &prepared
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, unless the test failed
		<-done
	})
	until(t, "the script to start", func() bool { _, err := os.Stat(pidFile(w)); return err == nil })
}

// copytruncated says what copytruncate costs, from the files that it left: what was written between a copy's
// end and the truncation stands in none, and shiplog may have read it or not. A copy behind whose end it
// read before the truncation may come twice: nothing tells it from a file that nobody has read.
func (s *scene) copytruncated(src *source, written int, may *allowed) {
	s.t.Helper()
	src.read(src.topic)
	names, err := filepath.Glob(filepath.Join(s.logs(src.name), "app.log*"))
	if err != nil {
		s.t.Fatal(err)
	}
	there := map[int]bool{}
	copies := map[int]int{} // the last line of each -> how many it has
	for _, name := range names {
		last, lines := -1, 0
		for line := range bytes.Lines(contents(s.t, name)) {
			if n, ok := number(src.name, bytes.TrimSuffix(line, []byte("\n"))); ok {
				there[n], last = true, n
				lines++
			} else {
				may.torn++ // a line that crosses a page can be copied, or truncated, by half
			}
		}
		copies[last] = lines
	}
	for last, lines := range copies {
		if !there[last+1] && src.arrived(last+1) {
			may.repeats += lines
		}
	}
	for _, n := range src.missing(written) {
		if !there[n] {
			may.taken++
		}
	}
	may.lost += may.taken
	may.copied = src.repeats()
	gone := written - len(there)
	may.note += fmt.Sprintf("; %d lines stand in no file any more, %d of them arrived", gone, gone-may.taken)
	if gone > written/4 {
		s.t.Errorf("%s: copytruncate took %d of %d lines: that measures logrotate and not shiplog", src.name, gone, written)
	}
}

// unconfirmed is what async may lose by its account: a broker that does not lead a young topic yet closes the
// connection, and says no more.
func (s *scene) unconfirmed(src *source) int {
	s.t.Helper()
	if src.mode != "async" {
		return 0
	}
	a := s.d.account(src.name)
	return int(a.number("sent_unconfirmed") + a.total("dropped"))
}

// contents reads a file, compressed or not.
func contents(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil && strings.HasSuffix(name, ".gz") {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(z)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestBursts writes so many lines at once, is silent until the file counts as idle, and writes again.
func TestBursts(t *testing.T) {
	t.Parallel()
	lines := pick(100_000, 500_000)
	s := newScene(t, fmt.Sprintf("%d lines at once, silence, and again", lines), spec{})
	s.start()
	for range 2 {
		for _, src := range s.sources {
			for range lines / 10_000 {
				src.w.write(10_000)
			}
		}
		for _, src := range s.sources {
			until(t, "the burst of "+src.name, func() bool { return src.topic.ends() >= int64(src.w.count()) })
		}
		pass(2 * time.Second) // the file is not polled any more, but watched
	}
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{lost: s.unconfirmed(src)})
	}
}
