package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// TLS says how to speak TLS with the brokers. The files are read again for each connection, so that
// certificates may be renewed under a running producer.
type TLS struct {
	CAFile             string // PEM; "" for the system's
	CertFile, KeyFile  string // PEM; both or none
	ServerName         string // "" for the broker's host
	InsecureSkipVerify bool
}

// clientConfig reads the files and gives the configuration of one connection.
func (t *TLS) clientConfig(addr string) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // the user's own word
	}
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("broker address %q: %w", addr, err)
		}
		conf.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return conf, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile) // half renewed, they do not fit: the next try reads them again
	if err != nil {
		return nil, fmt.Errorf("read the client certificate %s and its key %s: %w", t.CertFile, t.KeyFile, err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf, nil
}

// subject is whom the client certificate names, as Kafka writes it; "" when it cannot be read.
func (t *TLS) subject() string {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return ""
	}
	return pair.Leaf.Subject.String()
}
