package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"shiplog/e2e/kafka"
)

// refusal is a source that the broker lets not in, or that does not trust the broker.
type refusal struct {
	visitor
	able kadm.ACLOperation // what the user may do from the beginning
	says []string          // words of the message, beside the topic and the broker's address
	mend func(s *source)   // outside the configuration; nil when only another configuration helps
	then visitor           // that configuration
}

const (
	// calm is how long a source that is refused is watched. It may say what is wrong, and what else is
	// wrong, but not each try.
	calm     = 4 * time.Second
	calmSays = 6
	// backAfter is 5 s, and the longest wait between two tries.
	backAfter = 7 * time.Second
)

// testRefused lets sources be refused in every way, all in one daemon with one that is welcome.
func (f *fort) testRefused(t *testing.T) {
	list := append(f.mendedOutside(), f.mendedInside()...)
	visitors := []visitor{{id: "welcome", mode: "callback", listener: "PLAINTEXT"}}
	for _, r := range list {
		visitors = append(visitors, r.visitor)
	}
	s := f.scene(t, "refused by the broker's security, or refusing it, then mended", true, visitors...)
	for _, r := range list {
		if r.able != kadm.OpUnknown {
			f.allow(r.user, s.source(r.id).topic, r.able)
		}
	}
	s.spec.top = "shutdown_timeout: 1s"
	f.configure(s, visitors)
	f.start(s)
	s.source("welcome").w.begin()
	for _, r := range list {
		s.source(r.id).w.write(100)
	}
	for _, r := range list {
		complaint(t, s, s.source(r.id), f.addr(r.listener), r.says...)
	}
	before := len(s.d.log(""))
	s.source("welcome").topic.grows(500)
	pass(calm)
	for _, r := range list {
		if said := complaints(s.d.log("")[before:], s.source(r.id)); len(said) > calmSays {
			t.Errorf("%s: %d messages in %s, want at most %d: %v", r.id, len(said), calm, calmSays, said)
		}
	}
	for _, r := range list {
		if r.mend != nil {
			f.mends(s, r)
		}
	}
	for _, r := range list {
		if r.mend == nil && s.source(r.id).topic.ends() != 0 {
			t.Errorf("%s: delivered, though nothing was mended", r.id)
		}
	}
	s.source("welcome").topic.grows(500)
	f.configuredAnew(s, list, visitors)
}

// mends mends the cause of one source, and checks that it goes on by itself.
func (f *fort) mends(s *scene, r refusal) {
	src := s.source(r.id)
	r.mend(src)
	at := time.Now()
	until(s.t, r.id+" to deliver once it is mended", func() bool { return src.topic.ends() >= 100 })
	if took := time.Since(at); took > backAfter {
		s.t.Errorf("%s: went on after %s, want %s at most", r.id, took, backAfter)
	} else {
		s.t.Logf("%s: went on after %s", r.id, took.Round(time.Millisecond))
	}
}

// configuredAnew restarts shiplog with a configuration that is right, and reckons.
func (f *fort) configuredAnew(s *scene, list []refusal, visitors []visitor) {
	for i, r := range list {
		if r.mend == nil {
			r.then.id, r.then.mode = r.id, r.mode
			visitors[i+1] = r.then
		}
		if user := visitors[i+1].user; user != "" {
			f.allow(user, s.source(r.id).topic, kadm.OpRead, kadm.OpWrite, kadm.OpDescribe)
		}
	}
	s.source("welcome").w.end()
	s.d.stop() // 75: the rest stays in the files
	s.spec.top = ""
	f.configure(s, visitors)
	f.start(s)
	for _, r := range list {
		until(s.t, r.id+" to deliver with the right configuration", func() bool { return s.source(r.id).topic.ends() >= 100 })
	}
	s.drain()
	for _, src := range s.sources {
		s.reckon(src, allowed{})
		if n := s.d.account(src.name).number("sent_unconfirmed"); n != 0 {
			s.t.Errorf("%s: %d lines were sent and not confirmed", src.name, n)
		}
	}
}

// mendedOutside are faults that are mended at the broker or in a file, while shiplog runs.
func (f *fort) mendedOutside() []refusal {
	stranger, err := kafka.NewAuthority("a stranger")
	f.check(err)
	file := func(name string) string { return f.dir + "/" + name }
	f.write("wrong-ca.pem", stranger.PEM)
	f.write("wrong.password", []byte(f.secret("wrong")))
	password := f.secret("pw")
	f.scram("pw", kadm.ScramSha512, password)
	allow := func(user string) func(*source) {
		return func(s *source) { f.allow(user, s.topic, kadm.OpWrite, kadm.OpDescribe) }
	}
	scram := func(user string) string { return login("SCRAM-SHA-256", user, f.user(user, kadm.ScramSha256)) }
	return []refusal{
		{visitor: visitor{id: "expired", mode: "sync", listener: "EXPIRED", tls: f.trust()},
			says: []string{"not accepted", "expired", "renew the broker's certificate"},
			mend: func(*source) { f.serve("EXPIRED", f.brokerCert("fresh.pem", f.ca, certTime, "127.0.0.1")) }},
		{visitor: visitor{id: "unknown-ca", mode: "sync", listener: "TLS", tls: "ca_file: " + file("wrong-ca.pem")},
			says: []string{"not accepted", "unknown authority", "kafka.tls.ca_file, now " + file("wrong-ca.pem")},
			mend: func(*source) { f.write("wrong-ca.pem", f.ca.PEM) }},
		{visitor: visitor{id: "host-name", mode: "callback", listener: "ELSEWHERE", tls: f.trust()},
			says: []string{"not accepted", "127.0.0.1", "kafka.tls.server_name"},
			mend: func(*source) { f.serve("ELSEWHERE", f.brokerCert("here.pem", f.ca, certTime, otherHost, "127.0.0.1")) }},
		{visitor: visitor{id: "password", mode: "sync", listener: "LOGIN", tls: f.trust(), user: "pw", sasl: login("SCRAM-SHA-512", "pw", file("wrong.password"))},
			says: []string{"SASL_AUTHENTICATION_FAILED", `kafka.sasl.username, now "pw"`, "kafka.sasl.password_file, now " + file("wrong.password")},
			mend: func(s *source) { allow("pw")(s); f.write("wrong.password", []byte(password)) }},
		{visitor: visitor{id: "token", mode: "callback", listener: "TOKEN", tls: f.trust(), user: "late",
			sasl: "mechanism: OAUTHBEARER, token_file: " + f.token("late", "another cluster", time.Hour)},
			says: []string{"kafka.sasl.token_file, now " + file("late.token")},
			mend: func(s *source) { allow("late")(s); f.token("late", audience, time.Hour) }},
		{visitor: visitor{id: "no-acl", mode: "sync", listener: "LOGIN", tls: f.trust(), user: "noacl", sasl: scram("noacl")},
			says: []string{"TOPIC_AUTHORIZATION_FAILED", "allow User:noacl to Describe and Write"}, mend: allow("noacl")},
		// With acks=0 the broker would throw the lines away without a word.
		{visitor: visitor{id: "no-write", mode: "async", listener: "LOGIN", tls: f.trust(), user: "nowrite", sasl: scram("nowrite")}, able: kadm.OpDescribe,
			says: []string{"User:nowrite may describe the topic, but not write it", "allow User:nowrite to Describe and Write"}, mend: allow("nowrite")},
		{visitor: visitor{id: "no-write-sync", mode: "sync", listener: "LOGIN", tls: f.trust(), user: "nosync", sasl: scram("nosync")}, able: kadm.OpDescribe,
			says: []string{"TOPIC_AUTHORIZATION_FAILED", "allow User:nosync to Describe and Write"}, mend: allow("nosync")},
		{visitor: visitor{id: "no-acl-mtls", mode: "callback", listener: "MTLS", user: "CN=nobody", tls: f.trust() + ", " + f.clientCert(f.ca, "nobody")},
			says: []string{"TOPIC_AUTHORIZATION_FAILED", "allow User:CN=nobody to Describe and Write"}, mend: allow("CN=nobody")},
	}
}

// mendedInside are faults that only another configuration mends.
func (f *fort) mendedInside() []refusal {
	clear := visitor{listener: "PLAINTEXT"}
	return []refusal{
		{visitor: visitor{id: "mechanism", mode: "sync", listener: "TOKEN", tls: f.trust(), sasl: login("PLAIN", "plain", f.plain)},
			says: []string{"UNSUPPORTED_SASL_MECHANISM", "kafka.sasl.mechanism PLAIN"},
			then: visitor{listener: "LOGIN", user: "plain", tls: f.trust(), sasl: login("PLAIN", "plain", f.plain)}},
		{visitor: visitor{id: "no-certificate", mode: "sync", listener: "MTLS", tls: f.trust()},
			says: []string{"refused the client certificate, or wants one", "set kafka.tls.cert_file and kafka.tls.key_file"},
			then: visitor{listener: "MTLS", user: "CN=late", tls: f.trust() + ", " + f.clientCert(f.ca, "late")}},
		{visitor: visitor{id: "no-login", mode: "callback", listener: "LOGIN", tls: f.trust()},
			says: []string{"it may want SASL", "kafka.sasl"}, then: clear},
		{visitor: visitor{id: "tls-to-plaintext", mode: "sync", listener: "PLAINTEXT", tls: f.trust()},
			says: []string{"this side speaks TLS", "kafka.tls.enabled"}, then: clear},
		{visitor: visitor{id: "plaintext-to-tls", mode: "callback", listener: "TLS"},
			says: []string{"this side speaks plaintext", "kafka.tls.enabled"}, then: clear},
	}
}

// complaint waits until shiplog has said in one message what keeps a source: its topic, the broker, and
// these words.
func complaint(t *testing.T, s *scene, src *source, broker string, words ...string) {
	t.Helper()
	words = append(words, src.topic.name, broker)
	if within(patience, func() bool {
		for _, text := range complaints(s.d.log(""), src) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(text, w)
			}
			if all {
				return true
			}
		}
		return false
	}) {
		return
	}
	t.Errorf("%s: no message with all of %q, but:\n%s", src.name, words, strings.Join(complaints(s.d.log(""), src), "\n"))
}

// complaints are the errors of all warnings and errors about a source.
func complaints(log []entry, src *source) (list []string) {
	for _, e := range log {
		if level := e.text("level"); (level == "warn" || level == "error") &&
			(e.text("source") == src.name || e.text("topic") == src.topic.name) {
			list = append(list, e.text("message")+": "+e.text("error"))
		}
	}
	return list
}
