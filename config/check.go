package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// check looks at what speaks about more than one key, once everything has been read.
func (l *loader) check() {
	l.checkTop()
	l.checkBrokers()
	l.checkBlocks(l.defaults, &l.start)
	ids := map[string]firstID{}
	for i, sec := range l.sources {
		src := &l.cfg.Sources[i]
		if isNull(deref(sec.node)) {
			l.fail(sec.node, Error{Key: sec.key, Msg: "the source is empty", Found: "nothing", Expected: "id, include, mode and topic"})
			continue
		}
		l.checkRequired(sec)
		l.checkDuplicate(src, sec, ids)
		l.checkModes(src, sec)
		l.checkBlocks(sec.section, src)
		l.checkCompression(src, sec)
		l.checkRetry(src, sec)
		l.checkHeaders(src, sec)
	}
}

func (l *loader) checkTop() {
	top := l.top
	if top.lacks("sources") {
		l.fail(top.node, Error{Key: "sources", Msg: "the key is missing", Expected: "a list of what to ship",
			Hint: "sources: [{id: app, include: [/var/log/app/*.log], mode: callback, topic: app}]"})
	} else if top.ok("sources") && len(l.sources) == 0 {
		l.fail(top.keys["sources"], Error{Key: "sources", Msg: "there are no sources", Found: "an empty list", Expected: "at least one source",
			Hint: "sources: [{id: app, include: [/var/log/app/*.log], mode: callback, topic: app}]"})
	}
	if top.has("data_dir") && top.ok("data_dir") && l.cfg.DataDir == "" {
		l.fail(top.place("data_dir"), Error{Key: "data_dir", Msg: "the key has no value", Found: `""`, Expected: "the name of a folder"})
	}
	if q, t := l.cfg.ShutdownQuiet, l.cfg.ShutdownTimeout; t > 0 && q >= t {
		l.together(top, "shutdown_quiet", "shutdown_timeout", fmt.Sprintf("shutdown_quiet (%s) must be shorter than shutdown_timeout (%s), or a stop can never end well",
			formatDuration(q), formatDuration(t)))
	}
	if s, m := l.cfg.FailureLog.SegmentBytes, l.cfg.FailureLog.MaxBytes; s > m {
		l.together(top, "failure_log.segment_bytes", "failure_log.max_bytes", fmt.Sprintf("segment_bytes (%s) must not be over max_bytes (%s)",
			formatSize(int64(s)), formatSize(int64(m))))
	}
}

// together reports two keys of a section that do not fit, at the one that was given.
func (l *loader) together(s *section, a, b, msg string) {
	if (s.has(a) && !s.ok(a)) || (s.has(b) && !s.ok(b)) {
		return // reported already
	}
	name := a
	if !s.has(a) {
		name = b
	}
	l.fail(s.place(name), Error{Key: s.path(name), Msg: msg})
}

// checkBrokers reports missing brokers: globally, unless every source has its own.
func (l *loader) checkBrokers() {
	if n := l.top.values["kafka"]; !l.kafka.lacks("brokers") || (n != nil && !isNull(deref(n)) && deref(n).Kind != yaml.MappingNode) {
		return
	}
	without := ""
	for _, sec := range l.sources {
		if sec.kafka == nil || sec.kafka.lacks("brokers") {
			without = sec.key
			break
		}
	}
	if without == "" && len(l.sources) > 0 {
		return
	}
	l.fail(l.kafka.node, Error{Key: "kafka.brokers", Msg: "the key is missing", Expected: find(kafkaRows, "brokers").want(),
		Hint: "kafka: {brokers: [localhost:9092]}"})
}

// checkRequired reports what a source lacks.
func (l *loader) checkRequired(sec *sourceSection) {
	if v := deref(sec.node); v.Kind != yaml.MappingNode || v.ShortTag() != "!!map" {
		return // no mapping: reported already
	}
	for i := range sourceRows {
		r := &sourceRows[i]
		if r.required && sec.lacks(r.name) && l.defaults.lacks(r.name) {
			hint := ""
			if !r.local {
				hint = "give it here, or for all sources under defaults"
			}
			l.fail(sec.node, Error{Key: sec.path(r.name), Msg: "the key is missing", Expected: r.want(), Hint: hint})
		}
	}
}

// firstID is where an id was given first.
type firstID struct {
	id   string
	line int
}

func (l *loader) checkDuplicate(src *Source, sec *sourceSection, ids map[string]firstID) {
	if !sec.ok("id") {
		return
	}
	// Ids name folders, and some file systems do not tell cases apart.
	id := strings.ToLower(src.ID)
	if first, taken := ids[id]; taken {
		e := Error{Key: sec.path("id"), Msg: fmt.Sprintf("two sources have the same id, the first in line %d", first.line),
			Found: quote(src.ID), Expected: "an id that no other source has"}
		if first.id != src.ID {
			e.Hint = "ids that differ in upper and lower case only count as the same"
		}
		l.fail(sec.place("id"), e)
		return
	}
	ids[id] = firstID{src.ID, sec.place("id").Line}
}

// modeKnown says whether the source's mode is there and good; without it nothing can be said about
// keys that depend on it.
func (l *loader) modeKnown(sec *sourceSection) bool {
	if sec.has("mode") {
		return sec.ok("mode")
	}
	return l.defaults.ok("mode")
}

// checkModes reports keys that the source itself gives and that its mode cannot have.
func (l *loader) checkModes(src *Source, sec *sourceSection) {
	if !l.modeKnown(sec) {
		return
	}
	for i := range sourceRows {
		r := &sourceRows[i]
		if len(r.modes) == 0 || slices.Contains(r.modes, src.Mode) || !sec.has(r.name) {
			continue
		}
		if p := parent(r.name); p != "" && sec.has(strings.TrimSuffix(p, ".")) {
			continue // reported for the whole block
		}
		l.fail(sec.keys[r.name], Error{Key: sec.path(r.name), Msg: fmt.Sprintf("%s is not possible under mode: %s", r.name, src.Mode),
			Found: "mode: " + src.Mode, Expected: "mode: " + strings.Join(r.modes, " or ") + ", or no " + r.name, Hint: r.why})
	}
	if sec.ok("acks") {
		l.checkAcks(src, sec)
	}
}

// checkAcks reports acks that the mode's contract rules out.
func (l *loader) checkAcks(src *Source, sec *sourceSection) {
	allowed, why := []string{AcksAll, AcksLeader}, "a callback source counts on the broker's answer; for no answers at all there is mode: async"
	switch src.Mode {
	case ModeSync:
		allowed, why = []string{AcksAll}, "a sync source promises that no line is lost, so every replica must have it; take the key out"
	case ModeAsync:
		allowed, why = []string{AcksNone}, "an async source does not wait for answers; take the key out, or use mode: callback"
	}
	if !slices.Contains(allowed, src.Acks) {
		l.fail(sec.place("acks"), Error{Key: sec.path("acks"), Msg: fmt.Sprintf("acks: %s is not possible under mode: %s", src.Acks, src.Mode),
			Found: src.Acks, Expected: strings.Join(allowed, " or "), Hint: why})
	}
}

// from gives the section that a value of a source stands in: its own, or the defaults block.
func (l *loader) from(sec *sourceSection, name string) *section {
	if sec.defaults[name] {
		return l.defaults
	}
	return sec.section
}

// checkBlocks looks at the `key` and `timestamp` blocks of a source or of the defaults, whose values
// are in src.
func (l *loader) checkBlocks(s *section, src *Source) {
	const want = "{field: NAME} or {file: true}"
	field, file := s.has("key.field"), s.has("key.file")
	switch {
	case field && file:
		l.fail(s.keys["key.file"], Error{Key: s.path("key"), Msg: "field and file cannot be given together", Expected: want})
	case isEmptyBlock(s.values["key"]):
		l.fail(s.keys["key"], Error{Key: s.path("key"), Msg: "the block says nothing", Expected: want, Hint: "take it out for records without a key"})
	case s.ok("key.file") && !src.Key.File:
		l.fail(s.place("key.file"), Error{Key: s.path("key.file"), Msg: "file: false gives no key", Expected: want, Hint: "take key out for records without a key"})
	}
	if s.has("key") && s.has("partition") {
		l.fail(s.keys["partition"], Error{Key: s.path("partition"), Msg: "key and partition cannot be given together",
			Hint: "a pinned source sends all lines to one partition, whatever their keys; take one of them out"})
	}
	if isEmptyBlock(s.values["timestamp"]) || (s.has("timestamp.format") && !s.has("timestamp.field")) {
		l.fail(s.keys["timestamp"], Error{Key: s.path("timestamp.field"), Msg: "the key is missing",
			Expected: "the name of the field that holds the time", Hint: "timestamp: {field: time}"})
	}
}

// isEmptyBlock says that a block was given and holds no key at all.
func isEmptyBlock(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	n = deref(n)
	return isNull(n) || (n.Kind == yaml.MappingNode && len(n.Content) == 0)
}

// checkCompression reports a level that the codec does not have.
func (l *loader) checkCompression(src *Source, sec *sourceSection) {
	level := src.CompressionLevel
	s := l.from(sec, "compression_level")
	if level == nil || (sec.has("compression") && !sec.ok("compression")) || (s == l.defaults && sec.index > 0) {
		return
	}
	most := map[string]int{"gzip": 9, "zstd": 22}[src.Compression]
	e := Error{Key: s.path("compression_level"), Found: fmt.Sprint(*level)}
	switch {
	case most == 0:
		e.Msg, e.Expected = "compression: "+src.Compression+" has no levels", "compression: gzip or zstd, or no compression_level"
	case *level > most:
		e.Msg, e.Expected = "out of range for compression: "+src.Compression, fmt.Sprintf("from 1 to %d", most)
	default:
		return
	}
	l.fail(s.place("compression_level"), e)
}

// checkRetry reports a first wait that is longer than the longest.
func (l *loader) checkRetry(src *Source, sec *sourceSection) {
	if src.Mode != ModeSync || src.Retry.InitialInterval <= src.Retry.MaxInterval {
		return
	}
	l.together(l.from(sec, "retry.initial_interval"), "retry.initial_interval", "retry.max_interval",
		fmt.Sprintf("initial_interval (%s) must not be over max_interval (%s)",
			formatDuration(src.Retry.InitialInterval), formatDuration(src.Retry.MaxInterval)))
}

// checkHeaders reports a header that has the name of provenance's own.
func (l *loader) checkHeaders(src *Source, sec *sourceSection) {
	taken := slices.ContainsFunc(src.Headers, func(f Field) bool { return f.Name == ProvenanceHeader })
	if !taken || src.Provenance == ProvenanceOff || sec.has("provenance") && !sec.ok("provenance") {
		return
	}
	l.fail(sec.place("headers"), Error{Key: sec.path("headers") + "." + ProvenanceHeader, Msg: "this header is the one that provenance adds",
		Expected: "another name", Hint: "or provenance: off"})
}
