package shipper

import (
	"sync"

	"shiplog/checkpoint"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// block is one batch that is out: taken in, and not settled as a whole yet.
type block struct {
	b      *batch.Batch
	ticket checkpoint.Ticket
	// open is how many lines have no outcome yet. The account's lock guards it.
	open int64
	// preparing says that its parts are being made: it must not be let go, settled or not.
	preparing bool
	// stamp writes the provenance headers of its parts; nil: they have none.
	stamp *stamper
	// leads says of which runs the first line has skipped lines before it that other runs brought, and
	// where those begin.
	leads map[int]int64
}

// part is the records of one block that go to one partition in one record batch. It belongs to the
// source's goroutine, but for the time from Send to its result.
type part struct {
	blk *block
	rb  *kafka.RecordBatch
	// lines are the indexes into Batch.Lines of the records, in order.
	lines []uint32
	// sticky says that the partition was our choice, so that any other one does as well.
	sticky bool
	// hunt looks for the bad lines of the record batch that this part was cut from.
	hunt *hunt
	// err is the broker's last refusal of this very part, nil when it was not tried as it is.
	err *kafka.Error
	// attempts is how many requests carried these records for which the broker may answer.
	attempts int
	// repeat says that a batch with these records may have been written, and was refused after that.
	repeat bool
	park   backoff

	after after // the record that was added last
	room  int   // bytes kept free in rb for headers
	plain bool  // each record simply follows the one before it
}

// answer is the result of one part.
type answer struct {
	p   *part
	res kafka.Result
}

// inbox takes results from any goroutine without ever blocking it, and wakes the source.
type inbox struct {
	mu      sync.Mutex
	answers []answer
	spare   []answer
	retried *kafka.Error // the latest error of a retry, nil when it was taken
	wake    chan struct{}
	done    func(*kafka.RecordBatch, kafka.Result)
}

func newInbox() *inbox {
	in := &inbox{wake: make(chan struct{}, 1)}
	in.done = in.put
	return in
}

// put is the callback of Producer.Send.
func (in *inbox) put(rb *kafka.RecordBatch, res kafka.Result) {
	in.mu.Lock()
	in.answers = append(in.answers, answer{rb.Tag.(*part), res})
	in.mu.Unlock()
	in.ring()
}

func (in *inbox) ring() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// putAll takes the results of Producer.Deliver.
func (in *inbox) putAll(parts []*part, results []kafka.Result) {
	in.mu.Lock()
	for i, p := range parts {
		in.answers = append(in.answers, answer{p, results[i]})
	}
	in.mu.Unlock()
	in.ring()
}

// note takes the news that an attempt failed and is made again.
func (in *inbox) note(err *kafka.Error) {
	in.mu.Lock()
	in.retried = err
	in.mu.Unlock()
	in.ring()
}

// take gives all results that have come in, which are good until the next take, and the latest error
// that is being retried.
func (in *inbox) take() ([]answer, *kafka.Error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	got, retried := in.answers, in.retried
	clear(in.spare[:cap(in.spare)])
	in.answers, in.spare, in.retried = in.spare[:0], got, nil
	return got, retried
}
