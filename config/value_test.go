package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "5ms": 5 * time.Millisecond, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute,
		"7d": 168 * time.Hour, "2w": 336 * time.Hour, "3us": 3 * time.Microsecond, "3µs": 3 * time.Microsecond,
		"9ns": 9, "1d12h": 36 * time.Hour, ".5s": 500 * time.Millisecond,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "empty", "5": "the unit is missing", "s": "not a number", "-5s": "negative", "5 s": "spaces", "5x": "no unit of time",
		"5S": "no unit of time", "1..5s": "not a number", "soon": "not a number", "1e9s": "no unit of time", "300y": "no unit of time",
		"99999999999w": "too long", "1m5": "the unit is missing", "0x5s": "no unit of time", "NaNs": "not a number", "+5s": "not a number",
	} {
		if got, err := parseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "1MiB": 1 << 20, "1MB": 1e6, "512KiB": 512 << 10, "512 KiB": 512 << 10, "64mib": 64 << 20,
		"1kB": 1000, "3GiB": 3 << 30, "2TB": 2e12, "7B": 7,
	} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "empty", "MiB": "not a whole number", "1.5MiB": "not a whole number", "-1": "not a whole number", "1M": `did you mean "1MiB"`,
		"1k": `"1KB" (1000s)`, "1Mbit": "no unit of size", "1  MiB": "no unit of size", "99999999999999999999": "too large",
		"9999999999TiB": "too large", "0x10": "no unit of size", "1_000": "no unit of size",
	} {
		if got, err := parseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestFormatIsTheInverseOfParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.OneOf(rapid.Int64Range(0, century),
			rapid.Map(rapid.Int64Range(0, century/milli), func(ms int64) int64 { return ms * milli })).Draw(t, "duration"))
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%d as %s: got %d, %v", d, formatDuration(d), got, err)
		}
		n := rapid.OneOf(rapid.Int64Range(0, 1<<50), rapid.Map(rapid.Int64Range(0, 1<<20), func(n int64) int64 { return n * kib })).Draw(t, "size")
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Fatalf("%d as %s: got %d, %v", n, formatSize(n), got, err)
		}
	})
}

func TestFormatReadsWell(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 90 * time.Second: "1m30s", time.Hour: "1h", 36 * time.Hour: "36h",
		48 * time.Hour: "2d", 24 * time.Hour: "1d", 1500 * time.Millisecond: "1s500ms", 5 * time.Millisecond: "5ms"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 1 << 20: "1MiB", 1e6: "1MB", 1 << 30: "1GiB", 1500: "1500", 2000: "2KB", 3 << 40: "3072GiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "a", "EMPTY": "", "TRICK": "${A} $$ \"\n- x: y", "_x1": "under"}[name]
		return v, ok
	}
	for text, want := range map[string]string{
		"plain": "plain", "${A}": "a", "x${A}y${A}z": "xayaz", "${EMPTY}": "", "${EMPTY:-d}": "d", "${NONE:-d e}": "d e", "${A:-d}": "a",
		"${NONE:-}": "", "${A:?m}": "a", "$$": "$", "$${A}": "${A}", "$$$${A}": "$${A}", "pa$word": "pa$word", "$": "$", "a$": "a$",
		"$A": "$A", "${TRICK}": "${A} $$ \"\n- x: y", "${_x1}": "under", "${NONE:-$$5}": "$5", "%{host}": "%{host}", "${NONE:-a:b}": "a:b",
	} {
		if got, err := expand(text, env); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${NONE}": "variable NONE is not set", "${": "without a closing", "${A": "without a closing", "${}": "names no variable",
		"${1A}": "names no variable", "${A B}": "no form of a variable", "${A-b}": "no form", "${A:+b}": "no form",
		"${NONE:?say it}": "variable NONE is not set: say it", "${EMPTY:?}": "variable EMPTY is not set",
		"${NONE:-${A}}": "a variable within", "${ A}": "names no variable",
	} {
		got, err := expand(text, env)
		if err == nil || !strings.Contains(err.msg, want) || err.hint == "" {
			t.Errorf("%q: got %q, %v, want an error with %q and a hint", text, got, err, want)
		}
	}
}

// What a variable holds stays one value: it never becomes YAML, a list or another variable.
func TestVariableInjectsNothing(t *testing.T) {
	testEnv["TRICK"] = "x: [1] # ${A}\n- y"
	t.Cleanup(func() { delete(testEnv, "TRICK") })
	c := read(t, withSource("async", "fields: {t: \"${TRICK}\", n: \"${NUMBER}\"}", "headers: {t: \"${TRICK}\"}"))
	want := `t="x: [1] # ${A}\n- y" n="42"`
	if got := jsonAll(c.Sources[0].Fields); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := expandAll(c.Sources[0].Headers); got != "t="+testEnv["TRICK"] {
		t.Errorf("got %s", got)
	}
}

func TestVariableHasTheTypeThatItsKeyWants(t *testing.T) {
	testEnv["YES"], testEnv["LIST"] = "true", "a:1, b:2"
	t.Cleanup(func() { delete(testEnv, "YES"); delete(testEnv, "LIST") })
	c := read(t, strings.Replace(withSource("sync", `max_batch_lines: "${NUMBER}"`, "poll: ${YES}", "linger: ${NUMBER}ms", "partition: ${NUMBER}",
		"fields:", "  n: ${NUMBER}", "  b: ${YES}", "  t: '${NUMBER}'", "  e: ${EMPTY}", "  p: x${NUMBER}"),
		"[localhost:9092]", "${LIST}", 1))
	s := c.Sources[0]
	if s.MaxBatchLines != 42 || !s.Poll || s.Linger != 42*time.Millisecond || *s.Partition != 42 {
		t.Errorf("got %+v", s)
	}
	if diff := cmp.Diff([]string{"a:1", "b:2"}, c.Kafka.Brokers); diff != "" {
		t.Error(diff)
	}
	if got, want := jsonAll(s.Fields), `n=42 b=true t="42" e="" p="x42"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFieldsKeepTheirJSONType(t *testing.T) {
	c := read(t, withSource("async", `fields: {i: 7, neg: -0, f: 1.10, exp: 1e3, dot: .5, plus: +5, hex: 0x1F, oct: 0o17, under: 1_000,
      big: 123456789012345678901234567890, yes: yes, t: true, up: FALSE, z: ~, q: "7", html: "<a&b>", date: 2026-01-02, uni: "é\t"}`))
	want := `i=7 neg=-0 f=1.10 exp=1e3 dot=0.5 plus=5 hex=31 oct=15 under=1000 big=123456789012345678901234567890 ` +
		`yes="yes" t=true up=false z=null q="7" html="<a&b>" date="2026-01-02" uni="é\t"`
	if got := jsonAll(c.Sources[0].Fields); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "x": "x", "%{host}": "h", "%{file.path}": "/d/f.log", "%{file.name}": "f.log", "a%{host}b%{host}": "ahbh",
		"100%": "100%", "%%": "%", "%%{host}": "%{host}", "%%%{host}": "%h", "%h": "%h", "{host}": "{host}",
	} {
		tpl, err := ParseTemplate(text)
		if err != nil || tpl.Expand(testVars) != want {
			t.Errorf("%q: got %q, %v, want %q", text, tpl.Expand(testVars), err, want)
		}
		if tpl.String() != text {
			t.Errorf("String of %q is %q", text, tpl)
		}
	}
	for _, text := range []string{"%{", "%{host", "%{}", "%{hosts}", "%{file}", "%{ host }"} {
		if _, err := ParseTemplate(text); err == nil {
			t.Errorf("%q is no template", text)
		}
	}
	var unknown *placeholderError
	if _, err := ParseTemplate("%{nmae}"); !errors.As(err, &unknown) || unknown.name != "nmae" {
		t.Errorf("got %v", err)
	}
}

func TestTemplateSaysWhatItDependsOn(t *testing.T) {
	for text, want := range map[string][2]bool{ // constant, per file
		"x %%{host}": {true, false}, "%{host}": {false, false}, "%{file.path}": {false, true}, "%{host}%{file.name}": {false, true},
	} {
		tpl, err := ParseTemplate(text)
		if got := [2]bool{tpl.Constant(), tpl.PerFile()}; err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"compression", "compression_level", "include", "exclude", "key", "linger"}
	for word, want := range map[string]string{"compresion": "compression", "inlcude": "include", "Include": "include", "compressionLevel": "compression_level",
		"compression-level": "compression_level", "keys": "key", "zebra": "", "": "", "excludes": "exclude", "k": "", "exc": "exclude"} {
		if got := nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if d := distance("abcd", "acbd"); d != 1 {
		t.Errorf("a swap counts %d", d)
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("kitten to sitting counts %d", d)
	}
}
