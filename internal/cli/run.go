package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
	"shiplog/shipper"
)

// gcPercent keeps the heap small: almost all of shiplog's memory is blocks that are reused, so that
// collecting more often costs little. $GOGC wins.
const gcPercent = 75

type runFlags struct{ once, dryRun bool }

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	cmd := a.withConfig(&cobra.Command{
		Use:   "run",
		Short: "Ship lines until SIGTERM, or with --once what is there now",
		Long: `Tail the files of every source and deliver their lines to Kafka.

SIGTERM or SIGINT: read on until the files are quiet for shutdown_quiet, deliver, wait for every
result, save the checkpoint, print the account. A second signal stops at once; what was not settled
is read again by the next start.

SIGUSR1: log the account of every source so far, and the goroutines, open files and memory of the
process; nothing stops.

--once waits for a broker or topic that is not there, as long as it takes; SIGTERM ends it too.

Exit codes: 0 everything drained, 1 a source halted or shiplog failed, 75 not everything drained
(cut short by shutdown_timeout or a second signal, or a file cannot be read; start again to go on),
78 wrong configuration.`,
		Example: `  shiplog run -c config.yaml
  shiplog run -c config.yaml --once      # ship what is there, then exit
  shiplog run -c config.yaml --dry-run   # read and check what is there; send and write nothing`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), flags) },
	})
	cmd.Flags().BoolVar(&flags.once, "once", false, "ship what is there, then exit")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "read and check what is there, and say what would be shipped; send and write nothing")
	return cmd
}

func (a *app) run(ctx context.Context, flags runFlags) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	log, err := newLogger(cfg.Log, a.stderr)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings() {
		log.Warn("configuration: " + w.String())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1) // for good: unheeded it ends a process, also one that starts or ends
	d, err := daemon.New(cfg, daemon.Options{Once: flags.once || flags.dryRun, DryRun: flags.dryRun, Log: log})
	if err != nil {
		return startError(err)
	}
	ctx, release := a.onSignals(ctx, d, log, asked) // before anybody is told that we run, and may stop us
	defer release()
	log.Info("shiplog started", zap.String("version", Version), zap.String("config", cfg.Path),
		zap.String("data_dir", cfg.DataDir), zap.Int("sources", len(cfg.Sources)))
	report, err := d.Run(ctx)
	if isTerminal(a.stdout) || flags.dryRun {
		_, _ = fmt.Fprint(a.stdout, "\n"+shipper.Table(report.Accounts))
	}
	return outcome(cfg, report, ctx.Err() != nil, err)
}

// onSignals stops the daemon at the first SIGTERM or SIGINT, and cancels the context it returns at
// the second. At each asked it logs how things stand.
func (a *app) onSignals(ctx context.Context, d *daemon.Daemon, log *zap.Logger, asked <-chan os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; {
			select {
			case s := <-signals:
				log.Info("signal", zap.Stringer("signal", s), zap.Bool("stop_at_once", n > 0))
				if n > 0 {
					cancel()
				}
				n++
				d.Stop()
			case <-asked:
				d.LogState()
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}

// startError explains why the daemon could not start.
func startError(err error) error {
	var locked *fsx.LockedError
	if errors.As(err, &locked) {
		return &exitError{ExitFailure, fmt.Errorf("%w: each daemon needs a data_dir of its own", err)}
	}
	return err
}

// outcome turns a run's report into the exit code, and says what is left.
func outcome(cfg *config.Config, report daemon.Report, interrupted bool, err error) error {
	left := remainder(report)
	switch {
	case err != nil:
		return errors.Join(err, left)
	case report.Halted():
		return &exitError{ExitFailure, left}
	case report.TimedOut:
		return &exitError{ExitIncomplete, fmt.Errorf("not everything was drained within shutdown_timeout (%s); start again to go on:\n%w",
			cfg.ShutdownTimeout, or(left, "every line that was read is settled, but the files were still being written to"))}
	case interrupted:
		return &exitError{ExitIncomplete, fmt.Errorf("stopped at once; start again to go on:\n%w", or(left, "nothing was left"))}
	case report.Unreadable() > 0:
		return &exitError{ExitIncomplete, fmt.Errorf("not everything was drained:\n%w", left)}
	}
	return nil
}

// remainder says in words what each source left over; nil when nothing.
func remainder(report daemon.Report) (left error) {
	for _, r := range report.Remainders {
		text := fmt.Errorf("source %s: %d lines in flight and %d bytes unread stay behind the checkpoint", r.Source, r.InFlight, r.UnreadBytes)
		if r.Unreadable > 0 {
			text = fmt.Errorf("%w; %s cannot be read", text, plural(r.Unreadable, "file"))
		}
		if r.Err != nil {
			text = fmt.Errorf("%w (%s)", r.Err, text)
		}
		left = errors.Join(left, text)
	}
	return left
}

func or(err error, otherwise string) error {
	if err == nil {
		return errors.New(otherwise)
	}
	return err
}
