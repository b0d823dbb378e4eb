package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
)

// autoReplayWait is how long a command waits for a daemon that replays by itself to end its round.
const autoReplayWait = 20 * time.Second

// lockWait is how long to wait for others who are at work on the failure log: for a person or a script
// not at all.
func lockWait(cfg *config.Config) time.Duration {
	if cfg.FailureLog.AutoReplay {
		return autoReplayWait
	}
	return 0
}

// sealWait is how long replay waits for a running daemon to seal the segment it writes.
const sealWait = 3 * time.Second

type replayFlags struct {
	filter  filterFlags
	dryRun  bool
	rate    int
	toTopic string
	consume bool
}

func (a *app) replayCommand() *cobra.Command {
	var flags replayFlags
	cmd := a.withConfig(&cobra.Command{
		Use:   "replay",
		Short: "Send the lines of the failure log again",
		Long: `Send the lines of the failure log again, oldest first, with acks=all and an idempotent producer.

The daemon may run meanwhile, or not. What is delivered leaves the failure log; what fails again stays,
with attempts one higher and the new cause. Killed at any moment, replay repeats at most one batch when
it is run again. A replayed line comes behind lines that were delivered before it.

Exit codes: 0 all that was selected is delivered, 1 some lines failed again or the broker could not be
reached, 75 interrupted (run it again to go on), 78 wrong configuration.`,
		Example: `  shiplog replay -c config.yaml
  shiplog replay -c config.yaml --dry-run
  shiplog replay -c config.yaml --source access --since 2h --class retriable
  shiplog replay -c config.yaml --to-topic quarantine            # leaves the records in place
  shiplog replay -c config.yaml --to-topic quarantine --consume  # and takes them out
  shiplog replay -c config.yaml --rate 500                       # lines a second`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.replay(cmd.Context(), flags) },
	})
	f := cmd.Flags()
	flags.filter.add(f)
	f.BoolVar(&flags.dryRun, "dry-run", false, "say what would be sent; send nothing")
	f.IntVar(&flags.rate, "rate", 0, "lines a second at most; 0 is no bound")
	f.StringVar(&flags.toTopic, "to-topic", "", "send to this topic instead of the records' own; they stay in the failure log unless --consume")
	f.BoolVar(&flags.consume, "consume", false, "with --to-topic: take delivered records out of the failure log")
	return cmd
}

func (a *app) replay(ctx context.Context, flags replayFlags) (err error) {
	if flags.consume && flags.toTopic == "" {
		return usageError("--consume goes with --to-topic: without it, delivered records always leave the failure log")
	}
	if flags.rate < 0 {
		return usageError("--rate %d: want 0 (no bound) or more lines a second", flags.rate)
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	filter, err := flags.filter.filter(cfg, time.Now())
	if err != nil {
		return err
	}
	log, err := newLogger(cfg.Log, a.stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process; replay stands that at any moment
	var fsys fsx.FS = osFS
	wait := time.Duration(0)
	if !flags.dryRun {
		root, refused := daemon.OpenDataDir(cfg, func(s string) { log.Warn(s) })
		if refused != nil {
			return refused
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		if wait, err = settleOpen(root, cfg, log); err != nil {
			return err
		}
		fsys = root
	}
	sender := daemon.NewReplayer(cfg, log)
	defer func() { err = errors.Join(err, sender.Close()) }()
	show := a.newProgress(log)
	stats, err := failedlog.Replay(ctx, failedlog.ReplayOptions{
		FS: fsys, Dir: daemon.FailedDir(cfg), Filter: filter, DryRun: flags.dryRun, Rate: flags.rate,
		ToTopic: flags.toTopic, Consume: flags.consume, SealWait: wait, LockWait: lockWait(cfg),
		Progress: show.update, OnBad: a.badLine, Log: log,
	}, sender)
	show.end()
	a.sumUp(stats, flags.dryRun)
	return replayOutcome(ctx, stats, err)
}

// settleOpen makes the open segments replayable: it seals what a killed daemon left behind, or says
// how long to wait for a running one to seal its own.
func settleOpen(root *fsx.Root, cfg *config.Config, log *zap.Logger) (wait time.Duration, err error) {
	running, err := daemon.SealLeftovers(root, cfg, log)
	if running {
		return sealWait, nil
	}
	return 0, err
}

func (a *app) badLine(b failedlog.BadLine) {
	_, _ = fmt.Fprintf(a.stderr, "shiplog: failure log: %v (kept aside, not sent)\n", b)
}

// sumUp says in words what a replay did.
func (a *app) sumUp(s failedlog.Stats, dryRun bool) {
	if dryRun {
		_, _ = fmt.Fprintf(a.stdout, "would send %d of %d lines", s.Selected, s.Seen)
	} else {
		_, _ = fmt.Fprintf(a.stdout, "replayed %d lines, %d failed again, %d unanswered", s.Delivered, s.FailedAgain, s.Unanswered)
	}
	for _, n := range []struct {
		count int64
		what  string
	}{{s.Filtered, "not selected"}, {s.NotReplayable, "not replayable (too long to be kept)"}, {s.Bad, "no records (kept aside)"}} {
		if n.count > 0 {
			_, _ = fmt.Fprintf(a.stdout, ", %d %s", n.count, n.what)
		}
	}
	_, _ = fmt.Fprintln(a.stdout)
	if s.OpenSegments > 0 && !dryRun {
		_, _ = fmt.Fprintf(a.stdout, "%s still written by the daemon: left out, run replay again for it\n", plural(s.OpenSegments, "segment"))
	}
	if s.Next != nil {
		_, _ = fmt.Fprintf(a.stdout, "goes on at source %s, segment %s, line %d when it is run again\n", s.Next.Source, s.Next.Segment, s.Next.Line)
	}
}

func replayOutcome(ctx context.Context, s failedlog.Stats, err error) error {
	switch {
	case ctx.Err() != nil && err != nil:
		return &exitError{ExitIncomplete, fmt.Errorf("replay interrupted (%w); run it again to go on", err)}
	case err != nil:
		return err
	case s.FailedAgain > 0:
		return &exitError{ExitFailure, fmt.Errorf("%d lines failed again; see `shiplog failed ls`", s.FailedAgain)}
	}
	return nil
}

// progress shows how far replay is: a bar on a terminal, a log line now and then otherwise.
type progress struct {
	bar  *progressbar.ProgressBar // nil where there is no terminal
	out  io.Writer
	log  *zap.Logger
	last time.Time
}

func (a *app) newProgress(log *zap.Logger) *progress {
	if !isTerminal(a.stdout) {
		return &progress{log: log, last: time.Now()}
	}
	return &progress{out: a.stdout, bar: progressbar.NewOptions64(-1, progressbar.OptionSetWriter(a.stdout), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("lines"), progressbar.OptionSetDescription("replay"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(50*time.Millisecond))}
}

// logEvery is how often progress is logged where there is no terminal.
const logEvery = 10 * time.Second

func (p *progress) update(s failedlog.Stats) {
	if p.bar != nil {
		p.bar.ChangeMax64(max(s.Lines, 1))
		_ = p.bar.Set64(s.Seen) // a bar that cannot be drawn must not end the replay
		return
	}
	if time.Since(p.last) < logEvery {
		return
	}
	p.last = time.Now()
	p.log.Info("replay", zap.Int64("seen", s.Seen), zap.Int64("lines", s.Lines), zap.Int64("delivered", s.Delivered),
		zap.Int64("failed_again", s.FailedAgain))
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // and not Finish, which claims 100 % of a replay that was cut short
		_, _ = fmt.Fprintln(p.out)
	}
}
