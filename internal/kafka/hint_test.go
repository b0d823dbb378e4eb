package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/IBM/sarama"
)

// Each error that a person has to mend names the key of the configuration, and who we are.
func TestAnErrorSaysWhatToDo(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, t.TempDir())
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	refused := &mismatch{ClassAuth, "refused", alert}
	verify := func(err error) error {
		return &mismatch{ClassAuth, "not accepted", &tls.CertificateVerificationError{Err: err}}
	}
	plain := &SASL{Mechanism: "PLAIN", Username: "app", Password: "s3cret"}
	for name, tt := range map[string]struct {
		tls  *TLS
		sasl *SASL
		err  error
		want []string
	}{
		"expired":               {&TLS{}, nil, verify(x509.CertificateInvalidError{Reason: x509.Expired, Cert: ca.cert}), []string{"renew the broker's certificate"}},
		"unknown CA":            {&TLS{CAFile: "ca.pem"}, nil, verify(x509.UnknownAuthorityError{}), []string{"kafka.tls.ca_file, now ca.pem"}},
		"system's CAs":          {&TLS{}, nil, verify(x509.UnknownAuthorityError{}), []string{"kafka.tls.ca_file is not set"}},
		"another name":          {&TLS{}, nil, verify(x509.HostnameError{Certificate: ca.cert, Host: "x"}), []string{"kafka.tls.server_name"}},
		"no certificate":        {&TLS{}, nil, refused, []string{"set kafka.tls.cert_file"}},
		"a wrong certificate":   {&TLS{CertFile: cert, KeyFile: key}, nil, refused, []string{"kafka.tls.cert_file, now " + cert}},
		"password":              {nil, plain, sarama.ErrSASLAuthenticationFailed, []string{`kafka.sasl.username, now "app"`, "kafka.sasl.password"}},
		"password file":         {nil, &SASL{Mechanism: "PLAIN", Username: "app", PasswordFile: "pw"}, sarama.ErrSASLAuthenticationFailed, []string{"kafka.sasl.password_file, now pw"}},
		"token":                 {nil, &SASL{Mechanism: "OAUTHBEARER", TokenFile: "tok"}, sarama.ErrSASLAuthenticationFailed, []string{"kafka.sasl.token_file, now tok"}},
		"mechanism":             {nil, plain, sarama.ErrUnsupportedSASLMechanism, []string{"kafka.sasl.mechanism PLAIN"}},
		"topic":                 {nil, plain, sarama.ErrTopicAuthorizationFailed, []string{"allow User:app to Describe and Write topic " + topic}},
		"topic, certificate":    {&TLS{CertFile: cert, KeyFile: key}, nil, sarama.ErrTopicAuthorizationFailed, []string{"allow User:CN=test to"}},
		"topic, nobody":         {nil, nil, sarama.ErrTopicAuthorizationFailed, []string{"allow User:ANONYMOUS to"}},
		"idempotence":           {nil, plain, sarama.ErrClusterAuthorizationFailed, []string{"User:app", "IdempotentWrite"}},
		"nobody asked who I am": {nil, nil, &mismatch{ClassAuth, "login", nil}, []string{"kafka.sasl and kafka.tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Producer{conf: Config{Topic: topic, TLS: tt.tls, SASL: tt.sasl}}
			e := p.connectError("b:1", tt.err)
			for _, want := range append(tt.want, "at b:1", "topic "+topic) {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("%q does not say %q", e, want)
				}
			}
			if strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%q holds the password", e)
			}
		})
	}
	p := &Producer{conf: Config{Topic: topic}}
	if e := p.connectError("b:1", errors.New("connection refused")); e.Hint != "" {
		t.Errorf("the hint is %q, where waiting is all there is to do", e.Hint)
	}
}

// With acks=0 a broker does not say that a write is not allowed: it throws the lines away and closes the
// connection. So a topic that may be described but not written is found in the metadata.
func TestATopicThatMayNotBeWrittenIsNotUsed(t *testing.T) {
	p := &Producer{conf: Config{Topic: topic, SASL: &SASL{Mechanism: "PLAIN", Username: "app"}}}
	const describe = 1 << 8
	for operations, may := range map[int32]bool{0: true, operationsUnknown: true, describe: false, describe | operationWrite: true} {
		meta := &sarama.MetadataResponse{Topics: []*sarama.TopicMetadata{{Name: topic,
			Partitions: []*sarama.PartitionMetadata{{}}, TopicAuthorizedOperations: operations}}}
		_, err := p.topicOf(meta, "b:1")
		if (err == nil) != may {
			t.Errorf("operations %b: %v, want usable %v", operations, err, may)
		}
		if err != nil && (err.Class != ClassAuthorization || !strings.Contains(err.Error(), "User:app may describe the topic, but not write it")) {
			t.Errorf("error %v", err)
		}
	}
}
