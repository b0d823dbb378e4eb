// Package daemon wires the rooms together: for each source of the configuration a tailer, a shipper
// and a producer, over one pool, one checkpoint store and one lock on data_dir. It starts them, stops
// them in order, and says what became of every line. It holds no logic of reading or delivering.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/shipper"
)

// sharedPool is the part of the memory for batches that all sources share, in bytes; each source's
// reserve, one line of max_line_bytes, comes on top. Five requests of 1 MB in flight and two blocks
// being read fit in it.
const sharedPool = 8 << 20

// staleCheckpoint is how long the checkpoint may fail to be saved before the sources wait: repeats
// after a crash are bounded by what was acknowledged since the last save.
const staleCheckpoint = 30 * time.Second

// Options of a run that are not in the configuration.
type Options struct {
	// Once ships what is there and ends.
	Once bool
	// DryRun reads and checks what is there, sends nothing and writes nothing. It needs Once.
	DryRun bool
	Log    *zap.Logger
}

// Daemon is a set of running sources. Use New, then Run once; Stop and Accounts may be called by any
// goroutine meanwhile.
type Daemon struct {
	cfg   *config.Config
	opt   Options
	log   *zap.Logger
	root  *fsx.Root // data_dir
	lock  *fsx.FileLock
	store *checkpoint.Store
	pipes []*pipeline
	files int // that each source may hold open
	pace  autoPace

	stopOnce sync.Once
	stop     chan struct{}
}

// New locks data_dir and prepares every source. It contacts no broker. On an error nothing stays
// open. A data_dir that another daemon holds is an *fsx.LockedError that names its process, and one that
// others can change an *fsx.UnsafeError.
func New(cfg *config.Config, opt Options) (*Daemon, error) {
	d := &Daemon{cfg: cfg, opt: opt, log: opt.Log, pace: defaultPace, stop: make(chan struct{})}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *Daemon) open() error {
	if !d.opt.DryRun {
		if err := d.openDataDir(); err != nil {
			return err
		}
	}
	warnHardlinks(protectedHardlinks, func(s string) { d.log.Warn(s) })
	d.files = d.maxOpenFiles()
	pool := batch.NewPool(sharedPool)
	for i := range d.cfg.Sources {
		p, err := d.newPipeline(&d.cfg.Sources[i], pool)
		if err != nil {
			return fmt.Errorf("source %s: %w", d.cfg.Sources[i].ID, err)
		}
		d.pipes = append(d.pipes, p)
	}
	return nil
}

// openDataDir makes and locks data_dir and opens the checkpoint in it.
func (d *Daemon) openDataDir() error {
	root, err := OpenDataDir(d.cfg, func(s string) { d.log.Warn(s) })
	if err != nil {
		return err
	}
	d.root = root
	if d.lock, err = root.Lock(LockPath(d.cfg)); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	d.store, err = checkpoint.Open(root, CheckpointDir(d.cfg), d.log)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (d *Daemon) close() error {
	var errs []error
	for _, p := range d.pipes {
		errs = append(errs, p.close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Unlock())
	}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	return errors.Join(errs...)
}

// Stop begins the end, as SIGTERM does: read on until every file has been quiet for shutdown_quiet,
// deliver, wait for every result. It returns at once; Run returns when it is done, or when
// shutdown_timeout cut it short.
func (d *Daemon) Stop() { d.stopOnce.Do(func() { close(d.stop) }) }

// Accounts is a snapshot of every source's account.
func (d *Daemon) Accounts() []shipper.Account {
	accounts := make([]shipper.Account, len(d.pipes))
	for i, p := range d.pipes {
		accounts[i] = p.source.Account()
	}
	return accounts
}

// Run ships until Stop (or, with Once, until everything there is shipped) and says how it ended. When
// ctx is cancelled it stops at once: what is not settled is read again by the next start. The
// checkpoint is saved and everything is closed when it returns.
func (d *Daemon) Run(ctx context.Context) (Report, error) {
	hard, cut := context.WithCancel(ctx)
	defer cut()
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer endBackground()

	var group errgroup.Group
	if !d.opt.DryRun {
		group.Go(func() error { return d.keepCheckpoint(background) })
		for _, p := range d.pipes {
			group.Go(func() error { return p.serve(background) })
		}
		if d.cfg.FailureLog.AutoReplay && !d.opt.Once {
			group.Go(func() error { return d.autoReplay(background) })
		}
	}

	var sources errgroup.Group
	for _, p := range d.pipes {
		sources.Go(func() error { return p.run(hard) })
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = sources.Wait() // each pipeline keeps its own error for the report
	}()
	timedOut := d.wait(ended, cut)
	endBackground()
	err := group.Wait()
	report := d.report(timedOut)
	return report, errors.Join(ignoreCancel(err), d.close())
}

// keepCheckpoint saves the checkpoint until ctx ends, and then a last time.
func (d *Daemon) keepCheckpoint(ctx context.Context) error {
	if err := d.store.Run(ctx, d.cfg.CheckpointInterval); err != nil {
		return fmt.Errorf("the checkpoint could not be saved; the next start sends again what was settled since the last save: %w", err)
	}
	return nil
}

// wait returns when every source has ended; after Stop it gives them shutdown_timeout, then cuts
// them short and says so.
func (d *Daemon) wait(ended <-chan struct{}, cut context.CancelFunc) (timedOut bool) {
	select {
	case <-ended:
		return false
	case <-d.stop:
	}
	d.log.Info("stopping: reading on until the files are quiet, then draining",
		zap.Duration("shutdown_quiet", d.cfg.ShutdownQuiet), zap.Duration("shutdown_timeout", d.cfg.ShutdownTimeout))
	for _, p := range d.pipes {
		p.tailer.Drain(d.cfg.ShutdownQuiet)
	}
	timer := time.NewTimer(d.cfg.ShutdownTimeout)
	defer timer.Stop()
	select {
	case <-ended:
		return false
	case <-timer.C:
		cut()
		<-ended
		return true
	}
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
