package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type bench struct {
	lines, size, rounds int
	compression         string
	goal                float64

	dir, file string
	broker    *broker
}

// contestant is one way to ship the file to a topic.
type contestant struct {
	name    string
	command func(topic string) (*exec.Cmd, error)
	runs    []usage
}

// usage is what the kernel accounted to one child process.
type usage struct {
	cpu, wall time.Duration
	peakKiB   int64
}

func runBench(ctx context.Context, b bench) error {
	dir, err := os.MkdirTemp("", "shiplog-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	b.dir = dir
	if err := b.prepare(ctx); err != nil {
		return err
	}
	contestants := b.contestants()
	for round := range b.rounds {
		for _, c := range contestants {
			u, err := b.run(ctx, c, fmt.Sprintf("%s-%d", c.name, round))
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
			c.runs = append(c.runs, u)
			fmt.Printf("round %d  %-12s %6.2f us CPU a line\n", round+1, c.name, b.perLine(u))
		}
	}
	if err := b.broker.stop(); err != nil {
		return fmt.Errorf("stop broker: %w", err)
	}
	return b.report(contestants)
}

func (b *bench) prepare(ctx context.Context) error {
	for name, pkg := range map[string]string{"shiplog": ".", "naive": "./bench/naive"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	b.file = filepath.Join(b.dir, "app.log")
	if err := writeLines(b.file, b.lines, b.size); err != nil {
		return err
	}
	var err error
	b.broker, err = startBroker(ctx)
	return err
}

// writeLines writes so many JSON lines of size bytes each.
func writeLines(path string, lines, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for i := range lines {
		head := fmt.Sprintf(`{"time":"2026-01-02T03:04:05.678Z","level":"info","service":"checkout","request_id":"%016x","seq":%d,"message":"`, uint64(i)*0x9e3779b97f4a7c15, i)
		text := "order accepted, payment authorised, confirmation queued for delivery; "
		fill := strings.Repeat(text, size/len(text)+1)[:max(0, size-len(head)-2)]
		if _, err := fmt.Fprintf(w, "%s%s\"}\n", head, fill); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func (b *bench) contestants() []*contestant {
	return []*contestant{
		{name: "shiplog", command: func(topic string) (*exec.Cmd, error) {
			return b.shiplog(topic, "pass")
		}},
		{name: "shiplog-json", command: func(topic string) (*exec.Cmd, error) {
			return b.shiplog(topic, "wrap")
		}},
		{name: "naive", command: func(topic string) (*exec.Cmd, error) {
			return exec.Command(filepath.Join(b.dir, "naive"), "-brokers", b.broker.addr, "-topic", topic,
				"-file", b.file, "-lines", strconv.Itoa(b.lines), "-compression", b.compression), nil
		}},
	}
}

func (b *bench) shiplog(topic, onInvalidJSON string) (*exec.Cmd, error) {
	path := filepath.Join(b.dir, topic+".yaml")
	text := fmt.Sprintf(`data_dir: %s
kafka:
  brokers: [%q]
sources:
  - id: bench
    include: [%q]
    mode: callback
    topic: %s
    acks: all
    compression: %s
    on_invalid_json: %s
`, filepath.Join(b.dir, topic+"-data"), b.broker.addr, b.file, topic, b.compression, onInvalidJSON)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(filepath.Join(b.dir, "shiplog"), "run", "--once", "-c", path), nil
}

func (b *bench) run(ctx context.Context, c *contestant, topic string) (usage, error) {
	if _, err := b.broker.adm.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return usage{}, fmt.Errorf("create topic: %w", err)
	}
	cmd, err := c.command(topic)
	if err != nil {
		return usage{}, err
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(start)
	if err != nil {
		return usage{}, fmt.Errorf("%w\n%s", err, out)
	}
	n, err := b.broker.count(ctx, topic)
	if err != nil {
		return usage{}, err
	}
	if n != int64(b.lines) {
		return usage{}, fmt.Errorf("%d of %d lines in the topic\n%s", n, b.lines, out)
	}
	if _, err := b.broker.adm.DeleteTopics(ctx, topic); err != nil {
		return usage{}, fmt.Errorf("delete topic: %w", err)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: wall, peakKiB: peakKiB(ru)}, nil
}

// peakKiB is the peak of resident memory; getrusage gives KiB on Linux and bytes on darwin.
func peakKiB(ru *syscall.Rusage) int64 {
	if runtime.GOOS == "darwin" {
		return ru.Maxrss / 1024
	}
	return ru.Maxrss
}

func (b *bench) perLine(u usage) float64 { return float64(u.cpu.Microseconds()) / float64(b.lines) }

func (b *bench) report(contestants []*contestant) error {
	fmt.Printf("\n%d lines of %d B, %d rounds in turns, callback/acks=all, compression %s, %s, %d CPUs; medians:\n\n",
		b.lines, b.size, b.rounds, b.compression, runtime.Version(), runtime.NumCPU())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "who\tCPU us/line\tk lines/s\tpeak MiB\t")
	cpu := map[string]float64{}
	for _, c := range contestants {
		m := usage{
			cpu:     median(c.runs, func(u usage) time.Duration { return u.cpu }),
			wall:    median(c.runs, func(u usage) time.Duration { return u.wall }),
			peakKiB: median(c.runs, func(u usage) int64 { return u.peakKiB }),
		}
		cpu[c.name] = b.perLine(m)
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.0f\t\n", c.name, cpu[c.name],
			float64(b.lines)/1000/m.wall.Seconds(), float64(m.peakKiB)/1024)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	ratio := cpu["naive"] / cpu["shiplog"]
	fmt.Printf("\nnaive / shiplog: %.1f times the CPU a line\n", ratio)
	if ratio < b.goal {
		return fmt.Errorf("below the goal of %.1f times", b.goal)
	}
	return nil
}

func median[T interface{ ~int64 }](runs []usage, of func(usage) T) T {
	values := make([]T, 0, len(runs))
	for _, u := range runs {
		values = append(values, of(u))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
