package config

import "time"

// Sizes in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	mb  = 1000 * 1000
)

// Defaults gives the configuration of an empty file whose one source has the given mode. It is the
// only place where a default stands: the documentation and the schema read it from here. With mode
// "" it gives what all modes have in common.
func Defaults(mode string) Config {
	src := Source{
		Mode:          mode,
		Compression:   "lz4",
		Linger:        5 * time.Millisecond,
		MaxBatchLines: 10000,
		// Under the broker's own bound (message.max.bytes, 1,048,588), counted as encoded.
		MaxBatchBytes: mb,
		MaxLineBytes:  mib,
		OnOversize:    ActionFail,
		OnInvalidJSON: ActionWrap,
		Timestamp:     Timestamp{Format: TimeRFC3339},
		Provenance:    ProvenanceBatch,
		StartAt:       StartBeginning,
		RotateWait:    5 * time.Second,
	}
	switch mode {
	case ModeSync:
		src.Acks = AcksAll
		src.OnPermanentError = ActionHalt
		src.Retry = Retry{InitialInterval: 100 * time.Millisecond, MaxInterval: 10 * time.Second}
	case ModeAsync:
		src.Acks = AcksNone
		src.OnOversize = ActionDrop
	case ModeCallback:
		src.Acks = AcksAll
		src.OnOutage = ActionWait
	}
	return Config{
		DataDir:            "/var/lib/shiplog",
		CheckpointInterval: time.Second,
		ShutdownTimeout:    25 * time.Second,
		ShutdownQuiet:      time.Second,
		// Leaves room for connections under the usual limit of 1,024 descriptors.
		MaxOpenFiles: 512,
		Log:          Log{Level: "info", Format: LogAuto},
		Kafka: Kafka{
			ClientID:       "shiplog",
			DialTimeout:    5 * time.Second,
			RequestTimeout: 10 * time.Second,
			SASL:           SASL{Mechanism: SASLNone},
		},
		FailureLog: FailureLog{
			MaxBytes:     gib,
			SegmentBytes: 64 * mib,
			WhenFull:     FullBlock,
			Fsync:        true,
		},
		Sources: []Source{src},
	}
}
