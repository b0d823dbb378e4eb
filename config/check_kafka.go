package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxSecret bounds a file that holds a password.
const maxSecret = 64 * kib

// finishKafka checks one kafka block, reads its password and brings its version into the form that
// Kafka.Version has.
func (l *loader) finishKafka(k *Kafka, s *section) {
	switch {
	case k.Version == "auto":
		k.Version = ""
	case strings.Count(k.Version, ".") == 1:
		k.Version += ".0"
	}
	l.checkTLS(&k.TLS, s)
	l.checkSASL(&k.SASL, s)
}

// given gives the first key of a block that was given, except one; "" if there is none.
func given(s *section, prefix, except string) string {
	for i := range kafkaRows {
		if name := kafkaRows[i].name; parent(name) == prefix && name != except && s.has(name) {
			return name
		}
	}
	return ""
}

func (l *loader) checkTLS(t *TLS, s *section) {
	if other := given(s, "tls.", "tls.enabled"); other != "" && !s.has("tls.enabled") {
		l.fail(s.keys[other], Error{Key: s.path("tls.enabled"), Msg: base(other) + " is given, but not whether TLS is on",
			Expected: "tls.enabled: true, or false to keep the other keys without effect"})
		return
	}
	if !t.Enabled {
		return
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		has, lacks := "tls.cert_file", "tls.key_file"
		if t.CertFile == "" {
			has, lacks = lacks, has
		}
		if s.ok(has) && (!s.has(lacks) || s.ok(lacks)) {
			l.fail(s.place(has), Error{Key: s.path(lacks), Msg: fmt.Sprintf("the key is missing beside %s", base(has)),
				Expected: "cert_file and key_file, or neither"})
		}
	}
	for _, f := range []struct {
		name, path string
		secret     bool
	}{{"tls.ca_file", t.CAFile, false}, {"tls.cert_file", t.CertFile, false}, {"tls.key_file", t.KeyFile, true}} {
		if f.path != "" && s.ok(f.name) {
			l.readSecret(f.path, s, f.name, f.secret)
		}
	}
	if t.InsecureSkipVerify {
		l.note(s.place("tls.insecure_skip_verify"), s.path("tls.insecure_skip_verify"),
			"any certificate is accepted, so anyone between here and the brokers can read and change what is sent; name the right ca_file instead")
	}
}

func (l *loader) checkSASL(a *SASL, s *section) {
	if s.has("sasl.password") && s.has("sasl.password_file") {
		l.fail(s.keys["sasl.password_file"], Error{Key: s.path("sasl.password_file"), Msg: "password and password_file cannot be given together",
			Expected: "one of them"})
		return
	}
	if other := given(s, "sasl.", "sasl.mechanism"); other != "" && !s.has("sasl.mechanism") {
		l.fail(s.keys[other], Error{Key: s.path("sasl.mechanism"), Msg: "the key is missing beside " + base(other),
			Expected: find(kafkaRows, "sasl.mechanism").want()})
		return
	}
	if !s.ok("sasl.mechanism") || a.Mechanism == SASLNone {
		return
	}
	if a.Mechanism == SASLOAuthBearer {
		l.need(s, "sasl.token_file", a.TokenFile != "", a.Mechanism)
		l.unwanted(s, a.Mechanism, "sasl.username", "sasl.password", "sasl.password_file")
		if a.TokenFile != "" {
			l.readSecret(a.TokenFile, s, "sasl.token_file", true)
		}
		return
	}
	l.need(s, "sasl.username", a.Username != "", a.Mechanism)
	l.unwanted(s, a.Mechanism, "sasl.token_file")
	if s.has("sasl.password_file") {
		if a.PasswordFile != "" {
			a.Password = l.readSecret(a.PasswordFile, s, "sasl.password_file", true)
		} else {
			l.need(s, "sasl.password_file", false, a.Mechanism)
		}
		return
	}
	l.need(s, "sasl.password", !a.Password.IsZero(), a.Mechanism)
	if s.ok("sasl.password") && !s.expanded["sasl.password"] {
		l.note(s.place("sasl.password"), s.path("sasl.password"),
			"the password stands in the file in plain text; use password_file, or a variable such as ${KAFKA_PASSWORD}")
	}
}

// need reports a key that the mechanism cannot do without.
func (l *loader) need(s *section, name string, there bool, mechanism string) {
	if there || s.meant[name] || (s.has(name) && !s.ok(name)) {
		return
	}
	e := Error{Key: s.path(name), Msg: "the key is missing", Expected: "a value, since mechanism " + mechanism + " needs one"}
	n := s.place("sasl.mechanism")
	if s.has(name) {
		e.Msg, n = "the key has no value", s.place(name)
	}
	if name == "sasl.password" {
		e.Hint = "best by password_file, or by a variable such as ${KAFKA_PASSWORD}"
	}
	l.fail(n, e)
}

// unwanted reports keys that the mechanism has no use for.
func (l *loader) unwanted(s *section, mechanism string, names ...string) {
	for _, name := range names {
		if s.has(name) {
			l.fail(s.keys[name], Error{Key: s.path(name), Msg: base(name) + " is not possible with mechanism: " + mechanism,
				Expected: "another mechanism, or no " + base(name)})
		}
	}
}

// readSecret reads a file that the configuration names, without the newlines at its end. It reports
// a file that cannot be read, and notes a secret one that others can read.
func (l *loader) readSecret(path string, s *section, name string, secret bool) Secret {
	key, n := s.path(name), s.place(name)
	data, info, err := readSmall(path)
	switch {
	case err != nil:
		e := Error{Key: key, Msg: "cannot read the file: " + cause(err), Found: path, Expected: "a file that shiplog can read", Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.Msg = "there is no such file"
		}
		l.fail(n, e)
		return Secret{}
	case len(data) > maxSecret && name == "sasl.password_file":
		l.fail(n, Error{Key: key, Msg: "the file is too large for a password", Found: path, Expected: "at most " + formatSize(maxSecret)})
		return Secret{}
	case strings.TrimSpace(string(data)) == "":
		l.fail(n, Error{Key: key, Msg: "the file is empty", Found: path, Expected: "a file with the value of " + base(name)})
		return Secret{}
	}
	if mode := info.Mode().Perm(); secret && mode&0o007 != 0 {
		l.note(n, key, fmt.Sprintf("other users can use %s (mode %04o); make it readable for shiplog alone: chmod 600", path, mode))
	}
	return NewSecret(strings.TrimRight(string(data), "\r\n"))
}

// readSmall reads a regular file, up to a little more than a password may have.
func readSmall(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path) // before the open, which would wait for the writer of a pipe
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	return data, info, err
}

// note adds a warning about a node.
func (l *loader) note(n *yaml.Node, key, msg string) {
	l.cfg.warnings = append(l.cfg.warnings, Warning{File: l.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Key: key, Msg: msg})
}
