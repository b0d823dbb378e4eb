package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestSecurity meets a broker that lets nobody in without a reason.
func TestSecurity(t *testing.T) {
	t.Parallel()
	if os.Getenv(brokersEnv) != "" {
		t.Skipf("%s is set: this test needs listeners of its own", brokersEnv)
	}
	f := newFort(t)
	t.Run("each protocol and mechanism", f.testEachProtocol)
	t.Run("refused and mended", f.testRefused)
	t.Run("two users", f.testTwoUsers)
	t.Run("renewed in place", f.testRenewed) // the last one: the broker has another authority after it
	f.silent()
}

// trust is the inside of tls for the broker's certificate.
func (f *fort) trust() string { return "ca_file: " + f.dir + "/ca.pem" }

// login is the inside of sasl for a user with a password in a file.
func login(mechanism, user, file string) string {
	return fmt.Sprintf("mechanism: %s, username: %s, password_file: %s", mechanism, user, file)
}

// testEachProtocol ships by every security protocol and every mechanism. OAUTHBEARER is checked by Kafka's
// own validator: a signed token, its issuer's key on disk.
func (f *fort) testEachProtocol(t *testing.T) {
	s := f.scene(t, "every security protocol and mechanism", false,
		visitor{id: "plaintext", mode: "async", listener: "PLAINTEXT"},
		visitor{id: "tls", mode: "callback", listener: "TLS", tls: f.trust()},
		visitor{id: "mtls", mode: "sync", listener: "MTLS", user: "CN=mtls", tls: f.trust() + ", " + f.clientCert(f.ca, "mtls")},
		visitor{id: "plain", mode: "callback", listener: "LOGIN", user: "plain", tls: f.trust(), sasl: login("PLAIN", "plain", f.plain)},
		visitor{id: "scram-256", mode: "async", listener: "LOGIN", user: "s256", tls: f.trust(),
			sasl: login("SCRAM-SHA-256", "s256", f.user("s256", kadm.ScramSha256))},
		visitor{id: "scram-512", mode: "sync", listener: "LOGIN", user: "s512", tls: f.trust(),
			sasl: login("SCRAM-SHA-512", "s512", f.user("s512", kadm.ScramSha512))},
		visitor{id: "oauthbearer", mode: "sync", listener: "TOKEN", user: "bearer", tls: f.trust(),
			sasl: "mechanism: OAUTHBEARER, token_file: " + f.token("bearer", audience, time.Hour)},
	)
	f.start(s)
	for _, src := range s.sources {
		src.w.write(2000)
	}
	for _, src := range s.sources {
		until(t, src.name+" to deliver", func() bool { return src.topic.ends() >= 2000 })
	}
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{note: "healthy broker"})
	}
}

// testTwoUsers lets two sources of one daemon come as two users. Each may write its own topic only, so a
// connection that they shared would show: both deliver, and the broker has let neither write the other's.
func (f *fort) testTwoUsers(t *testing.T) {
	alice := visitor{id: "alice", mode: "sync", listener: "LOGIN", user: "alice", tls: f.trust(),
		sasl: login("SCRAM-SHA-512", "alice", f.user("alice", kadm.ScramSha512))}
	bob := visitor{id: "bob", mode: "callback", listener: "LOGIN", user: "bob", tls: f.trust(),
		sasl: login("SCRAM-SHA-256", "bob", f.user("bob", kadm.ScramSha256))}
	s := f.scene(t, "two users in one daemon", false, alice, bob)
	f.start(s)
	s.write()
	s.flowing(500)
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{note: "no connection is shared"})
	}
	wrong := f.scene(t, "two users in one daemon, exchanged", true, alice, bob)
	f.allow("alice", wrong.source("bob").topic, kadm.OpWrite, kadm.OpDescribe)
	f.allow("bob", wrong.source("alice").topic, kadm.OpWrite, kadm.OpDescribe)
	f.start(wrong)
	for _, src := range wrong.sources {
		src.w.write(10)
		f.denied(src.name, src.topic)
		complaint(t, wrong, src, f.addr("LOGIN"), "allow User:"+src.name+" to Describe and Write topic "+src.topic.name)
	}
	wrong.d.kill()
	for _, src := range wrong.sources {
		if n := src.topic.ends(); n != 0 {
			t.Errorf("%d records in the topic that %s may not write", n, src.name)
		}
	}
}
