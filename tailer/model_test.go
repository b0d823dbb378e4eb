package tailer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// model is an application that writes app.log, a rotator, and a tailer that is stopped and started,
// all at random. What the application wrote is the oracle: each line arrives once and in order.
type model struct {
	*rig
	rnd   *rand.Rand
	lines []string // what was written, half lines that were cut off by a rotation included
	half  string   // the unfinished line at the end of the file
	n     int
	clock time.Time // of the files: each write is later than the one before
}

func newModel(t *testing.T, seed uint64, include string) *model {
	m := &model{rig: newRig(t, include), rnd: rand.New(rand.NewPCG(seed, 1)), clock: time.Now()}
	m.cfg.MaxBatchLines = 1 + m.rnd.IntN(40)
	m.cfg.MaxLineBytes = 2000
	m.cfg.MaxBatchBytes = 16 << 10
	if m.rnd.IntN(3) == 0 {
		m.cfg.MaxOpenFiles = 3
	}
	return m
}

func (m *model) note(format string, args ...any) {
	m.cfg.Log.Debug(fmt.Sprintf("---- "+format, args...))
}

// touch makes the file's last write later than all before.
func (m *model) touch(name string) {
	m.clock = m.clock.Add(10 * time.Millisecond)
	m.must(os.Chtimes(m.path(name), m.clock, m.clock))
}

// some makes lines: mostly short, sometimes so long that heads and tails lie within one line.
func (m *model) some() string {
	var text strings.Builder
	for range 1 + m.rnd.IntN(12) {
		m.n++
		line := fmt.Sprintf("line %d %s", m.n, strings.Repeat("x", m.rnd.IntN(60)*m.rnd.IntN(25)))
		text.WriteString(line + "\n")
		m.lines = append(m.lines, m.half+line)
		m.half = ""
	}
	return text.String()
}

func (m *model) appendTo(name string) {
	m.note("append to %s", name)
	m.write(name, m.some())
	m.touch(name)
}

func (m *model) appendHalf() {
	m.n++
	part := fmt.Sprintf("half %d ", m.n)
	m.note("append %q", part)
	m.half += part
	m.write("app.log", part)
	m.touch("app.log")
}

// cutHalf is for a rotation in the middle of a line: what stands there becomes a line of its own.
func (m *model) cutHalf() {
	if m.half != "" {
		m.lines = append(m.lines, strings.TrimSpace(m.half)+" ")
		m.half = ""
	}
}

// shift makes room for a new app.log.1.
func (m *model) shift() {
	for i := 30; i >= 1; i-- {
		for _, gz := range []string{"", ".gz"} {
			from := fmt.Sprintf("app.log.%d%s", i, gz)
			if _, err := os.Lstat(m.path(from)); err == nil {
				m.rename(from, fmt.Sprintf("app.log.%d%s", i+1, gz))
			}
		}
	}
}

func (m *model) rotate() {
	if _, err := os.Lstat(m.path("app.log")); err != nil {
		return
	}
	m.note("rename")
	m.shift()
	m.rename("app.log", "app.log.1")
	switch m.rnd.IntN(4) {
	case 0:
		m.appendTo("app.log.1") // the writer has not noticed yet
	case 1:
		m.cutHalf()
		m.appendTo("app.log")
	}
	m.cutHalf()
}

func (m *model) copyAndTruncate() {
	if fi, err := os.Lstat(m.path("app.log")); err != nil || fi.Size() == 0 {
		return
	}
	m.note("copytruncate")
	m.shift()
	m.copytruncate("app.log", "app.log.1")
	m.touch("app.log.1")
	m.touch("app.log")
	m.cutHalf()
}

func (m *model) compress() {
	names := m.rotatedFiles(false)
	if len(names) == 0 {
		return
	}
	name := names[m.rnd.IntN(len(names))]
	m.note("gzip %s", name)
	m.gzip(name)
}

// expire deletes the oldest rotated file if all that it held has arrived.
func (m *model) expire() {
	names := m.rotatedFiles(true)
	if len(names) == 0 || len(m.all) < len(m.lines) || m.half != "" {
		return
	}
	m.note("delete %s", names[len(names)-1])
	m.remove(names[len(names)-1])
}

func (m *model) rotatedFiles(gz bool) (names []string) {
	for i := 1; i <= 31; i++ {
		for _, suffix := range []string{"", ".gz"} {
			name := fmt.Sprintf("app.log.%d%s", i, suffix)
			if _, err := os.Lstat(m.path(name)); err == nil && (suffix == "" || gz) {
				names = append(names, name)
			}
		}
	}
	return names
}

func (m *model) restart() {
	m.note("restart")
	m.stop()
	for range m.rnd.IntN(4) {
		m.outside()
	}
	m.seenAt()
	m.start()
	m.tl.scan(m.now)
}

// seenAt moves the remembered time to where the files' clock is.
func (m *model) seenAt() { m.seen = m.clock.Add(-time.Hour) }

// outside is one step of the application or the rotator.
func (m *model) outside() {
	switch k := m.rnd.IntN(20); {
	case k < 9:
		m.appendTo("app.log")
	case k < 11:
		m.appendHalf()
	case k < 14:
		m.rotate()
	case k < 16:
		m.copyAndTruncate()
	case k < 18:
		m.compress()
	default:
		m.expire()
	}
}

func (m *model) step() {
	switch k := m.rnd.IntN(20); {
	case k < 10:
		m.outside()
	case k < 13:
		m.note("look")
		m.rig.look()
	case k < 16:
		m.note("take")
		m.take()
	case k < 18:
		m.note("tick")
		m.tick()
	case k < 19:
		m.restart()
	default:
		m.note("five seconds")
		m.ticks(6)
	}
}

func (m *model) check(seed uint64) {
	m.t.Helper()
	m.appendTo("app.log")
	m.ticks(25)
	got := m.lines_()
	if slices.Equal(got, m.lines) {
		return
	}
	i := 0
	for i < len(got) && i < len(m.lines) && got[i] == m.lines[i] {
		i++
	}
	at := func(l []string) []string { return l[max(0, min(i-2, len(l))):min(len(l), i+6)] }
	m.t.Fatalf("seed %d: %d lines arrived, %d were written; the first difference is at %d:\n got %.40q\nwant %.40q\n%s",
		seed, len(got), len(m.lines), i, at(got), at(m.lines), m.dump())
}

func (m *model) lines_() []string { return m.all }

func TestModel(t *testing.T) {
	seeds := modelSeeds()
	if testing.Short() {
		seeds = 30
	}
	for _, include := range []string{"app.log", "app.log*"} {
		t.Run(include, func(t *testing.T) {
			for seed := range seeds {
				m := newModel(t, uint64(seed), include)
				m.write("app.log", m.some())
				m.touch("app.log")
				m.start()
				m.tick()
				for range 60 {
					m.step()
				}
				m.check(uint64(seed))
				m.stop()
				m.must(os.RemoveAll(m.dir))
			}
		})
	}
}

// modelSeeds is how many histories are tried; SHIPLOG_MODEL_SEEDS asks for more.
func modelSeeds() int {
	if n, err := strconv.Atoi(os.Getenv("SHIPLOG_MODEL_SEEDS")); err == nil {
		return n
	}
	return 100
}
