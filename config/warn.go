package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// warn notes what is worth saying about a configuration without mistakes.
func (l *loader) warn() {
	l.warnReadable()
	l.warnUnusedDefaults()
	l.warnUnencrypted(&l.cfg.Kafka, l.kafka)
	if l.top.ok("failure_log.fsync") && !l.cfg.FailureLog.Fsync {
		l.note(l.top.place("failure_log.fsync"), "failure_log.fsync", "a power cut may lose lines that had failed and were only in the failure log")
	}
	l.warnAutoReplay()
	for i, sec := range l.sources {
		src := &l.cfg.Sources[i]
		l.warnCredentials(src, sec)
		if sec.kafka != nil {
			l.warnUnencrypted(&src.Kafka, sec.kafka)
		}
		l.warnAsync(src, sec)
		l.warnFolders(src, sec)
		for j := range l.sources[:i] {
			l.warnOverlap(i, j)
		}
	}
	slices.SortStableFunc(l.cfg.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// warnAutoReplay notes an auto_replay that has nothing to do.
func (l *loader) warnAutoReplay() {
	callback := func(s Source) bool { return s.Mode == ModeCallback }
	if l.cfg.FailureLog.AutoReplay && !slices.ContainsFunc(l.cfg.Sources, callback) {
		l.note(l.top.place("failure_log.auto_replay"), "failure_log.auto_replay",
			"no source has mode callback: sync sends again by itself until a line is delivered, and async keeps no failed lines")
	}
}

// warnReadable notes a password in plain text in a file that others can read.
func (l *loader) warnReadable() {
	plain := l.kafka.ok("sasl.password") && !l.kafka.expanded["sasl.password"] && !l.cfg.Kafka.SASL.Password.IsZero()
	for i, sec := range l.sources {
		if sec.kafka != nil && sec.kafka.ok("sasl.password") && !sec.kafka.expanded["sasl.password"] {
			plain = plain || !l.cfg.Sources[i].Kafka.SASL.Password.IsZero()
		}
	}
	info, err := os.Stat(l.file)
	if err == nil && plain && info.Mode().Perm()&0o007 != 0 {
		l.cfg.warnings = append(l.cfg.warnings, Warning{File: l.file,
			Msg: fmt.Sprintf("other users can use this file, which holds a password (mode %04o); chmod 600", info.Mode().Perm())})
	}
}

// warnUnusedDefaults notes start values that no source takes.
func (l *loader) warnUnusedDefaults() {
	for i := range sourceRows {
		if r := &sourceRows[i]; l.defaults.ok(r.name) && r.at != nil && !l.used[r.name] {
			msg := "no source takes this start value: each names its own"
			if len(r.modes) > 0 {
				msg = "no source takes this start value: each names its own, or has another mode than " + strings.Join(r.modes, " or ")
			}
			l.note(l.defaults.place(r.name), l.defaults.path(r.name), msg)
		}
	}
}

// warnUnencrypted notes a login that shows its secret to the network.
func (l *loader) warnUnencrypted(k *Kafka, s *section) {
	m := k.SASL.Mechanism
	if (m == SASLPlain || m == SASLOAuthBearer) && !k.TLS.Enabled && (s.has("sasl") || s.has("tls")) {
		name := "sasl.mechanism"
		if !s.has(name) {
			name = "tls"
		}
		l.note(s.place(name), s.path(name), m+" without TLS sends the secret over the network as it is")
	}
}

// warnCredentials notes credentials of the global block that go to the brokers of a source's own.
func (l *loader) warnCredentials(src *Source, sec *sourceSection) {
	own := sec.kafka
	if own != nil && own.has("brokers") && !own.has("sasl") && l.kafka.has("sasl") && src.Kafka.SASL.Mechanism != SASLNone {
		l.note(own.place("brokers"), own.path("brokers"),
			"these brokers get the user and password of the global kafka.sasl; give the source its own sasl block, or sasl: {mechanism: none}")
	}
}

// warnAsync notes values that mean less under async than they say.
func (l *loader) warnAsync(src *Source, sec *sourceSection) {
	if src.Mode != ModeAsync {
		return
	}
	for name, value := range map[string]string{"on_oversize": src.OnOversize, "on_invalid_json": src.OnInvalidJSON} {
		if value == ActionFail && sec.ok(name) {
			l.note(sec.place(name), sec.path(name), "an async source has no failure log: fail means that the line is dropped and counted")
		}
	}
}

// warnFolders notes an include that names a folder: it would match no file, ever.
func (l *loader) warnFolders(src *Source, sec *sourceSection) {
	for _, p := range src.Include {
		if info, err := os.Stat(p); isLiteral(p) && err == nil && info.IsDir() {
			l.note(sec.place("include"), sec.path("include"), fmt.Sprintf("%s is a folder and not a file; did you mean %q?", p, p+"/*.log"))
		}
	}
}

// warnOverlap notes that two sources ship the same files, as far as the patterns alone show it.
func (l *loader) warnOverlap(i, j int) {
	a, b := &l.cfg.Sources[i], &l.cfg.Sources[j]
	for _, p := range a.Include {
		for _, q := range b.Include {
			same := p == q || (isLiteral(p) && matches(q, p)) || (isLiteral(q) && matches(p, q))
			if same && !excluded(b, p) && !excluded(a, q) {
				l.note(l.sources[i].place("include"), l.sources[i].path("include"),
					fmt.Sprintf("source %s matches the same files by %s as source %s by %s: each ships every line of them", a.ID, p, b.ID, q))
				return
			}
		}
	}
}

// isLiteral says that a pattern matches exactly one path.
func isLiteral(pattern string) bool { return !strings.ContainsAny(pattern, `*?[{\`) }

func matches(pattern, path string) bool {
	ok, err := doublestar.Match(pattern, path)
	return ok && err == nil
}

// excluded says that a source leaves out a path. A path that is a pattern is never left out.
func excluded(s *Source, path string) bool {
	return isLiteral(path) && slices.ContainsFunc(s.Exclude, func(p string) bool { return matches(p, path) })
}
