package e2e

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"shiplog/e2e/kafka"
)

// testRenewed renews everything that shiplog proves itself with, and what it proves the broker with, in place
// while lines flow: a token before it ends, a password together with the user's at the broker, and both
// sides' certificates, each signed by an authority that was unknown before.
func (f *fort) testRenewed(t *testing.T) {
	const tokenTime = 10 * time.Second
	f.write("renewed-ca.pem", f.ca.PEM)
	ends := time.Now().Add(tokenTime)
	s := f.scene(t, "certificates, password and token renewed in place", false,
		visitor{id: "mtls", mode: "sync", listener: "RENEWED", user: "CN=me",
			tls: "ca_file: " + f.dir + "/renewed-ca.pem, " + f.clientCert(f.ca, "me")},
		visitor{id: "scram", mode: "callback", listener: "LOGIN", user: "changing", tls: f.trust(),
			sasl: login("SCRAM-SHA-512", "changing", f.user("changing", kadm.ScramSha512))},
		visitor{id: "token", mode: "sync", listener: "TOKEN", user: "renewing", tls: f.trust(),
			sasl: "mechanism: OAUTHBEARER, token_file: " + f.token("renewing", audience, tokenTime)},
	)
	f.start(s)
	s.write()
	s.flowing(500)

	f.token("renewing", audience, time.Hour)
	f.user("changing", kadm.ScramSha512) // the file, then the user
	pass(time.Until(ends.Add(sessionEnd)))
	s.flowing(500) // sessions of the old password and the old token are over by now

	newer, err := kafka.NewAuthority("the next authority")
	f.check(err)
	f.write("renewed-ca.pem", newer.PEM)
	f.write("client-ca.pem", newer.PEM)
	f.clientCert(newer, "me")
	f.brokerCert("renewed.pem", newer, certTime, "127.0.0.1")
	node := f.cluster.Nodes[0]
	f.check(node.Stop())
	f.check(node.Start())
	back := time.Now()
	s.flowing(100)
	took := time.Since(back).Round(time.Millisecond)
	if t.Logf("all deliver again %s after the broker's return", took); took > backAfter {
		t.Errorf("want %s at most", backAfter)
	}
	s.flowing(500)
	s.drain()
	unknown := s.failures("scram")["unknown_outcome"]
	s.replay()
	for _, src := range s.sources {
		may := allowed{note: "nothing was restarted but the broker"}
		if src.mode == "callback" {
			may.repeats = unknown
		}
		s.reckon(src, may)
	}
}
