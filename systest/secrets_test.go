//go:build linux

package systest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Secrets as they look that people and machines make. rightWord is what the brokers want.
const (
	rightWord = `Right-0f"all\words/+1`
	wrongWord = `Wrong of it's kind$$2`
	token     = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhcHAifQ.c2lnbmF0dXJl"
)

// forms are the ways in which a secret may stand in a text.
func forms(secret string) []string {
	list := []string{secret, hex.EncodeToString([]byte(secret)), strings.Trim(fmt.Sprintf("%q", secret), `"`), strings.Trim(fmt.Sprint([]byte(secret)), "[]")}
	for before := range 3 { // base64 of a message with the secret in it has the same letters in the middle
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all := enc.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			list = append(list, all[4:len(all)-1])
		}
	}
	return list
}

// showsNothing fails when a secret stands in what shiplog said, or in a file of its data_dir.
func showsNothing(t *testing.T, said, dataDir string, secrets ...string) {
	t.Helper()
	check := func(where, text string) {
		for _, s := range secrets {
			for _, form := range forms(s) {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("%s shows %q:\n%s", where, form, text[max(0, i-300):min(len(text), i+len(form)+100)])
				}
			}
		}
	}
	check("the output", said)
	_ = filepath.WalkDir(dataDir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			check(path, string(data))
		}
		return nil
	})
}

// secretPlace is a folder with a log and a configuration at log level debug.
func secretPlace(t *testing.T, broker, kafka string) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{dir: dir, config: filepath.Join(dir, "config.yaml"), data: filepath.Join(dir, "data"), logs: filepath.Join(dir, "logs")}
	p.file(t, "logs/app.log", `{"n":1}`+"\n")
	p.file(t, "config.yaml", fmt.Sprintf(`data_dir: data
log: {level: debug, format: json}
shutdown_quiet: 100ms
kafka:
  brokers: [%q]
%s
sources:
  - {id: a, mode: callback, topic: t, include: ["logs/*.log"]}
  - {id: b, mode: sync, topic: t, include: ["logs/*.log"]}
  - {id: c, mode: async, topic: t, include: ["logs/*.log"]}
`, broker, kafka))
	return p
}

func (p *place) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// setSecrets gives the passwords in the environment, too.
func setSecrets(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, "RIGHT="+rightWord, "WRONG="+wrongWord, "TOKEN="+token)
}

// dumped runs the daemon until it says something, and then lets it print all goroutines, as a crash does; or
// it ends by itself.
func dumped(t *testing.T, p *place, until func(string) bool) string {
	t.Helper()
	d := start(t, setSecrets, "run", "-c", p.config)
	waitFor(t, d, until)
	d.killed = true // its end is no failure
	refused := d.ended()
	d.signal(syscall.SIGQUIT)
	d.wait()
	if !refused && !d.said("goroutine ") {
		t.Errorf("no dump of goroutines in:\n%s", tail(d.out.String(), 20))
	}
	return d.out.String()
}

func waitFor(t *testing.T, d *process, said func(string) bool) {
	t.Helper()
	until(t, "shiplog to say what is wrong", func() bool { return said(d.out.String()) || d.ended() })
}

// trouble: each of the three sources has said that it cannot reach its broker.
func trouble(said string) bool { return strings.Count(said, "no broker tells") >= 3 }

// echo makes a broker refuse every login and repeat what was sent to it, plainly and in base64; every other time
// far enough back for the secret to be cut off in its middle.
func echo(b *broker, mechanism string) {
	logins := 0
	b.cluster.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{mechanism}
		return resp, nil, true
	})
	b.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		got := r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		words := fmt.Sprintf("%s: I do not like %s, %q, %x, %s or %s", strings.Repeat("x", 5+960*(logins%2)), got, got, got,
			base64.StdEncoding.EncodeToString(got), base64.RawURLEncoding.EncodeToString(got))
		resp.ErrorMessage = &words
		logins++
		return resp, nil, true
	})
}

// TestLoginsShowNoSecret runs the daemon and the commands with right and wrong passwords in every place where they may stand.
func TestLoginsShowNoSecret(t *testing.T) {
	t.Setenv("GOTRACEBACK", "all")
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		b := newBroker(t, 1, []string{"t"}, kfake.EnableSASL(), kfake.Superuser(mechanism, "app", rightWord))
		for _, form := range []string{"password: '%s'", "password: '${%s}'", "password_file: %s"} {
			t.Run(mechanism+"/"+form[:12], func(t *testing.T) {
				t.Parallel()
				for name, word := range map[string]string{"WRONG": wrongWord, "RIGHT": rightWord} {
					value := map[string]string{"password: '%s'": strings.NewReplacer("'", "''", "$", "$$").Replace(word), "password: '${%s}'": name, "password_file: %s": name}[form]
					p := secretPlace(t, b.addrs()[0], fmt.Sprintf("  sasl:\n    mechanism: %s\n    username: app\n    "+form, mechanism, value))
					p.file(t, name, word+"\n")
					if name == "WRONG" {
						said := dumped(t, p, trouble)
						showsNothing(t, said, p.data, rightWord, wrongWord, token)
						continue
					}
					d := start(t, setSecrets, "run", "-c", p.config, "--once")
					if code := d.wait(); code != 0 {
						t.Errorf("exit code %d:\n%s", code, tail(d.out.String(), 20))
					}
					said := d.out.String()
					for _, args := range [][]string{{"print-config"}, {"validate"}, {"checkpoint", "ls"}, {"failed", "ls"}, {"replay"}, {"audit", "--topic", "t"}, {"run", "--dry-run"}} {
						c := start(t, setSecrets, append(args, "-c", p.config)...)
						if code := c.wait(); code != 0 {
							t.Errorf("%q: exit code %d:\n%s", args, code, c.out.String())
						}
						said += c.out.String()
					}
					showsNothing(t, said, p.data, rightWord, wrongWord, token)
				}
			})
		}
	}
}

// TestACarelessBrokerGivesNoSecretAway: what it repeats of a login is taken out before it is said, however long it is.
func TestACarelessBrokerGivesNoSecretAway(t *testing.T) {
	for mechanism, login := range map[string]string{
		"PLAIN":       "mechanism: PLAIN, username: app, password: '${WRONG}'",
		"OAUTHBEARER": "mechanism: OAUTHBEARER, token_file: token",
	} {
		t.Run(mechanism, func(t *testing.T) {
			b := newBroker(t, 1, []string{"t"})
			echo(b, mechanism)
			p := secretPlace(t, b.addrs()[0], "  sasl: {"+login+"}")
			p.file(t, "token", token+"\n")
			said := dumped(t, p, trouble)
			if !strings.Contains(said, "xxxxx") {
				t.Errorf("the broker's words are missing:\n%s", tail(said, 10))
			}
			for _, args := range [][]string{{"print-config"}, {"audit", "--topic", "t"}} {
				c := start(t, setSecrets, append(args, "-c", p.config)...)
				c.wait()
				said += c.out.String()
			}
			showsNothing(t, said, p.data, wrongWord, token)
		})
	}
}

// TestTransportTroubleShowsNoSecret: no broker, one that does not speak TLS, one that speaks nothing else, a
// certificate that is not known, key files that are none.
func TestTransportTroubleShowsNoSecret(t *testing.T) {
	cert, key := certificate(t)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	plain := newBroker(t, 1, []string{"t"})
	secure := newBroker(t, 1, []string{"t"}, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	keyLines := strings.Split(strings.TrimSpace(key), "\n")
	halfKey := strings.Join(keyLines[:len(keyLines)-2], "\n") + "\n" + keyLines[len(keyLines)-1] + "\n"
	login := "  sasl: {mechanism: PLAIN, username: app, password: '${WRONG}'}\n"
	for name, tt := range map[string]struct{ broker, kafka, key string }{
		"dead":              {dead, login, key},
		"no TLS there":      {plain.addrs()[0], login + "  tls: {enabled: true, cert_file: cert, key_file: key}", key},
		"only TLS there":    {secure.addrs()[0], login, key},
		"unknown authority": {secure.addrs()[0], login + "  tls: {enabled: true, cert_file: cert, key_file: key}", key},
		"half a key":        {secure.addrs()[0], login + "  tls: {enabled: true, ca_file: cert, cert_file: cert, key_file: key}", halfKey},
		"no key at all":     {secure.addrs()[0], login + "  tls: {enabled: true, ca_file: cert, cert_file: cert, key_file: key}", rightWord + "\n"},
		"the key as CA":     {secure.addrs()[0], login + "  tls: {enabled: true, ca_file: key}", rightWord + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := secretPlace(t, tt.broker, tt.kafka)
			p.file(t, "cert", cert)
			p.file(t, "key", tt.key)
			said := dumped(t, p, trouble)
			showsNothing(t, said, p.data, rightWord, wrongWord, keyLines[1], keyLines[2])
		})
	}
}

// TestMistakesShowNoSecret: see the package config for many more of them.
func TestMistakesShowNoSecret(t *testing.T) {
	for _, sasl := range []string{
		"{mechanism: PLAIN, username: app, password: '${WRONG}', passwort: x}", "{mechanism: PLAIN, username: app, password: ['${WRONG}', " + token + "]}",
		"{mechanism: PLAIN, username: app, password: {" + token + ": '${WRONG}'}}", "{mechanism: PLAIN, username: app, password: " + token,
		"{mechanism: PLAIN, username: app, password:" + token + "}", "{mechanism: PLAIN, username: app, password: *" + token + "}",
		"{mechanism: PLAIN, username: app, password: !" + token + "}", "{mechanism: PLAIN, username: app, password: '${X-" + token + "}'}",
		"'${TOKEN}'", "{mechanism: '${TOKEN}', username: app, password: x}", "{mechanism: PLAIN, password: '${TOKEN}'}",
	} {
		p := secretPlace(t, "127.0.0.1:1", "  sasl: "+sasl)
		for _, args := range [][]string{{"validate"}, {"run"}, {"print-config"}, {"replay"}} {
			c := start(t, setSecrets, append(args, "-c", p.config)...)
			if code := c.wait(); code != 78 {
				t.Errorf("%s: exit code %d:\n%s", sasl, code, c.out.String())
			}
			showsNothing(t, c.out.String(), p.data, wrongWord, token)
		}
	}
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"schema"}, {"version"}, {"no-such-command"}} {
		c := start(t, setSecrets, args...)
		c.wait()
		showsNothing(t, c.out.String(), "", rightWord, wrongWord, token)
	}
}

// certificate makes one for 127.0.0.1 that is its own authority, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER)
}
