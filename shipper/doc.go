// Package shipper ships one source: blocks of lines come in from the tailer on demand, record batches
// go out to Kafka, and only the settlement comes back. Each of the three delivery modes is a short
// file that reads like its row of the design's table: sync.go, async.go and callback.go.
//
// The rule that everything here serves: a line is settled when Kafka acknowledged it, or the failure
// log holds it on disk, or its mode gives it up and a counter says so. The checkpoint may pass a block
// only when all its lines are settled, and the Account is true at every instant.
//
// It must never know sarama, the tailing library, the operating system or HTTP: it reads no file and
// opens no connection.
package shipper
