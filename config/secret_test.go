package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

const hidden = "hunter2"

// inUnexported is how a secret most easily leaks: fmt calls no methods of unexported fields.
type inUnexported struct {
	sasl SASL
	all  []Secret
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := NewSecret(hidden)
	sasl := SASL{Mechanism: SASLPlain, Username: "u", Password: s}
	cfg := Defaults("sync")
	cfg.Kafka.SASL, cfg.Sources[0].Kafka.SASL = sasl, sasl
	values := []any{s, &s, sasl, &sasl, []Secret{s}, map[string]Secret{"a": s}, inUnexported{sasl, []Secret{s}}, &inUnexported{sasl, []Secret{s}}, cfg, &cfg}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "% x", "%10s"} {
			if text := fmt.Sprintf(verb, v); leaks(text) {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
		data, err := json.Marshal(v)
		if err != nil || leaks(string(data)) {
			t.Errorf("JSON of %T: %s, %v", v, data, err)
		}
		if data, err := yaml.Marshal(v); err != nil || leaks(string(data)) {
			t.Errorf("YAML of %T: %s, %v", v, data, err)
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		if leaks(b.String()) {
			t.Errorf("slog of %T: %s", v, b.String())
		}
	}
	if s.Reveal() != hidden {
		t.Error("Reveal does not give the text")
	}
}

// leaks looks for the secret, as text, in hexadecimal and as a list of bytes.
func leaks(text string) bool {
	return strings.Contains(text, hidden) || strings.Contains(strings.ToLower(strings.ReplaceAll(text, " ", "")), fmt.Sprintf("%x", hidden)) ||
		strings.Contains(text, strings.Trim(fmt.Sprint([]byte(hidden)), "[]"))
}

func TestEmptySecretIsZero(t *testing.T) {
	var zero Secret
	if s := NewSecret(""); !s.IsZero() || s.String() != "" || s.Reveal() != "" || !s.Equal(zero) {
		t.Errorf("got %q", s.Reveal())
	}
	if s := NewSecret("x"); s.IsZero() || s.String() != "<redacted>" || s.GoString() != "<redacted>" || s.Equal(zero) || !s.Equal(NewSecret("x")) {
		t.Errorf("got %s", s)
	}
}

// secretFile writes a file of its own with a mode and gives its path.
func secretFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func withPasswordFile(path string) string {
	return strings.Replace(minimal, "sources:", "  sasl: {mechanism: SCRAM-SHA-512, username: u, password_file: '"+path+"'}\nsources:", 1)
}

func TestPasswordFileLosesItsNewlinesOnly(t *testing.T) {
	for content, want := range map[string]string{
		"hunter2\n": "hunter2", "hunter2": "hunter2", "hunter2\r\n": "hunter2", "hunter2\n\n": "hunter2", " two words \n": " two words ", "$A ${B}\n": "$A ${B}",
	} {
		c := read(t, withPasswordFile(secretFile(t, content, 0o600)))
		if got := c.Kafka.SASL.Password.Reveal(); got != want {
			t.Errorf("%q: got %q, want %q", content, got, want)
		}
		if w := c.Warnings(); len(w) != 0 {
			t.Errorf("warnings: %v", w)
		}
	}
}

func TestPasswordFileTooLarge(t *testing.T) {
	all := refused(t, withPasswordFile(secretFile(t, strings.Repeat("x", maxSecret+1), 0o600)))
	if len(all) != 1 || !strings.Contains(all[0].Msg, "too large") {
		t.Errorf("got %v", all)
	}
}

func TestRedactedHoldsNoSecretAndLoadsAgain(t *testing.T) {
	password := secretFile(t, hidden+"\n", 0o600)
	texts := map[string]string{
		"password":      strings.Replace(minimal, "sources:", "  sasl: {mechanism: PLAIN, username: u, password: hunter2}\nsources:", 1),
		"variable":      strings.Replace(minimal, "sources:", "  sasl: {mechanism: PLAIN, username: u, password: '${SECRET}'}\nsources:", 1),
		"password_file": withPasswordFile(password),
		"own kafka": withSource("sync", "kafka: {brokers: [o:1], version: 2.8.0, sasl: {mechanism: PLAIN, username: u, password_file: '"+password+"'}}",
			"retry: {max_elapsed_time: 1m}", "partition: 0", "on_permanent_error: fail"),
		"everything": withSource("callback", `headers: {h: "$${x} %{host}", n: 7}`, `fields: {"a b": 1.10, t: "7", z: null, y: "yes", d: "$$$$"}`, "key: {file: true}",
			"timestamp: {field: a.b, format: unix}", "compression: zstd", "compression_level: 19", "exclude: '*.gz'", "rotated: [/x/*]",
			"on_outage: spool", "acks: leader", "ignore_older: 36h", "max_line_bytes: 1500") + "data_dir: '/a $$ b'\n",
		"async": withSource("async"),
		"defaults": `
kafka: {brokers: [localhost:9092]}
defaults: {mode: sync, topic: t, retry: {max_interval: 3s}, key: {field: k}}
sources: [{id: a, include: [/a]}, {id: b, include: [/b], mode: callback}]`,
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			c := read(t, text)
			out := c.Redacted()
			if leaks(out) {
				t.Fatalf("the secret is in\n%s", out)
			}
			again := read(t, out)
			// The secret itself is the one thing that is lost, unless it comes from a file.
			for _, k := range []*Kafka{&c.Kafka, &c.Sources[0].Kafka} {
				if !k.SASL.Password.IsZero() && k.SASL.PasswordFile == "" {
					k.SASL.Password = NewSecret(redacted)
				}
			}
			if diff := cmp.Diff(c, again, plainData); diff != "" {
				t.Errorf("%s\nin:\n%s", diff, out)
			}
		})
	}
}

func TestRedactedReadsWell(t *testing.T) {
	c := read(t, strings.Replace(withSource("sync", "fields: {env: prod, shard: 7}", "partition: 3"), "sources:", "  sasl: {mechanism: PLAIN, username: u, password: hunter2}\nsources:", 1))
	golden(t, "testdata/redacted.yaml", c.Redacted())
}
