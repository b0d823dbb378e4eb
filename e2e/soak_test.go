package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shiplog/e2e/kafka"
)

const (
	soakEnv      = "SHIPLOG_E2E_SOAK"       // how long: 30m
	soakTableEnv = "SHIPLOG_E2E_SOAK_TABLE" // a document whose part "soak" the figures go to
)

// TestSoak ships 20,000 lines/s for a long time, with a fault every 20 s, in one life of shiplog. Nothing may
// be lost, and what the process holds must not grow.
func TestSoak(t *testing.T) {
	if os.Getenv(soakEnv) == "" {
		t.Skipf("a test of half an hour: make soak, or %s=30m", soakEnv)
	}
	lasts, err := time.ParseDuration(os.Getenv(soakEnv))
	if err != nil {
		t.Fatal(err)
	}
	mended(t)
	s := newScene(t, fmt.Sprintf("soak: %s, a fault every 20 s", lasts), spec{rate: 20000 / 3,
		source: "linger: 20ms", kafka: "request_timeout: 5s"})
	s.start()
	s.write()
	s.remembered()
	s.flowing(10000)
	k := &soak{scene: s, rand: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))}
	k.run(lasts)
	s.drain()
	s.replay()
	for _, src := range s.sources {
		a := s.d.account(src.name)
		may := allowed{repeats: k.unknown[src.name]}
		if src.mode == "async" {
			may.lost = int(a.number("sent_unconfirmed") + a.total("dropped"))
		}
		s.reckon(src, may)
	}
	k.judge()
}

// soak is a long run: its faults, and samples of what the process holds.
type soak struct {
	*scene
	rand    *rand.Rand
	samples []sample
	deck    []string       // faults to come
	faults  map[string]int // that came
	unknown map[string]int // lines with an unknown outcome, whose replay may repeat them
}

// sample is what the process held at one moment.
type sample struct{ rss, goroutines, descriptors int64 }

func (k *soak) run(lasts time.Duration) {
	k.faults = map[string]int{}
	const every = 20 * time.Second
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		next := time.Now().Add(every)
		k.fault()
		if k.d.ended() {
			k.t.Fatalf("shiplog ended by itself with exit code %d\n%s", k.d.cmd.ProcessState.ExitCode(), tail(k.d.out.String(), 30))
		}
		for _, src := range k.sources {
			src.read(src.topic) // as the lines come, so that the end has little to catch up on
		}
		for time.Now().Before(next) {
			k.samples = append(k.samples, k.sample())
			pass(2 * time.Second)
		}
	}
	k.unknown = map[string]int{"callback": k.failures("callback")["unknown_outcome"]}
}

// fault lets one thing go wrong, and mends it.
func (k *soak) fault() {
	c := cluster(k.t)
	n := c.Nodes[k.rand.IntN(len(c.Nodes))]
	check := func(err error) {
		if err != nil {
			k.t.Error(err)
		}
	}
	if len(k.deck) == 0 { // each comes once before one comes again
		k.deck = []string{"broker paused", "broker killed and started", "network cut", "connections reset", "latency", "files rotated", "slow network"}
		k.rand.Shuffle(len(k.deck), func(i, j int) { k.deck[i], k.deck[j] = k.deck[j], k.deck[i] })
	}
	kind := k.deck[0]
	k.deck = k.deck[1:]
	k.faults[kind]++
	switch kind {
	case "broker killed and started":
		n.Kill()
		pass(time.Second)
		check(n.Start())
		whole(k.t)
	case "broker paused":
		check(n.Pause())
		pass(4 * time.Second)
		check(n.Resume())
	case "network cut":
		n.Proxy.Cut()
		pass(3 * time.Second)
		check(n.Proxy.Heal())
	case "connections reset":
		for range 5 {
			check(n.Proxy.Reset())
			pass(500 * time.Millisecond)
		}
	case "latency":
		check(n.Proxy.Add(kafka.Toxic{Type: "latency", Stream: "downstream", Attributes: map[string]int64{"latency": 300}}))
		pass(5 * time.Second)
		check(n.Proxy.Heal())
	case "slow network":
		check(n.Proxy.Add(kafka.Toxic{Type: "bandwidth", Stream: "upstream", Attributes: map[string]int64{"rate": 1000}}))
		pass(5 * time.Second)
		check(n.Proxy.Heal())
	case "files rotated":
		k.rotate()
	}
}

// sample asks the process what it holds.
func (k *soak) sample() (x sample) {
	k.t.Helper()
	asked := len(k.d.log("process"))
	k.d.signal(syscall.SIGUSR1)
	until(k.t, "shiplog to say what it holds", func() bool { return len(k.d.log("process")) > asked })
	e := k.d.log("process")[asked]
	x.goroutines = e.number("goroutines")
	pid := k.d.cmd.Process.Pid
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		k.t.Fatal(err)
	}
	x.descriptors = int64(len(list))
	x.rss = memory(k.t, pid, "VmRSS")
	return x
}

// memory gives a figure of /proc/<pid>/status in KiB.
func memory(t *testing.T, pid int, key string) (kib int64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscan(value, &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib
}

// judge compares the last third of the samples with the first.
func (k *soak) judge() {
	n := len(k.samples) / 3
	first, last := k.samples[:n], k.samples[len(k.samples)-n:]
	median := func(list []sample, of func(sample) int64) int64 {
		var values []int64
		for _, x := range list {
			values = append(values, of(x))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	var b strings.Builder
	b.WriteString("\n| | first third | last third |\n|---|---:|---:|\n")
	for _, f := range []struct {
		name string
		of   func(sample) int64
	}{
		{"RSS, KiB", func(x sample) int64 { return x.rss }},
		{"goroutines", func(x sample) int64 { return x.goroutines }},
		{"descriptors", func(x sample) int64 { return x.descriptors }},
	} {
		was, is := median(first, f.of), median(last, f.of)
		fmt.Fprintf(&b, "| %s | %d | %d |\n", f.name, was, is)
		if is*100 > was*105 {
			k.t.Errorf("%s: %d in the first third, %d in the last: grown by more than 5 %%", f.name, was, is)
		}
	}
	fmt.Fprintf(&b, "\nMedians of %d samples. Faults: %v. Peak RSS %d KiB.\n", len(k.samples), k.faults,
		slices.MaxFunc(k.samples, func(x, y sample) int { return int(x.rss - y.rss) }).rss)
	k.t.Log(b.String())
	if name := os.Getenv(soakTableEnv); name != "" {
		if err := replacePart(name, "soak", heading("make soak")+theTable.markdown()+b.String()); err != nil {
			k.t.Error(err)
		}
	}
}
