package config

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// section is what was read of one mapping: which keys it has, and where they stand.
type section struct {
	key  string     // full path, such as "sources[1]"; "" for the top level
	node *yaml.Node // the mapping, or where it should be
	keys map[string]*yaml.Node
	// values holds the keys whose value could be read; a key that is in keys only was refused.
	values map[string]*yaml.Node
	// expanded holds the keys whose value came from a variable.
	expanded map[string]bool
	// meant holds the keys that a misspelt key was most likely meant to be: they are not missing.
	meant map[string]bool
}

func newSection(key string, node *yaml.Node) *section {
	return &section{key: key, node: node, keys: map[string]*yaml.Node{},
		values: map[string]*yaml.Node{}, expanded: map[string]bool{}, meant: map[string]bool{}}
}

// has says that the key was given, well or not.
func (s *section) has(name string) bool { return s.keys[name] != nil }

// lacks says that the key was not given, and that no misspelt key stands for it.
func (s *section) lacks(name string) bool { return !s.has(name) && !s.meant[name] }

// ok says that the key was given and its value could be read.
func (s *section) ok(name string) bool { return s.values[name] != nil }

// place gives the node to point at for a key: its value, or the key, or else the mapping.
func (s *section) place(name string) *yaml.Node {
	if v := s.values[name]; v != nil && v.ShortTag() != "!!null" {
		return v
	}
	if k := s.keys[name]; k != nil {
		return k
	}
	return s.node
}

// path gives the full path of a key.
func (s *section) path(name string) string {
	if s.key == "" {
		return name
	}
	return s.key + "." + name
}

// decoder turns nodes into values and collects what is wrong with them.
type decoder struct {
	file string
	dir  string // relative paths are relative to it
	env  func(string) (string, bool)
	errs Errors
}

// fail notes a mistake at a node.
func (d *decoder) fail(n *yaml.Node, e Error) {
	e.File, e.Line, e.Column = d.file, max(n.Line, 1), max(n.Column, 1)
	d.errs = append(d.errs, &e)
}

// entry is one key of a mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries gives the keys of a mapping. It reports keys that are no text, that are given twice and
// merge keys, and leaves them out. A null node has no entries.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	n = deref(n)
	var out []entry
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := deref(n.Content[i]), n.Content[i+1]
		name := k.Value
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null":
			d.fail(n.Content[i], Error{Key: path, Msg: "a key must be a word", Found: describe(k, false),
				Hint: "put ${VAR} and %{host} in quotes; { begins a block"})
		case k.ShortTag() == "!!merge":
			d.fail(k, Error{Key: path, Msg: "merge keys (<<) are not read", Hint: "put what sources have in common under defaults"})
		case first[name] > 0:
			d.fail(k, Error{Key: join(path, keyOnly(name)), Msg: fmt.Sprintf("the key is given twice, first in line %d", first[name]),
				Hint: "take one of them out"})
		default:
			first[name] = max(k.Line, 1)
			out = append(out, entry{name, n.Content[i], v})
		}
	}
	return out
}

// block reads a mapping into target by the rows whose names begin with prefix. skip names a row that
// may not stand here, and why; it may be nil. Blocks of other tables are noted in sec and left to
// the caller.
func (d *decoder) block(n *yaml.Node, rows []row, prefix string, target any, sec *section, skip func(*row) string) {
	if !d.isMapping(n, strings.TrimSuffix(sec.path(prefix), "."), prefix == saslPrefix) {
		return
	}
	for _, e := range d.entries(n, strings.TrimSuffix(sec.path(prefix), ".")) {
		r := find(rows, prefix+e.name)
		if r == nil || strings.Contains(e.name, ".") {
			d.unknown(e, rows, prefix, sec)
			continue
		}
		sec.keys[r.name] = e.key
		if skip != nil {
			if why := skip(r); why != "" {
				d.fail(e.key, Error{Key: sec.path(r.name), Msg: why})
				continue
			}
		}
		switch r.kind {
		case kindBlock:
			sec.values[r.name] = e.value
			d.block(e.value, rows, r.name+".", target, sec, skip)
		case kindKafka, kindDefaults, kindSources:
			sec.values[r.name] = e.value
		default:
			if d.value(r, e, sec, r.at(target)) {
				sec.values[r.name] = e.value
			}
		}
	}
}

// isMapping reports a node that is no mapping. Nothing at all is an empty mapping: that is what is
// left when all keys of a block are commented out.
func (d *decoder) isMapping(n *yaml.Node, key string, secret bool) bool {
	v := deref(n)
	switch {
	case v.Kind == yaml.MappingNode && v.ShortTag() == "!!map", isNull(v):
		return true
	}
	d.fail(n, Error{Key: key, Msg: "this must be a block of keys", Found: describe(v, secret),
		Expected: "lines with key: value" + under(key)})
	return false
}

func under(key string) string {
	if key == "" {
		return ""
	}
	return ", indented under " + base(key) + ":"
}

// unknown reports a key that no row has.
func (d *decoder) unknown(e entry, rows []row, prefix string, sec *section) {
	near, hint := suggestKey(rows, prefix, e.name)
	name, expected := keyOnly(e.name), ""
	if near != "" {
		sec.meant[prefix+near] = true
		hint = didYouMean(near)
	} else {
		var names []string
		for _, r := range rows {
			if parent(r.name) == prefix {
				names = append(names, base(r.name))
			}
		}
		expected = "one of " + strings.Join(names, ", ")
	}
	if prefix == saslPrefix && near == "" && hint == "" { // what is nothing like a key may be the password
		d.fail(e.key, Error{Key: strings.TrimSuffix(sec.path(prefix), "."), Msg: "unknown key", Found: "a key (not shown)", Expected: expected})
		return
	}
	d.fail(e.key, Error{Key: sec.path(prefix + name), Msg: "unknown key", Found: quote(name), Expected: expected, Hint: hint})
}

// saslPrefix begins the names of the rows that are about passwords.
const saslPrefix = "sasl."

// keyOnly is the front of a key that may be one: in password:hunter2 and "password=hunter2" the value became part
// of the key.
func keyOnly(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
	})
	if end < 0 {
		return name
	}
	return name[:end] + "..."
}

// find gives the row of that name, or nil.
func find(rows []row, name string) *row {
	for i := range rows {
		if rows[i].name == name {
			return &rows[i]
		}
	}
	return nil
}

// deref follows an alias to what it stands for.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// join puts a name behind a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// describe says what a node is, in the words of the messages. A secret's text is left out.
func describe(n *yaml.Node, secret bool) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a block of keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case secret:
		return "a text (not shown)"
	case isQuoted(n):
		return quote(n.Value) + " (a text, since it is in quotes)"
	}
	return quote(n.Value)
}

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// quote shows a text in one short line.
func quote(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return fmt.Sprintf("%q and %d more characters", string(r[:most]), len(r)-most)
	}
	return fmt.Sprintf("%q", s)
}
