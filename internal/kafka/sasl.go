package kafka

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// SASL says how to log in at the brokers. The password and the token come from a file that is read
// again for each login, or the password stands here.
type SASL struct {
	Mechanism              string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER
	Username               string
	Password, PasswordFile string // one of them; not for OAUTHBEARER
	TokenFile              string // OAUTHBEARER
}

// secrets holds what must never stand in an error or a log.
type secrets struct {
	mu    sync.Mutex
	known []secret
}

// secret is a password or token, with the forms in which a broker or a proxy may repeat it, the longest first.
type secret struct {
	text  string
	forms []string
}

// remember adds a secret. The last few are kept: an old password may still stand in a late error.
func (s *secrets) remember(text string) {
	if text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.known, func(k secret) bool { return k.text == text }) {
		return
	}
	quoted := strconv.Quote(text)
	forms := append(base64Forms(text), text, quoted[1:len(quoted)-1], url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString([]byte(text)))
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	s.known = append(s.known, secret{text, forms})
	if len(s.known) > 4 {
		s.known = s.known[1:]
	}
}

// base64Forms is how a text stands in a message that is written in base64, wherever it begins in it: without the
// letters that it shares with its neighbours.
func base64Forms(text string) (forms []string) {
	for before := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all := enc.EncodeToString(append(make([]byte, before), text...))
			from, to := (before*8+5)/6, (before+len(text))*8/6
			if to-from > 5 { // a shorter one may stand anywhere
				forms = append(forms, all[from:to])
			}
		}
	}
	return forms
}

// scrub gives the error back, without its secrets should it hold any, and not longer than maxWords: it
// may hold what a broker says.
func (s *secrets) scrub(err error) error {
	text := err.Error()
	clean := bounded(s.clean(text))
	if clean == text {
		return err
	}
	return errors.New(clean)
}

// clean takes the secrets out of a text.
func (s *secrets) clean(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		for _, form := range k.forms {
			text = strings.ReplaceAll(text, form, "***")
		}
	}
	return text
}

// login puts the credentials of one connection into a sarama configuration.
func (s *SASL) login(conf *sarama.Config, secrets *secrets, file *secretFile) error {
	sasl := &conf.Net.SASL
	sasl.Enable = true
	sasl.Handshake = true
	sasl.Version = sarama.SASLHandshakeV1
	sasl.Mechanism = sarama.SASLMechanism(s.Mechanism)
	switch s.Mechanism {
	case sarama.SASLTypeOAuth:
		if err := file.read(secrets); err != nil {
			return err
		}
		sasl.TokenProvider = file
		return nil
	case sarama.SASLTypeSCRAMSHA256:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case sarama.SASLTypeSCRAMSHA512:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case sarama.SASLTypePlaintext:
	default:
		return fmt.Errorf("SASL mechanism %q: want PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", s.Mechanism)
	}
	password := s.Password
	if file != nil {
		if err := file.read(secrets); err != nil {
			return err
		}
		password = file.now()
	}
	secrets.remember(password)
	sasl.User, sasl.Password = s.Username, password
	return nil
}

// file is where the secret comes from, nil when it stands in the configuration.
func (s *SASL) file() *secretFile {
	switch {
	case s.Mechanism == sarama.SASLTypeOAuth:
		return &secretFile{what: "token", path: s.TokenFile}
	case s.PasswordFile != "":
		return &secretFile{what: "password", path: s.PasswordFile}
	}
	return nil
}

// readSecret reads a file that holds nothing but a secret; an editor may have added a newline.
func readSecret(what, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the %s file: %w", what, err)
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return "", fmt.Errorf("%s file %s is empty", what, path)
	}
	return string(text), nil
}

// secretFile is a file that holds the password or the bearer token. sarama takes the secret under a
// broker's lock, at the login and again when the session ends, so that must not touch the disk: read does,
// at each connection and each secretCheck.
type secretFile struct {
	what, path string

	mu    sync.Mutex
	value string
}

// secretCheck is how often the file is read.
const secretCheck = time.Second

// now gives the secret as it was last read.
func (f *secretFile) now() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value
}

// Token gives it as sarama wants a token.
func (f *secretFile) Token() (*sarama.AccessToken, error) {
	token := f.now()
	if token == "" {
		return nil, fmt.Errorf("token file %s was not read yet", f.path)
	}
	return &sarama.AccessToken{Token: token}, nil
}

// read takes the secret from the file; the last one stays when there is none.
func (f *secretFile) read(secrets *secrets) error {
	value, err := readSecret(f.what, f.path)
	if err != nil {
		return err
	}
	secrets.remember(value)
	f.mu.Lock()
	f.value = value
	f.mu.Unlock()
	return nil
}

// renewLogin lets the next login on a connection use the password as it is now: a session that ends is
// renewed on the same connection. Only the goroutine that sends on it may call this.
func (p *Producer) renewLogin(w *wire) {
	if f := p.secret; f != nil && *w.password != "" {
		*w.password = f.now()
	}
}

// refreshSecret reads the file with the password or the token, if there is one.
func (p *Producer) refreshSecret(r *reporter) {
	f := p.secret
	if f == nil {
		return
	}
	if err := f.read(&p.secrets); err != nil {
		r.trouble("secret", "the "+f.what+" file cannot be read; the last "+f.what+" stays in use",
			&Error{Class: ClassAuth, Topic: p.conf.Topic, Err: err})
		return
	}
	r.solved("secret", "the "+f.what+" file is there again")
}

// scramClient is one SCRAM conversation over xdg-go/scram; sarama wants a fresh one each time.
type scramClient struct {
	hash scram.HashGeneratorFcn
	conv *scram.ClientConversation
}

func (c *scramClient) Begin(user, password, authzID string) error {
	client, err := c.hash.NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	c.conv = client.NewConversation()
	return nil
}

func (c *scramClient) Step(challenge string) (string, error) {
	response, err := c.conv.Step(challenge)
	if err != nil {
		return "", &mismatch{class: ClassAuth, text: "SCRAM login", cause: err}
	}
	return response, nil
}

func (c *scramClient) Done() bool { return c.conv.Done() }
