package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// list reads a list of texts. One text alone is a list of one; brokers may also be one text with
// commas, since that is what a variable can hold.
func (d *decoder) list(r *row, n *yaml.Node, key string) ([]string, bool) {
	v := deref(n)
	items, single := []*yaml.Node{n}, true
	if v.Kind == yaml.SequenceNode {
		items, single = v.Content, false
	}
	var out []string
	ok := true
	for i, item := range items {
		itemKey := key
		if !single {
			itemKey = fmt.Sprintf("%s[%d]", key, i)
		}
		s, good := d.scalar(item, itemKey, r.want(), false)
		if !good {
			ok = false
			continue
		}
		texts := []string{s.text}
		if r.kind == kindBrokers && single {
			texts = strings.Split(s.text, ",")
		}
		for _, text := range texts {
			text, good = d.item(r, strings.TrimSpace(text), s, item, itemKey)
			ok = ok && good
			out = append(out, text)
		}
	}
	if len(items) == 0 && r.required {
		return nil, d.refuse(n, key, Error{Msg: "the list is empty", Found: "[]", Expected: r.want()})
	}
	return out, ok
}

// item checks one text of a list.
func (d *decoder) item(r *row, text string, s scalar, n *yaml.Node, key string) (string, bool) {
	var wrong, expected, hint string
	switch r.kind {
	case kindBrokers:
		wrong, expected, hint = checkBroker(text)
	default:
		text, wrong, hint = d.pattern(text, r.kind == kindExcludes)
		expected = "a pattern such as /var/log/app/*.log or /var/log/**/*.log"
	}
	if wrong != "" {
		return "", d.refuse(n, key, Error{Msg: wrong, Found: withoutLogins(s.found()), Expected: expected, Hint: hint})
	}
	return text, true
}

// fields reads `fields` or `headers`.
func (d *decoder) fields(r *row, n *yaml.Node, key string) ([]Field, bool) {
	if v := deref(n); v.Kind != yaml.MappingNode || v.ShortTag() != "!!map" {
		return nil, d.refuse(n, key, Error{Msg: "wrong type", Found: describe(v, false), Expected: r.want()})
	}
	var out []Field
	before := len(d.errs)
	for _, e := range d.entries(n, key) {
		if e.name == "" {
			d.fail(e.key, Error{Key: key, Msg: "a name is empty", Found: `""`, Expected: "a name"})
			continue
		}
		if f, ok := d.field(r, e, join(key, e.name)); ok {
			out = append(out, f)
		}
	}
	return out, len(d.errs) == before
}

// field reads one entry of `fields` or `headers`.
func (d *decoder) field(r *row, e entry, key string) (Field, bool) {
	const anyScalar = "a text, a number, true, false or null"
	if r.kind == kindFields && isNull(deref(e.value)) {
		return Field{Name: e.name, JSON: "null"}, true
	}
	want := "a text"
	if r.kind == kindFields {
		want = anyScalar
	}
	n := e.value
	if isNull(deref(n)) {
		n = e.key
		return Field{}, d.refuse(n, key, Error{Msg: "the header has no value", Found: "nothing", Expected: want, Hint: `write "" for an empty one`})
	}
	s, ok := d.scalar(n, key, want, false)
	if !ok {
		return Field{}, false
	}
	if r.kind == kindFields {
		text, err := jsonScalar(s)
		if err != nil {
			return Field{}, d.refuse(n, key, Error{Msg: err.Error(), Found: s.found(), Expected: want, Hint: "put it in quotes if the text is meant"})
		}
		if text != "" {
			return Field{Name: e.name, JSON: text}, true
		}
	} else if s.node.ShortTag() == "!!bool" {
		return Field{}, d.refuse(n, key, Error{Msg: "wrong type", Found: s.found(), Expected: want, Hint: "put it in quotes: a header is text"})
	}
	t, err := ParseTemplate(s.text)
	if err != nil {
		return Field{}, d.refuse(n, key, templateMistake(err, s))
	}
	return Field{Name: e.name, Text: t}, true
}

// templateMistake words a bad %{...}.
func templateMistake(err error, s scalar) Error {
	e := Error{Msg: err.Error(), Found: s.found(), Expected: "%{" + strings.Join(placeholders, "}, %{") + "}"}
	var unknown *placeholderError
	if errors.As(err, &unknown) {
		if near := nearest(unknown.name, placeholders); near != "" {
			e.Hint = didYouMean("%{" + near + "}")
		} else {
			e.Hint = "for a variable of the environment write ${NAME}; for the characters %{ write %%{"
		}
	}
	return e
}

// jsonNumber is the grammar of a number in JSON.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// jsonScalar gives the JSON of a value that is a number, true, false or null, and "" for a text. What
// came from a variable gets the type that it would have if it stood there.
func jsonScalar(s scalar) (string, error) {
	if isQuoted(s.node) {
		return "", nil
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s.text}
	if !s.expanded {
		n = s.node
	}
	switch n.ShortTag() {
	case "!!null":
		if s.text == "" {
			return "", nil // an empty variable is an empty text
		}
		return "null", nil
	case "!!bool":
		b, _ := parseBool(s.text)
		return fmt.Sprint(b), nil
	case "!!int", "!!float":
		if jsonNumber.MatchString(s.text) {
			return s.text, nil // as written: 1.10 stays 1.10, and no digit is lost
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return "", errors.New("it is no number")
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return "", errors.New("JSON has no such number")
		}
		text, err := json.Marshal(v)
		return string(text), err
	}
	return "", nil
}

// marshalText gives a text as JSON, with <, > and & as they are.
func marshalText(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always has a JSON form
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
