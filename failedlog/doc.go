// Package failedlog keeps the lines that could not be delivered, and sends them again. Records come
// in from the shipper's modes (Append, on disk when it returns) and go out through a Sender (Replay)
// or to a person (Read, Export, Drop). It must never know Kafka's client, the tailer or the modes.
//
// # Files
//
// Each source owns a folder, <data_dir>/failed/<source>. A segment's state is in its name, and it
// changes by rename:
//
//	<sequence>.open.jsonl      the daemon appends to it
//	<sequence>.jsonl           sealed: never written again
//	<sequence>.claimed.jsonl   a replay (or drop) is at work on it
//	<sequence>.r<n>.retry.jsonl  what that replay has collected of records that failed again
//	<sequence>.r<n>.jsonl      the same, sealed: a segment as any other
//	<sequence>.evicted.jsonl   drop_oldest is about to remove it
//	<sequence>.done            progress: which records of the segment are done
//	<sequence>.bad             lines that were no records, kept aside byte for byte
//	seal.request               a reader asks the daemon to seal what is open
//
// <sequence> has 20 digits. One folder up lies replay.lock, which one replay or drop holds at a time.
//
// Only the holder of data_dir's lock appends, seals, truncates and names segments of its own;
// everybody else reads sealed segments, and open ones up to their last newline. A claim whose holder
// is gone is stale: the next one that takes replay.lock gives it back.
//
// # Records
//
// A record is one line of JSON with these fields, in this order:
//
//	time          when it was logged (RFC 3339, UTC)
//	source        the source's id
//	file          path of the file; file_base64 when the path is not UTF-8
//	file_id       identity of the file, with its generation
//	offset        where the line begins in the file
//	length        how many bytes of the file it took, newline included; absent when it is not known
//	topic, partition      partition -1: not chosen
//	key           key_base64 when it is not UTF-8; absent when the record has no key
//	headers       [{"key": "...", "value": "..."}], value_base64 when the value is not UTF-8
//	timestamp     the Kafka record's, in milliseconds since 1970
//	error         {"class": "...", "kafka": "...", "message": "..."}; kafka absent when no broker answered
//	attempts      how often it was sent
//	replayable    false, or absent: this record cannot be sent again
//	oversize      {"length": ..., "sha256": "..."} of the whole line, of which only the start is here
//	value         the payload itself, when it is compact JSON
//	value_text    else, the payload as a string, when it is UTF-8 (and not mostly control characters)
//	value_base64  else, the payload in base64
//
// The payload is byte-exact in each of the three forms, and a line takes at most about twice its
// payload.
//
// # Progress
//
// The first line of a .done file ties it to one content of the segment, each further one tells of
// one batch; a line that is not whole ends what counts:
//
//	{"segment":"<name>","size":<bytes>,"crc32c":"<hex>"}
//	{"done":[[<from>,<to>],...],"retry":"<name>","retry_bytes":<length>,"bad_bytes":<length>}
//
// from and to are offsets in the segment; retry_bytes and bad_bytes say how far the .retry.jsonl and
// .bad files belong to it, so that a batch that was cut short leaves nothing behind in them.
package failedlog
