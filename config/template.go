package config

import (
	"fmt"
	"strings"
)

// Vars are the values of the placeholders in fields and headers.
type Vars struct {
	Host     string // %{host}
	FilePath string // %{file.path}
	FileName string // %{file.name}
}

// placeholders are the names that may stand in %{...}.
var placeholders = []string{"host", "file.path", "file.name"}

// Template is a text with placeholders. The zero Template is the empty text.
type Template struct {
	source string
	parts  []templatePart
}

type templatePart struct {
	text string // literal text, or
	name string // the name of a placeholder
}

// ParseTemplate reads a text in which %{host}, %{file.path} and %{file.name} stand for values and %%
// for a percent sign. Any other percent sign stands for itself; an unknown %{...} is an error.
func ParseTemplate(s string) (Template, error) {
	t := Template{source: s}
	var lit strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "%%"):
			lit.WriteByte('%')
			i += 2
		case strings.HasPrefix(s[i:], "%{"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return Template{}, fmt.Errorf("%%{ without a closing }; write %%%%{ for the characters %%{")
			}
			name := s[i+2 : i+end]
			if !isPlaceholder(name) {
				return Template{}, &placeholderError{name}
			}
			if lit.Len() > 0 {
				t.parts = append(t.parts, templatePart{text: lit.String()})
				lit.Reset()
			}
			t.parts = append(t.parts, templatePart{name: name})
			i += end + 1
		default:
			lit.WriteByte(s[i])
			i++
		}
	}
	if lit.Len() > 0 {
		t.parts = append(t.parts, templatePart{text: lit.String()})
	}
	return t, nil
}

// placeholderError is an unknown name in %{...}.
type placeholderError struct{ name string }

func (e *placeholderError) Error() string { return fmt.Sprintf("unknown placeholder %%{%s}", e.name) }

func isPlaceholder(name string) bool {
	for _, p := range placeholders {
		if p == name {
			return true
		}
	}
	return false
}

// Constant says that the text has no placeholder.
func (t Template) Constant() bool {
	for _, p := range t.parts {
		if p.name != "" {
			return false
		}
	}
	return true
}

// PerFile says that the text depends on the file that a line came from.
func (t Template) PerFile() bool {
	for _, p := range t.parts {
		if strings.HasPrefix(p.name, "file.") {
			return true
		}
	}
	return false
}

// Expand puts the values in.
func (t Template) Expand(v Vars) string {
	var b strings.Builder
	for _, p := range t.parts {
		switch p.name {
		case "":
			b.WriteString(p.text)
		case "host":
			b.WriteString(v.Host)
		case "file.path":
			b.WriteString(v.FilePath)
		case "file.name":
			b.WriteString(v.FileName)
		}
	}
	return b.String()
}

// String gives the text as it was written, placeholders and all.
func (t Template) String() string { return t.source }

// Equal says that both were written alike.
func (t Template) Equal(o Template) bool { return t.source == o.source }

// Field is one entry of `fields` or `headers`.
type Field struct {
	Name string
	// JSON is the value where it is a number, true, false or null; "" where it is text.
	JSON string
	// Text is the value where it is text.
	Text Template
}

// Expand gives the value as text: of a header, or of a field that is text.
func (f Field) Expand(v Vars) string {
	if f.JSON != "" {
		return f.JSON
	}
	return f.Text.Expand(v)
}

// AppendJSON appends the value as JSON, without spaces.
func (f Field) AppendJSON(dst []byte, v Vars) []byte {
	if f.JSON != "" {
		return append(dst, f.JSON...)
	}
	return append(dst, marshalText(f.Text.Expand(v))...)
}
