package config

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// scalar is one scalar value after the variables have been put in.
type scalar struct {
	text string
	node *yaml.Node
	// expanded is set when the text came from a variable, at least in part.
	expanded bool
}

// found words the value for a message.
func (s scalar) found() string {
	if s.expanded {
		return fmt.Sprintf("%s (from %s)", quote(s.text), s.node.Value)
	}
	return quote(s.text)
}

// foundType words the value where its type is wrong.
func (s scalar) foundType() string {
	if s.expanded {
		return s.found()
	}
	return describe(s.node, false)
}

// scalar reads the text of a scalar. want says what is expected in its place.
func (d *decoder) scalar(n *yaml.Node, key, want string, secret bool) (scalar, bool) {
	v := deref(n)
	switch {
	case isNull(v):
		d.fail(n, Error{Key: key, Msg: "the key has no value", Found: "nothing", Expected: want,
			Hint: "give it a value, or take the key out"})
		return scalar{}, false
	case v.Kind != yaml.ScalarNode:
		d.fail(n, Error{Key: key, Msg: "wrong type", Found: describe(v, secret), Expected: want})
		return scalar{}, false
	}
	switch v.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
	default:
		e := Error{Key: key, Msg: "YAML tags are not read", Found: quote(v.Tag), Expected: want, Hint: "take the tag out"}
		if secret {
			e.Found, e.Hint = "a word that begins with ! (not shown)", "put a value that begins with ! in quotes"
		}
		d.fail(n, e)
		return scalar{}, false
	}
	text, err := expand(v.Value, d.env)
	if err != nil {
		if secret {
			err = err.hidden()
		}
		d.fail(n, Error{Key: key, Msg: err.msg, Expected: want, Hint: err.hint})
		return scalar{}, false
	}
	return scalar{text: text, node: v, expanded: strings.Contains(v.Value, "${")}, true
}

// value reads the value of one key into dst. It reports what is wrong and says whether all is well.
func (d *decoder) value(r *row, e entry, sec *section, dst any) bool {
	key, n := sec.path(r.name), e.value
	if isNull(deref(n)) {
		if deref(n).Value == "" {
			n = e.key // an absent value has no place of its own
		}
		if r.isList() {
			return !r.required || d.refuse(n, key, Error{Msg: "the list is empty", Expected: r.want()})
		}
		return d.refuse(n, key, Error{Msg: "the key has no value", Found: "nothing", Expected: r.want(),
			Hint: "give it a value, or take the key out"})
	}
	switch r.kind {
	case kindBrokers, kindGlobs, kindExcludes:
		list, ok := d.list(r, n, key)
		if ok {
			*dst.(*[]string) = list
		}
		return ok
	case kindFields, kindHeaders:
		fields, ok := d.fields(r, n, key)
		if ok {
			*dst.(*[]Field) = fields
		}
		return ok
	}
	s, ok := d.scalar(n, key, r.want(), r.kind == kindSecret)
	if !ok {
		return false
	}
	sec.expanded[r.name] = s.expanded
	return d.single(r, s, n, key, dst)
}

// refuse notes a mistake and gives false.
func (d *decoder) refuse(n *yaml.Node, key string, e Error) bool {
	e.Key = key
	d.fail(n, e)
	return false
}

// single reads a value that is one scalar.
func (d *decoder) single(r *row, s scalar, n *yaml.Node, key string, dst any) bool {
	switch r.kind {
	case kindText, kindPath, kindSecret:
		return d.text(r, s, n, key, dst)
	case kindEnum:
		return d.enum(r, s, n, key, dst.(*string))
	case kindBool:
		b, ok := parseBool(s.text)
		if !ok || (isQuoted(s.node) && !s.expanded) {
			return d.refuse(n, key, Error{Msg: "wrong type", Found: s.foundType(), Expected: wantBool, Hint: boolHint(s, ok)})
		}
		*dst.(*bool) = b
		return true
	case kindInt:
		i, ok := parseInt(s.text)
		if !ok || (isQuoted(s.node) && !s.expanded) {
			hint := ""
			if ok {
				hint = "take the quotes out"
			}
			return d.refuse(n, key, Error{Msg: "wrong type", Found: s.foundType(), Expected: r.want(), Hint: hint})
		}
		return d.number(r, s, i, n, key, dst)
	case kindSize:
		i, err := parseSize(s.text)
		if err != nil {
			return d.refuse(n, key, Error{Msg: "bad size: " + err.Error(), Found: s.found(), Expected: wantSize})
		}
		return d.number(r, s, i, n, key, dst)
	default: // kindDuration
		t, err := parseDuration(s.text)
		if err != nil {
			return d.refuse(n, key, Error{Msg: "bad duration: " + err.Error(), Found: s.found(), Expected: wantDuration})
		}
		return d.number(r, s, int64(t), n, key, dst)
	}
}

func boolHint(s scalar, ok bool) string {
	switch strings.ToLower(s.text) {
	case "yes", "on", "1", "y":
		return didYouMean("true")
	case "no", "off", "0", "n":
		return didYouMean("false")
	}
	if ok {
		return "take the quotes out"
	}
	return ""
}

// text reads a text. Numbers are texts too; true and false are not, since they are most often meant
// for another key.
func (d *decoder) text(r *row, s scalar, n *yaml.Node, key string, dst any) bool {
	if s.node.ShortTag() == "!!bool" && r.kind != kindSecret {
		return d.refuse(n, key, Error{Msg: "wrong type", Found: s.found(), Expected: r.want(), Hint: "put it in quotes if the word is meant"})
	}
	if secret, ok := dst.(*Secret); ok {
		*secret = NewSecret(s.text)
		return true
	}
	if strings.ContainsAny(s.text, "\x00\n\r") {
		return d.refuse(n, key, Error{Msg: "more than one line", Found: s.found(), Expected: r.want()})
	}
	if r.check != nil {
		if wrong, expected := r.check(s.text); wrong != "" {
			return d.refuse(n, key, Error{Msg: wrong, Found: s.found(), Expected: expected})
		}
	}
	if r.kind == kindPath && s.text != "" {
		s.text = d.absolute(s.text)
	}
	*dst.(*string) = s.text
	return true
}

// enum reads one of the row's words.
func (d *decoder) enum(r *row, s scalar, n *yaml.Node, key string, dst *string) bool {
	for _, v := range r.values {
		if v == s.text {
			*dst = v
			return true
		}
	}
	meant := r.means[s.text]
	if meant == "" {
		meant = nearest(s.text, r.values)
	}
	found := s.found()
	if meant == "" && parent(r.name) == saslPrefix { // what is nothing like a mechanism may be the password
		found = "a text (not shown)"
	}
	return d.refuse(n, key, Error{Msg: "unknown value", Found: found, Expected: r.want(), Hint: didYouMean(meant)})
}

// number checks the bounds and stores the number by the type of dst.
func (d *decoder) number(r *row, s scalar, i int64, n *yaml.Node, key string, dst any) bool {
	if i < r.min || i > r.max {
		return d.refuse(n, key, Error{Msg: "out of range", Found: s.found(), Expected: r.bounds()})
	}
	switch p := dst.(type) {
	case *int:
		*p = int(i)
	case **int:
		v := int(i)
		*p = &v
	case **int32:
		v := int32(min(i, math.MaxInt32)) //nolint:gosec // r.max keeps it in range
		*p = &v
	case *time.Duration:
		*p = time.Duration(i)
	}
	return true
}

// isList says that the value is a list or a mapping, so that nothing at all is an empty one.
func (r *row) isList() bool {
	switch r.kind {
	case kindBrokers, kindGlobs, kindExcludes, kindFields, kindHeaders:
		return true
	}
	return false
}

// bounds words the range of a number.
func (r *row) bounds() string {
	show := func(i int64) string {
		switch r.kind {
		case kindSize:
			return formatSize(i)
		case kindDuration:
			return formatDuration(time.Duration(i))
		}
		return fmt.Sprint(i)
	}
	return "from " + show(r.min) + " to " + show(r.max)
}

// want words what a key's value must be.
func (r *row) want() string {
	switch r.kind {
	case kindBool:
		return wantBool
	case kindInt:
		return wantInt + " " + r.bounds()
	case kindSize:
		return wantSize
	case kindDuration:
		return wantDuration
	case kindEnum:
		return "one of " + strings.Join(r.values, ", ")
	case kindBrokers:
		return "a list of host:port, such as [kafka-1:9092, kafka-2:9092]"
	case kindGlobs, kindExcludes:
		return "a list of patterns, such as [/var/log/app/*.log]"
	case kindFields:
		return "a block of names and values, such as env: production"
	case kindHeaders:
		return "a block of names and texts, such as env: production"
	case kindPath:
		return "the name of a file or folder"
	case kindSecret:
		return "a text, best a variable such as ${KAFKA_PASSWORD}"
	}
	if r.check != nil {
		_, expected := r.check("") // no check takes an empty text
		return expected
	}
	return "a text"
}
