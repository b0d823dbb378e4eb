// Package kafka delivers record batches to Apache Kafka over sarama's Broker calls. Record batches
// come in from the shipper's modes and from replay; a Result for each goes out. It must never know
// files, checkpoints, the failure log or the configuration's form (hints name its keys, for people to look
// at), and it is the only importer of sarama.
package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
)

// Class says what an error speaks about, and so what may be done with it. It bounds the label of
// metrics.
type Class string

// The classes of errors.
const (
	ClassNone Class = ""
	// Of the line: the broker wrote nothing of the batch; another batch without the bad line passes.
	ClassTooLarge Class = "too_large" // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
	ClassInvalid  Class = "invalid"   // INVALID_RECORD, INVALID_TIMESTAMP
	// Of the source: they say nothing about a line and are waited out in every mode.
	ClassAuth          Class = "auth"          // wrong or missing credentials, TLS refused
	ClassAuthorization Class = "authorization" // no permission on topic, cluster or transactional id
	ClassNoTopic       Class = "no_topic"      // UNKNOWN_TOPIC_OR_PARTITION
	ClassConfig        Class = "config"        // unsupported version, codec, acks; client-side mistakes
	// Of the moment: definitely not written, and the next try may pass.
	ClassRetriable Class = "retriable"
	// Unknown: a time-out or a broken connection after the request went out, or an answer such as
	// NOT_ENOUGH_REPLICAS_AFTER_APPEND: it may have been written.
	ClassUnknown Class = "unknown_outcome"
)

// OfLine says that single lines of the batch are at fault, so that halving it finds them.
func (c Class) OfLine() bool { return c == ClassTooLarge || c == ClassInvalid }

// OfSource says that the topic, its permissions or the configuration are at fault.
func (c Class) OfSource() bool {
	switch c {
	case ClassAuth, ClassAuthorization, ClassNoTopic, ClassConfig:
		return true
	}
	return false
}

// Error is a classed failure of a request or of the way to a broker.
type Error struct {
	Class  Class
	Kafka  string // the protocol's name such as NOT_LEADER_OR_FOLLOWER; "" when no broker answered
	Topic  string
	Broker string // host:port, "" when not known
	Err    error  // the cause in words; never contains a secret
	Hint   string // what a person can do about it, "" when that is to wait

	code sarama.KError // ErrNoError when no broker answered
}

// Error names the class, the place, the cause, and what to do.
func (e *Error) Error() string {
	at := ""
	if e.Broker != "" {
		at = " at " + e.Broker
	}
	what := string(e.Class)
	if e.Kafka != "" {
		what = fmt.Sprintf("%s (%s)", e.Kafka, e.Class)
	}
	if e.Hint != "" {
		return fmt.Sprintf("topic %s%s: %s: %s; %s", e.Topic, at, what, sentence(e.Err), e.Hint)
	}
	return fmt.Sprintf("topic %s%s: %s: %v", e.Topic, at, what, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// RecordError is a broker's complaint about one record of a batch (KIP-467, Produce v8 and later).
type RecordError struct {
	Index   int // within the batch
	Message string
}

// Result is what became of one record batch.
type Result struct {
	Partition int32
	// Offset is the first record's offset, -1 where it is not known (acks=0, duplicates, failures).
	Offset int64
	// Err is nil when Kafka acknowledged the batch (with acks=0: when it was written to the socket).
	Err *Error
	// RecordErrors names the bad records where the broker does; may be empty.
	RecordErrors []RecordError
	// Attempted is false when no request went out for the batch: no leader, no connection. Such a
	// batch has not failed; it is sent when the producer is ready again.
	Attempted bool
	// PossibleRepeat says that the records may stand in the topic more than once: the outcome of an
	// earlier attempt was unknown when its producer id had to be given up.
	PossibleRepeat bool
}

// Topic is what the metadata say about the producer's topic.
type Topic struct {
	Partitions int32   // their count, fixed when first seen, until restart
	Usable     []int32 // those that have a leader now
}
