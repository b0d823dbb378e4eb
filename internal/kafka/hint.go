package kafka

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
)

// hint says what a person can do about an error: it names the key to look at, and who we are to the
// broker. "" where waiting is all there is to do. Cause is the error behind e, before it was scrubbed.
func (p *Producer) hint(e *Error, cause error) string {
	switch e.Class {
	case ClassAuth:
		if h := p.certificateHint(cause); h != "" {
			return h
		}
		return p.loginHint(e)
	case ClassAuthorization:
		return p.permissionHint(e)
	}
	return ""
}

// certificateHint is for a handshake that failed over a certificate, the broker's or ours.
func (p *Producer) certificateHint(cause error) string {
	t := p.conf.TLS
	if t == nil {
		return ""
	}
	var (
		expired x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	switch {
	case errors.As(cause, &expired) && expired.Reason == x509.Expired:
		return "renew the broker's certificate, or set this machine's clock"
	case errors.As(cause, &unknown):
		ca := "kafka.tls.ca_file is not set, so the system's authorities count"
		if t.CAFile != "" {
			ca = "it has to be in kafka.tls.ca_file, now " + t.CAFile
		}
		return "the authority that signed the broker's certificate is not known: " + ca
	case errors.As(cause, &name):
		return "name the broker in kafka.brokers as its certificate does, or say that name in kafka.tls.server_name"
	case !isAlert(cause):
		return ""
	case t.CertFile == "":
		return "the broker wants a client certificate: set kafka.tls.cert_file and kafka.tls.key_file"
	}
	return "look at kafka.tls.cert_file, now " + t.CertFile + ": has it expired, and does the broker know the authority that signed it"
}

// loginHint is for a login that was refused.
func (p *Producer) loginHint(e *Error) string {
	s := p.conf.SASL
	switch {
	case s == nil && p.conf.TLS == nil:
		return "look at kafka.sasl and kafka.tls: the broker wants to know who we are"
	case s == nil:
		return "look at kafka.sasl: the broker wants to know who we are"
	case e.code == sarama.ErrUnsupportedSASLMechanism || e.code == sarama.ErrIllegalSASLState:
		return "this port of the broker does not take kafka.sasl.mechanism " + s.Mechanism + ": name one that it takes, or another port"
	case s.Mechanism == sarama.SASLTypeOAuth:
		return "look at the token in kafka.sasl.token_file, now " + s.TokenFile + ": has it expired, and is it meant for this cluster"
	case s.PasswordFile != "":
		return fmt.Sprintf("look at kafka.sasl.username, now %q, and at the password in kafka.sasl.password_file, now %s", s.Username, s.PasswordFile)
	}
	return fmt.Sprintf("look at kafka.sasl.username, now %q, and kafka.sasl.password", s.Username)
}

// permissionHint names the permission that is missing.
func (p *Producer) permissionHint(e *Error) string {
	switch e.code {
	case sarama.ErrTopicAuthorizationFailed:
		return fmt.Sprintf("allow %s to Describe and Write topic %s (kafka-acls --add --producer)", p.principal(), p.conf.Topic)
	case sarama.ErrClusterAuthorizationFailed:
		return fmt.Sprintf("allow %s to Write topic %s, and before Kafka 2.8 IdempotentWrite on the cluster, too", p.principal(), p.conf.Topic)
	}
	return ""
}

// principal is who we are to the broker, in the form of its default rules.
func (p *Producer) principal() string {
	s, t := p.conf.SASL, p.conf.TLS
	switch {
	case s != nil && s.Mechanism == sarama.SASLTypeOAuth:
		return "the token's subject"
	case s != nil:
		return "User:" + s.Username
	case t != nil && t.CertFile != "":
		if name := t.subject(); name != "" {
			return "User:" + name
		}
		return "the subject of " + t.CertFile
	}
	return "User:ANONYMOUS"
}

// withHint adds the hint.
func (p *Producer) withHint(e *Error, cause error) *Error {
	e.Hint = p.hint(e, cause)
	return e
}

// Operations of Kafka's access control, as bits in the metadata.
const (
	operationsUnknown = -1 << 31
	operationWrite    = 1 << 4
)

// mayWrite says whether the broker lets us write; it is believed where it does not say. With acks=0 a
// broker says no only by closing the connection, and what was sent is lost: so it is asked before.
func mayWrite(operations int32) bool {
	return operations == 0 || operations == operationsUnknown || operations&operationWrite != 0
}

// sentence ends with no full stop, so that a hint can follow.
func sentence(err error) string { return strings.TrimRight(err.Error(), ". \n") }
