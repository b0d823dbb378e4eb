package config

// kind is the type of a key's value.
type kind uint8

const (
	kindBlock    kind = iota // a mapping whose keys are rows of the same table, with a longer name
	kindText                 // one line of text
	kindSecret               // text that is never shown
	kindPath                 // the name of a file or folder
	kindEnum                 // one of row.values
	kindBool                 // true or false
	kindInt                  // a whole number
	kindSize                 // bytes, with or without a unit
	kindDuration             // a number and a unit of time
	kindBrokers              // a list of host:port
	kindGlobs                // a list of patterns of full paths
	kindExcludes             // the same, but a pattern without a slash matches file names anywhere
	kindFields               // a mapping of names to scalars, templates in texts
	kindHeaders              // a mapping of names to texts, templates in them
	kindKafka                // a mapping with the rows of kafkaRows
	kindDefaults             // a mapping with those rows of sourceRows that may have start values
	kindSources              // a list of mappings with the rows of sourceRows
)

// row is all that is known about one key: the single source of the validator's known keys, of the
// schema and of the documentation.
type row struct {
	name     string // below its block, dotted: "tls.ca_file"
	kind     kind
	doc      string   // one line, a sentence
	values   []string // of kindEnum
	min, max int64    // of kindInt, kindSize and kindDuration (nanoseconds), both included
	required bool
	// local keys make sense for one source only and may not stand in `defaults`.
	local bool
	// modes that the key is for; empty: all. why says it in words.
	modes []string
	why   string
	// unset words the default where the zero value does not say it.
	unset string
	// also are names that people bring from other shippers; a near match points here.
	also []string
	// means are values that people bring from elsewhere, and ours.
	means map[string]string
	// check looks at a text beyond its kind; it returns what is wrong, or "".
	check   func(string) (wrong, expected string)
	pattern string // the same check as a regular expression, for the schema; may be ""
	example string // of docs/CONFIGURATION.md, where the default is not telling
	// at gives the address of the value in a *Config, *Kafka or *Source; nil for blocks. The type of
	// the address says how it is stored.
	at func(any) any
}

func inConfig(f func(*Config) any) func(any) any {
	return func(x any) any { return f(x.(*Config)) }
}

// inKafka takes a *Kafka, or a *Config for its global block.
func inKafka(f func(*Kafka) any) func(any) any {
	return func(x any) any {
		if c, ok := x.(*Config); ok {
			return f(&c.Kafka)
		}
		return f(x.(*Kafka))
	}
}

// inSource takes a *Source, or a *Config for its first source.
func inSource(f func(*Source) any) func(any) any {
	return func(x any) any {
		if c, ok := x.(*Config); ok {
			return f(&c.Sources[0])
		}
		return f(x.(*Source))
	}
}

// Bounds of durations.
const (
	second  = int64(1e9)
	milli   = int64(1e6)
	hour    = 3600 * second
	day     = 24 * hour
	century = 36500 * day
)

// topRows are the keys of the file's top level.
var topRows = []row{
	{name: "data_dir", kind: kindPath, doc: "Folder for checkpoints, failure logs and the lock; one daemon at a time uses it. Nobody but shiplog's user and root may be able to write to it.",
		also: []string{"path.data", "state_dir", "storage"},
		at:   inConfig(func(c *Config) any { return &c.DataDir })},
	{name: "checkpoint_interval", kind: kindDuration, min: 10 * milli, max: hour,
		doc: "How often the positions are saved; after a crash at most this much (and what is in memory) is sent again.",
		at:  inConfig(func(c *Config) any { return &c.CheckpointInterval })},
	{name: "shutdown_timeout", kind: kindDuration, max: 24 * hour,
		doc: "How long a stop may take before what is left stays in the files for the next start (exit code 75).",
		at:  inConfig(func(c *Config) any { return &c.ShutdownTimeout })},
	{name: "shutdown_quiet", kind: kindDuration, max: 24 * hour,
		doc: "On a stop, read on until every file has been quiet for this long: an app's last lines come late.",
		at:  inConfig(func(c *Config) any { return &c.ShutdownQuiet })},
	{name: "max_open_files", kind: kindInt, min: 1, max: 1 << 20,
		doc:  "How many log files may be open at once, all sources together; more files take turns.",
		also: []string{"harvester_limit"},
		at:   inConfig(func(c *Config) any { return &c.MaxOpenFiles })},

	{name: "log", kind: kindBlock, doc: "What shiplog logs about itself, to standard error."},
	{name: "log.level", kind: kindEnum, values: []string{"debug", "info", "warn", "error"},
		doc: "The least important messages that are still logged; debug names every batch.",
		at:  inConfig(func(c *Config) any { return &c.Log.Level })},
	{name: "log.format", kind: kindEnum, values: []string{LogAuto, LogJSON, LogConsole},
		means: map[string]string{"text": LogConsole, "plain": LogConsole},
		doc:   "Form of the messages; auto is console on a terminal and json otherwise.",
		also:  []string{"encoding"},
		at:    inConfig(func(c *Config) any { return &c.Log.Format })},

	{name: "kafka", kind: kindKafka, doc: "The Kafka cluster that all sources ship to, unless a source has its own `kafka` block.",
		also: []string{"output", "output.kafka"},
		at:   inConfig(func(c *Config) any { return &c.Kafka })},

	{name: "failure_log", kind: kindBlock, doc: "Where lines go that Kafka did not take, to be sent again by `shiplog replay`: the folder `failed` in data_dir, one folder a source.",
		also: []string{"dead_letter", "dlq"}},
	{name: "failure_log.max_bytes", kind: kindSize, min: 32 * mib, max: 1 << 50,
		doc: "How large the failure log of each source may grow; it must hold what is in flight when all of it fails.",
		at:  inConfig(func(c *Config) any { return &c.FailureLog.MaxBytes })},
	{name: "failure_log.segment_bytes", kind: kindSize, min: kib, max: 1 << 50,
		doc: "Size at which a new file of the failure log begins.",
		at:  inConfig(func(c *Config) any { return &c.FailureLog.SegmentBytes })},
	{name: "failure_log.when_full", kind: kindEnum, values: []string{FullBlock, FullDropOldest},
		doc: "At max_bytes: block holds the source until there is room, drop_oldest gives up the oldest failures and counts them.",
		at:  inConfig(func(c *Config) any { return &c.FailureLog.WhenFull })},
	{name: "failure_log.fsync", kind: kindBool,
		doc: "Wait for the disk before the checkpoint moves on; with false a power cut may lose failed lines.",
		at:  inConfig(func(c *Config) any { return &c.FailureLog.Fsync })},
	{name: "failure_log.auto_replay", kind: kindBool,
		doc: "Send failed lines again by itself, behind fresh ones, once the broker takes lines again: of callback sources, and only what failed for the moment or with an unknown outcome.",
		at:  inConfig(func(c *Config) any { return &c.FailureLog.AutoReplay })},

	{name: "defaults", kind: kindDefaults,
		doc: "Start values for every source: any key of a source but id, include and kafka; a source's own value goes before it."},
	{name: "sources", kind: kindSources, required: true, doc: "What to ship: one entry a set of files with the same topic and mode.",
		also: []string{"inputs", "input", "filebeat.inputs", "inputs.tail"}},
}

// kafkaRows are the keys of a `kafka` block, the global one and a source's own.
var kafkaRows = []row{
	{name: "brokers", kind: kindBrokers, required: true, example: "[kafka-1:9092, kafka-2:9092]",
		doc:  "Brokers to ask for the rest of the cluster, each host:port; a text with commas is a list too.",
		also: []string{"bootstrap_servers", "bootstrap.servers", "hosts", "metadata.broker.list"},
		at:   inKafka(func(k *Kafka) any { return &k.Brokers })},
	{name: "client_id", kind: kindText, check: checkClientID, pattern: `^[a-zA-Z0-9._-]{1,200}$`,
		doc: "Name that brokers see in their logs and quotas.",
		at:  inKafka(func(k *Kafka) any { return &k.ClientID })},
	{name: "version", kind: kindText, check: checkVersion, pattern: `^(auto|[1-9][0-9]*\.[0-9]+(\.[0-9]+)?)$`,
		unset: "auto",
		doc:   "Oldest Kafka version among the brokers, such as 2.8.0; auto agrees on the newest that both sides speak.",
		also:  []string{"kafka_version"},
		at:    inKafka(func(k *Kafka) any { return &k.Version })},
	{name: "dial_timeout", kind: kindDuration, min: milli, max: hour,
		doc: "How long a connection may take to come about, TLS and SASL included.",
		at:  inKafka(func(k *Kafka) any { return &k.DialTimeout })},
	{name: "request_timeout", kind: kindDuration, min: milli, max: hour,
		doc:  "How long to wait for a broker's answer before the outcome counts as unknown.",
		also: []string{"broker_timeout", "timeout", "socket.timeout.ms"},
		at:   inKafka(func(k *Kafka) any { return &k.RequestTimeout })},

	{name: "tls", kind: kindBlock, doc: "Encryption of the connections.", also: []string{"ssl"}},
	{name: "tls.enabled", kind: kindBool, doc: "Connect with TLS; must be said whenever another tls key is given.",
		at: inKafka(func(k *Kafka) any { return &k.TLS.Enabled })},
	{name: "tls.ca_file", kind: kindPath, unset: "the system's certificates", example: "/etc/shiplog/ca.pem",
		doc: "PEM file of the authorities that may sign the brokers' certificates; read again for each connection.", also: []string{"certificate_authorities", "ca"},
		at: inKafka(func(k *Kafka) any { return &k.TLS.CAFile })},
	{name: "tls.cert_file", kind: kindPath, unset: "none", example: "/etc/shiplog/client.pem",
		doc: "PEM file of our own certificate, for brokers that ask for one (mTLS); together with key_file, and both read again for each connection.", also: []string{"certificate", "cert"},
		at: inKafka(func(k *Kafka) any { return &k.TLS.CertFile })},
	{name: "tls.key_file", kind: kindPath, unset: "none", example: "/etc/shiplog/client.key",
		doc: "PEM file of the private key of cert_file.", also: []string{"key"},
		at: inKafka(func(k *Kafka) any { return &k.TLS.KeyFile })},
	{name: "tls.server_name", kind: kindText, unset: "the broker's host name", example: "kafka.example.com",
		doc: "Name that the brokers' certificates must be for.",
		at:  inKafka(func(k *Kafka) any { return &k.TLS.ServerName })},
	{name: "tls.insecure_skip_verify", kind: kindBool,
		doc:  "Accept any certificate: for a trial only, since anyone in between can read along.",
		also: []string{"verification_mode"},
		at:   inKafka(func(k *Kafka) any { return &k.TLS.InsecureSkipVerify })},

	{name: "sasl", kind: kindBlock, doc: "How to log in at the brokers."},
	{name: "sasl.mechanism", kind: kindEnum, values: []string{SASLNone, SASLPlain, SASLScram256, SASLScram512, SASLOAuthBearer},
		doc: "How to prove who we are; must be said whenever another sasl key is given.", also: []string{"mechanisms"},
		at: inKafka(func(k *Kafka) any { return &k.SASL.Mechanism })},
	{name: "sasl.username", kind: kindText, unset: "none", example: "shiplog",
		doc: "User name, for PLAIN and SCRAM.", also: []string{"user"},
		at: inKafka(func(k *Kafka) any { return &k.SASL.Username })},
	{name: "sasl.password", kind: kindSecret, unset: "none", example: "${KAFKA_PASSWORD}",
		doc: "Password, for PLAIN and SCRAM; better from a variable or password_file than in plain text.", also: []string{"pass"},
		at: inKafka(func(k *Kafka) any { return &k.SASL.Password })},
	{name: "sasl.password_file", kind: kindPath, unset: "none", example: "/run/secrets/kafka-password",
		doc: "File that holds the password, in place of password; newlines at its end are cut off. Read again each second and for each login.",
		at:  inKafka(func(k *Kafka) any { return &k.SASL.PasswordFile })},
	{name: "sasl.token_file", kind: kindPath, unset: "none", example: "/run/secrets/kafka-token",
		doc: "File that holds the token, for OAUTHBEARER; read again each second and for each login.",
		at:  inKafka(func(k *Kafka) any { return &k.SASL.TokenFile })},
}
