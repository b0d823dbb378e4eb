package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/shipper"
	"shiplog/tailer"
)

// sealCheck is how often an idle failure log is asked whether it may seal its open segment.
const sealCheck = time.Second

// reserveSlack is what a reserve holds beside one line of max_line_bytes: the newline, and the bytes
// before the line that are read again with it.
const reserveSlack = 8 << 10

// encodingShare: a block leaves one part in so many of max_batch_bytes for what encoding adds to each
// line (some 10 bytes), so that an ordinary block is one record batch and not one and a small rest.
const encodingShare = 16

// pipeline is one source: its files, its failure log, its way to Kafka.
type pipeline struct {
	id       string
	log      *zap.Logger
	tailer   *tailer.Tailer
	failures *failedlog.Log // nil under async
	producer *kafka.Producer
	source   *shipper.Source
	replayed atomic.Int64 // lines of the failure log that auto_replay delivered
	confirm  bool         // async: what was sent last is confirmed by a round trip before the connection ends
	err      error        // how run ended; read after it
}

func (d *Daemon) newPipeline(src *config.Source, pool *batch.Pool) (*pipeline, error) {
	p := &pipeline{id: src.ID, log: d.log}
	if err := d.openPipeline(p, src, pool.Source(src.MaxLineBytes+reserveSlack)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (d *Daemon) openPipeline(p *pipeline, src *config.Source, quota *batch.Quota) error {
	var err error
	if p.producer, err = kafka.New(KafkaConfig(src, d.log.With(zap.String("source", src.ID)))); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	deps := shipper.Deps{Quota: quota, Log: d.log}
	resume, found, err := d.openState(p, src, &deps)
	if err != nil {
		return err
	}
	if p.tailer, err = tailer.New(d.tailerConfig(src, resume, found, quota)); err != nil {
		return err
	}
	deps.Reader = p.tailer
	if d.store != nil {
		d.store.Present(src.ID, p.tailer.Present)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name for %%{host}: %w", err)
	}
	p.source, err = shipper.New(shipper.Config{Source: *src, Host: host, Hold: d.checkpointStale}, deps)
	return err
}

// openState opens what the source remembers: its checkpoint and its failure log. It gives what is
// known of each file, and who is to be told of new ones. In a dry run it only looks.
func (d *Daemon) openState(p *pipeline, src *config.Source, deps *shipper.Deps) (resume []batch.State, found func(batch.State), err error) {
	if d.opt.DryRun {
		deps.Tracker, deps.Producer, deps.FailureLog = checkpoint.NewTracker(d.log), newDryProducer(src, p.producer), dryFailureLog{}
		resume, err = savedStates(d.cfg, src.ID)
		return resume, nil, err
	}
	tracker, err := d.store.Source(src.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %w", err)
	}
	deps.Tracker, deps.Producer = tracker, p.producer
	p.confirm = src.Mode == config.ModeAsync
	if src.Mode != config.ModeAsync {
		if p.failures, err = d.openFailureLog(src.ID); err != nil {
			return nil, nil, fmt.Errorf("failure log: %w", err)
		}
		deps.FailureLog = p.failures
	}
	return tracker.States(), tracker.Found, nil
}

// checkpointStale says that the checkpoint could not be saved for so long that reading on would make
// the repeats after a crash too many.
func (d *Daemon) checkpointStale() bool {
	if d.store == nil {
		return false
	}
	since, stale := d.store.StaleSince()
	return stale && time.Since(since) > staleCheckpoint
}

func (d *Daemon) tailerConfig(src *config.Source, resume []batch.State, found func(batch.State), quota *batch.Quota) tailer.Config {
	return tailer.Config{
		Source: src.ID, Include: src.Include, Exclude: src.Exclude, Rotated: src.Rotated,
		MaxLineBytes: src.MaxLineBytes, Truncate: src.OnOversize == config.ActionTruncate,
		MaxBatchBytes: src.MaxBatchBytes - src.MaxBatchBytes/encodingShare, MaxBatchLines: src.MaxBatchLines,
		StartAtEnd: src.StartAt == config.StartEnd, Poll: src.Poll, FollowSymlinks: src.FollowSymlinks,
		RotateWait: src.RotateWait, ReleaseAfter: src.ReleaseAfter, IgnoreOlder: src.IgnoreOlder, Linger: src.Linger,
		MaxOpenFiles: d.files, Once: d.opt.Once,
		Resume: resume, Found: found, Quota: quota, Claimed: d.claimedByOther(src), Log: d.log,
	}
}

// claimedByOther tells whether another source's patterns match a path, which then is no rotated form
// of this source's files.
func (d *Daemon) claimedByOther(src *config.Source) func(string) bool {
	return func(path string) bool {
		for i := range d.cfg.Sources {
			other := &d.cfg.Sources[i]
			if other.ID != src.ID && matchAny(other.Include, path) && !matchAny(other.Exclude, path) {
				return true
			}
		}
		return false
	}
}

func matchAny(patterns []string, path string) bool {
	for _, p := range patterns {
		if ok, err := doublestar.PathMatch(p, path); err == nil && ok { // config has checked the patterns
			return true
		}
	}
	return false
}

func (d *Daemon) openFailureLog(source string) (*failedlog.Log, error) {
	return failedlog.Open(d.root, filepath.Join(FailedDir(d.cfg), source), failedlog.Options{
		MaxBytes: int64(d.cfg.FailureLog.MaxBytes), SegmentBytes: int64(d.cfg.FailureLog.SegmentBytes),
		DropOldest: d.cfg.FailureLog.WhenFull == config.FullDropOldest, Fsync: d.cfg.FailureLog.Fsync, Log: d.log,
	})
}

// FailedDir is where the failure logs of all sources are.
func FailedDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "failed") }

// CheckpointDir is where the checkpoints of all sources are.
func CheckpointDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "checkpoint") }

// LockPath is the lock that the daemon holds on data_dir.
func LockPath(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "lock") }

// KafkaConfig is a source's way to its cluster, in the terms of internal/kafka.
func KafkaConfig(src *config.Source, log *zap.Logger) kafka.Config {
	k := &src.Kafka
	cfg := kafka.Config{
		Brokers: k.Brokers, ClientID: k.ClientID, Version: k.Version,
		DialTimeout: k.DialTimeout, RequestTimeout: k.RequestTimeout,
		Topic: src.Topic, Codec: src.Compression, CompressionLevel: src.CompressionLevel, MaxInFlight: 5, Log: log,
	}
	switch src.Acks {
	case config.AcksAll:
		cfg.Acks = -1
	case config.AcksLeader:
		cfg.Acks = 1
	}
	if src.Mode == config.ModeSync {
		cfg.Idempotent, cfg.MaxInFlight = true, 1
	}
	if t := k.TLS; t.Enabled {
		cfg.TLS = &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
			ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	}
	if s := k.SASL; s.Mechanism != config.SASLNone && s.Mechanism != "" {
		cfg.SASL = &kafka.SASL{Mechanism: s.Mechanism, Username: s.Username, Password: s.Password.Reveal(),
			PasswordFile: s.PasswordFile, TokenFile: s.TokenFile}
	}
	return cfg
}

// serve runs what the source works with, until ctx ends: the producer and the failure log's sealing.
func (p *pipeline) serve(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return p.producer.Run(ctx) })
	if p.failures != nil {
		group.Go(func() error {
			tick := time.NewTicker(sealCheck)
			defer tick.Stop()
			for {
				select {
				case now := <-tick.C:
					p.failures.Tick(now)
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// run ships until everything was read and settled, or ctx ends. It keeps its error for the report.
func (p *pipeline) run(ctx context.Context) error {
	tailing, stop := context.WithCancel(ctx)
	defer stop()
	shipping, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var tail errgroup.Group
	tail.Go(func() error {
		err := p.tailer.Run(tailing)
		if ignoreCancel(err) != nil {
			giveUp() // nothing more will come, and nobody would say so
		}
		return err
	})
	err := p.source.Run(shipping)
	if errors.Is(err, shipper.ErrHalted) {
		p.log.Error("source halted; the other sources go on", zap.String("source", p.id), zap.Error(err))
	}
	stop()
	p.err = errors.Join(ignoreCancel(err), ignoreCancel(tail.Wait()))
	if err == nil && p.confirm {
		if err := p.producer.Barrier(ctx); err != nil {
			p.log.Warn("what was sent last is not confirmed; it counts as sent_unconfirmed", zap.String("source", p.id), zap.Error(err))
		}
	}
	return p.err
}

func (p *pipeline) close() error {
	if p.failures == nil {
		return nil
	}
	if err := p.failures.Close(); err != nil {
		return fmt.Errorf("close failure log of %s: %w", p.id, err)
	}
	return nil
}
