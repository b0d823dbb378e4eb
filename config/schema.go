package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object of the schema; encoding/json writes its keys sorted, so the schema is the
// same each time.
type object = map[string]any

// Schema gives the JSON Schema (draft 2020-12) of the configuration file, for editors. It is made
// from the table of keys. It says what a file may hold before its variables are expanded, so a value
// with a ${VAR} in it is a text wherever a number or a choice may stand. Load is stricter: it looks
// at what speaks about several keys or several sources.
func Schema() ([]byte, error) {
	root := blockSchema(topRows, "", nil)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["type"] = "object"
	root["title"] = "shiplog configuration"
	root["description"] = "Which log files shiplog ships to which Kafka topics, and how."
	root["required"] = []string{"sources"}
	root["$defs"] = object{
		"kafka":    kafkaSchema(),
		"source":   sourceSchema(),
		"defaults": blockSchema(sourceRows, "", func(r *row) bool { return !r.local }),
		"variable": object{"type": "string", "pattern": variablePattern, "description": "A text with ${VAR}, ${VAR:-default} or ${VAR:?message}."},
	}
	root["anyOf"] = []object{
		{"required": []string{"kafka"}, "properties": object{"kafka": object{"required": []string{"brokers"}}}},
		{"properties": object{"sources": object{"items": object{"required": []string{"kafka"},
			"properties": object{"kafka": object{"required": []string{"brokers"}}}}}}},
	}
	root["allOf"] = []object{unlessDefault("mode"), unlessDefault("topic")}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return b.Bytes(), nil
}

// Patterns of the schema; a regular expression there cannot ignore case.
const (
	variablePattern = `\$\{`
	sizePattern     = `^[0-9]+( ?([kKmMgGtT][iI]?)?[bB])?$`
	durationPattern = `^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))+)$`
)

// unlessDefault requires a key of each source unless `defaults` has it.
func unlessDefault(name string) object {
	return object{
		"if":   object{"required": []string{"defaults"}, "properties": object{"defaults": object{"type": "object", "required": []string{name}}}},
		"then": true,
		"else": object{"properties": object{"sources": object{"items": object{"required": []string{name}}}}},
	}
}

// blockSchema is the closed object of the rows at prefix; keep says which, nil: all.
func blockSchema(rows []row, prefix string, keep func(*row) bool) object {
	properties := object{}
	for i := range rows {
		r := &rows[i]
		if parent(r.name) != prefix || (keep != nil && !keep(r)) {
			continue
		}
		p := r.schema(rows)
		p["description"] = r.schemaDoc()
		properties[base(r.name)] = p
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// schemaDoc is the description that an editor shows.
func (r *row) schemaDoc() string {
	doc := r.doc
	if len(r.modes) > 0 {
		doc += " Only with mode: " + strings.Join(r.modes, " or ") + "."
	}
	if d := r.defaultText(); d != "" {
		doc += " Default: " + d + "."
	}
	return doc
}

// schema is the schema of one value.
func (r *row) schema(rows []row) object {
	switch r.kind {
	case kindBlock:
		b := blockSchema(rows, r.name+".", nil)
		addBlockRules(b, r.name)
		return b
	case kindKafka:
		return object{"$ref": "#/$defs/kafka"}
	case kindDefaults:
		return object{"$ref": "#/$defs/defaults"}
	case kindSources:
		return object{"type": "array", "minItems": 1, "items": object{"$ref": "#/$defs/source"}}
	case kindFields:
		return namesSchema("string", "number", "boolean", "null")
	case kindHeaders:
		return namesSchema("string", "number")
	case kindBrokers, kindGlobs, kindExcludes:
		list := object{"type": "array", "items": object{"type": "string", "minLength": 1}}
		if r.required {
			list["minItems"] = 1
			return object{"anyOf": []object{list, {"type": "string", "minLength": 1}}}
		}
		return object{"anyOf": []object{list, {"type": "string", "minLength": 1}, {"type": "null"}}}
	case kindSecret:
		return object{"type": []string{"string", "number", "boolean"}}
	case kindText, kindPath:
		if r.pattern == "" {
			return object{"type": []string{"string", "number"}}
		}
		return orVariable(object{"type": []string{"string", "number"}, "pattern": r.pattern})
	}
	return r.scalarSchema()
}

// namesSchema is a mapping of any names to scalars.
func namesSchema(types ...string) object {
	return object{"type": []string{"object", "null"}, "propertyNames": object{"minLength": 1}, "additionalProperties": object{"type": types}}
}

// orVariable also takes a text with a variable.
func orVariable(alternatives ...object) object {
	return object{"anyOf": append(alternatives, object{"$ref": "#/$defs/variable"})}
}

// scalarSchema is the schema of choices, numbers, sizes and durations.
func (r *row) scalarSchema() object {
	switch r.kind {
	case kindEnum:
		values := []any{}
		for _, v := range r.values {
			values = append(values, v)
			if n, err := strconv.Atoi(v); err == nil {
				values = append(values, n)
			}
		}
		return r.withDefault(orVariable(object{"enum": values}))
	case kindBool:
		return r.withDefault(orVariable(object{"type": "boolean"}))
	case kindInt:
		return r.withDefault(orVariable(object{"type": "integer", "minimum": r.min, "maximum": r.max}))
	case kindSize:
		return r.withDefault(orVariable(object{"type": "integer", "minimum": r.min, "maximum": r.max}, object{"type": "string", "pattern": sizePattern}))
	}
	alternatives := []object{{"type": "string", "pattern": durationPattern}}
	if r.min == 0 {
		alternatives = append(alternatives, object{"const": 0})
	}
	return r.withDefault(orVariable(alternatives...))
}

// withDefault names the default where it is one value for all modes.
func (r *row) withDefault(s object) object {
	d := r.defaultText()
	if r.unset != "" || d == "" || strings.Contains(d, "(") {
		return s
	}
	s["default"] = d
	if b, ok := parseBool(d); ok && r.kind == kindBool {
		s["default"] = b
	}
	if n, ok := parseInt(d); ok && r.kind == kindInt {
		s["default"] = n
	}
	return s
}

// addBlockRules adds what a block's keys demand of each other.
func addBlockRules(b object, name string) {
	together := func(keys ...string) object { return object{"not": object{"required": keys}} }
	switch name {
	case "key":
		b["minProperties"], b["maxProperties"], b["type"] = 1, 1, "object"
	case "timestamp":
		b["required"], b["type"] = []string{"field"}, "object"
	case "tls":
		b["if"], b["then"] = object{"minProperties": 1}, object{"required": []string{"enabled"}}
	case "sasl":
		b["if"], b["then"] = object{"minProperties": 1}, object{"required": []string{"mechanism"}}
		b["allOf"] = []object{together("password", "password_file")}
	}
}

func kafkaSchema() object { return blockSchema(kafkaRows, "", nil) }

// sourceSchema is one entry of `sources`, with what its mode rules out.
func sourceSchema() object {
	s := blockSchema(sourceRows, "", nil)
	s["type"] = "object"
	s["required"] = []string{"id", "include"}
	rules := []object{{"not": object{"required": []string{"key", "partition"}}}}
	for _, mode := range []string{ModeSync, ModeAsync, ModeCallback} {
		not := object{"acks": acksSchema(mode)}
		for _, r := range sourceRows {
			if parent(r.name) == "" && len(r.modes) > 0 && !slices.Contains(r.modes, mode) {
				not[r.name] = false
			}
		}
		rules = append(rules, object{
			"if":   object{"required": []string{"mode"}, "properties": object{"mode": object{"const": mode}}},
			"then": object{"properties": not},
		})
	}
	s["allOf"] = rules
	return s
}

// acksSchema is what acks may be under a mode.
func acksSchema(mode string) object {
	switch mode {
	case ModeSync:
		return orVariable(object{"const": AcksAll})
	case ModeAsync:
		return orVariable(object{"enum": []any{AcksNone, 0}})
	}
	return orVariable(object{"enum": []any{AcksAll, AcksLeader}})
}
