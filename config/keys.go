package config

import (
	"fmt"
	"strings"
)

// Key documents one key of the configuration.
type Key struct {
	Path     string   // such as kafka.tls.ca_file or sources[].linger
	Type     string   // in words: text, size, duration, true or false, ...
	Default  string   // "" where the key is required or a block
	Required bool     //
	Allowed  []string // of a choice, its words
	Modes    []string // the modes that the key is for; empty: all
	Doc      string   // one line
}

// Keys lists every key, in the order of the documentation. A source's own `kafka` block has the keys
// of the global one, and `defaults` those of a source; they are listed once.
func Keys() []Key {
	var out []Key
	for _, r := range topRows {
		out = append(out, r.key(""))
		switch r.kind {
		case kindKafka:
			for _, k := range kafkaRows {
				out = append(out, k.key("kafka."))
			}
		case kindSources:
			for _, s := range sourceRows {
				out = append(out, s.key("sources[]."))
			}
		}
	}
	return out
}

func (r *row) key(prefix string) Key {
	return Key{Path: prefix + r.name, Type: r.typeWords(), Default: r.defaultText(), Required: r.required,
		Allowed: r.values, Modes: r.modes, Doc: r.doc}
}

// typeWords names the type of a key.
func (r *row) typeWords() string {
	switch r.kind {
	case kindText, kindSecret:
		return "text"
	case kindPath:
		return "path"
	case kindEnum:
		return "choice"
	case kindBool:
		return "true or false"
	case kindInt:
		return "whole number"
	case kindSize:
		return "size"
	case kindDuration:
		return "duration"
	case kindBrokers:
		return "list of host:port"
	case kindGlobs, kindExcludes:
		return "list of patterns"
	case kindFields:
		return "names and scalars"
	case kindHeaders:
		return "names and texts"
	case kindSources:
		return "list of blocks"
	}
	return "block"
}

// defaultText words the default of a key. Where it depends on the mode, it says so.
func (r *row) defaultText() string {
	switch {
	case r.unset != "":
		return r.unset
	case r.required || r.at == nil || r.kind == kindKafka:
		return ""
	}
	modes := r.modes
	if len(modes) == 0 {
		modes = []string{ModeSync, ModeAsync, ModeCallback}
	}
	var order []string
	by := map[string][]string{}
	for _, m := range modes {
		cfg := Defaults(m)
		v := r.format(r.at(&cfg))
		if by[v] == nil {
			order = append(order, v)
		}
		by[v] = append(by[v], m)
	}
	if len(order) == 1 {
		return order[0]
	}
	for i, v := range order {
		order[i] = fmt.Sprintf("%s (%s)", v, strings.Join(by[v], ", "))
	}
	return strings.Join(order, ", ")
}
