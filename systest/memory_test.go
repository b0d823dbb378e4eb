//go:build linux

package systest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// brokerEnv makes the test's own binary a broker that stores nothing, so that a broker's work and
// memory are in a process of their own.
const brokerEnv = "SYSTEST_BROKER"

// The kinds of broker: one that answers, and one that tells about topics and takes requests, but never
// answers one that brings records.
const (
	well  = "well"
	stuck = "stuck"
)

// mostMemory is what the daemon may take at its peak.
const mostMemory = 60 << 20

// brokerMain runs the broker until its input ends.
func brokerMain() int {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "logs"), kfake.BlackholeProduce())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	if os.Getenv(brokerEnv) == stuck {
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
			c.KeepControl()
			c.SleepControl(func() { select {} })
			return nil, nil, true
		})
	}
	fmt.Println(c.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // its end is the signal to stop
	return 0
}

// brokerProcess starts a broker in a process of its own and gives its address.
func brokerProcess(t *testing.T, kind string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill() // one that is stuck does not end by itself
		_ = cmd.Wait()         // its output is of no interest any more
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// peak gives VmHWM, the peak of the resident memory in bytes, of a process from now until it ends. The
// figure that wait gives counts the memory of the test itself, which was the process before exec.
func peak(p *process) int64 {
	var most int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)); err == nil {
			if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
				var kib int64
				if _, err := fmt.Sscan(rest, &kib); err == nil {
					most = kib << 10
				}
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			return most
		}
	}
}

// TestMemory ships 2,000,000 lines of 254 bytes, and a line of 1 GiB, and looks at the peak of the
// resident memory. It does not run under the race detector, which takes memory of its own.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	t.Run("two million lines", func(t *testing.T) {
		lines := 2_000_000
		if testing.Short() {
			lines /= 4
		}
		place := newPlace(t, []string{brokerProcess(t, well)}, "sources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs}\n")
		writeLines(t, place.logPath(), lines)
		p := start(t, nil, "run", "--once", "-c", place.config)
		within60(t, p)
		if code := p.wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		if got := p.account("app").number("delivered"); got != int64(lines) {
			t.Errorf("delivered %d lines, want %d", got, lines)
		}
	})
	t.Run("a line of 1 GiB", func(t *testing.T) {
		place := newPlace(t, []string{brokerProcess(t, well)}, "sources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs}\n")
		sparse(t, place.logPath(), 1<<30)
		p := start(t, nil, "run", "--once", "-c", place.config)
		within60(t, p)
		if code := p.wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		a := p.account("app")
		if a.number("read") != 2 || a.number("failure_logged") != 1 || a.number("delivered") != 1 {
			t.Errorf("account %v, want one of two lines in the failure log and the other delivered", a)
		}
		over := place.failures(t, "app")
		if len(over) != 1 || over[0].Over == nil || over[0].Over.Length != 1<<30 || over[0].Over.SHA256 != sumOfSparse(t, place.logPath(), 1<<30) {
			t.Errorf("failure log %+v, want the length and the SHA-256 of the line", over)
		}
	})
}

func within60(t *testing.T, p *process) {
	t.Helper()
	got := peak(p)
	t.Logf("peak of the resident memory: %.1f MiB, in %.1f s of CPU", float64(got)/(1<<20), p.cmd.ProcessState.UserTime().Seconds()+p.cmd.ProcessState.SystemTime().Seconds())
	if got > mostMemory {
		t.Errorf("peak of %d bytes, want at most %d", got, mostMemory)
	}
}

// writeLines writes lines of 254 bytes, newline included.
func writeLines(t *testing.T, path string, lines int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	pad := strings.Repeat("x", 254)
	for i := range lines {
		head := `{"seq":` + strconv.Itoa(i) + `,"pad":"`
		_, _ = w.WriteString(head)
		_, _ = w.WriteString(pad[:254-len(head)-3])
		_, _ = w.WriteString("\"}\n")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// sparse makes a file whose first line has that many bytes, without taking the disk's room, and whose
// second is short.
func sparse(t *testing.T, path string, length int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for at, text := range map[int64]string{0: `{"big":"`, length: "\n{\"seq\":2}\n"} {
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > length/2 {
		t.Skipf("%s takes the room of holes: %d bytes", filepath.Dir(path), st.Blocks*512)
	}
}

// sumOfSparse gives the SHA-256 of the first line.
func sumOfSparse(t *testing.T, path string, length int64) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	h := sha256.New()
	if _, err := io.CopyN(h, f, length); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
