package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/fsx"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// replayPatience bounds how long replay tries to get an answer for a batch before it ends and leaves
// the rest where it is.
const replayPatience = 30 * time.Second

// SealLeftovers seals the segments that a killed daemon left open, so that they can be replayed. While
// a daemon runs it does nothing and says so: that one seals its own.
func SealLeftovers(root *fsx.Root, cfg *config.Config, log *zap.Logger) (running bool, err error) {
	entries, err := root.ReadDir(FailedDir(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("failure log: %w", err)
	}
	lock, err := root.Lock(LockPath(cfg))
	if locked := (*fsx.LockedError)(nil); errors.As(err, &locked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, failedlog.Recover(root, filepath.Join(FailedDir(cfg), e.Name()), log))
		}
	}
	return false, errors.Join(err, lock.Unlock())
}

// Replayer sends records of the failure log to Kafka: acks=all and idempotent, whatever the source's
// own mode. It is the failedlog.Sender of the replay command. One goroutine may use it.
type Replayer struct {
	cfg      *config.Config
	log      *zap.Logger
	patience time.Duration
	// counts says that a request that failed for the moment, or with an unknown outcome, is one of
	// the record's attempts and has a verdict; else it has none, and the record stays as it was.
	counts    bool
	ctx       context.Context //nolint:containedctx // the life of the producers that Send starts
	stop      context.CancelFunc
	group     errgroup.Group
	producers map[producerKey]*kafka.Producer
	sticky    int32
}

// producerKey: sources may have clusters and credentials of their own.
type producerKey struct{ source, topic string }

// NewReplayer makes a sender; it connects when it is first needed. Close must be called.
func NewReplayer(cfg *config.Config, log *zap.Logger) *Replayer {
	ctx, stop := context.WithCancel(context.Background())
	return &Replayer{cfg: cfg, log: log, patience: replayPatience, ctx: ctx, stop: stop, producers: map[producerKey]*kafka.Producer{}}
}

// Close ends the connections.
func (r *Replayer) Close() error {
	r.stop()
	return ignoreCancel(r.group.Wait())
}

// Send implements failedlog.Sender. The records of one call are of one source.
func (r *Replayer) Send(ctx context.Context, topic string, records []failedlog.Record) []error {
	errs := make([]error, len(records))
	if len(records) == 0 {
		return errs
	}
	p, err := r.producer(records[0].Source, topic)
	if err == nil {
		err = r.ready(ctx, p)
	}
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	s := &resend{p: p, records: records, errs: errs, patience: r.patience, counts: r.counts}
	s.provenance = r.provenance(records[0].Source)
	s.deliver(ctx, s.split(topic, r.nextSticky()))
	return errs
}

func (r *Replayer) nextSticky() int32 {
	r.sticky++
	return r.sticky
}

// producer gives the producer of a source's cluster for a topic.
func (r *Replayer) producer(source, topic string) (*kafka.Producer, error) {
	key := producerKey{source, topic}
	if p := r.producers[key]; p != nil {
		return p, nil
	}
	src := r.settings(source)
	src.Topic, src.Mode, src.Acks = topic, config.ModeSync, config.AcksAll
	p, err := kafka.New(KafkaConfig(&src, r.log.With(zap.String("source", source))))
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	r.group.Go(func() error { return p.Run(r.ctx) })
	r.producers[key] = p
	return p, nil
}

// settings are those of the source; records of one that is no longer in the configuration go to the
// global cluster.
func (r *Replayer) settings(source string) config.Source {
	for _, s := range r.cfg.Sources {
		if s.ID == source {
			return s
		}
	}
	r.log.Warn("failure log of a source that is not in the configuration: its records go to the global kafka.brokers",
		zap.String("source", source))
	return config.Source{ID: source, Kafka: r.cfg.Kafka, Compression: "lz4"}
}

// provenance says which headers the source's records get.
func (r *Replayer) provenance(source string) string {
	for _, s := range r.cfg.Sources {
		if s.ID == source {
			return s.Provenance
		}
	}
	return config.ProvenanceBatch
}

// ready waits until something can be sent.
func (r *Replayer) ready(ctx context.Context, p *kafka.Producer) error {
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case <-p.WaitReady():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if _, err := p.Ready(); err != nil {
		return err
	}
	return errors.New("no broker within " + r.patience.String())
}

// resender is what a resend needs of *kafka.Producer.
type resender interface {
	Ready() (kafka.Topic, *kafka.Error)
	NewBatch(partition int32) *kafka.RecordBatch
	Deliver(ctx context.Context, rbs []*kafka.RecordBatch, retry kafka.Retry) []kafka.Result
}

// resend is one call of Send.
type resend struct {
	p        resender
	records  []failedlog.Record
	errs     []error
	patience time.Duration
	counts   bool // see Replayer

	provenance string // config.ProvenanceBatch and so on
	build      provenance.Builder
}

// split makes one batch a partition; a batch's Tag holds the indexes of its records.
func (s *resend) split(topic string, sticky int32) []*kafka.RecordBatch {
	meta, _ := s.p.Ready()
	byPartition := map[int32]*kafka.RecordBatch{}
	var batches []*kafka.RecordBatch
	for i := range s.records {
		rec := &s.records[i]
		partition := choose(rec, topic, meta, sticky)
		rb := byPartition[partition]
		if rb == nil {
			rb = s.p.NewBatch(partition)
			rb.Tag = []int(nil)
			byPartition[partition] = rb
			batches = append(batches, rb)
		}
		rb.Tag = append(rb.Tag.([]int), i)
		rb.Add(rec.Key, rec.Payload, rec.Timestamp, recordHeaders(rec.Headers))
	}
	for _, rb := range batches {
		s.stamp(rb)
	}
	return batches
}

// stamp says of a batch's records where they came from, as the shipper does, and that they were sent
// from the failure log. Records of an older shiplog do not know how long their lines were, and get no
// header. It is done anew for the halves of a batch.
func (s *resend) stamp(rb *kafka.RecordBatch) {
	if s.provenance != config.ProvenanceBatch && s.provenance != config.ProvenanceRecord {
		return
	}
	first, file := -1, "" // of the stretch of records at work
	for i, index := range rb.Tag.([]int) {
		rec := &s.records[index]
		rb.SetHeaders(i, recordHeaders(rec.Headers)) // a half has still those of the whole
		goesOn := rec.FileID == file && rec.Offset >= s.build.End() && s.provenance == config.ProvenanceBatch
		if first >= 0 && (rec.Length <= 0 || !goesOn) {
			s.close(rb, first)
			first = -1
		}
		id, err := batch.ParseFileID(rec.FileID)
		if rec.Length <= 0 || rec.Offset < 0 || rec.Offset > math.MaxInt64-rec.Length || err != nil {
			continue
		}
		if first < 0 {
			first, file = i, rec.FileID
			s.build.Begin(rec.Source, id)
			s.build.Replayed()
		}
		s.build.Add(provenance.Range{Offset: rec.Offset, Length: rec.Length}, len(rec.Payload))
	}
	if first >= 0 {
		s.close(rb, first)
	}
}

// close writes the header of the records from first on.
func (s *resend) close(rb *kafka.RecordBatch, first int) {
	rec := &s.records[rb.Tag.([]int)[first]]
	h := kafka.Header{Key: provenance.Key, Value: s.build.Header().Append(nil)}
	rb.SetHeaders(first, recordHeaders(rec.Headers).With(h))
}

// choose gives the partition the record was meant for; in another topic, the one that its key says.
func choose(rec *failedlog.Record, topic string, meta kafka.Topic, sticky int32) int32 {
	switch {
	case rec.Topic == topic && rec.Partition >= 0 && rec.Partition < meta.Partitions:
		return rec.Partition
	case rec.Key != nil && meta.Partitions > 0:
		return kafka.Partition(rec.Key, meta.Partitions)
	case len(meta.Usable) > 0:
		return meta.Usable[int(sticky)%len(meta.Usable)]
	}
	return 0
}

func recordHeaders(list []failedlog.Header) kafka.Headers {
	headers := make([]kafka.Header, len(list))
	for i, h := range list {
		headers[i] = kafka.Header{Key: h.Key, Value: h.Value}
	}
	return kafka.NewHeaders(headers)
}

// deliver sends the batches and keeps each record's verdict. A batch with a bad line is halved until
// the bad line stands alone.
func (s *resend) deliver(ctx context.Context, batches []*kafka.RecordBatch) {
	retry := kafka.Retry{Initial: 100 * time.Millisecond, Max: 2 * time.Second, MaxElapsed: s.patience}
	for len(batches) > 0 {
		heads, rest := firstOfEach(batches)
		results := s.p.Deliver(ctx, heads, retry)
		var halves []*kafka.RecordBatch
		for i, rb := range heads {
			halves = append(halves, s.verdict(ctx, rb, results[i])...)
			rb.Release()
		}
		batches = append(halves, rest...)
	}
}

// firstOfEach takes the first batch of each partition: what stands behind it in its partition waits
// until its halves are through, so that the order is kept.
func firstOfEach(batches []*kafka.RecordBatch) (heads, rest []*kafka.RecordBatch) {
	taken := make(map[int32]bool)
	for _, rb := range batches {
		if taken[rb.Partition] {
			rest = append(rest, rb)
			continue
		}
		taken[rb.Partition] = true
		heads = append(heads, rb)
	}
	return heads, rest
}

func failure(err *kafka.Error) *failedlog.Failure {
	return &failedlog.Failure{Class: string(err.Class), Kafka: err.Kafka, Message: err.Err.Error()}
}

func (s *resend) verdict(ctx context.Context, rb *kafka.RecordBatch, res kafka.Result) []*kafka.RecordBatch {
	indexes := rb.Tag.([]int)
	switch {
	case res.Err == nil:
		return nil
	case res.Err.Class.OfLine() && rb.Len() > 1:
		middle := rb.Len() / 2
		first, second := rb.Slice(0, middle), rb.Slice(middle, rb.Len())
		first.Tag, second.Tag = indexes[:middle:middle], indexes[middle:]
		s.stamp(first)
		s.stamp(second)
		return []*kafka.RecordBatch{first, second}
	case res.Err.Class.OfLine():
		s.errs[indexes[0]] = failure(res.Err)
		return nil
	case s.counts && res.Attempted && !res.Err.Class.OfSource() && ctx.Err() == nil:
		for _, i := range indexes {
			s.errs[i] = failure(res.Err)
		}
		return nil
	}
	for _, i := range indexes {
		s.errs[i] = fmt.Errorf("no verdict within %s: %w", s.patience, errors.Join(ctx.Err(), res.Err))
	}
	return nil
}
