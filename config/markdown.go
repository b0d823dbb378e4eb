package config

import (
	"fmt"
	"strings"
)

//go:generate go test . -run TestConfigurationDocument -update

// Markdown gives docs/CONFIGURATION.md, made from the table of keys.
func Markdown() string {
	var b strings.Builder
	b.WriteString(docHead)
	b.WriteString("## Top level\n\n")
	docTable(&b, topRows, "")
	docBlocks(&b, topRows, "", "")
	b.WriteString("## kafka\n\n" + docKafka)
	docTable(&b, kafkaRows, "")
	docBlocks(&b, kafkaRows, "", "kafka.")
	b.WriteString("## sources\n\n" + docSources)
	docTable(&b, sourceRows, "")
	docBlocks(&b, sourceRows, "", "sources[].")
	b.WriteString(docTail)
	return b.String()
}

// docBlocks writes a table for each block among the rows.
func docBlocks(b *strings.Builder, rows []row, prefix, path string) {
	for _, r := range rows {
		if r.kind == kindBlock && parent(r.name) == prefix {
			fmt.Fprintf(b, "### %s%s\n\n%s\n\n", path, r.name, r.doc)
			docTable(b, rows, r.name+".")
		}
	}
}

// docTable writes the table of one block.
func docTable(b *strings.Builder, rows []row, prefix string) {
	b.WriteString("| key | value | default | what it does |\n|---|---|---|---|\n")
	for i := range rows {
		r := &rows[i]
		if parent(r.name) == prefix {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", base(r.name), cell(r.docValue()), cell(r.docDefault()), cell(r.docText()))
		}
	}
	b.WriteString("\n")
}

// docValue names the type, and the words of a choice.
func (r *row) docValue() string {
	switch r.kind {
	case kindEnum:
		return "`" + strings.Join(r.values, "`, `") + "`"
	case kindInt:
		return fmt.Sprintf("%s, %d to %d", r.typeWords(), r.min, r.max)
	}
	return r.typeWords()
}

// docDefault shows a value as code, and words as they are.
func (r *row) docDefault() string {
	d := r.defaultText()
	switch {
	case r.required:
		return "**required**"
	case d == "" || strings.Contains(d, " ") || d == "none":
		return d
	}
	return "`" + d + "`"
}

// docText is the row's sentence, with the modes that it is for and an example.
func (r *row) docText() string {
	text := r.doc
	if len(r.modes) > 0 {
		text += " *Only with `mode: " + strings.Join(r.modes, "` or `") + "`.*"
	}
	if r.example != "" {
		text += " Example: `" + base(r.name) + ": " + r.example + "`"
	}
	return text
}

// cell makes a text fit into a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const docHead = `# Configuration

<!-- Made from the table of keys in config/ by "go generate ./config"; do not edit it by hand. -->

shiplog reads one YAML file: the one that ` + "`--config FILE`" + ` names, else ` + "`$SHIPLOG_CONFIG`" + `, else
` + "`/etc/shiplog/config.yaml`" + `. [config.example.yaml](../config.example.yaml) shows every key.
` + "`shiplog validate`" + ` checks a file, ` + "`shiplog print-config`" + ` shows it with all defaults and without its secrets,
and ` + "`shiplog schema`" + ` prints a JSON Schema that lets an editor complete and check keys.

The smallest file:

` + "```yaml" + `
kafka:
  brokers: [localhost:9092]
sources:
  - id: app
    include: [/var/log/app/*.log]
    mode: callback
    topic: app
` + "```" + `

The file is read strictly. An unknown key, a value of the wrong type or an option that a mode cannot have
is an error, with file, line and column, what was found and what is expected. All errors are reported at
once, and nothing starts while there is one.

## Values

| value | how it is written |
|---|---|
| duration | numbers with a unit: ` + "`ns`, `us`, `ms`, `s`, `m`, `h`, `d` (24h), `w` (7d); `1m30s` and `1.5h` too. `0` needs no unit" + ` |
| size | a whole number of bytes, or with a unit: ` + "`KiB`, `MiB`, `GiB`, `TiB` (1,024s) or `KB`, `MB`, `GB`, `TB` (1,000s)" + `, in upper or lower case |
| path | of a file or folder; a relative one is relative to the folder of the configuration file |
| pattern | a path with ` + "`*` and `?` within a name, `[a-z]`, `{a,b}`, and `**` alone between slashes for any number of folders" + `; relative as a path. ` + "`\\`" + ` takes the meaning from the next character |
| list | ` + "`[a, b]`" + ` or one ` + "`- a`" + ` a line; a single text is a list of one |
| true or false | without quotes; ` + "`yes` and `on`" + ` are errors |

### Variables

Variables of the environment are put into scalar values (not into keys) after the YAML has been parsed, so
whatever they hold stays one value, of the type that its key has:

| written | becomes |
|---|---|
| ` + "`${VAR}`" + ` | the value of VAR; an error when it is not set |
| ` + "`${VAR:-default}`" + ` | the value of VAR, or the default when VAR is not set or empty |
| ` + "`${VAR:?message}`" + ` | the value of VAR, or an error with the message when VAR is not set or empty |
| ` + "`$$`" + ` | a dollar sign; one that is followed by neither ` + "`{` nor `$`" + ` stands for itself |

A default is plain text up to the first ` + "`}`" + `; variables do not nest. Within ` + "`[ ]` and `{ }`" + `, put a value
with a variable in quotes. In ` + "`fields`" + `, a variable without quotes has the type that its value would have there:
` + "`port: ${PORT}`" + ` is a number, ` + "`port: \"${PORT}\"`" + ` a text.

### Secrets

Keep passwords out of the file: ` + "`password_file`" + ` names a file that holds it (newlines at its end are cut off), and
` + "`password: ${KAFKA_PASSWORD}`" + ` takes it from the environment. No secret is ever logged or printed. A password in
plain text, and a secret file that other users can read, get a warning.

`

const docKafka = `A source may have a ` + "`kafka`" + ` block of its own. Each key in it goes before the same key of the global block; keys
that it does not have come from the global block. ` + "`tls` and `sasl`" + ` count as one key each: a source that has its own
` + "`sasl`" + ` gets nothing of the global one, so that credentials are never mixed. ` + "`sasl: {mechanism: none}`" + ` turns a global
login off.

`

const docSources = `Each entry ships a set of files to one topic in one mode. ` + "`defaults`" + ` has the same keys but ` + "`id`, `include` and `kafka`" + `, and
its values are start values: a source that names the key itself takes its own value, as a whole (lists,
` + "`fields`, `headers`, `key` and `timestamp`" + ` are not merged). A start value that a source's mode has no use for, such as
` + "`retry`" + ` for a callback source, is passed over; the same key in the source itself is an error.

`

const docTail = `### Placeholders in fields and headers

` + "`%{host}`" + ` is the host's name, ` + "`%{file.path}`" + ` the full path of the file that the line came from, and ` + "`%{file.name}`" + `
the last part of that path. ` + "`%%`" + ` is a percent sign; one that is followed by neither ` + "`{` nor `%`" + ` stands for itself. An unknown
placeholder is an error. Begin a value with quotes when it begins with ` + "`%`" + `: YAML asks for that.

Values of ` + "`fields`" + ` keep their type: ` + "`shard: 7`" + ` ships the number 7, ` + "`shard: \"7\"`" + ` the text.
`
