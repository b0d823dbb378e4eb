package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keyTest gives a key a value that is not its default, and says where it must arrive.
type keyTest struct {
	mode  string // of the source
	value string
	want  any
	got   func(*Config) any
}

func first(f func(*Source) any) func(*Config) any {
	return func(c *Config) any { return f(&c.Sources[0]) }
}

// keyTests has one entry for each key that holds a value.
var keyTests = map[string]keyTest{
	"data_dir":            {value: "/data", want: "/data", got: func(c *Config) any { return c.DataDir }},
	"checkpoint_interval": {value: "3s", want: 3 * time.Second, got: func(c *Config) any { return c.CheckpointInterval }},
	"shutdown_timeout":    {value: "1m30s", want: 90 * time.Second, got: func(c *Config) any { return c.ShutdownTimeout }},
	"shutdown_quiet":      {value: "2500ms", want: 2500 * time.Millisecond, got: func(c *Config) any { return c.ShutdownQuiet }},
	"max_open_files":      {value: "77", want: 77, got: func(c *Config) any { return c.MaxOpenFiles }},
	"log.level":           {value: "debug", want: "debug", got: func(c *Config) any { return c.Log.Level }},
	"log.format":          {value: "json", want: LogJSON, got: func(c *Config) any { return c.Log.Format }},

	"failure_log.max_bytes":     {value: "2GB", want: 2000000000, got: func(c *Config) any { return c.FailureLog.MaxBytes }},
	"failure_log.segment_bytes": {value: "512KiB", want: 512 << 10, got: func(c *Config) any { return c.FailureLog.SegmentBytes }},
	"failure_log.when_full":     {value: "drop_oldest", want: FullDropOldest, got: func(c *Config) any { return c.FailureLog.WhenFull }},
	"failure_log.fsync":         {value: "false", want: false, got: func(c *Config) any { return c.FailureLog.Fsync }},
	"failure_log.auto_replay":   {value: "true", want: true, got: func(c *Config) any { return c.FailureLog.AutoReplay }},

	"kafka.brokers":         {value: "[a:1, '[::1]:2']", want: []string{"a:1", "[::1]:2"}, got: func(c *Config) any { return c.Kafka.Brokers }},
	"kafka.client_id":       {value: "me", want: "me", got: func(c *Config) any { return c.Kafka.ClientID }},
	"kafka.version":         {value: "3.7", want: "3.7.0", got: func(c *Config) any { return c.Kafka.Version }},
	"kafka.dial_timeout":    {value: "1s", want: time.Second, got: func(c *Config) any { return c.Kafka.DialTimeout }},
	"kafka.request_timeout": {value: "2s", want: 2 * time.Second, got: func(c *Config) any { return c.Kafka.RequestTimeout }},

	"kafka.tls.enabled":              {value: "true", want: true, got: func(c *Config) any { return c.Kafka.TLS.Enabled }},
	"kafka.tls.ca_file":              {value: "/ca.pem", want: "/ca.pem", got: func(c *Config) any { return c.Kafka.TLS.CAFile }},
	"kafka.tls.cert_file":            {value: "/cert.pem", want: "/cert.pem", got: func(c *Config) any { return c.Kafka.TLS.CertFile }},
	"kafka.tls.key_file":             {value: "key.pem", want: "/etc/shiplog/key.pem", got: func(c *Config) any { return c.Kafka.TLS.KeyFile }},
	"kafka.tls.server_name":          {value: "kafka", want: "kafka", got: func(c *Config) any { return c.Kafka.TLS.ServerName }},
	"kafka.tls.insecure_skip_verify": {value: "true", want: true, got: func(c *Config) any { return c.Kafka.TLS.InsecureSkipVerify }},

	"kafka.sasl.mechanism":     {value: "none", want: SASLNone, got: func(c *Config) any { return c.Kafka.SASL.Mechanism }},
	"kafka.sasl.username":      {value: "00123", want: "00123", got: func(c *Config) any { return c.Kafka.SASL.Username }},
	"kafka.sasl.password":      {value: "pa$$$$word", want: "pa$$word", got: func(c *Config) any { return c.Kafka.SASL.Password.Reveal() }},
	"kafka.sasl.password_file": {value: "/pw", want: "/pw", got: func(c *Config) any { return c.Kafka.SASL.PasswordFile }},
	"kafka.sasl.token_file":    {value: "/token", want: "/token", got: func(c *Config) any { return c.Kafka.SASL.TokenFile }},

	"sources[].id":      {value: "x-1", want: "x-1", got: first(func(s *Source) any { return s.ID })},
	"sources[].include": {value: "/a/**/*.log", want: []string{"/a/**/*.log"}, got: first(func(s *Source) any { return s.Include })},
	"sources[].exclude": {value: "['*.gz', /x/y]", want: []string{"/**/*.gz", "/x/y"}, got: first(func(s *Source) any { return s.Exclude })},
	"sources[].rotated": {value: "[/old/*]", want: []string{"/old/*"}, got: first(func(s *Source) any { return s.Rotated })},
	"sources[].mode":    {value: "async", want: ModeAsync, got: first(func(s *Source) any { return s.Mode })},
	"sources[].topic":   {value: "a.b_c-1", want: "a.b_c-1", got: first(func(s *Source) any { return s.Topic })},

	"sources[].key.field": {value: "user.id", want: RecordKey{Field: "user.id"}, got: first(func(s *Source) any { return s.Key })},
	"sources[].key.file":  {value: "true", want: RecordKey{File: true}, got: first(func(s *Source) any { return s.Key })},
	"sources[].partition": {mode: ModeSync, value: "5", want: int32(5), got: first(func(s *Source) any { return *s.Partition })},
	"sources[].headers": {value: "{b: 7, a: 'x %{host}'}", want: "b=7 a=x h",
		got: first(func(s *Source) any { return expandAll(s.Headers) })},
	"sources[].acks": {value: "leader", want: AcksLeader, got: first(func(s *Source) any { return s.Acks })},

	"sources[].compression":       {value: "zstd", want: "zstd", got: first(func(s *Source) any { return s.Compression })},
	"sources[].compression_level": {value: "9\n    compression: gzip", want: 9, got: first(func(s *Source) any { return *s.CompressionLevel })},
	"sources[].linger":            {value: "0", want: time.Duration(0), got: first(func(s *Source) any { return s.Linger })},
	"sources[].max_batch_lines":   {value: "1", want: 1, got: first(func(s *Source) any { return s.MaxBatchLines })},
	"sources[].max_batch_bytes":   {value: "100000", want: 100000, got: first(func(s *Source) any { return s.MaxBatchBytes })},
	"sources[].max_line_bytes":    {value: "64 kib", want: 64 << 10, got: first(func(s *Source) any { return s.MaxLineBytes })},
	"sources[].on_oversize":       {value: "truncate", want: ActionTruncate, got: first(func(s *Source) any { return s.OnOversize })},
	"sources[].provenance":        {value: "off", want: ProvenanceOff, got: first(func(s *Source) any { return s.Provenance })},
	"sources[].on_invalid_json":   {value: "pass", want: ActionPass, got: first(func(s *Source) any { return s.OnInvalidJSON })},
	"sources[].fields": {value: `{n: 1.10, t: "1.10", f: "%{file.name}", z: null}`, want: `n=1.10 t="1.10" f="f.log" z=null`,
		got: first(func(s *Source) any { return jsonAll(s.Fields) })},
	"sources[].timestamp.field": {value: "ts", want: Timestamp{"ts", TimeRFC3339}, got: first(func(s *Source) any { return s.Timestamp })},
	"sources[].timestamp.format": {value: "unix_ms\n      field: t.s", want: Timestamp{"t.s", TimeUnixMilli},
		got: first(func(s *Source) any { return s.Timestamp })},

	"sources[].start_at":        {value: "end", want: StartEnd, got: first(func(s *Source) any { return s.StartAt })},
	"sources[].poll":            {value: "true", want: true, got: first(func(s *Source) any { return s.Poll })},
	"sources[].follow_symlinks": {value: "TRUE", want: true, got: first(func(s *Source) any { return s.FollowSymlinks })},
	"sources[].rotate_wait":     {value: "1.5s", want: 1500 * time.Millisecond, got: first(func(s *Source) any { return s.RotateWait })},
	"sources[].release_after":   {value: "2h", want: 2 * time.Hour, got: first(func(s *Source) any { return s.ReleaseAfter })},
	"sources[].ignore_older":    {value: "7d", want: 7 * 24 * time.Hour, got: first(func(s *Source) any { return s.IgnoreOlder })},

	"sources[].retry.initial_interval": {mode: ModeSync, value: "50ms", want: 50 * time.Millisecond, got: first(func(s *Source) any { return s.Retry.InitialInterval })},
	"sources[].retry.max_interval":     {mode: ModeSync, value: "1m", want: time.Minute, got: first(func(s *Source) any { return s.Retry.MaxInterval })},
	"sources[].retry.max_elapsed_time": {mode: ModeSync, value: "1w", want: 7 * 24 * time.Hour, got: first(func(s *Source) any { return s.Retry.MaxElapsedTime })},
	"sources[].on_permanent_error":     {mode: ModeSync, value: "fail", want: ActionFail, got: first(func(s *Source) any { return s.OnPermanentError })},
	"sources[].on_outage":              {value: "spool", want: ActionSpool, got: first(func(s *Source) any { return s.OnOutage })},
}

var testVars = Vars{Host: "h", FilePath: "/d/f.log", FileName: "f.log"}

func expandAll(fields []Field) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.Name+"="+f.Expand(testVars))
	}
	return strings.Join(parts, " ")
}

func jsonAll(fields []Field) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.Name+"="+string(f.AppendJSON(nil, testVars)))
	}
	return strings.Join(parts, " ")
}

// tree is a YAML file to be written.
type tree struct {
	name, value string
	kids        []*tree
}

func (n *tree) set(path []string, value string) {
	if len(path) == 0 {
		n.value = value
		return
	}
	i := slices.IndexFunc(n.kids, func(k *tree) bool { return k.name == path[0] })
	if i < 0 {
		i = len(n.kids)
		n.kids = append(n.kids, &tree{name: path[0]})
	}
	n.kids[i].set(path[1:], value)
}

// write gives the lines, and notes in line where the node at path stands.
func (n *tree) write(lines []string, indent, path, want string, line *int) []string {
	for _, k := range n.kids {
		full := join(path, k.name)
		below := indent + "  "
		lines = append(lines, indent+strings.TrimSuffix(k.name, "[]")+": "+k.value)
		if full == want {
			*line = strings.Count(strings.Join(lines, "\n"), "\n") + 1 - strings.Count(k.value, "\n")
		}
		if k.name == "sources[]" {
			lines = append(lines, "  -")
			below += "  "
		}
		lines = k.write(lines, below, full, want, line)
	}
	return lines
}

// configWith gives a configuration in which one key has a value, and the line of that key.
func configWith(path, mode, value string) (text string, line int) {
	if mode == "" {
		mode = ModeCallback
	}
	root := &tree{}
	for _, kv := range [][2]string{{"kafka.brokers", "[localhost:9092]"}, {"kafka.tls.enabled", "false"}, {"kafka.sasl.mechanism", "none"},
		{"sources[].id", "app"}, {"sources[].include", "[/app]"}, {"sources[].mode", mode}, {"sources[].topic", "app"}, {path, value}} {
		root.set(strings.Split(kv[0], "."), kv[1])
	}
	if path == "sources[].timestamp.format" && !strings.Contains(value, "field:") {
		root.set([]string{"sources[]", "timestamp", "field"}, "time")
	}
	return strings.Join(root.write(nil, "", "", path, &line), "\n") + "\n", line
}

func orMode(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// valueKeys are the keys that hold a value; the others are blocks.
func valueKeys() []Key {
	return slices.DeleteFunc(Keys(), func(k Key) bool { return k.Type == "block" || k.Type == "list of blocks" })
}

func TestEveryKeyArrivesWhereItBelongs(t *testing.T) {
	for _, k := range valueKeys() {
		t.Run(k.Path, func(t *testing.T) {
			test, ok := keyTests[k.Path]
			if !ok {
				t.Fatal("the key has no test: add one to keyTests")
			}
			text, _ := configWith(k.Path, test.mode, test.value)
			c := read(t, text)
			if diff := cmp.Diff(test.want, test.got(c)); diff != "" {
				t.Errorf("%s\nin:\n%s", diff, text)
			}
			fresh := Defaults(orMode(test.mode, ModeCallback))
			if !strings.HasSuffix(k.Path, "sasl.mechanism") && k.Path != "sources[].partition" && k.Path != "sources[].compression_level" &&
				cmp.Equal(test.want, test.got(&fresh)) {
				t.Error("the test gives the default, so it shows nothing")
			}
		})
	}
	if len(keyTests) != len(valueKeys()) {
		t.Errorf("%d tests for %d keys", len(keyTests), len(valueKeys()))
	}
}

// A value that no key takes: a list in a list, a block in a list.
func TestEveryKeyRefusesAnotherType(t *testing.T) {
	for _, k := range valueKeys() {
		for _, value := range []string{"[[1]]", "[{a: 1}]"} {
			t.Run(k.Path+"="+value, func(t *testing.T) {
				text, line := configWith(k.Path, keyTests[k.Path].mode, value)
				all := refused(t, text)
				e := all[0]
				if len(all) != 1 || e.Line != line || !strings.HasPrefix(e.Key, strings.Replace(k.Path, "[]", "[0]", 1)) || e.Found == "" || e.Expected == "" {
					t.Errorf("want one error in line %d, got\n%v\nin:\n%s", line, all, text)
				}
			})
		}
	}
}

func TestEveryMisspeltKeyFindsItsNearest(t *testing.T) {
	for _, k := range Keys() {
		name := base(k.Path)
		if len(name) < 4 || k.Path == "sources[].key.file" {
			continue // of id and key, no letter can be spared; fiel may be file or field
		}
		wrong := name[:len(name)-2] + name[len(name)-1:] + name[len(name)-2:len(name)-1]
		if wrong == name {
			wrong = name + "x"
		}
		text, line := configWith(parent(k.Path)+wrong, "", "x")
		all := refused(t, text)
		i := slices.IndexFunc(all, func(e *Error) bool { return e.Msg == "unknown key" })
		if i < 0 || all[i].Line != line || all[i].Hint != didYouMean(name) {
			t.Errorf("%s: got\n%v", wrong, all)
		}
	}
}

func TestKeysOfAModeAreRefusedUnderTheOthers(t *testing.T) {
	for _, k := range valueKeys() {
		if len(k.Modes) == 0 {
			continue
		}
		for _, mode := range []string{ModeSync, ModeAsync, ModeCallback} {
			if slices.Contains(k.Modes, mode) {
				continue
			}
			text, _ := configWith(k.Path, mode, keyTests[k.Path].value)
			all := refused(t, text)
			if len(all) != 1 || !strings.Contains(all[0].Msg, "is not possible under mode: "+mode) || all[0].Hint == "" {
				t.Errorf("%s under %s: got\n%v", k.Path, mode, all)
			}
		}
	}
}

func TestEachModeTakesOnlyItsAcks(t *testing.T) {
	allowed := map[string][]string{ModeSync: {"all"}, ModeAsync: {"0"}, ModeCallback: {"all", "leader"}}
	for mode, good := range allowed {
		for _, acks := range []string{"all", "leader", "0"} {
			_, err := parse("c.yaml", []byte(withSource(mode, "acks: "+acks)), testLookup)
			if (err == nil) != slices.Contains(good, acks) {
				t.Errorf("acks: %s under %s: %v", acks, mode, err)
			}
		}
	}
}

// The keys are a promise: none may vanish, and a new one is added here on purpose.
func TestTableHasExactlyTheKnownKeys(t *testing.T) {
	var want []string
	add := func(prefix, names string) {
		for name := range strings.FieldsSeq(names) {
			want = append(want, prefix+name)
		}
	}
	add("", "data_dir checkpoint_interval shutdown_timeout shutdown_quiet max_open_files log kafka failure_log defaults sources")
	add("log.", "level format")
	add("kafka.", "brokers client_id version dial_timeout request_timeout tls sasl")
	add("kafka.tls.", "enabled ca_file cert_file key_file server_name insecure_skip_verify")
	add("kafka.sasl.", "mechanism username password password_file token_file")
	add("failure_log.", "max_bytes segment_bytes when_full fsync auto_replay")
	add("sources[].", `id include exclude rotated mode topic kafka key key.field key.file partition headers acks compression compression_level
		linger max_batch_lines max_batch_bytes max_line_bytes on_oversize on_invalid_json fields timestamp timestamp.field timestamp.format
		provenance start_at poll follow_symlinks rotate_wait release_after ignore_older retry retry.initial_interval retry.max_interval
		retry.max_elapsed_time on_permanent_error on_outage`)
	var got []string
	for _, k := range Keys() {
		got = append(got, k.Path)
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s has no sentence of documentation", k.Path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
