package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"shiplog/e2e/kafka"
)

const (
	audience   = "the-cluster"
	otherHost  = "broker.elsewhere.example"
	certTime   = time.Hour
	sessionEnd = 3 * time.Second // of a login, so that logins are renewed while a test runs
)

// fort is a broker of one node with a listener for each kind of security, on which nobody may do anything
// without permission; whoever comes by PLAINTEXT or by TLS without a certificate may do all.
type fort struct {
	t       *testing.T
	dir     string // certificates, keys, passwords, tokens
	cluster *kafka.Cluster
	ca      *kafka.Authority // of the brokers and the clients
	issuer  *kafka.Issuer
	admin   *kadm.Client
	plain   string   // file of the password of the user plain
	secrets []string // must stand in no output
	outputs []*output
}

// newFort starts the broker, which stops with the test.
func newFort(t *testing.T) *fort {
	t.Helper()
	f := &fort{t: t, dir: t.TempDir()}
	var err error
	f.ca, err = kafka.NewAuthority("the authority")
	f.check(err)
	f.issuer, err = kafka.NewIssuer()
	f.check(err)
	jwks, err := f.issuer.JWKS()
	f.check(err)
	jwksFile := f.write("jwks.json", jwks)
	plainFile, plain := f.password("plain")
	f.plain = plainFile
	f.write("ca.pem", f.ca.PEM)
	f.write("client-ca.pem", f.ca.PEM)
	f.brokerCert("broker.pem", f.ca, certTime, "127.0.0.1")
	f.brokerCert("renewed.pem", f.ca, certTime, "127.0.0.1")
	f.brokerCert("expired.pem", f.ca, -time.Hour, "127.0.0.1")
	f.brokerCert("elsewhere.pem", f.ca, certTime, otherHost)
	f.cluster, err = kafka.Start(kafka.Options{
		Pom: "kafka/pom.xml", Nodes: 1,
		Listeners: map[string]string{"TLS": "SSL", "MTLS": "SSL", "RENEWED": "SSL", "EXPIRED": "SSL", "ELSEWHERE": "SSL",
			"LOGIN": "SASL_SSL", "TOKEN": "SASL_SSL"},
		Properties: f.properties(jwksFile, plain),
		JVM:        []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://" + jwksFile},
	})
	f.check(err)
	t.Cleanup(func() {
		if err := f.cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(f.cluster.Plain()...))
	f.check(err)
	t.Cleanup(client.Close)
	f.admin = kadm.NewClient(client)
	return f
}

func (f *fort) properties(jwks, plain string) []string {
	const login = "org.apache.kafka.common.security."
	in := strings.NewReplacer("$CERTS", f.dir, "$LOGIN", login, "$PASSWORD", plain, "$JWKS", jwks,
		"$SESSION", fmt.Sprint(sessionEnd.Milliseconds()), "$AUDIENCE", audience)
	var list []string
	for line := range strings.Lines(`authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
		super.users=User:ANONYMOUS
		allow.everyone.if.no.acl.found=false
		ssl.keystore.type=PEM
		ssl.keystore.location=$CERTS/broker.pem
		ssl.truststore.type=PEM
		ssl.truststore.location=$CERTS/ca.pem
		listener.name.mtls.ssl.client.auth=required
		listener.name.renewed.ssl.client.auth=required
		listener.name.renewed.ssl.keystore.type=PEM
		listener.name.renewed.ssl.keystore.location=$CERTS/renewed.pem
		listener.name.renewed.ssl.truststore.type=PEM
		listener.name.renewed.ssl.truststore.location=$CERTS/client-ca.pem
		listener.name.expired.ssl.keystore.type=PEM
		listener.name.expired.ssl.keystore.location=$CERTS/expired.pem
		listener.name.elsewhere.ssl.keystore.type=PEM
		listener.name.elsewhere.ssl.keystore.location=$CERTS/elsewhere.pem
		listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
		listener.name.login.plain.sasl.jaas.config=$LOGINplain.PlainLoginModule required user_plain="$PASSWORD";
		listener.name.login.scram-sha-256.sasl.jaas.config=$LOGINscram.ScramLoginModule required;
		listener.name.login.scram-sha-512.sasl.jaas.config=$LOGINscram.ScramLoginModule required;
		listener.name.login.scram-sha-512.connections.max.reauth.ms=$SESSION
		listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
		listener.name.token.oauthbearer.sasl.jaas.config=$LOGINoauthbearer.OAuthBearerLoginModule required;
		listener.name.token.oauthbearer.sasl.server.callback.handler.class=$LOGINoauthbearer.OAuthBearerValidatorCallbackHandler
		listener.name.token.oauthbearer.connections.max.reauth.ms=$SESSION
		sasl.oauthbearer.jwks.endpoint.url=file://$JWKS
		sasl.oauthbearer.expected.audience=$AUDIENCE
		sasl.oauthbearer.clock.skew.seconds=0`) {
		list = append(list, in.Replace(strings.TrimSpace(line)))
	}
	return list
}

func (f *fort) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// addr is the address of a listener.
func (f *fort) addr(listener string) string {
	if listener == "PLAINTEXT" {
		return f.cluster.Plain()[0]
	}
	return f.cluster.Addrs[listener][0]
}

// write writes a file, in place of what was there, and gives its path.
func (f *fort) write(name string, content []byte) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	f.check(kafka.Replace(path, content))
	return path
}

// brokerCert writes a key store for a listener.
func (f *fort) brokerCert(file string, ca *kafka.Authority, valid time.Duration, hosts ...string) string {
	f.t.Helper()
	pair, err := ca.Broker(valid, hosts...)
	f.check(err)
	return f.write(file, pair.Store())
}

// clientCert writes the certificate and the key of a client, and gives their keys of the configuration.
func (f *fort) clientCert(ca *kafka.Authority, name string) string {
	f.t.Helper()
	pair, err := ca.Client(name)
	f.check(err)
	for body := range bytes.Lines(pair.Key) {
		if !bytes.HasPrefix(body, []byte("-")) {
			f.secrets = append(f.secrets, string(bytes.TrimSpace(body)))
		}
	}
	return fmt.Sprintf("cert_file: %s, key_file: %s", f.write(name+".pem", pair.Cert), f.write(name+".key", pair.Key))
}

// secret makes a password that is known to be one.
func (f *fort) secret(what string) string {
	s := fmt.Sprintf("%s-secret-%d", what, len(f.secrets))
	f.secrets = append(f.secrets, s)
	return s
}

// user gives a user a new password for SCRAM, and writes it into a file as the daemon reads it.
func (f *fort) user(name string, mechanism kadm.ScramMechanism) (file string) {
	f.t.Helper()
	file, password := f.password(name)
	f.scram(name, mechanism, password)
	return file
}

// password writes a new password into the user's file, and leaves the broker as it is.
func (f *fort) password(name string) (file, password string) {
	password = f.secret(name)
	return f.write(name+".password", []byte(password+"\n")), password
}

// scram makes the password good at the broker.
func (f *fort) scram(name string, mechanism kadm.ScramMechanism, password string) {
	f.t.Helper()
	done, err := f.admin.AlterUserSCRAMs(f.t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: mechanism, Iterations: 4096, Password: password}})
	f.check(errors.Join(err, done.Error()))
}

// token writes a new token of a subject, and gives its path.
func (f *fort) token(subject, audience string, valid time.Duration) string {
	f.t.Helper()
	token, err := f.issuer.Token(subject, audience, valid)
	f.check(err)
	f.secrets = append(f.secrets, token)
	return f.write(subject+".token", []byte(token+"\n"))
}

// allow lets a user do something with a topic.
func (f *fort) allow(user string, tp *topic, operations ...kadm.ACLOperation) {
	f.t.Helper()
	rule := kadm.NewACLs().Topics(tp.name).ResourcePatternType(kadm.ACLPatternLiteral).Operations(operations...).Allow("User:" + user).AllowHosts("*")
	done, err := f.admin.CreateACLs(f.t.Context(), rule)
	f.check(err)
	for _, d := range done {
		f.check(d.Err)
	}
}

// serve gives a listener another key store, while the broker runs.
func (f *fort) serve(listener, store string) {
	f.t.Helper()
	key := "listener.name." + strings.ToLower(listener) + ".ssl.keystore.location"
	done, err := f.admin.AlterBrokerConfigs(f.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &store}}, 1)
	f.check(err)
	for _, d := range done {
		f.check(d.Err)
	}
}

// denied waits until the broker's own log says that it denied a user something on a topic.
func (f *fort) denied(user string, tp *topic) {
	f.t.Helper()
	until(f.t, "the broker to deny "+user+" the topic "+tp.name, func() bool {
		log, err := os.ReadFile(filepath.Join(f.cluster.Nodes[0].Dir, "node.log"))
		f.check(err)
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, "User:"+user+" is Denied") && strings.Contains(line, tp.name) {
				return true
			}
		}
		return false
	})
}

// silent checks that no secret stands in any output of a shiplog.
func (f *fort) silent() {
	debug := false
	for _, o := range f.outputs {
		text := o.String()
		debug = debug || strings.Contains(text, `"level":"debug"`)
		for _, secret := range f.secrets {
			if i := strings.Index(text, secret); i >= 0 {
				f.t.Errorf("a secret stands in the output: %.300q", text[max(0, i-200):])
			}
		}
	}
	if !debug {
		f.t.Error("no debug lines in any output: the level is not what the test wants")
	}
}

// visitor is a source that comes to a listener with credentials of its own.
type visitor struct {
	id, mode, listener string
	user               string // to the broker; "" for one that may do all
	tls, sasl          string // insides of the blocks
}

// scene makes a shiplog with these sources. Each user may use the topic of its own source, unless strict says
// that nobody is allowed anything yet.
func (f *fort) scene(t *testing.T, fault string, strict bool, visitors ...visitor) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{t: t, fault: fault, dir: dir, config: filepath.Join(dir, "config.yaml"), data: filepath.Join(dir, "data")}
	for _, v := range visitors {
		tp := newTopicAt(t, f.cluster.Plain(), 1)
		f.check(os.MkdirAll(s.logs(v.id), 0o755))
		s.sources = append(s.sources, &source{name: v.id, mode: v.mode, topic: tp,
			w: newWriter(t, filepath.Join(s.logs(v.id), "app.log"), v.id, 500), oracle: newOracle(t, v.id, tp)})
		if v.user != "" && !strict {
			f.allow(v.user, tp, kadm.OpWrite, kadm.OpRead, kadm.OpDescribe)
		}
	}
	f.configure(s, visitors)
	return s
}

// configure writes the configuration of a scene.
func (f *fort) configure(s *scene, visitors []visitor) {
	f.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir: %s\nlog: {level: debug, format: json}\ncheckpoint_interval: 250ms\nshutdown_quiet: 300ms\n"+
		"%s\nkafka: {brokers: [%s]}\nsources:\n", s.data, s.spec.top, f.addr("PLAINTEXT"))
	for i, v := range visitors {
		fmt.Fprintf(&b, "  - id: %s\n    include: [%s/app.log]\n    mode: %s\n    topic: %s\n    kafka:\n      brokers: [%s]\n",
			v.id, s.logs(v.id), v.mode, s.sources[i].topic.name, f.addr(v.listener))
		if v.tls != "" {
			fmt.Fprintf(&b, "      tls: {enabled: true, %s}\n", v.tls)
		}
		if v.sasl != "" {
			fmt.Fprintf(&b, "      sasl: {%s}\n", v.sasl)
		}
	}
	f.check(os.WriteFile(s.config, []byte(b.String()), 0o600))
}

// start starts the shiplog of a scene, and keeps its output in mind.
func (f *fort) start(s *scene) {
	f.t.Helper()
	s.start()
	f.outputs = append(f.outputs, &s.d.out)
}
