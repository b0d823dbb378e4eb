package shipper

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/internal/batch"
)

// rig is a source with all its rooms faked.
type rig struct {
	t        *testing.T
	reader   *fakeReader
	producer *fakeProducer
	failures *fakeLog
	tracker  *checkpoint.Tracker
	quota    *fakeQuota
	source   *Source
	result   chan error
	cancel   context.CancelFunc
}

type fakeQuota struct {
	mu    sync.Mutex
	calls []bool
}

func (q *fakeQuota) Limit(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls = append(q.calls, on)
}

func (q *fakeQuota) limits() []bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.calls)
}

// settings are the defaults of a mode.
func settings(mode string) Config {
	c := Config{Host: "web-1"}
	c.ID, c.Topic, c.Mode = "app", "t", mode
	c.Acks, c.OnInvalidJSON, c.OnOversize = config.AcksAll, config.ActionWrap, config.ActionFail
	c.MaxBatchBytes, c.MaxBatchLines, c.Linger = 1<<20, 10000, 5*time.Millisecond
	switch mode {
	case config.ModeSync:
		c.OnPermanentError = config.ActionHalt
		c.Retry = config.Retry{InitialInterval: 100 * time.Millisecond, MaxInterval: 10 * time.Second}
	case config.ModeCallback:
		c.OnOutage = config.ActionWait
	}
	return c
}

func newRig(t *testing.T, c Config, partitions int32, blocks ...*batch.Batch) *rig {
	t.Helper()
	r := &rig{
		t: t, reader: newFakeReader(blocks...), producer: newFakeProducer(partitions), failures: &fakeLog{},
		tracker: checkpoint.NewTracker(nil), quota: &fakeQuota{}, result: make(chan error, 1),
	}
	r.build(c, zap.NewNop())
	return r
}

func (r *rig) build(c Config, log *zap.Logger) {
	r.t.Helper()
	var err error
	r.source, err = New(c, Deps{
		Reader: r.reader, Producer: r.producer, FailureLog: r.failures, Tracker: r.tracker, Quota: r.quota, Log: log,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// start runs the source in the background.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel = cancel
	go func() { r.result <- r.source.Run(ctx) }()
}

// stop ends the source as a second signal would.
func (r *rig) stop() error {
	r.cancel()
	return <-r.result
}

// run ships everything and waits for the end.
func (r *rig) run() error {
	r.start()
	defer r.cancel()
	r.reader.finish()
	select {
	case err := <-r.result:
		return err
	case <-time.After(48 * time.Hour): // of the bubble's time
		r.t.Errorf("it does not end: %v", r.source.Account())
		return r.stop()
	}
}

// mustRun is run where no error is expected; it checks that nothing is left.
func (r *rig) mustRun() Account {
	r.t.Helper()
	if err := r.run(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
	a := r.source.Account()
	if a.InFlight != 0 || a.Missing() != 0 {
		r.t.Errorf("at the end: in flight %d, missing %d: %v", a.InFlight, a.Missing(), a)
	}
	return a
}

// numbered makes lines {"n":from} to {"n":to-1}.
func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(`{"n":%d}`, i))
	}
	return out
}

// pass lets virtual time pass inside a synctest bubble, and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
