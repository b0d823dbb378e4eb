package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"
)

// Load reads the configuration file at path, with the variables of the process's environment and the
// secrets in the files that it names. A relative path within it is relative to its folder.
//
// Everything that is wrong comes at once, as Errors in the order of the file. A file that cannot be
// read is an Errors too, and errors.Is finds the cause (fs.ErrNotExist and so on).
func Load(path string) (*Config, error) {
	data, err := readConfig(path)
	if err != nil {
		return nil, Errors{err}
	}
	return parse(path, data, os.LookupEnv)
}

// readConfig reads the file, with a message of its own for what most often goes wrong.
func readConfig(path string) ([]byte, *Error) {
	e := &Error{File: path}
	f, err := os.Open(path)
	if err != nil {
		e.Err = err
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Msg, e.Hint = "there is no such file", "name the configuration with --config FILE or in $SHIPLOG_CONFIG"
		case errors.Is(err, fs.ErrPermission):
			e.Msg, e.Hint = "no permission to read the file", "let the user that shiplog runs as read it"
		default:
			e.Msg = "cannot read the file: " + cause(err)
		}
		return nil, e
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		e.Msg, e.Err = "cannot read the file: "+cause(err), err
		return nil, e
	case info.IsDir():
		e.Msg, e.Expected, e.Hint = "this is a folder", "one YAML file", didYouMean(filepath.Join(path, "config.yaml"))
		return nil, e
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		e.Msg, e.Err = "cannot read the file: "+cause(err), err
	case len(data) > maxFile:
		e.Msg, e.Expected = "the file is too large for a configuration", "at most "+formatSize(maxFile)
	default:
		return data, nil
	}
	return nil, e
}

// cause gives an error without the path that stands in the message already.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// loader puts a Config together from the sections of the file.
type loader struct {
	decoder
	cfg      *Config
	top      *section
	kafka    *section // the global block; empty when there is none
	defaults *section
	start    Source // the values of the defaults block
	used     map[string]bool
	sources  []*sourceSection
}

// sourceSection is one entry of `sources`, with what it got from the defaults block.
type sourceSection struct {
	*section
	index    int
	kafka    *section // its own block, or nil
	defaults map[string]bool
}

// parse is Load without the file system's part of it.
func parse(file string, data []byte, env func(string) (string, bool)) (*Config, error) {
	root, broken := parseYAML(file, data)
	if broken != nil {
		return nil, Errors{broken}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, Errors{{File: file, Msg: "cannot tell the folder of the file: " + err.Error(), Err: err}}
	}
	cfg := Defaults("")
	cfg.Path, cfg.Sources = abs, nil
	l := &loader{decoder: decoder{file: file, dir: filepath.Dir(abs), env: env}, cfg: &cfg, used: map[string]bool{}}
	if l.isMapping(root, "", false) {
		l.readTop(root)
		l.check()
	}
	if len(l.errs) > 0 {
		return nil, l.errs.sorted()
	}
	l.warn()
	return l.cfg, nil
}

// readTop reads the whole file; what speaks about more than one key is left to check.
func (l *loader) readTop(root *yaml.Node) {
	l.top = newSection("", root)
	l.block(root, topRows, "", l.cfg, l.top, nil)
	l.kafka = newSection("kafka", l.top.place("kafka"))
	if n := l.top.values["kafka"]; n != nil {
		l.block(n, kafkaRows, "", &l.cfg.Kafka, l.kafka, nil)
	}
	l.finishKafka(&l.cfg.Kafka, l.kafka)
	l.defaults = newSection("defaults", root)
	l.start = Defaults("").Sources[0]
	if n := l.top.values["defaults"]; n != nil {
		l.block(n, sourceRows, "", &l.start, l.defaults, func(r *row) string {
			if r.local {
				return r.name + " cannot have a start value: each source names its own"
			}
			return ""
		})
	}
	if n := l.top.values["sources"]; n != nil {
		l.readSources(n)
	}
}

// readSources reads the list of sources.
func (l *loader) readSources(n *yaml.Node) {
	v := deref(n)
	if v.Kind != yaml.SequenceNode || v.ShortTag() != "!!seq" {
		if isNull(v) {
			return // check says that there are none
		}
		l.fail(n, Error{Key: "sources", Msg: "wrong type", Found: describe(v, false), Expected: "a list of sources, each beginning with a hyphen",
			Hint: "put a hyphen before the first key of each source: - id: ..."})
		delete(l.top.values, "sources")
		return
	}
	for i, item := range v.Content {
		sec := &sourceSection{section: newSection(fmt.Sprintf("sources[%d]", i), item), index: i, defaults: map[string]bool{}}
		l.sources = append(l.sources, sec)
		l.cfg.Sources = append(l.cfg.Sources, l.readSource(item, sec))
	}
}

// readSource reads one source and puts the start values under it: its mode's, then those of the
// defaults block.
func (l *loader) readSource(n *yaml.Node, sec *sourceSection) Source {
	own := Defaults("").Sources[0]
	l.block(n, sourceRows, "", &own, sec.section, nil)
	mode := own.Mode
	if !sec.has("mode") {
		mode = l.start.Mode
	}
	src := Defaults(mode).Sources[0]
	src.Kafka = l.cfg.Kafka
	for i := range sourceRows {
		r := &sourceRows[i]
		switch {
		case r.kind == kindKafka || r.kind == kindBlock:
		case sec.ok(r.name):
			assign(r, &src, &own)
		case l.defaults.ok(r.name) && sec.takes(r, mode):
			assign(r, &src, &l.start)
			sec.defaults[r.name], l.used[r.name] = true, true
		}
	}
	if kafka := sec.values["kafka"]; kafka != nil {
		src.Kafka = l.readOwnKafka(kafka, sec)
	}
	return src
}

// takes says whether a source takes the start value of a key: not when its mode has no such key, and
// not when the source itself says something that belongs together with it.
func (s *sourceSection) takes(r *row, mode string) bool {
	if len(r.modes) > 0 && !slices.Contains(r.modes, mode) {
		return false
	}
	if r.name == "acks" && mode != ModeCallback {
		return false
	}
	for _, block := range []string{"key", "timestamp"} {
		if parent(r.name) == block+"." && s.has(block) {
			return false
		}
	}
	switch r.name {
	case "key.field", "key.file":
		return !s.has("partition")
	case "partition":
		return !s.has("key")
	case "compression_level":
		return !s.has("compression")
	}
	return !s.has(r.name)
}

// assign copies the value of one key.
func assign(r *row, dst, src any) {
	reflect.ValueOf(r.at(dst)).Elem().Set(reflect.ValueOf(r.at(src)).Elem())
}

// readOwnKafka reads a source's own kafka block and puts it over the global one, key by key. tls and
// sasl count as one key each: credentials belong together and are never mixed.
func (l *loader) readOwnKafka(n *yaml.Node, sec *sourceSection) Kafka {
	own := Defaults("").Kafka
	sec.kafka = newSection(sec.path("kafka"), n)
	l.block(n, kafkaRows, "", &own, sec.kafka, nil)
	l.finishKafka(&own, sec.kafka)
	k := l.cfg.Kafka
	for i := range kafkaRows {
		r := &kafkaRows[i]
		whole := parent(r.name) != "" && sec.kafka.has(parent(r.name)[:len(parent(r.name))-1])
		if r.at != nil && (whole || sec.kafka.ok(r.name)) {
			assign(r, &k, &own)
		}
	}
	return k
}
