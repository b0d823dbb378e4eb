package shipper

import (
	"fmt"
	"strconv"

	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// lineShown is how much of a line stands in an error.
const lineShown = 120

// halt stops a sync source at the first line of a part.
func (s *Source) halt(p *part, err *kafka.Error, gaveUp bool) {
	s.again(p) // it is not settled, and neither is what stands behind it
	if s.halted != nil {
		return
	}
	b, line := p.blk.b, int(p.lines[0])
	e := &HaltedError{
		Source: s.cfg.ID, Offset: b.Lines[line].Offset, Line: shown(b.Value(line)),
		Partition: p.rb.Partition, Cause: err, GaveUp: gaveUp,
	}
	for i := range b.Runs {
		if r := &b.Runs[i]; r.First <= line && line < r.Last {
			e.File, e.FileID = r.File.Path, r.File.ID
		}
	}
	s.halted = e
}

// shown is the beginning of a line, for an error.
func shown(line []byte) string {
	if len(line) <= lineShown {
		return strconv.Quote(string(line))
	}
	return fmt.Sprintf("%q... (%d bytes)", line[:lineShown], len(line))
}

// begin registers a block with the tracker. A source that halts does so when the block is settled:
// only then is it known how far the block got. It has one block out at a time, so the order is the
// same. A file that is new is registered at once all the same, so that after a crash it is not taken
// for an old one to be begun at its end.
func (s *Source) begin(blk *block) {
	if !s.halts() {
		blk.ticket = s.tracker.Begin(blk.b)
		return
	}
	var fresh batch.Batch
	fresh.ReadAt = blk.b.ReadAt
	for i := range blk.b.Runs {
		r := &blk.b.Runs[i]
		if r.Start == 0 && s.tracker.Settled(r.File.ID) == 0 {
			fresh.Runs = append(fresh.Runs, batch.Run{File: r.File, End: batch.Pos{Head: r.End.Head, HeadLen: r.End.HeadLen}})
		}
	}
	if len(fresh.Runs) > 0 {
		s.tracker.Settle(s.tracker.Begin(&fresh))
	}
}

// end lets the checkpoint pass a block.
func (s *Source) end(blk *block) {
	if s.halts() {
		blk.ticket = s.tracker.Begin(blk.b)
	}
	s.tracker.Settle(blk.ticket)
}

// settleDelivered lets the checkpoint of a halted source pass what was settled of its last block: for
// each file, up to its first line that is not. So a halt repeats nothing, but for what other
// partitions got of lines behind that one.
func (s *Source) settleDelivered() {
	if len(s.out) != 1 || len(s.pending.recs) > 0 {
		return
	}
	blk := s.out[0]
	open := make(map[int]bool)
	hunts := make(map[*hunt]bool)
	for _, p := range s.queue {
		p.note(open)
		hunts[p.hunt] = true
	}
	for _, h := range s.fault.hunts {
		hunts[h] = true
	}
	for h := range hunts {
		h.note(open)
	}
	if int64(len(open)) != s.account.openOf(blk) {
		return // a line is somewhere else: better repeated than lost
	}
	var done batch.Batch
	done.ReadAt = blk.b.ReadAt
	for i := range blk.b.Runs {
		if r, whole := blk.upTo(i, open); r.End.Offset > r.Start || whole {
			done.Runs = append(done.Runs, r)
		}
	}
	s.tracker.Settle(s.tracker.Begin(&done))
}

// giveBack returns the memory of a halted source, which the other sources share. Its lines stay in
// flight in the account: nobody reads them again before the next start.
func (s *Source) giveBack() {
	for _, blk := range s.out {
		blk.b.Release()
	}
	s.out, s.queue = nil, nil
}

// note adds the lines of a part.
func (p *part) note(open map[int]bool) {
	for _, line := range p.lines {
		open[int(line)] = true
	}
}

// note adds the lines of all parts that wait in a hunt.
func (h *hunt) note(open map[int]bool) {
	if h == nil {
		return
	}
	for _, p := range h.todo {
		p.note(open)
	}
	for _, p := range h.refused {
		p.note(open)
	}
}

// upTo gives a run cut off before its first open line.
func (blk *block) upTo(i int, open map[int]bool) (r batch.Run, whole bool) {
	r = blk.b.Runs[i]
	for line := r.First; line < r.Last; line++ {
		if open[line] {
			r.End = blk.posBefore(&r, line)
			r.Finished = false
			return r, false
		}
	}
	return r, true
}

// posBefore is the position at the start of a line. Its tail is the line before it, where the block
// shows that it stood in the file just so.
func (blk *block) posBefore(r *batch.Run, line int) batch.Pos {
	b := blk.b
	pos := batch.Pos{Offset: b.Lines[line].Offset, Head: r.End.Head, HeadLen: r.End.HeadLen}
	if line == r.First {
		return pos
	}
	prev := &b.Lines[line-1]
	if size := int64(prev.End-prev.Start) + 1; int64(prev.Length) == size && prev.Offset+size == pos.Offset {
		raw := append(append([]byte(nil), b.Value(line-1)...), '\n')
		raw = raw[max(0, len(raw)-batch.FingerprintBytes):]
		pos.Tail, pos.TailLen = batch.Hash(raw), len(raw)
	}
	return pos
}
