package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates.
type Authority struct {
	PEM  []byte // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is a certificate and its key in PEM form. Both, one behind the other, are what Kafka takes for a key
// store.
type Pair struct{ Cert, Key []byte }

// Store is the pair as Kafka takes it.
func (p Pair) Store() []byte { return append(append([]byte{}, p.Key...), p.Cert...) }

// NewAuthority makes an authority.
func NewAuthority(name string) (*Authority, error) {
	a := &Authority{}
	pair, err := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(24 * time.Hour),
	})
	a.PEM = pair.Cert
	return a, err
}

// Broker signs a certificate for these names and addresses, which ends after so long; it has ended
// already when that is negative. Kafka renews a certificate in place when its subject stays.
func (a *Authority) Broker(valid time.Duration, hosts ...string) (Pair, error) {
	t := &x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, NotAfter: time.Now().Add(valid)}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return a.issue(t)
}

// Client signs a client's certificate: to Kafka it is User:CN=name.
func (a *Authority) Client(name string) (Pair, error) {
	return a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(24 * time.Hour)})
}

// issue signs a certificate; the first one of an authority is its own.
func (a *Authority) issue(t *x509.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	t.SerialNumber, t.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-24*time.Hour)
	if a.cert == nil {
		a.cert, a.key = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return Pair{}, err
	}
	if a.cert == t {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return Pair{}, err
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// Replace writes a file as a careful tool does: a reader sees the old or the new content.
func Replace(path string, content []byte) error {
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// Issuer signs the tokens of OAUTHBEARER.
type Issuer struct{ key *ecdsa.PrivateKey }

// NewIssuer makes an issuer with a key of its own.
func NewIssuer() (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &Issuer{key}, err
}

const keyID = "e2e"

// JWKS is the public key, as Kafka's own validator reads it.
func (i *Issuer) JWKS() ([]byte, error) {
	point, err := i.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	key := map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": keyID,
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:])}
	return json.Marshal(map[string]any{"keys": []any{key}})
}

// Token signs a token for a subject.
func (i *Issuer) Token(subject, audience string, valid time.Duration) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": "e2e", "sub": subject, "aud": audience, "scope": []string{"produce"},
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(valid).Unix(), "jti": rand.Text()})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := enc(fmt.Appendf(nil, `{"alg":"ES256","typ":"JWT","kid":%q}`, keyID)) + "." + enc(claims)
	digest := sha256.Sum256([]byte(text))
	r, t, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	t.FillBytes(signature[32:])
	return text + "." + enc(signature), nil
}
