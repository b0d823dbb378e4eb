package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile bounds the configuration file: one that is larger is another file by mistake.
const maxFile = 4 * mib

// parseYAML gives the root of the only document in data, or the one error that keeps it from being
// read.
func parseYAML(file string, data []byte) (*yaml.Node, *Error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, emptyFile(file)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, emptyFile(file) // comments only
	}
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, emptyFile(file)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		e := &Error{File: file, Line: 1, Column: 1, Msg: "a second YAML document begins in the file",
			Found: "--- between two documents", Expected: "one document", Hint: "take out the line with ---"}
		if err == nil {
			e.Line, e.Column = more.Line, max(more.Column, 1)
		} else {
			e.Line = separatorLine(data)
		}
		return nil, e
	}
	return root, nil
}

func emptyFile(file string) *Error {
	return &Error{File: file, Line: 1, Column: 1, Msg: "the file is empty",
		Expected: "at least kafka.brokers and one source",
		Hint:     "begin with a copy of config.example.yaml, or see docs/CONFIGURATION.md"}
}

// separatorLine gives the line of the second document's separator.
func separatorLine(data []byte) int {
	content := false
	for i, line := range bytes.Split(data, []byte("\n")) {
		if bytes.HasPrefix(line, []byte("---")) && content {
			return i + 1
		}
		line = bytes.TrimSpace(line)
		content = content || len(line) > 0 && line[0] != '#'
	}
	return 1
}

// yamlPrefix is what yaml.v3 puts before its messages. Its line is not used: for most mistakes it is
// the line where the enclosing block begins, or the one before the mistake.
var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// anchorName is the only text of the file that the messages quote: a password that begins with * is taken for
// an alias.
var anchorName = regexp.MustCompile(`(?s)anchor '.*'`)

// syntaxError says where the YAML itself is broken.
func syntaxError(file string, data []byte, err error) *Error {
	msg := yamlPrefix.ReplaceAllString(err.Error(), "")
	msg = anchorName.ReplaceAllString(msg, "anchor")
	line := brokenLine(data)
	text := lineOf(data, line)
	indent, _ := leading(text, " \t")
	e := &Error{File: file, Line: line, Column: len(indent) + 1, Msg: "this is not YAML: " + msg, Hint: syntaxHint(msg)}
	if strange := strings.IndexFunc(text, isStrange); strange >= 0 {
		e.Column = strange + 1
	}
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
		e.Column = tab + 1
		e.Found, e.Expected, e.Hint = "a tab in the indentation", "spaces", "replace the tab by spaces"
	}
	return e
}

// syntaxHint says in plain words what a message of the YAML parser most often means.
func syntaxHint(msg string) string {
	for _, h := range [...]struct{ part, hint string }{
		{"mapping values are not allowed", `put a value that holds ": " in quotes, or look at the indentation of this line`},
		{"cannot start any token", "put a value that begins with %, @ or ` in quotes"},
		{"did not find expected ',' or", "close the list with ] or the block with }; within them, put ${VAR} and %{host} in quotes"},
		{"flow", "close the list with ] or the block with }; within them, put ${VAR} and %{host} in quotes"},
		{"end of stream", "close the quotes"},
		{"unknown anchor", "put a value that begins with * in quotes"},
		{"alphabetic or numeric character", "put a value that begins with * or & in quotes"},
		{"unknown escape", `a backslash within " " begins an escape; write \\ or use ' '`},
		{"UTF-8", "save the file as UTF-8"},
		{"control characters", "take the control character out"},
	} {
		if strings.Contains(msg, h.part) {
			return h.hint
		}
	}
	return "look at the indentation of this line and of the one before it"
}

// brokenLine gives the line where the document stops being YAML: the one behind the longest run of
// lines, from the start, that can be read alone.
func brokenLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	end := len(data)
	for n := len(lines); n > 0; n-- {
		end -= len(lines[n-1])
		// Each try reads the file again, so a very long file gets its last lines checked only.
		if len(lines)-n > 2000 {
			return n
		}
		var probe yaml.Node
		if yaml.Unmarshal(data[:end], &probe) == nil {
			return n
		}
	}
	return 1
}

// isStrange says that a character may not stand in YAML; so does a byte that is not UTF-8.
func isStrange(r rune) bool { return r == utf8.RuneError || (r < ' ' && r != '\t') || r == 0x7f }

func lineOf(data []byte, line int) string {
	lines := bytes.SplitN(data, []byte("\n"), line+1)
	if line > len(lines) {
		return ""
	}
	return strings.TrimSuffix(string(lines[line-1]), "\r")
}
