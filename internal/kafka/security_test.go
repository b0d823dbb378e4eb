package kafka

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zaptest/observer"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.pem, _, a.cert, a.key = certify(t, nil, nil)
	return a
}

// certify makes a certificate for 127.0.0.1 and "broker", signed by the parent, or by itself.
func certify(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (cert, keyPEM []byte, parsed *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"broker"},
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), parsed, key
}

// issue writes a certificate and its key into files.
func (a *authority) issue(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	cert, key, _, _ := certify(t, a.cert, a.key)
	return write(t, dir, "cert.pem", cert), write(t, dir, "key.pem", key)
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// serverConfig is a broker's TLS; clients is nil or signs the clients' certificates.
func (a *authority) serverConfig(t *testing.T, clients *authority) *tls.Config {
	t.Helper()
	cert, key, _, _ := certify(t, a.cert, a.key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, clients.pool()
	}
	return conf
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	caFile := write(t, dir, "ca.pem", ca.pem)
	for name, conf := range map[string]*TLS{
		"CA":          {CAFile: caFile},
		"server name": {CAFile: caFile, ServerName: "broker"},
		"insecure":    {InsecureSkipVerify: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, acks := range []int16{0, -1} {
				c := cluster(t, 1, kfake.TLS(ca.serverConfig(t, nil)))
				s := settings(c.ListenAddrs())
				s.TLS, s.Acks = conf, acks
				p := start(t, s)
				ready(t, p, 1)
				if r := send(t, p, lines(p, 0, 100, "a"))[0]; r.Err != nil {
					t.Errorf("result %+v", r)
				}
				if err := p.Barrier(t.Context()); err != nil || stored(c, 0) != 100 {
					t.Errorf("%v; %d records stored", err, stored(c, 0))
				}
			}
		})
	}
	for name, conf := range map[string]*TLS{
		"unknown CA":        {CAFile: write(t, dir, "other.pem", newAuthority(t).pem)},
		"wrong server name": {CAFile: caFile, ServerName: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, 1, kfake.TLS(ca.serverConfig(t, nil)))
			s := settings(c.ListenAddrs())
			s.TLS = conf
			p, err := New(s)
			if err != nil {
				t.Fatal(err)
			}
			checkMismatch(t, problem(t, p), s.Brokers[0], ClassAuth, []string{"certificate of " + s.Brokers[0] + " is not accepted"})
		})
	}
}

// A certificate that is renewed under a running producer is used for the next connection.
func TestMutualTLSWithARenewedCertificate(t *testing.T) {
	ca, clients, others := newAuthority(t), newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	c := cluster(t, 1, kfake.TLS(ca.serverConfig(t, clients)))
	s := settings(c.ListenAddrs())
	s.TLS = &TLS{CAFile: write(t, dir, "ca.pem", ca.pem)}
	s.TLS.CertFile, s.TLS.KeyFile = others.issue(t, dir)
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	checkMismatch(t, problem(t, p), s.Brokers[0], ClassAuth, []string{"refused the client certificate"})
	clients.issue(t, dir)
	ready(t, p, 1)
	if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
		t.Errorf("result %+v", r)
	}
}

func TestLogins(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser(mechanism, "app", "s3cret-word"))
			s := settings(c.ListenAddrs())
			s.SASL = &SASL{Mechanism: mechanism, Username: "app", Password: "s3cret-word"}
			p := start(t, s)
			ready(t, p, 1)
			if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
				t.Errorf("result %+v", r)
			}
		})
	}
}

// noSecret fails when a secret stands in a log or an error.
func noSecret(t *testing.T, logs *observer.ObservedLogs, err error, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if err != nil && strings.Contains(err.Error(), s) {
			t.Errorf("the error holds the secret: %v", err)
		}
		for _, e := range logs.All() {
			for k, v := range e.ContextMap() {
				if text, ok := v.(string); ok && strings.Contains(text, s) || strings.Contains(e.Message, s) {
					t.Errorf("a log line holds the secret: %s %s=%v", e.Message, k, v)
				}
			}
		}
	}
}

// A wrong password is waited out, loudly but once; a new one in the file is taken at the next try.
func TestAWrongPasswordIsSaidAndWaitedOut(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser(mechanism, "app", "right-word"))
			log, logs := observed()
			f := &faults{}
			s := settings(c.ListenAddrs())
			s.Log, s.Dial = log, f.dial
			file := write(t, t.TempDir(), "password", []byte("wrong-word\n"))
			s.SASL = &SASL{Mechanism: mechanism, Username: "app", PasswordFile: file}
			dialled := make(chan struct{}, 100)
			f.onDial(func(string) error { dialled <- struct{}{}; return nil })
			p, err := New(s)
			if err != nil {
				t.Fatal(err)
			}
			trouble := problem(t, p)
			if trouble == nil || trouble.Class != ClassAuth || trouble.Broker != s.Brokers[0] {
				t.Fatalf("error %v", trouble)
			}
			for range 3 {
				<-dialled
			}
			noSecret(t, logs, trouble, "wrong-word")
			if n := logs.FilterMessageSnippet("no broker tells").Len(); n != 1 {
				t.Errorf("it was logged %d times", n)
			}
			write(t, filepath.Dir(file), "password", []byte("right-word\n"))
			ready(t, p, 1)
			noSecret(t, logs, nil, "wrong-word", "right-word")
		})
	}
}

func TestALoginThatTheBrokerWantsIsNamed(t *testing.T) {
	c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "x"))
	p, err := New(settings(c.ListenAddrs()))
	if err != nil {
		t.Fatal(err)
	}
	if e := problem(t, p); e == nil || !strings.Contains(e.Error(), "it may want SASL") {
		t.Errorf("error %v", e)
	}
}

// bearer makes kfake take OAUTHBEARER, which it does not know: each token that comes is put into the
// channel, and accepted when ok says so.
func bearer(c *kfake.Cluster, lifetime int64, ok func(token string) bool) <-chan string {
	tokens := make(chan string, 100)
	c.ControlKey(17, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"OAUTHBEARER"}
		if r.(*kmsg.SASLHandshakeRequest).Mechanism != "OAUTHBEARER" {
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return resp, nil, true
	})
	c.ControlKey(36, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.SessionLifetimeMillis = lifetime
		_, rest, _ := bytes.Cut(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, []byte("auth=Bearer "))
		token, _, _ := bytes.Cut(rest, []byte{1})
		tokens <- string(token)
		if !ok(string(token)) {
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
			message := "no: " + string(token) // a careless broker
			resp.ErrorMessage = &message
		}
		return resp, nil, true
	})
	return tokens
}

func TestABearerTokenIsReadAgainWhenItChanges(t *testing.T) {
	c := cluster(t, 1)
	tokens := bearer(c, 1, func(token string) bool { return token != "old-token" }) // sessions of a millisecond
	log, logs := observed()
	s := settings(c.ListenAddrs())
	s.Log = log
	dir := t.TempDir()
	s.SASL = &SASL{Mechanism: "OAUTHBEARER", TokenFile: write(t, dir, "token", []byte("old-token"))}
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	trouble := problem(t, p)
	if trouble == nil || trouble.Class != ClassAuth {
		t.Fatalf("error %v", trouble)
	}
	noSecret(t, logs, trouble, "old-token")
	write(t, dir, "token", []byte("token-2"))
	ready(t, p, 1)

	// The session is over at once, so the next send logs in again on the same connection, with the
	// token as it was last looked at.
	write(t, dir, "token", []byte("third-token"))
	quiet := newReporter(log, topic)
	p.refreshSecret(&quiet)
	seen := []string{<-tokens}
	for n := 0; seen[len(seen)-1] != "third-token"; n++ { // the first send may fall into the same millisecond
		if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil || n == 10_000 {
			t.Fatalf("result %+v; tokens %v", r, seen)
		}
		for len(tokens) > 0 {
			seen = append(seen, <-tokens)
		}
	}
	if seen[0] != "old-token" {
		t.Errorf("tokens %v", seen)
	}
	if p.Stats().Connects != 1 {
		t.Errorf("%d connections, want the first one to serve on", p.Stats().Connects)
	}
	noSecret(t, logs, nil, "old-token", "token-2", "third-token")
}

// A password that is changed at the broker and in its file, under a session that has to be renewed, ends no
// connection and alarms nobody.
func TestAPasswordIsReadAgainWhenASessionEnds(t *testing.T) {
	c := cluster(t, 1)
	seen := make(chan string, 1000)
	c.ControlKey(17, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"PLAIN"}
		return resp, nil, true
	})
	c.ControlKey(36, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.SessionLifetimeMillis = 1
		seen <- string(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
		return resp, nil, true
	})
	dir := t.TempDir()
	s := settings(c.ListenAddrs())
	s.SASL = &SASL{Mechanism: "PLAIN", Username: "app", PasswordFile: write(t, dir, "password", []byte("old-word"))}
	p := start(t, s)
	ready(t, p, 1)
	write(t, dir, "password", []byte("new-word\n"))
	for deadline := time.Now().Add(patience); ; {
		if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
			t.Fatalf("result %+v", r)
		}
		last := ""
		for len(seen) > 0 {
			last = <-seen
		}
		if strings.HasSuffix(last, "\x00new-word") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last login was with %q", last)
		}
	}
	if p.Stats().Connects != 1 {
		t.Errorf("%d connections, want the first one to serve on", p.Stats().Connects)
	}
}

func TestATokenThatIsGoneKeepsTheLastOne(t *testing.T) {
	dir := t.TempDir()
	token := &secretFile{what: "token", path: write(t, dir, "token", []byte("a"))}
	var s secrets
	if err := token.read(&s); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(token.path); err != nil {
		t.Fatal(err)
	}
	if err := token.read(&s); err == nil {
		t.Error("a missing file is no error")
	}
	if got, err := token.Token(); err != nil || got.Token != "a" {
		t.Errorf("token %v, %v", got, err)
	}
}
