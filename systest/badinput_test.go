//go:build linux

package systest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const oneSource = "shutdown_quiet: 100ms\nshutdown_timeout: 1s\nsources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs}\n"

// scene is a place with ten lines in its log.
func scene(t *testing.T, brokers []string, format string) *place {
	t.Helper()
	p := newPlace(t, brokers, format)
	w := newWriter(t, p.logPath(), 0, 1)
	w.append(10)
	w.check(w.file.Close())
	return p
}

// says waits for a line of the log, of at least the level warn, that holds all these words.
func (p *process) says(words ...string) {
	p.t.Helper()
	found := within(20*time.Second, func() bool {
		for line := range strings.Lines(p.out.String()) {
			ok := !strings.Contains(line, `"level":"info"`)
			for _, w := range words {
				ok = ok && strings.Contains(line, w)
			}
			if ok {
				p.t.Logf("%s", line)
				return true
			}
		}
		return false
	})
	if !found {
		p.t.Errorf("no line of the log says all of %q:\n%s", words, tail(p.out.String(), 20))
	}
}

// TestMissingTopic: the error names the topic and the broker, the source waits, and delivers once the
// topic is there. No topic is created by accident.
func TestMissingTopic(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"other"}, kfake.AllowAutoTopicCreation())
	place := scene(t, b.addrs(), oneSource)
	p := run(t, place.config)
	p.says(`logs`, b.addrs()[0], "UNKNOWN_TOPIC")
	admin := kadm.NewClient(b.connect())
	if topics, err := admin.ListTopics(t.Context()); err != nil || topics.Has("logs") {
		t.Fatalf("the topic was created by shiplog, or: %v", err)
	}
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "logs"); err != nil {
		t.Fatal(err)
	}
	until(t, "delivery", func() bool { n, _ := b.arrived(); return n == 10 })
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestWrongPassword: said with the mechanism's or the user's name, and waited out.
func TestWrongPassword(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 1, []string{"logs"}, kfake.EnableSASL(), kfake.Superuser(mechanism, "app", "open-sesame"))
			place := scene(t, b.addrs(), oneSource)
			place.amend(t, "kafka: {", "kafka: {sasl: {mechanism: "+mechanism+", username: app, password: open-barley}, ")
			p := run(t, place.config)
			p.says("auth", b.addrs()[0])
			if p.said("open-barley") {
				t.Error("the password stands in the log")
			}
			if code := p.stop(); code != 75 {
				t.Errorf("exit code %d, want 75", code)
			}
		})
	}
}

// amend changes the configuration.
func (p *place) amend(t *testing.T, old, text string) {
	t.Helper()
	data, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("no %q in the configuration", old)
	}
	if err := os.WriteFile(p.config, []byte(strings.Replace(string(data), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLSMismatch: the log says which side speaks TLS and which does not.
func TestTLSMismatch(t *testing.T) {
	t.Run("the broker speaks TLS, shiplog does not", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t, 1, []string{"logs"}, kfake.TLS(serverTLS(t)))
		p := run(t, scene(t, b.addrs(), oneSource).config)
		p.says("this side speaks plaintext", "TLS port", b.addrs()[0])
		p.stop()
	})
	t.Run("shiplog speaks TLS, the broker does not", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t, 1, []string{"logs"})
		place := scene(t, b.addrs(), oneSource)
		place.amend(t, "kafka: {", "kafka: {dial_timeout: 1s, tls: {enabled: true}, ")
		p := run(t, place.config)
		p.says("this side speaks TLS", "without TLS", b.addrs()[0])
		p.stop()
	})
}

// serverTLS makes a certificate that nobody has signed.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// TestUnreadableFile: an error that names the file, and delivery once it can be read.
func TestUnreadableFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to run shiplog as somebody else")
	}
	t.Parallel()
	b := newBroker(t, 1, []string{"logs"})
	place := scene(t, b.addrs(), oneSource)
	nobody := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	for _, dir := range []string{filepath.Dir(shiplogBin), place.dir, filepath.Dir(place.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(place.data, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{place.config: 0o644, place.logPath(): 0o600} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(place.data, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	p := start(t, nobody, "run", "-c", place.config)
	p.says("app.log", "permission denied")
	if err := os.Chmod(place.logPath(), 0o644); err != nil {
		t.Fatal(err)
	}
	until(t, "delivery", func() bool { n, _ := b.arrived(); return n == 10 })
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestTwoOnOneDataDir: the second daemon is refused, with the first one's process id.
func TestTwoOnOneDataDir(t *testing.T) {
	t.Parallel()
	place := scene(t, []string{deadBroker(t)}, oneSource)
	p := run(t, place.config)
	code, out := command(t, "run", "-c", place.config)
	if code != 1 || !strings.Contains(out, strconv.Itoa(p.cmd.Process.Pid)) {
		t.Errorf("exit code %d and %q, want 1 and the process id %d", code, out, p.cmd.Process.Pid)
	}
	if p.stop(); !p.said("account") {
		t.Error("the first one was disturbed")
	}
}

// spooled gives a place whose failure log holds the ten lines.
func spooled(t *testing.T, rest string) *place {
	t.Helper()
	place := scene(t, []string{deadBroker(t)}, rest)
	p := run(t, place.config)
	if code := p.stop(); code != 0 || len(place.failures(t, "app")) != 10 {
		t.Fatalf("exit code %d, %d lines in the failure log, want 0 and 10", code, len(place.failures(t, "app")))
	}
	return place
}

const spoolSource = "shutdown_quiet: 100ms\nsources:\n  - {id: app, include: [%s/app.log], mode: callback, topic: logs, on_outage: spool}\n"

// TestTwoReplays: the second is refused, with the first one's process id.
func TestTwoReplays(t *testing.T) {
	t.Parallel()
	place := spooled(t, spoolSource)
	p := start(t, nil, "replay", "-c", place.config) // its broker is dead, so it waits
	until(t, "the first replay", func() bool {
		files, err := filepath.Glob(place.data + "/failed/app/*.claimed.jsonl")
		return err == nil && len(files) > 0
	})
	code, out := command(t, "replay", "-c", place.config)
	if code == 0 || !strings.Contains(out, strconv.Itoa(p.cmd.Process.Pid)) {
		t.Errorf("exit code %d and %q, want a refusal with the process id %d", code, out, p.cmd.Process.Pid)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// TestFailureLogEditedByHand: the bad line is reported with its number and kept aside; the others are
// sent.
func TestFailureLogEditedByHand(t *testing.T) {
	t.Parallel()
	place := spooled(t, spoolSource)
	files, err := filepath.Glob(place.data + "/failed/app/*.jsonl")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v, want one segment", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	lines[3] = "by hand" + lines[3]
	if err := os.WriteFile(files[0], []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, 1, []string{"logs"})
	topic := b.open("logs")
	place.write(t, b.addrs(), spoolSource)
	code, out := command(t, "replay", "-c", place.config)
	t.Logf("exit code %d: %s", code, out)
	if !strings.Contains(out, "4") || !strings.Contains(out, filepath.Base(files[0])) && !strings.Contains(out, "bad") {
		t.Errorf("%q does not name the line", out)
	}
	if n := len(topic.next()); n != 9 {
		t.Errorf("%d lines were sent, want 9", n)
	}
	kept := false
	_ = filepath.WalkDir(place.data+"/failed", func(path string, _ os.DirEntry, _ error) error {
		text, err := os.ReadFile(path)
		kept = kept || err == nil && strings.Contains(string(text), lines[3])
		return nil
	})
	if !kept {
		t.Error("the bad line is nowhere any more")
	}
}

// TestBinaryData: bytes that are no text arrive, wrapped as JSON by default, or as they are under pass.
func TestBinaryData(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"wrapped", "raw"})
	wrapped, raw := b.open("wrapped"), b.open("raw")
	place := newPlace(t, b.addrs(), `shutdown_quiet: 100ms
sources:
  - {id: wrapped, include: [%[1]s/app.log], mode: callback, topic: wrapped}
  - {id: raw, include: [%[1]s/app.log], mode: callback, topic: raw, on_invalid_json: pass}
`)
	bad := "\xff\x00\x01\x80\"\\\x1b[0m"
	if err := os.WriteFile(place.logPath(), []byte(bad+"\n{\"ok\":1}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := run(t, place.config).stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := values(raw.next()); len(got) != 2 || got[0] != bad {
		t.Errorf("under pass %q arrived, want the bytes as they are", got)
	}
	got := values(wrapped.next())
	if len(got) != 2 || !strings.HasPrefix(got[0], `{"message":`) || got[1] != `{"ok":1}` {
		t.Errorf("%q arrived, want the line wrapped", got)
	}
	t.Logf("%q", got)
}

func values(records []*kgo.Record) []string {
	var list []string
	for _, r := range records {
		list = append(list, string(r.Value))
	}
	return list
}

// TestCorruptCheckpoint: it is set aside with an error, the source follows start_at, and nothing
// crashes, at this start or the next.
func TestCorruptCheckpoint(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, []string{"logs"})
	place := scene(t, b.addrs(), oneSource)
	if code := run(t, place.config).stop(); code != 0 {
		t.Fatalf("exit code %d, want 0", code)
	}
	file := filepath.Join(place.data, "checkpoint", "app.json")
	if err := os.WriteFile(file, []byte(`{"version":1,"source":"app","fil`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := run(t, place.config)
	p.says("checkpoint", `"level":"error"`, "app")
	until(t, "the lines to come again", func() bool { n, _ := b.arrived(); return n == 20 })
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	aside, err := filepath.Glob(filepath.Join(place.data, "checkpoint", "app*"))
	if err != nil || len(aside) != 2 {
		t.Errorf("%v (%v), want the new checkpoint and the one set aside", aside, err)
	}
	if code := run(t, place.config).stop(); code != 0 {
		t.Errorf("exit code %d at the next start, want 0", code)
	}
	if n, _ := b.arrived(); n != 20 {
		t.Errorf("%d records, want no more than 20", n)
	}
}
