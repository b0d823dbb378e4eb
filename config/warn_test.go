package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	open := secretFile(t, "x", 0o644)
	kafka := func(extra string) string { return strings.Replace(minimal, "sources:", extra+"\nsources:", 1) }
	second := func(include, rest string) string {
		return minimal + "  - {id: b, include: ['" + include + "'], mode: async, topic: t" + rest + "}\n"
	}
	for _, test := range []struct{ name, text, want string }{
		{"nothing to say", minimal, ""},
		{"password in plain text", kafka("  sasl: {mechanism: SCRAM-SHA-256, username: u, password: x}"),
			"4:59: kafka.sasl.password: the password stands in the file in plain text; use password_file, or a variable such as ${KAFKA_PASSWORD}"},
		{"password from a variable", kafka("  sasl: {mechanism: SCRAM-SHA-256, username: u, password: '${SECRET}'}"), ""},
		{"secret file open to others", kafka("  sasl: {mechanism: SCRAM-SHA-256, username: u, password_file: '" + open + "'}"),
			"4:64: kafka.sasl.password_file: other users can use " + open + " (mode 0644); make it readable for shiplog alone: chmod 600"},
		{"token file open to others", kafka("  tls: {enabled: true}\n  sasl: {mechanism: OAUTHBEARER, token_file: '" + open + "'}"),
			"5:46: kafka.sasl.token_file: other users can use " + open + " (mode 0644); make it readable for shiplog alone: chmod 600"},
		{"PLAIN without TLS", kafka("  sasl: {mechanism: PLAIN, username: u, password: '${SECRET}'}"),
			"4:21: kafka.sasl.mechanism: PLAIN without TLS sends the secret over the network as it is"},
		{"TLS taken away from PLAIN", strings.Replace(second("/b", ", kafka: {tls: {enabled: false}}"), "sources:",
			"  tls: {enabled: true}\n  sasl: {mechanism: PLAIN, username: u, password: '${SECRET}'}\nsources:", 1),
			"11:66: sources[1].kafka.tls: PLAIN without TLS sends the secret over the network as it is"},
		{"PLAIN with TLS", kafka("  tls: {enabled: true}\n  sasl: {mechanism: PLAIN, username: u, password: '${SECRET}'}"), ""},
		{"any certificate", kafka("  tls: {enabled: true, insecure_skip_verify: true}"),
			"4:46: kafka.tls.insecure_skip_verify: any certificate is accepted, so anyone between here and the brokers can read and change what is sent; name the right ca_file instead"},
		{"global credentials for other brokers", strings.Replace(second("/b", ", kafka: {brokers: [o:1]}"), "sources:", "  sasl: {mechanism: SCRAM-SHA-256, username: u, password: '${SECRET}'}\nsources:", 1),
			"10:70: sources[1].kafka.brokers: these brokers get the user and password of the global kafka.sasl; give the source its own sasl block, or sasl: {mechanism: none}"},
		{"same pattern", second("/var/log/app/*.log", ""),
			"9:22: sources[1].include: source b matches the same files by /var/log/app/*.log as source app by /var/log/app/*.log: each ships every line of them"},
		{"one file of a pattern", second("/var/log/app/x.log", ""),
			"9:22: sources[1].include: source b matches the same files by /var/log/app/x.log as source app by /var/log/app/*.log: each ships every line of them"},
		{"one file of a pattern, excluded", strings.Replace(second("/var/log/app/x.log", ""), "mode: callback", "mode: callback\n    exclude: [x.log]", 1), ""},
		{"other files", second("/var/log/other/*.log", ""), ""},
		{"folder", strings.Replace(minimal, "/var/log/app/*.log", dir, 1),
			fmt.Sprintf("6:14: sources[0].include: %s is a folder and not a file; did you mean %q?", dir, dir+"/*.log")},
		{"fail under async", withSource("async", "on_oversize: fail", "on_invalid_json: fail"),
			"9:18: sources[0].on_oversize: an async source has no failure log: fail means that the line is dropped and counted\n" +
				"10:22: sources[0].on_invalid_json: an async source has no failure log: fail means that the line is dropped and counted"},
		{"no fsync", minimal + "failure_log: {fsync: false}\n",
			"9:22: failure_log.fsync: a power cut may lose lines that had failed and were only in the failure log"},
		{"auto_replay with a callback source", minimal + "failure_log: {auto_replay: true}\n", ""},
		{"auto_replay without one", withSource("async") + "failure_log: {auto_replay: true}\n",
			"9:28: failure_log.auto_replay: no source has mode callback: sync sends again by itself until a line is delivered, and async keeps no failed lines"},
		{"start values that nobody takes", minimal + "defaults: {topic: x, retry: {max_interval: 1s}}\n",
			"9:19: defaults.topic: no source takes this start value: each names its own\n" +
				"9:44: defaults.retry.max_interval: no source takes this start value: each names its own, or has another mode than sync"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, w := range read(t, test.text).Warnings() {
				got = append(got, strings.TrimPrefix(w.String(), "/etc/shiplog/config.yaml:"))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("%s\nin:\n%s", diff, test.text)
			}
		})
	}
}

func TestWarningsNameAnOpenFileWithAPassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := strings.Replace(minimal, "sources:", "  tls: {enabled: true}\n  sasl: {mechanism: PLAIN, username: u, password: x}\nsources:", 1)
	for mode, want := range map[os.FileMode]int{0o600: 1, 0o640: 1, 0o644: 2} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if w := c.Warnings(); len(w) != want || (want == 2 && !strings.HasPrefix(w[0].String(), path+": other users can use this file")) {
			t.Errorf("mode %o: got %v", mode, w)
		}
	}
}
