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
// again for each connection, or stand here.
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
func (s *SASL) login(conf *sarama.Config, secrets *secrets, token *tokenFile) error {
	sasl := &conf.Net.SASL
	sasl.Enable = true
	sasl.Handshake = true
	sasl.Version = sarama.SASLHandshakeV1
	sasl.Mechanism = sarama.SASLMechanism(s.Mechanism)
	switch s.Mechanism {
	case sarama.SASLTypeOAuth:
		if err := token.read(secrets); err != nil {
			return err
		}
		sasl.TokenProvider = token
		return nil
	case sarama.SASLTypeSCRAMSHA256:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case sarama.SASLTypeSCRAMSHA512:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case sarama.SASLTypePlaintext:
	default:
		return fmt.Errorf("SASL mechanism %q: want PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", s.Mechanism)
	}
	password, err := s.password()
	if err != nil {
		return err
	}
	secrets.remember(password)
	sasl.User, sasl.Password = s.Username, password
	return nil
}

func (s *SASL) password() (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	return readSecret("password", s.PasswordFile)
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

// tokenFile gives the bearer token. sarama asks for it under a broker's lock, at the login and again
// when the session ends, so Token must not touch the disk: read does, at each connection and each
// tokenCheck.
type tokenFile struct {
	path string

	mu      sync.Mutex
	token   string
	changed time.Time
	size    int64
}

// tokenCheck is how often the token file is looked at.
const tokenCheck = 5 * time.Second

// Token gives the token as it was last read.
func (t *tokenFile) Token() (*sarama.AccessToken, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" {
		return nil, fmt.Errorf("token file %s was not read yet", t.path)
	}
	return &sarama.AccessToken{Token: t.token}, nil
}

// read takes the token from the file, if that has changed.
func (t *tokenFile) read(secrets *secrets) error {
	info, err := os.Stat(t.path)
	if err != nil {
		return fmt.Errorf("read the token file: %w", err)
	}
	t.mu.Lock()
	same := t.token != "" && info.ModTime().Equal(t.changed) && info.Size() == t.size
	t.mu.Unlock()
	if same {
		return nil
	}
	token, err := readSecret("token", t.path)
	if err != nil {
		return err
	}
	secrets.remember(token)
	t.mu.Lock()
	t.token, t.changed, t.size = token, info.ModTime(), info.Size()
	t.mu.Unlock()
	return nil
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
