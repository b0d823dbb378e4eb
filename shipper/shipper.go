package shipper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// Reader gives blocks of lines, one for each Want. *tailer.Tailer is one.
type Reader interface {
	// Want asks for one block; it never blocks.
	Want()
	// Batches gives one block for each Want, and is closed when everything was read and no more is to
	// come.
	Batches() <-chan *batch.Batch
	// Settled tells how far a file is settled; it never blocks.
	Settled(id batch.FileID, offset int64)
}

// Producer sends record batches to one topic. *kafka.Producer is one.
type Producer interface {
	// Ready gives the topic as it is known, and nil when at least one partition can be sent to.
	Ready() (kafka.Topic, *kafka.Error)
	// WaitReady gives a channel that is closed when the producer is ready.
	WaitReady() <-chan struct{}
	// NewBatch gives an empty record batch.
	NewBatch(partition int32) *kafka.RecordBatch
	// Send sends each batch once; done is called once for each, on any goroutine.
	Send(rbs []*kafka.RecordBatch, done func(*kafka.RecordBatch, kafka.Result))
	// Deliver sends the batches, of different partitions, until each has a definite answer.
	Deliver(ctx context.Context, rbs []*kafka.RecordBatch, retry kafka.Retry) []kafka.Result
	// Unconfirmed counts the records that were sent without acks and not confirmed by a barrier when
	// their connection broke, or their broker no longer led their partition.
	Unconfirmed() int64
}

// FailureLog keeps what was not delivered. *failedlog.Log is one.
type FailureLog interface {
	// Append returns nil when all records are on disk.
	Append(recs []failedlog.Record) error
}

// Tracker keeps the settled positions of one source. *checkpoint.Tracker is one.
type Tracker interface {
	Begin(b *batch.Batch) checkpoint.Ticket
	Settle(t checkpoint.Ticket)
	Settled(id batch.FileID) int64
	// Partition gives the partition that SetPartition chose for a path.
	Partition(path string) (int32, bool)
	SetPartition(path string, partition int32)
}

// Limiter confines a source to its own reserve of memory. *batch.Quota is one.
type Limiter interface {
	Limit(on bool)
}

// Config says what a source ships, and how.
type Config struct {
	// Source holds the keys of the configuration, validated and with all defaults applied.
	config.Source
	// Host is the value of %{host}.
	Host string
	// Hold stops new demand while it returns true: a checkpoint that could not be saved for long must
	// not fall further behind. It is asked on the source's goroutine and may be nil.
	Hold func() bool
}

// Deps are the rooms that a source works with.
type Deps struct {
	Reader     Reader
	Producer   Producer
	FailureLog FailureLog // may be nil in async mode
	Tracker    Tracker
	Quota      Limiter // may be nil
	Log        *zap.Logger
}

// New makes a source. It starts nothing: Run does.
func New(cfg Config, deps Deps) (*Source, error) {
	s := &Source{
		cfg: cfg, log: deps.Log, reader: deps.Reader, producer: deps.Producer,
		failures: deps.FailureLog, tracker: deps.Tracker, quota: deps.Quota,
		inbox: newInbox(),
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.log = s.log.With(zap.String("source", cfg.ID))
	switch cfg.Mode {
	case config.ModeSync:
		s.mode = newSyncMode(s)
	case config.ModeAsync:
		s.mode = newAsyncMode(s)
	case config.ModeCallback:
		s.mode = newCallbackMode(s)
	default:
		return nil, fmt.Errorf("source %s: unknown mode %q", cfg.ID, cfg.Mode)
	}
	if s.failures == nil && cfg.Mode != config.ModeAsync {
		return nil, fmt.Errorf("source %s: mode %s needs a failure log", cfg.ID, cfg.Mode)
	}
	s.account.source, s.account.mode = cfg.ID, cfg.Mode
	s.prep = newPreparer(s)
	s.stamp = newStamper(s)
	return s, nil
}

// ErrHalted is what Run returns, wrapped in a *HaltedError, when a sync source met a line that can
// never be accepted, or its retries came to their end.
var ErrHalted = errors.New("source halted")

// HaltedError says where and why a sync source stopped. Nothing behind that line was settled.
type HaltedError struct {
	Source    string
	File      string
	FileID    batch.FileID
	Offset    int64  // of the line's first byte
	Line      string // its beginning
	Partition int32
	Cause     *kafka.Error
	// GaveUp says that retry.max_elapsed_time ended the retries; else the line itself was refused.
	GaveUp bool
}

// Error says what happened, where, and how to go on.
func (e *HaltedError) Error() string {
	what, how := "refused for good", "raise the topic's limit or mend what it refuses, or set on_permanent_error: fail to "+
		"put such lines into the failure log, or pass the line with `shiplog checkpoint seek`; then restart"
	if e.GaveUp {
		what = "not delivered within retry.max_elapsed_time"
		how = "bring the cluster back and restart; the source goes on from this line"
	}
	return fmt.Sprintf("source %s halted: the line at %s, offset %d (file id %s), was %s: %v; line: %s; to go on, %s",
		e.Source, e.File, e.Offset, e.FileID, what, e.Cause, e.Line, how)
}

// Unwrap gives the cause.
func (e *HaltedError) Unwrap() []error { return []error{ErrHalted, e.Cause} }

// Backoffs and intervals that no key of the configuration sets.
const (
	parkFirst    = 50 * time.Millisecond // before a batch that found no leader is offered again
	parkMax      = time.Second
	faultFirst   = 500 * time.Millisecond // while topic, permissions or settings are at fault
	faultMax     = 30 * time.Second
	diskFirst    = 200 * time.Millisecond // while the failure log takes nothing
	diskMax      = 10 * time.Second
	holdCheck    = 250 * time.Millisecond // between two looks at Config.Hold
	limitAfter   = time.Second            // of failing sends, before the source goes back to its reserve
	startGrace   = 5 * time.Second        // on_outage: spool waits that long for a first connection
	repeatEvery  = time.Minute            // how often a lasting state is said again
	flushRecords = 4096                   // records gathered before the failure log gets them
	flushBytes   = 1 << 20                // of payload in one append
)
