package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration file, with all that is needed to mend it. It never holds
// a secret.
type Error struct {
	File         string // as it was given to Load
	Line, Column int    // from 1; both 0 when the file could not be read at all
	Key          string // the key's full path, such as sources[1].retry.max_interval; may be ""
	Msg          string // what is wrong
	Found        string // what stands there; may be ""
	Expected     string // what may stand there; may be ""
	Hint         string // how to mend it; may be ""
	Err          error  // the cause, such as fs.ErrNotExist; may be nil
}

// Error gives file:line:column and the message in the first line, and what was found, what is
// expected and how to mend it in lines of their own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(place(e.File, e.Line, e.Column))
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	for _, part := range [...]struct{ label, text string }{
		{"found:", e.Found}, {"expected:", e.Expected}, {"hint:", e.Hint},
	} {
		if part.text != "" {
			fmt.Fprintf(&b, "\n    %-9s %s", part.label, part.text)
		}
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// place is the head of a message: "file:line:column: ".
func place(file string, line, column int) string {
	if line == 0 {
		return file + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", file, line, column)
}

// Errors is all that is wrong with a configuration file, in the order of the file.
type Errors []*Error

// Error gives all messages, and how many there are when there is more than one.
func (es Errors) Error() string {
	parts := make([]string, 0, len(es)+1)
	for _, e := range es {
		parts = append(parts, e.Error())
	}
	if len(es) > 1 {
		parts = append(parts, fmt.Sprintf("%d errors in %s", len(es), es[0].File))
	}
	return strings.Join(parts, "\n")
}

// Unwrap gives each Error, for errors.Is and errors.As.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// sorted brings the errors into the order of the file.
func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return es
}

// Warning is something worth saying about a configuration that loads.
type Warning struct {
	File         string
	Line, Column int // 0 when it speaks about no single place
	Key          string
	Msg          string
}

// String gives file:line:column, the key and the message in one line.
func (w Warning) String() string {
	s := place(w.File, w.Line, w.Column)
	if w.Key != "" {
		s += w.Key + ": "
	}
	return s + w.Msg
}

// Warnings gives what is worth saying about the configuration though it loads, in the order of the
// file: a password in plain text, a secret file that others can read, two sources that match the
// same files.
func (c *Config) Warnings() []Warning { return slices.Clone(c.warnings) }
