package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// minimal is the smallest configuration.
const minimal = `
kafka:
  brokers: [localhost:9092]
sources:
  - id: app
    include: [/var/log/app/*.log]
    mode: callback
    topic: app
`

// withSource is minimal with more lines in its source.
func withSource(mode string, lines ...string) string {
	s := strings.Replace(minimal, "mode: callback", "mode: "+mode, 1)
	for _, line := range lines {
		s += "    " + line + "\n"
	}
	return s
}

// read loads a text that must be right.
func read(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse("/etc/shiplog/config.yaml", []byte(text), testLookup)
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return c
}

// refused loads a text that must be wrong and gives its errors.
func refused(t *testing.T, text string) Errors {
	t.Helper()
	_, err := parse("/etc/shiplog/config.yaml", []byte(text), testLookup)
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %v, want Errors for:\n%s", err, text)
	}
	return all
}

// plainData compares configurations but for their warnings.
var plainData = cmp.Options{cmpopts.IgnoreUnexported(Config{})}

func TestSmallestFileGetsTheDefaultsOfItsMode(t *testing.T) {
	for _, mode := range []string{ModeSync, ModeAsync, ModeCallback} {
		t.Run(mode, func(t *testing.T) {
			want := Defaults(mode)
			want.Path = "/etc/shiplog/config.yaml"
			want.Kafka.Brokers = []string{"localhost:9092"}
			src := &want.Sources[0]
			src.ID, src.Topic, src.Include, src.Kafka = "app", "app", []string{"/var/log/app/*.log"}, want.Kafka
			got := read(t, withSource(mode))
			if diff := cmp.Diff(&want, got, plainData); diff != "" {
				t.Error(diff)
			}
			if w := got.Warnings(); len(w) > 0 {
				t.Errorf("warnings: %v", w)
			}
		})
	}
}

func TestDefaultsAreThoseOfTheDesign(t *testing.T) {
	got := map[string]string{}
	for _, k := range Keys() {
		got[k.Path] = k.Default
	}
	for key, want := range map[string]string{
		"sources[].start_at": "beginning", "sources[].on_invalid_json": "wrap",
		"sources[].on_oversize": "fail (sync, callback), drop (async)",
		"sources[].acks":        "all (sync, callback), 0 (async)",
		"sources[].compression": "lz4", "sources[].linger": "5ms", "sources[].max_line_bytes": "1MiB",
		"sources[].max_batch_bytes": "1MB", "sources[].rotate_wait": "5s", "sources[].release_after": "0s (never)",
		"sources[].retry.initial_interval": "100ms", "sources[].retry.max_interval": "10s",
		"sources[].retry.max_elapsed_time": "0s (for ever)", "sources[].on_permanent_error": "halt", "sources[].on_outage": "wait",
		"failure_log.max_bytes": "1GiB", "failure_log.segment_bytes": "64MiB", "failure_log.when_full": "block",
		"checkpoint_interval": "1s", "shutdown_timeout": "25s", "shutdown_quiet": "1s",
		"kafka.dial_timeout": "5s", "kafka.request_timeout": "10s",
	} {
		if got[key] != want {
			t.Errorf("default of %s: got %q, want %q", key, got[key], want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path, want string
		is               error
	}{
		{"missing", filepath.Join(dir, "none.yaml"), "there is no such file", fs.ErrNotExist},
		{"folder", dir, "this is a folder", nil},
		{"below a file", filepath.Join(large, "x"), "cannot read the file: not a directory", nil},
		{"too large", large, "the file is too large", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(test.path)
			if err == nil || !strings.HasPrefix(err.Error(), test.path+": "+test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v does not wrap %v", err, test.is)
			}
		})
	}
}

func TestFileWithoutPermissionSaysSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(minimal), 0o200); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("got %v", err)
	}
}

func TestLoadReadsFileAndEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(minimal, "topic: app", "topic: ${SHIPLOG_TEST_TOPIC}")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHIPLOG_TEST_TOPIC", "from-the-environment")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sources[0].Topic; got != "from-the-environment" || c.Path != path {
		t.Errorf("topic %q of %q", got, c.Path)
	}
}

func TestRelativePathsBelongToTheFolderOfTheFile(t *testing.T) {
	text := strings.Replace(withSource("callback", "exclude: [old/*.log, '*.gz']", "rotated: [../archive/a*]"),
		"[/var/log/app/*.log]", "[./logs//*.log, '*.json']", 1) + "data_dir: data\n"
	c, err := parse("/srv/a[1]/config.yaml", []byte(text), testLookup)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Sources[0]
	want := [][]string{{`/srv/a\[1]/logs/*.log`, `/srv/a\[1]/*.json`}, {`/srv/a\[1]/old/*.log`, `/**/*.gz`}, {`/srv/archive/a*`}}
	if diff := cmp.Diff(want, [][]string{s.Include, s.Exclude, s.Rotated}); diff != "" {
		t.Error(diff)
	}
	if c.DataDir != "/srv/a[1]/data" {
		t.Errorf("data_dir %q", c.DataDir)
	}
}

func TestDefaultsBlockGivesStartValues(t *testing.T) {
	c := read(t, `
kafka: {brokers: [localhost:9092]}
defaults:
  mode: sync
  topic: common
  acks: leader
  compression: zstd
  compression_level: 7
  fields: {env: prod}
  key: {field: user.id}
  timestamp: {field: ts, format: unix}
  retry: {max_interval: 3s, max_elapsed_time: 1m}
  on_outage: spool
sources:
  - {id: a, include: [/a]}
  - {id: b, include: [/b], mode: callback, compression: gzip, fields: {team: x}, timestamp: {field: time}}
  - {id: c, include: [/c], partition: 4, retry: {max_interval: 9s}}
  - {id: d, include: [/d], mode: async, topic: other, key: {file: true}}
`)
	type view struct {
		Topic, Acks, Compression, OnOutage string
		Level, Fields                      string
		Key                                RecordKey
		Time                               Timestamp
		Retry                              string
	}
	var got []view
	for _, s := range c.Sources {
		v := view{Topic: s.Topic, Acks: s.Acks, Compression: s.Compression, OnOutage: s.OnOutage, Key: s.Key, Time: s.Timestamp,
			Retry: formatDuration(s.Retry.MaxInterval) + " " + formatDuration(s.Retry.MaxElapsedTime), Fields: s.Fields[0].Name}
		if s.CompressionLevel != nil {
			v.Level = find(sourceRows, "compression_level").format(&s.CompressionLevel)
		}
		got = append(got, v)
	}
	unix := Timestamp{Field: "ts", Format: TimeUnix}
	want := []view{
		{"common", "all", "zstd", "", "7", "env", RecordKey{Field: "user.id"}, unix, "3s 1m"},
		{"common", "leader", "gzip", "spool", "", "team", RecordKey{Field: "user.id"}, Timestamp{Field: "time", Format: TimeRFC3339}, "0s 0s"},
		{"common", "all", "zstd", "", "7", "env", RecordKey{}, unix, "9s 1m"},
		{"other", "0", "zstd", "", "7", "env", RecordKey{File: true}, unix, "0s 0s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.Sources[2].Partition == nil || *c.Sources[2].Partition != 4 || c.Sources[0].Partition != nil {
		t.Error("partition is not that of the source itself")
	}
}

func TestOwnKafkaGoesBeforeTheGlobalKeyByKey(t *testing.T) {
	c := read(t, `
kafka:
  brokers: [global:9092]
  client_id: global
  version: "2.8"
  sasl: {mechanism: PLAIN, username: u, password: "${SECRET}"}
  tls: {enabled: true, server_name: global}
sources:
  - {id: a, include: [/a], mode: async, topic: t}
  - {id: b, include: [/b], mode: async, topic: t, kafka: {brokers: [own:9092], sasl: {mechanism: none}}}
  - {id: c, include: [/c], mode: async, topic: t, kafka: {client_id: own, tls: {enabled: true}}}
`)
	a, b, cc := c.Sources[0].Kafka, c.Sources[1].Kafka, c.Sources[2].Kafka
	if diff := cmp.Diff(c.Kafka, a); diff != "" {
		t.Errorf("without a block of its own: %s", diff)
	}
	want := c.Kafka
	want.Brokers, want.SASL = []string{"own:9092"}, SASL{Mechanism: SASLNone}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("own brokers and sasl: %s", diff)
	}
	want = c.Kafka
	want.ClientID, want.TLS = "own", TLS{Enabled: true}
	if diff := cmp.Diff(want, cc); diff != "" {
		t.Errorf("own client_id and tls: %s", diff)
	}
	if c.Kafka.Version != "2.8.0" || a.SASL.Password.Reveal() != "hunter2" {
		t.Errorf("version %q", c.Kafka.Version)
	}
}

func TestSourcesMayHaveAllBrokersThemselves(t *testing.T) {
	c := read(t, `sources: [{id: a, include: [/a], mode: async, topic: t, kafka: {brokers: "x:1,y:2"}}]`)
	if diff := cmp.Diff([]string{"x:1", "y:2"}, c.Sources[0].Kafka.Brokers); diff != "" {
		t.Error(diff)
	}
}

// What is left when all lines of a block or list are commented out counts as not given.
func TestNothingIsAnEmptyBlockOrList(t *testing.T) {
	for _, nothing := range []string{"", "~", "null"} {
		got := read(t, strings.Replace(withSource("callback", "exclude: "+nothing, "rotated: "+nothing, "headers: "+nothing, "fields: "+nothing),
			"sources:", "  tls: "+nothing+"\n  sasl: "+nothing+"\nlog: "+nothing+"\ndefaults: "+nothing+"\nfailure_log: "+nothing+"\nsources:", 1))
		if diff := cmp.Diff(read(t, minimal), got, plainData); diff != "" {
			t.Errorf("%q: %s", nothing, diff)
		}
	}
}

func TestRecordKeyIsZero(t *testing.T) {
	if !(RecordKey{}).IsZero() || (RecordKey{File: true}).IsZero() || (RecordKey{Field: "a"}).IsZero() {
		t.Error("only the empty key is zero")
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	c := read(t, `
kafka: {brokers: [localhost:9092]}
sources:
  - {id: a, include: &logs [/a/*.log], mode: &m async, topic: t, key: &k {file: true}}
  - {id: b, include: *logs, mode: *m, topic: t, key: *k}
`)
	if b := c.Sources[1]; b.Mode != ModeAsync || b.Include[0] != "/a/*.log" || !b.Key.File {
		t.Errorf("got %+v", b)
	}
}

func TestAliasOfItselfIsRefused(t *testing.T) {
	if all := refused(t, "kafka: &k {brokers: [a:1], tls: *k}\nsources: &s [*s]\n"); len(all) < 2 {
		t.Errorf("got %v", all)
	}
}
