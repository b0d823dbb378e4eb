// Package config turns one YAML file into a validated Config: every default applied, every variable
// expanded, every secret read. A file comes in; a Config, or all of the file's mistakes at once, goes
// out. It is plain data and must never know another package of shiplog, Kafka's client or the
// tailing library.
//
// Everything that is known about a key (its type, default, allowed values, modes and its one line of
// documentation) stands in one table, in table.go and table_source.go. The validator, the near
// matches of its messages, the JSON Schema, docs/CONFIGURATION.md and print-config are all made from
// that table.
package config

import "time"

// The delivery modes of a source.
const (
	ModeSync     = "sync"
	ModeAsync    = "async"
	ModeCallback = "callback"
)

// Values of Source.Acks. Each mode but callback has exactly one: sync "all", async "0".
const (
	AcksAll    = "all"
	AcksLeader = "leader"
	AcksNone   = "0"
)

// Values of the on_* keys. Under async, ActionFail means that the line is dropped and counted, since
// an async source has no failure log.
const (
	ActionFail     = "fail"     // on_invalid_json, on_oversize, on_permanent_error: to the failure log
	ActionDrop     = "drop"     // on_invalid_json, on_oversize: dropped and counted
	ActionWrap     = "wrap"     // on_invalid_json: shipped as {"message": "<the line>"}
	ActionPass     = "pass"     // on_invalid_json: shipped as it is
	ActionTruncate = "truncate" // on_oversize: its first max_line_bytes are shipped
	ActionHalt     = "halt"     // on_permanent_error: the source stops
	ActionWait     = "wait"     // on_outage: the file is the buffer
	ActionSpool    = "spool"    // on_outage: to the failure log at once
)

// Values of Source.StartAt.
const (
	StartBeginning = "beginning"
	StartEnd       = "end"
)

// Values of FailureLog.WhenFull.
const (
	FullBlock      = "block"
	FullDropOldest = "drop_oldest"
)

// Values of Timestamp.Format.
const (
	TimeRFC3339   = "rfc3339"
	TimeUnix      = "unix"
	TimeUnixMilli = "unix_ms"
)

// Values of SASL.Mechanism.
const (
	SASLNone        = "none"
	SASLPlain       = "PLAIN"
	SASLScram256    = "SCRAM-SHA-256"
	SASLScram512    = "SCRAM-SHA-512"
	SASLOAuthBearer = "OAUTHBEARER"
)

// Values of Source.Provenance.
const (
	ProvenanceBatch  = "batch"
	ProvenanceRecord = "record"
	ProvenanceOff    = "off"
)

// ProvenanceHeader is the key of the header that provenance adds; no other header may have it.
const ProvenanceHeader = "shiplog"

// Values of Log.Format.
const (
	LogAuto    = "auto" // console on a terminal, JSON otherwise
	LogJSON    = "json"
	LogConsole = "console"
)

// Config is a whole configuration, validated and with every default applied. Sizes are bytes. It is
// not changed after Load, so any goroutine may read it.
type Config struct {
	// Path is the file it came from, absolute.
	Path string

	DataDir            string // absolute
	CheckpointInterval time.Duration
	ShutdownTimeout    time.Duration
	ShutdownQuiet      time.Duration
	MaxOpenFiles       int // of all sources together

	Log        Log
	Kafka      Kafka // the global block; a source's own view of it is Source.Kafka
	FailureLog FailureLog
	Sources    []Source // at least one, in the order of the file

	warnings []Warning
}

// Log says what shiplog logs about itself.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // LogAuto, LogJSON, LogConsole
}

// Kafka is how to reach one cluster.
type Kafka struct {
	Brokers        []string // host:port
	ClientID       string
	Version        string // such as "3.7.0"; "" lets client and broker agree on the newest
	DialTimeout    time.Duration
	RequestTimeout time.Duration
	TLS            TLS
	SASL           SASL
}

// TLS is the encryption of the connection. The files are named, not read, since they may be renewed;
// Load has made sure that they can be read when Enabled is true.
type TLS struct {
	Enabled            bool
	CAFile             string // absolute, or "" for the system's roots
	CertFile           string // absolute, or "": together with KeyFile
	KeyFile            string
	ServerName         string // "" for the broker's host name
	InsecureSkipVerify bool
}

// SASL is who we say we are.
type SASL struct {
	Mechanism    string // SASLNone and so on
	Username     string
	Password     Secret // also when it came from PasswordFile
	PasswordFile string // absolute
	TokenFile    string // absolute; for OAUTHBEARER, to be read again when it changes
}

// FailureLog bounds the failure log of each source.
type FailureLog struct {
	MaxBytes     int // for each source
	SegmentBytes int
	WhenFull     string // FullBlock, FullDropOldest
	Fsync        bool
	// AutoReplay sends failed lines of callback sources again while the daemon runs.
	AutoReplay bool
}

// Source is one source with all defaults applied: its mode's, then those of the `defaults` block.
type Source struct {
	ID      string
	Include []string // absolute glob patterns with **, slash-separated
	Exclude []string // absolute; one without a slash has become /**/<pattern>
	Rotated []string // absolute

	Mode      string
	Topic     string
	Kafka     Kafka     // the global block with the source's own keys over it
	Key       RecordKey // zero: records have no key
	Partition *int32    // nil: not pinned
	Headers   []Field   // in the order of the file; values are text
	Acks      string

	Compression      string // none, gzip, snappy, lz4, zstd
	CompressionLevel *int   // nil: the codec's own default
	Linger           time.Duration
	MaxBatchLines    int
	MaxBatchBytes    int
	MaxLineBytes     int

	OnOversize    string
	OnInvalidJSON string
	Fields        []Field // in the order of the file
	Timestamp     Timestamp
	Provenance    string // ProvenanceBatch and so on

	StartAt        string
	Poll           bool
	FollowSymlinks bool
	RotateWait     time.Duration
	ReleaseAfter   time.Duration // 0: a deleted file is held until it is read
	IgnoreOlder    time.Duration // 0: no file is too old

	Retry            Retry  // sync only, else zero
	OnPermanentError string // sync only, else ""
	OnOutage         string // callback only, else ""
}

// RecordKey says where a record's key comes from. At most one of its parts is set.
type RecordKey struct {
	Field string // dotted path into the JSON object, such as user.id
	File  bool   // the path of the file
}

// IsZero says that records have no key.
func (k RecordKey) IsZero() bool { return k == RecordKey{} }

// Timestamp says which field of the line holds the record's time.
type Timestamp struct {
	Field  string // dotted path; "" means the time of reading
	Format string // TimeRFC3339 and so on
}

// Retry is the backoff of a sync source.
type Retry struct {
	InitialInterval time.Duration
	MaxInterval     time.Duration
	MaxElapsedTime  time.Duration // 0: for ever
}
