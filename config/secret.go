package config

import (
	"fmt"
	"log/slog"
)

// redacted stands for a secret wherever one would be printed.
const redacted = "<redacted>"

// Secret is a password that cannot reach a log by accident: every way of printing or encoding it
// gives "<redacted>". Only Reveal gives the text. The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt prints the raw content of unexported fields, whatever methods they
	// have: of a pointer it prints the address only.
	text *string
}

// NewSecret hides text. An empty text gives the zero Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal gives the secret text. Call it where the secret is handed to the connection, nowhere else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says that there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal compares two secrets by their text.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String gives "<redacted>", or "" where there is no secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) {
	// A fmt.State has no error that could be acted upon.
	_, _ = f.Write([]byte(s.String()))
}

// MarshalText is String, for JSON, XML and zap.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
