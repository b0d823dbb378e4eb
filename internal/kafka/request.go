package kafka

import "sync"

// request is one item of a link's queue: a produce request, a barrier, or the wish for a producer id.
type request struct {
	batches []*RecordBatch
	done    func(*RecordBatch, Result)
	barrier func(error)
	newID   func(producerID, *Error)

	mu   sync.Mutex
	over bool // the answer has come: the batches are the caller's again
}

// fail gives every batch of the request the same bad result.
func (r *request) fail(e *Error, attempted bool) {
	switch {
	case r.barrier != nil:
		r.barrier(e)
	case r.newID != nil:
		r.newID(noID, e)
	}
	for _, rb := range r.batches {
		r.done(rb, Result{Partition: rb.Partition, Offset: -1, Err: e, Attempted: attempted})
	}
}
