package failedlog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// work is the way of one segment's records through the sender, batch by batch.
type work struct {
	*replayer
	claim *claim // nil: the records stay in place

	topic   string
	records []Record
	spans   []span // of records
	bad     []span
	bytes   int
	first   Entry // of the batch, without its line

	kept spans // not replayable
	left int64 // records that stay for other reasons
}

// entry takes one line.
func (w *work) entry(ctx context.Context, e *Entry) error {
	if err := ctx.Err(); err != nil {
		return w.stop(e, err)
	}
	if w.bytes+len(e.Raw) > w.opt.BatchBytes || len(w.records) >= w.opt.BatchRecords || len(w.bad) >= w.opt.BatchRecords {
		if err := w.flush(ctx); err != nil {
			return w.stop(e, err)
		}
	}
	w.stats.Seen++
	w.stats.SeenBytes += e.to - e.from
	topic := e.Record.Topic
	if w.opt.ToTopic != "" {
		topic = w.opt.ToTopic
	}
	if e.Err == nil && topic == "" {
		e.Err = errors.New("not a record that can be sent: it names no topic")
	}
	switch {
	case e.Err != nil:
		w.stats.Bad++
		w.opt.OnBad(BadLine{e.Segment, e.Line, e.Err})
		w.bad = append(w.bad, span{e.from, e.to})
	case !w.opt.Match(&e.Record):
		w.stats.Filtered++
		w.left++
	case e.Record.NotReplayable:
		w.stats.NotReplayable++
		w.kept.add(e.from, e.to)
	case w.opt.MaxAttempts > 0 && e.Record.Attempts >= w.opt.MaxAttempts:
		w.stats.Exhausted++
		w.left++
	default:
		return w.add(ctx, e, topic)
	}
	return nil
}

// stop ends the work before this entry, or before the batch that was not sent yet.
func (w *work) stop(e *Entry, err error) error {
	w.halt = true
	if len(w.records) > 0 {
		e = &w.first
	}
	w.next(e)
	return err
}

// add puts a record into the batch; a batch has one topic.
func (w *work) add(ctx context.Context, e *Entry, topic string) error {
	if w.opt.DryRun {
		w.stats.Selected++
		return nil
	}
	if topic != w.topic && len(w.records) > 0 {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if len(w.records) == 0 {
		w.first = Entry{Segment: e.Segment, Line: e.Line, Record: Record{Time: e.Record.Time}}
	}
	w.topic = topic
	w.records = append(w.records, e.Record)
	w.spans = append(w.spans, span{e.from, e.to})
	w.bytes += len(e.Raw)
	return nil
}

// flush sends the batch and makes its outcome last.
func (w *work) flush(ctx context.Context) error {
	o := outcome{bad: w.bad}
	var stop error
	if len(w.records) > 0 {
		if err := w.pace(ctx, len(w.records)); err != nil {
			stop = err
			w.halt = true
			w.next(&w.first)
		} else {
			stop = w.send(ctx, &o)
		}
	}
	if w.claim != nil {
		if err := w.claim.commit(&o); err != nil {
			w.halt = true
			w.next(&w.first)
			stop = errors.Join(stop, err)
		}
	}
	w.count(&o)
	clear(w.records) // their memory is the batch's
	w.records, w.spans, w.bad, w.bytes = w.records[:0], w.spans[:0], nil, 0
	w.report()
	return stop
}

// send gives the batch to the sender and sorts its answers.
func (w *work) send(ctx context.Context, o *outcome) error {
	w.stats.Selected += int64(len(w.records))
	errs := w.sender.Send(ctx, w.topic, w.records)
	if len(errs) != len(w.records) {
		w.unanswered(len(w.records))
		return fmt.Errorf("replay: the sender gave %d answers for %d records", len(errs), len(w.records))
	}
	var stop error
	for i, err := range errs {
		var again *Failure
		switch {
		case err == nil:
			o.done = append(o.done, w.spans[i])
		case errors.As(err, &again):
			rec := w.records[i]
			rec.Attempts++
			rec.Error = ErrorInfo(*again)
			o.failed = append(o.failed, w.spans[i])
			o.lines = append(rec.AppendJSON(o.lines), '\n')
		default:
			w.unanswered(1)
			stop = err
		}
	}
	return stop
}

// count adds an outcome that was made to last as far as it goes.
func (w *work) count(o *outcome) {
	w.stats.Delivered += int64(len(o.done))
	if w.claim != nil && !o.kept {
		w.stats.Unanswered += int64(len(o.failed))
		return
	}
	w.stats.FailedAgain += int64(len(o.failed))
}

// moveKept takes records that cannot be replayed out of a segment of which all else is done, so that
// a few of them do not keep the room of a whole segment.
func (w *work) moveKept() error {
	if w.left > 0 || len(w.kept) == 0 || len(w.claim.done) == 0 {
		return nil
	}
	if err := w.claim.move(w.kept); err != nil {
		w.halt = true
		return err
	}
	return nil
}

func (w *work) unanswered(n int) {
	w.halt = true
	w.next(&w.first)
	w.stats.Unanswered += int64(n)
}

// pace waits until the rate allows n more records.
func (w *work) pace(ctx context.Context, n int) error {
	if w.opt.Rate <= 0 {
		return nil
	}
	now := time.Now()
	if wait := w.paced.Sub(now); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		now = w.paced
	}
	w.paced = now.Add(time.Duration(n) * time.Second / time.Duration(w.opt.Rate))
	return nil
}
