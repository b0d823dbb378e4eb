// Command demo tells shiplog's whole story on one machine, in well under a minute and with nothing
// to install: an embedded broker, an application that writes and rotates logs, the real pipeline with
// a source in each mode, a broker that fails and recovers, the failure log, and replay. Every number
// it prints is counted, and it exits with 1 when they do not add up.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/cli"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
	"shiplog/shipper"
)

// linesPerPhase is how many lines each application writes in each of the three phases.
const linesPerPhase = 20_000

// patience bounds every wait of the demo.
const patience = 15 * time.Second

var modes = []string{config.ModeSync, config.ModeAsync, config.ModeCallback}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the stage: the broker, the applications and the daemon.
type demo struct {
	dir        string
	configPath string
	broker     *broker
	apps       []*app
	daemon     *daemon.Daemon
	ended      chan error
	replayed   map[string]int64 // by source: how many lines left the failure log
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "shiplog-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{dir: dir}
	if d.broker, err = startBroker(modes...); err != nil {
		return err
	}
	defer d.broker.cluster.Close()
	for _, step := range []func(context.Context) error{d.start, d.healthy, d.fault, d.recovery, d.stop, d.replay, d.reckon} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step prints what happens next.
func step(format string, args ...any) { fmt.Printf("\n▶ "+format+"\n", args...) }

// start writes the configuration, as a user would, and starts the pipeline on it.
func (d *demo) start(ctx context.Context) error {
	logs := filepath.Join(d.dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("data_dir: %s\nshutdown_quiet: 300ms\nlog: {level: warn, format: console}\nkafka:\n  brokers: [%q]\ndefaults:\n  rotate_wait: 500ms\nsources:\n",
		filepath.Join(d.dir, "data"), d.broker.cluster.ListenAddrs()[0])
	for _, mode := range modes {
		a, err := newApp(logs, mode)
		if err != nil {
			return err
		}
		d.apps = append(d.apps, a)
		text += fmt.Sprintf("  - {id: %s, mode: %s, topic: %s, include: [%q]}\n", mode, mode, mode, a.path)
	}
	step("An embedded broker listens on %s. This is the configuration, one source in each mode:", d.broker.cluster.ListenAddrs()[0])
	fmt.Println()
	fmt.Print(text)
	d.configPath = filepath.Join(d.dir, "config.yaml")
	if err := os.WriteFile(d.configPath, []byte(text), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(d.configPath)
	if err != nil {
		return err
	}
	if d.daemon, err = daemon.New(cfg, daemon.Options{Log: logger()}); err != nil {
		return err
	}
	d.ended = make(chan error, 1)
	go func() {
		_, err := d.daemon.Run(ctx)
		d.ended <- err
	}()
	return nil
}

// logger shows errors only: the broker's failure is part of the story, which tells it itself.
func logger() *zap.Logger {
	enc := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(os.Stderr), zapcore.ErrorLevel))
}

// write lets every application write a phase's lines, rotating its file twice on the way.
func (d *demo) write() error {
	for part := range 4 {
		for _, a := range d.apps {
			if err := a.write(linesPerPhase / 4); err != nil {
				return err
			}
			if part%2 == 1 {
				if err := a.rotate(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *demo) healthy(ctx context.Context) error {
	step("Three applications write %d JSON lines each and rotate their files; the broker is healthy.", linesPerPhase)
	if err := d.write(); err != nil {
		return err
	}
	return d.until(ctx, "every line to arrive", func(a shipper.Account) bool { return settled(a) == linesPerPhase })
}

func (d *demo) fault(ctx context.Context) error {
	step("The broker's replicas go away: acks=all is answered NOT_ENOUGH_REPLICAS. %d more lines each.", linesPerPhase)
	d.broker.failing.Store(true)
	if err := d.write(); err != nil {
		return err
	}
	err := d.until(ctx, "callback to write the failure log, async to send on, sync to have tried", func(a shipper.Account) bool {
		return a.Source == config.ModeSync && d.broker.refused.Load() > 2 || settled(a) == 2*linesPerPhase
	})
	if err != nil {
		return err
	}
	step("The failure log has them, on disk, readable, with the cause: `shiplog failed ls`")
	fmt.Println()
	return d.shiplog("failed", "ls")
}

func (d *demo) recovery(ctx context.Context) error {
	step("The broker recovers. Another %d lines each; sync delivers what it had held, in order.", linesPerPhase)
	d.broker.failing.Store(false)
	if err := d.write(); err != nil {
		return err
	}
	return d.until(ctx, "every line to be settled", func(a shipper.Account) bool { return settled(a) == 3*linesPerPhase })
}

func (d *demo) stop(context.Context) error {
	step("shiplog is stopped (SIGTERM does the same). Its account of every line:")
	d.daemon.Stop()
	if err := <-d.ended; err != nil {
		return err
	}
	fmt.Println()
	fmt.Print(shipper.Table(d.daemon.Accounts()))
	return nil
}

func (d *demo) replay(context.Context) error {
	step("One command sends the failed lines again: `shiplog replay`")
	fmt.Println()
	before, err := d.failed()
	if err != nil {
		return err
	}
	if err := d.shiplog("replay"); err != nil {
		return err
	}
	after, err := d.failed()
	if err != nil {
		return err
	}
	d.replayed = map[string]int64{}
	for source, n := range before {
		d.replayed[source] = n - after[source]
	}
	return nil
}

// failed counts the lines in the failure log, by source.
func (d *demo) failed() (map[string]int64, error) {
	summaries, err := failedlog.Summarize(fsx.OS, filepath.Join(d.dir, "data", "failed"), failedlog.Filter{})
	counts := map[string]int64{}
	for _, s := range summaries {
		counts[s.Segment.Source()] += s.Records
	}
	return counts, err
}

// shiplog runs a command of shiplog's command line.
func (d *demo) shiplog(args ...string) error {
	if code := cli.Main(append(args, "--config", d.configPath), os.Stdin, os.Stdout, os.Stdout); code != cli.ExitOK {
		return fmt.Errorf("shiplog %v: exit code %d", args, code)
	}
	return nil
}

// settled is how many lines have an outcome.
func settled(a shipper.Account) int64 { return a.Read - a.InFlight }

// until waits until done holds for every source.
func (d *demo) until(ctx context.Context, what string, done func(shipper.Account) bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all := true
		for _, a := range d.daemon.Accounts() {
			all = all && done(a)
		}
		if all {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-d.ended:
			return fmt.Errorf("the pipeline ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("waited %s for %s\n%s", patience, what, shipper.Table(d.daemon.Accounts()))
		}
	}
}
