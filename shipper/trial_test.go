package shipper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
)

// The trial stands between the source and its failure log and tracker.

// Append is the failure log's.
func (tr *trial) Append(recs []failedlog.Record) error {
	tr.look("an append")
	if time.Now().Before(tr.calm) && tr.intN(4) == 0 {
		return errors.New("no space left on device")
	}
	tr.mu.Lock()
	for _, r := range recs {
		tr.outcomes[lineID.FindString(string(r.Payload))]++
	}
	tr.mu.Unlock()
	return tr.rig.failures.Append(recs)
}

// Begin is the tracker's.
func (tr *trial) Begin(b *batch.Batch) checkpoint.Ticket { return tr.tracker.Begin(b) }

// Settle is the tracker's; the checkpoint must cover lines with an outcome only, then and ever.
func (tr *trial) Settle(t checkpoint.Ticket) {
	tr.tracker.Settle(t)
	tr.look("a settlement")
	tr.checkpointed()
}

// checkpointed checks that all lines before the settled positions have an outcome.
func (tr *trial) checkpointed() {
	for _, s := range tr.tracker.States() {
		for _, l := range tr.expected {
			if l.file == s.ID && l.offset < s.Pos.Offset && !tr.hasOutcome(l.id) {
				tr.failf("the checkpoint of %s is at %d, and %s at %d has no outcome", s.Path, s.Pos.Offset, l.id, l.offset)
			}
		}
	}
}

func (tr *trial) hasOutcome(id string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.outcomes[id] > 0
}

// Settled is the tracker's.
func (tr *trial) Settled(id batch.FileID) int64 { return tr.tracker.Settled(id) }

// Partition is the tracker's.
func (tr *trial) Partition(path string) (int32, bool) { return tr.tracker.Partition(path) }

// SetPartition is the tracker's.
func (tr *trial) SetPartition(path string, p int32) { tr.tracker.SetPartition(path, p) }

// dropInvalid gives the lines their outcome that the policy gives up without anybody seeing it.
func (tr *trial) dropInvalid() {
	if tr.plan.invalidJSON != config.ActionDrop && (tr.plan.invalidJSON != config.ActionFail || tr.plan.mode != config.ModeAsync) {
		return
	}
	for _, b := range tr.reader.queue {
		for i := range b.Lines {
			if v := string(b.Value(i)); strings.HasPrefix(v, "plain text") {
				tr.outcomes[lineID.FindString(v)]++
			}
		}
	}
}

// run drives the trial, and says what was wrong.
func (tr *trial) run() []string {
	tr.dropInvalid()
	tr.reader.finish()
	ctx, cancel := context.WithCancel(tr.t.Context())
	go tr.watch(ctx)
	go tr.outages(ctx)
	tr.start()
	if tr.plan.cancelled {
		time.AfterFunc(time.Duration(tr.intN(2000))*time.Millisecond, tr.cancel)
	}
	late := time.AfterFunc(24*time.Hour, func() {
		tr.failf("it did not end in a day: %v", tr.source.Account())
		tr.cancel()
	})
	err := <-tr.result
	late.Stop()
	tr.cancel()
	cancel()
	tr.look("the end")
	tr.checkpointed()
	tr.judge(err)
	<-time.After(time.Hour) // what is still with the producer comes back
	return tr.faults()
}

func (tr *trial) faults() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.wrong
}

// outages takes the brokers away now and then.
func (tr *trial) outages(ctx context.Context) {
	for time.Now().Before(tr.calm) && ctx.Err() == nil {
		<-time.After(time.Duration(tr.intN(500)) * time.Millisecond)
		tr.producer.fail(retriable)
		<-time.After(time.Duration(tr.intN(500)) * time.Millisecond)
		tr.producer.mend()
	}
	tr.producer.mend()
}

// ordered checks that the lines of each file stand in the topic as they were read, by partition.
func (tr *trial) ordered() {
	last := make(map[string]int)
	for _, s := range tr.producer.topicLog {
		var file, n int
		if _, err := fmt.Sscanf(lineID.FindString(s.value), "id-%d-%d;", &file, &n); err != nil {
			tr.failf("a strange record: %q", s.value)
			continue
		}
		stream := fmt.Sprint(s.partition, "/", file)
		if before, ok := last[stream]; ok && n <= before {
			tr.failf("partition %d: line %d of file %d stands behind line %d", s.partition, n, file, before)
		}
		last[stream] = n
	}
}

// judge says whether the end is as it should be.
func (tr *trial) judge(err error) {
	a := tr.source.Account()
	if tr.plan.mode == config.ModeSync {
		tr.ordered()
	}
	tr.provenant()
	switch {
	case err == nil:
		if a.InFlight != 0 || a.Read != tr.total {
			tr.failf("ended with %v, want %d lines read and none in flight", a, tr.total)
		}
		for _, l := range tr.expected {
			if n := tr.outcomes[l.id]; n != 1 {
				tr.failf("%s has %d outcomes", l.id, n)
			}
		}
		for _, b := range tr.tracker.States() {
			if b.Pos.Offset != tr.reader.settled[b.ID] {
				tr.failf("the reader heard %d of %s, which is settled to %d", tr.reader.settled[b.ID], b.Path, b.Pos.Offset)
			}
		}
	case errors.Is(err, ErrHalted):
		if tr.plan.mode != config.ModeSync || tr.plan.permanent != config.ActionHalt || a.InFlight == 0 {
			tr.failf("halted: %v: %v", err, a)
		}
	case !tr.plan.cancelled || !errors.Is(err, context.Canceled):
		tr.failf("Run: %v", err)
	}
}

// provenant checks that the headers say of each record of the topic which line it is, and of no other.
func (tr *trial) provenant() {
	at := make(map[string]lineAt)
	for _, l := range tr.expected {
		at[l.id] = l
	}
	topic := tr.producer.records() // a source that was cancelled may have requests out
	said := rangesOf(tr.failf, topic, tr.plan.provenance)
	if (tr.plan.provenance != config.ProvenanceOff) != (len(said) > 0) && len(topic) > 0 {
		tr.failf("provenance: %s, and %d records have one", tr.plan.provenance, len(said))
	}
	for _, s := range said {
		l := at[lineID.FindString(s.value)]
		if s.file != l.file || s.Offset != l.offset || s.Length != l.length {
			tr.failf("%s is said to be %+v, and is %+v", l.id, s, l)
		}
	}
}
