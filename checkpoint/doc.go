// Package checkpoint remembers how far each file has been settled, so that a restart reads on from
// there. Runs of read lines come in (Tracker.Begin), and what became of them (Tracker.Settle); the
// highest unbroken settled position of each file goes out to disk (Store), and back to the reader
// at the next start (Tracker.States).
//
// The rule it keeps: a saved position covers settled bytes only, without a gap. What was settled
// behind a gap is read again after a crash, never the other way round.
//
// It must never know how files are read, what settles a line, or Kafka.
package checkpoint
