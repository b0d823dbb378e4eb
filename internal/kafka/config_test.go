package kafka

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	junk := write(t, dir, "junk", []byte("junk"))
	empty := write(t, dir, "empty", []byte("\n"))
	missing := filepath.Join(dir, "missing")
	level := 12
	for want, change := range map[string]func(*Config){
		"no brokers":                           func(c *Config) { c.Brokers = nil },
		"want host:port":                       func(c *Config) { c.Brokers = []string{"broker"} },
		"no topic":                             func(c *Config) { c.Topic = "" },
		"acks 2":                               func(c *Config) { c.Acks = 2 },
		"needs acks -1":                        func(c *Config) { c.Idempotent, c.Acks = true, 1 },
		`compression "zip"`:                    func(c *Config) { c.Codec = "zip" },
		"compression level 12":                 func(c *Config) { c.Codec, c.CompressionLevel = "gzip", &level },
		"compression level":                    func(c *Config) { c.Codec, c.CompressionLevel = "lz4", new(int) },
		`version "new"`:                        func(c *Config) { c.Version = "new" },
		"before 0.11.0":                        func(c *Config) { c.Version = "0.10.2.0" },
		"zstd needs version 2.1.0":             func(c *Config) { c.Codec, c.Version = "zstd", "2.0.0" },
		"read the CA file":                     func(c *Config) { c.TLS = &TLS{CAFile: missing} },
		"holds no certificate":                 func(c *Config) { c.TLS = &TLS{CAFile: junk} },
		"needs both its file and its key's":    func(c *Config) { c.TLS = &TLS{CertFile: junk} },
		"read the client certificate":          func(c *Config) { c.TLS = &TLS{CertFile: junk, KeyFile: junk} },
		`SASL mechanism "GSSAPI"`:              func(c *Config) { c.SASL = &SASL{Mechanism: "GSSAPI"} },
		"User must not be empty":               func(c *Config) { c.SASL = &SASL{Mechanism: "PLAIN", Password: "x"} },
		"Password must not be empty":           func(c *Config) { c.SASL = &SASL{Mechanism: "PLAIN", Username: "x"} },
		"read the password file":               func(c *Config) { c.SASL = &SASL{Mechanism: "PLAIN", Username: "x", PasswordFile: missing} },
		"password file " + empty + " is empty": func(c *Config) { c.SASL = &SASL{Mechanism: "PLAIN", Username: "x", PasswordFile: empty} },
		"read the token file":                  func(c *Config) { c.SASL = &SASL{Mechanism: "OAUTHBEARER", TokenFile: missing} },
	} {
		conf := settings([]string{"b:1"})
		change(&conf)
		if _, err := New(conf); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestProduceVersion(t *testing.T) {
	for v, want := range map[string]int16{"4.2.0": 10, "3.7.0": 10, "3.6.0": 9, "2.8.0": 9, "2.4.0": 8, "2.1.0": 7, "2.0.0": 6, "1.0.0": 5, "0.11.0.0": 3, "0.10.2.0": 0} {
		parsed, err := sarama.ParseKafkaVersion(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := produceVersion(parsed); got != want {
			t.Errorf("version %s: produce version %d, want %d", v, got, want)
		}
	}
}

// An old broker gets the version that it knows, and the newest one otherwise; each send negotiates.
func TestOldAndNewProtocols(t *testing.T) {
	for version, want := range map[string]int16{"": 10, "2.1.0": 7, "1.0.0": 5} {
		c := cluster(t, 1)
		conf := settings(c.ListenAddrs())
		conf.Version = version
		p := start(t, conf)
		ready(t, p, 1)
		got := make(chan int16, 10)
		watchVersions(c, got)
		for range 2 {
			if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
				t.Errorf("version %q: %v", version, r.Err)
			}
			if v := <-got; v != want {
				t.Errorf("version %q: produce version %d, want %d", version, v, want)
			}
		}
	}
}
