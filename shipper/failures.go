package shipper

import (
	"encoding/hex"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// pending are records on their way to the failure log. Their lines are in flight until Append has
// put them on disk. While it cannot, they stay here, and no block is asked for: nothing is skipped.
type pending struct {
	recs   []failedlog.Record
	owners []owner
	wait   backoff
	failed bool // the last Append failed
}

// owner is the block of so many records in a row.
type owner struct {
	blk *block
	n   int64
}

// stuck says that the failure log took nothing at the last try.
func (p *pending) stuck() bool { return p.failed }

func (p *pending) add(blk *block, rec failedlog.Record) {
	p.recs = append(p.recs, rec)
	if i := len(p.owners) - 1; i >= 0 && p.owners[i].blk == blk {
		p.owners[i].n++
		return
	}
	p.owners = append(p.owners, owner{blk, 1})
}

// flush appends what is pending: one fsync serves many lines. It stops at the first error.
func (s *Source) flush(now time.Time) {
	p := &s.pending
	for len(p.recs) > 0 {
		if !p.wait.due(now) {
			s.wakeAt(p.wait.at)
			return
		}
		n := p.chunk()
		if err := s.failures.Append(p.recs[:n]); err != nil {
			if !p.failed {
				s.log.Error("the failure log takes no records; the source waits, nothing is skipped",
					zap.Int("lines", len(p.recs)), zap.Error(err))
			}
			p.failed = true
			p.wait.push(now, diskFirst, diskMax)
			continue
		}
		if p.failed {
			p.failed = false
			s.log.Info("the failure log takes records again")
		}
		p.wait.reset()
		s.logged(n)
	}
}

// chunk is how many records go into one append: a log with room for some must not be kept waiting
// for room for all.
func (p *pending) chunk() int {
	size := 0
	for i := range p.recs {
		size += len(p.recs[i].Payload)
		if i > 0 && size > flushBytes {
			return i
		}
	}
	return len(p.recs)
}

// logged settles the lines of the first n pending records.
func (s *Source) logged(n int) {
	p := &s.pending
	left := copy(p.recs, p.recs[n:])
	clear(p.recs[left:])
	p.recs = p.recs[:left]
	for n > 0 {
		o := &p.owners[0]
		m := min(int64(n), o.n)
		blk := o.blk
		n, o.n = n-int(m), o.n-m
		if o.n == 0 {
			p.owners = slices.Delete(p.owners, 0, 1)
		}
		s.settle(blk, m, failureLogged, "")
	}
}

// writeOff sends all lines of a part to the failure log, and lets the part go.
func (s *Source) writeOff(now time.Time, p *part, err *kafka.Error) {
	s.complain(now, "lines go to the failure log", err, zap.Int("lines", len(p.lines)))
	b := p.blk.b
	run := 0
	for i, line := range p.lines {
		for int(line) >= b.Runs[run].Last {
			run++
		}
		file := s.prep.file(b.Runs[run].File)
		key, value, t := p.rb.Record(i)
		rec := s.failureRecord(file, b.Lines[line].Offset, &record{key: key, value: value, time: t})
		rec.Length = p.blk.lineRange(run, int(line)).Length
		if p.attempts > 0 || !p.sticky && s.topic.Partitions > 0 {
			rec.Partition = p.rb.Partition
		}
		rec.Attempts = p.attempts
		rec.Error = errorInfo(err)
		s.pending.add(p.blk, rec)
	}
	s.drop(p)
	if len(s.pending.recs) >= flushRecords {
		s.flush(now)
	}
}

// giveUp writes a part off that may belong to a hunt, which goes on with the rest.
func (s *Source) giveUp(now time.Time, p *part, err *kafka.Error) {
	h := p.hunt
	s.writeOff(now, p, err)
	if h != nil {
		s.step(now, h)
	}
}

// spool sends a whole block to the failure log without an attempt: on_outage: spool.
func (s *Source) spool(now time.Time, blk *block, err *kafka.Error) {
	s.proven = false
	parts := s.prep.block(blk)
	for _, p := range parts {
		s.writeOff(now, p, err)
	}
}

// refuseLine gives up a line that is no JSON, under on_invalid_json: fail.
func (s *Source) refuseLine(blk *block, line int, f *fileView, r *record) {
	if s.failures == nil || s.cfg.Mode == config.ModeAsync {
		s.settle(blk, 1, dropped, reasonInvalidJSON)
		return
	}
	rec := s.failureRecord(f, blk.b.Lines[line].Offset, r)
	rec.Length = int64(blk.b.Lines[line].Length)
	rec.Error = failedlog.ErrorInfo{Class: reasonInvalidJSON, Message: "the line is not valid JSON"}
	s.pending.add(blk, rec)
}

// oversize gives up the lines of a block that were too long to be read.
func (s *Source) oversize(blk *block) {
	for i := range blk.b.Runs {
		run := &blk.b.Runs[i]
		if len(run.Oversize) == 0 {
			continue
		}
		if s.cfg.OnOversize != config.ActionFail || s.cfg.Mode == config.ModeAsync {
			s.settle(blk, int64(len(run.Oversize)), dropped, reasonOversize)
			continue
		}
		for j := range run.Oversize {
			s.pending.add(blk, s.oversizeRecord(s.prep.file(run.File), blk.b, &run.Oversize[j]))
		}
	}
}

func (s *Source) oversizeRecord(f *fileView, b *batch.Batch, o *batch.Oversize) failedlog.Record {
	rec := s.failureRecord(f, o.Offset, &record{value: o.Head, time: b.ReadAt.UnixMilli()})
	rec.NotReplayable = true
	rec.Oversize = &failedlog.Oversize{Length: o.Length, SHA256: hex.EncodeToString(o.SHA256[:])}
	rec.Error = failedlog.ErrorInfo{Class: reasonOversize, Message: "the line is longer than max_line_bytes; only its beginning is kept"}
	return rec
}

func (s *Source) failureRecord(f *fileView, offset int64, r *record) failedlog.Record {
	return failedlog.Record{
		Source: s.cfg.ID, File: f.file.Path, FileID: f.file.ID.String(), Offset: offset,
		Topic: s.cfg.Topic, Partition: -1, Timestamp: r.time, Key: r.key, Headers: f.list, Payload: r.value,
	}
}

func errorInfo(err *kafka.Error) failedlog.ErrorInfo {
	info := failedlog.ErrorInfo{Class: string(err.Class), Kafka: err.Kafka}
	if err.Err != nil {
		info.Message = err.Err.Error()
	}
	return info
}
