package config

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Redacted gives the effective configuration as YAML: all defaults applied, all variables expanded,
// every secret shown as "<redacted>". Apart from its secrets it loads as the same configuration.
func (c *Config) Redacted() string {
	root := mapping()
	printRows(root, topRows, "", c, nil)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	// Texts, numbers and lists of them always have a YAML form, and a buffer takes all.
	_ = enc.Encode(root)
	_ = enc.Close()
	return b.String()
}

// printRows puts the rows of one block into a mapping. keep says which rows to show; nil: all.
func printRows(to *yaml.Node, rows []row, prefix string, from any, keep func(*row) bool) {
	for i := range rows {
		r := &rows[i]
		if parent(r.name) != prefix || (keep != nil && !keep(r)) {
			continue
		}
		var n *yaml.Node
		switch r.kind {
		case kindBlock:
			n = mapping()
			printRows(n, rows, r.name+".", from, keep)
		case kindKafka:
			n = mapping()
			k := r.at(from).(*Kafka)
			printRows(n, kafkaRows, "", k, func(r *row) bool {
				return r.name != "sasl.password" || k.SASL.PasswordFile == ""
			})
		case kindSources:
			n = printSources(from.(*Config))
		case kindDefaults:
			continue // applied to each source
		default:
			n = r.node(r.at(from))
		}
		if n != nil && (n.Kind != yaml.MappingNode || len(n.Content) > 0) {
			to.Content = append(to.Content, text(base(r.name)), n)
		}
	}
}

// printSources shows each source with the keys that its mode has.
func printSources(c *Config) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range c.Sources {
		src := &c.Sources[i]
		n := mapping()
		printRows(n, sourceRows, "", src, func(r *row) bool {
			switch {
			case r.kind == kindKafka:
				return !sameKafka(src.Kafka, c.Kafka)
			case parent(r.name) == "timestamp.":
				return src.Timestamp.Field != ""
			case r.name == "key.file":
				return src.Key.File
			}
			return len(r.modes) == 0 || slices.Contains(r.modes, src.Mode)
		})
		list.Content = append(list.Content, n)
	}
	return list
}

// sameKafka says that a source uses the global block as it is.
func sameKafka(a, b Kafka) bool {
	if !slices.Equal(a.Brokers, b.Brokers) || !a.SASL.Password.Equal(b.SASL.Password) {
		return false
	}
	a.Brokers, b.Brokers = nil, nil
	a.SASL.Password, b.SASL.Password = Secret{}, Secret{}
	return a.ClientID == b.ClientID && a.Version == b.Version && a.DialTimeout == b.DialTimeout &&
		a.RequestTimeout == b.RequestTimeout && a.TLS == b.TLS && a.SASL == b.SASL
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

// text gives a node that is read as this text and nothing else.
func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// literal is text with the dollar signs doubled, so that reading it again expands nothing.
func literal(s string) *yaml.Node { return text(strings.ReplaceAll(s, "$", "$$")) }

// plain gives a node for a number or a word of YAML.
func plain(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// node shows the value at v; nil where there is none.
func (r *row) node(v any) *yaml.Node {
	switch v := v.(type) {
	case *string:
		switch {
		case r.name == "version" && *v == "":
			return text("auto")
		case *v == "":
			return nil
		}
		return literal(*v)
	case *Secret:
		if v.IsZero() {
			return nil
		}
		return text(v.String())
	case *[]string:
		if len(*v) == 0 {
			return nil
		}
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, s := range *v {
			list.Content = append(list.Content, literal(s))
		}
		return list
	case *[]Field:
		m := mapping()
		for _, f := range *v {
			value := plain(f.JSON)
			if f.JSON == "" {
				value = literal(f.Text.String())
			}
			m.Content = append(m.Content, text(f.Name), value)
		}
		return m
	}
	if s := r.format(v); s != "" {
		return plain(s)
	}
	return nil
}

// format shows a value of a single scalar type as it would be written; "" where there is none.
func (r *row) format(v any) string {
	switch v := v.(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case *time.Duration:
		return formatDuration(*v)
	case *int:
		if r.kind == kindSize {
			return formatSize(int64(*v))
		}
		return strconv.Itoa(*v)
	case **int:
		if *v != nil {
			return strconv.Itoa(**v)
		}
	case **int32:
		if *v != nil {
			return strconv.Itoa(int(**v))
		}
	}
	return ""
}
