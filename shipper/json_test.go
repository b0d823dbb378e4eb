package shipper

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
)

// jsonSeeds are inputs at the edges of the grammar.
var jsonSeeds = []string{
	"", " ", "null", "true", "false", "tru", "nul", "truex", "null null", `"a"`, `"a`, `"`, `"\"`, `"\x"`, `"\u12"`,
	`"\u12G4"`, `"\u00e9\ud83d"`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\xfe\"", "\"tab\there\"", "0", "-0", "01",
	"-", "-1", "1.", "1.5", ".5", "1e", "1e+", "1e5", "1E-5", "1.e5", "+1", "1 2", "[]", "[ ]", "[1]", "[1,]", "[,1]",
	"[1 2]", "[1,2", "[", "]", "{}", "{ }", `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a" : 1 , "b" : [ ] }`,
	`{a:1}`, `{"a":1}}`, `[{]}`, "{\"a\"\n:\r\t1}", "\v1", "\ufeff{}", `{"a":{"b":{"c":[1,2,{"d":null}]}}}`, "[[]]]",
	`"12345678901234567890\n"`, `"1234567\\"`, `"1234567\"`, "\"12345678\x1f\"", "\"\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\"",
}

func TestValidJSONAgreesWithEncodingJSON(t *testing.T) {
	seeds := append([]string{sampleLine}, jsonSeeds...)
	for _, n := range []int{1, 63, 64, 65, 128, 129, 9999, 10000, 10001} {
		seeds = append(seeds, strings.Repeat("[", n)+strings.Repeat("]", n), strings.Repeat(`{"a":[`, n/2)+"1"+strings.Repeat("]}", n/2),
			strings.Repeat("[", n)+strings.Repeat("}", n), strings.Repeat("[[],", n)+"1"+strings.Repeat("]", n))
	}
	for i := range sampleLine { // every prefix, and every byte made wrong
		seeds = append(seeds, sampleLine[:i], sampleLine[:i]+"\x01"+sampleLine[i+1:], sampleLine[:i]+`"`+sampleLine[i+1:])
	}
	for _, s := range seeds {
		if got, want := validJSON([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.80q: got %v, want %v", s, got, want)
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	f.Add([]byte(sampleLine))
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if got, want := validJSON(p), json.Valid(p); got != want {
			t.Fatalf("%q: got %v, want %v", p, got, want)
		}
	})
}

func TestValidJSONNeitherAllocatesNorRecurses(t *testing.T) {
	deep := bytes.Repeat([]byte("["), 1<<20)
	text := []byte("[INFO] plain text")
	if n := testing.AllocsPerRun(10, func() { validJSON([]byte(sampleLine)); validJSON(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if validJSON(deep) {
		t.Error("a million open arrays passed for JSON")
	}
}

func FuzzWrapIsReadAsEncodingJSONWouldReadIt(f *testing.F) {
	for _, s := range append([]string{"plain", "\xff\xfe", "a\x00b", "q\"b\\s", "\u2028", "\xed\xa0\x80", "<&>"}, jsonSeeds...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got := appendWrapped(nil, line, `,"env":"prod"}`)
		var v struct{ Message, Env string }
		if err := json.Unmarshal(got, &v); err != nil {
			t.Fatalf("%q becomes %q: %v", line, got, err)
		}
		want, _ := json.Marshal(string(line))
		var ref string
		if err := json.Unmarshal(want, &ref); err != nil {
			t.Fatal(err)
		}
		if v.Message != ref || v.Env != "prod" || !utf8.Valid(got) {
			t.Fatalf("%q: got %q, want %q", line, v.Message, ref)
		}
	})
}

func TestFieldsStandInFrontOfTheObjectsOwn(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{`{"a":1}`, `{"env":"prod","n":7,"a":1}`},
		{`{}`, `{"env":"prod","n":7}`},
		{` { } `, `{"env":"prod","n":7 } `},
		{"\t{\n\"a\":{}}", "{\"env\":\"prod\",\"n\":7,\n\"a\":{}}"},
		{`{"env":"own"}`, `{"env":"prod","n":7,"env":"own"}`},
	} {
		got := string(appendSpliced(nil, []byte(tt.line), `"env":"prod","n":7`))
		if got != tt.want || !json.Valid([]byte(got)) {
			t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
		}
	}
	var v map[string]any
	if err := json.Unmarshal(appendSpliced(nil, []byte(`{"env":"own"}`), `"env":"prod"`), &v); err != nil || v["env"] != "own" {
		t.Errorf("the application's own value must win for most readers: %v, %v", v, err)
	}
}

func TestKeyOf(t *testing.T) {
	for _, tt := range []struct {
		path, line string
		want       []byte
	}{
		{"user.id", `{"user":{"id":"u-1"}}`, []byte("u-1")},
		{"user.id", `{"user":{"id":17}}`, []byte("17")},
		{"user.id", `{"user":{"id":""}}`, []byte{}},
		{"user.id", `{"user":{"id":null}}`, nil},
		{"user.id", `{"user":"x"}`, nil},
		{"user.id", `{"user.id":"flat"}`, nil},
		{"id", `{"id":{"a":1}}`, []byte(`{"a":1}`)},
		{"id", `{"id":true}`, []byte("true")},
		{"id", `{"id":"caf\u00e9\n"}`, []byte("café\n")},
		{"id", `{"id":1,"id":2}`, []byte("1")},
		{"@timestamp", `{"@timestamp":"t"}`, []byte("t")},
		{"@this", `{"@this":"t"}`, []byte("t")},
		{"a.@keys", `{"a":{"@keys":"t"}}`, []byte("t")},
		{"a*", `{"ab":1,"a*":2}`, []byte("2")},
		{"a|b", `{"a|b":2}`, []byte("2")},
		{"#", `{"#":2}`, []byte("2")},
		{"a b-c_d", `{"a b-c_d":2}`, []byte("2")},
		{"!x", `{"!x":2}`, []byte("2")},
		{"{a", `{"{a":2}`, []byte("2")},
		{"x.[a]", `{"x":{"[a]":2}}`, []byte("2")},
		{`back\slash`, `{"back\\slash":2}`, []byte("2")},
	} {
		got := keyOf([]byte(tt.line), fieldPath(tt.path))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s of %s: %s", tt.path, tt.line, diff)
		}
	}
}

func TestTimeOf(t *testing.T) {
	for _, tt := range []struct {
		format, line string
		want         int64
		ok           bool
	}{
		{config.TimeRFC3339, `{"t":"2026-03-01T12:34:56.789Z"}`, 1772368496789, true},
		{config.TimeRFC3339, `{"t":"2026-03-01T13:34:56+01:00"}`, 1772368496000, true},
		{config.TimeRFC3339, `{"t":"2026-03-01"}`, 0, false},
		{config.TimeRFC3339, `{"t":1772368496}`, 0, false},
		{config.TimeRFC3339, `{"t":"1969-12-31T23:59:59Z"}`, 0, false},
		{config.TimeUnix, `{"t":1772368496}`, 1772368496000, true},
		{config.TimeUnix, `{"t":1772368496.7894}`, 1772368496789, true},
		{config.TimeUnix, `{"t":"1772368496.5"}`, 1772368496500, true},
		{config.TimeUnix, `{"t":1772368496789}`, 0, false}, // milliseconds: the year 58133
		{config.TimeUnix, `{"t":-1}`, 0, false},
		{config.TimeUnix, `{"t":1e400}`, 0, false},
		{config.TimeUnix, `{"t":9223372036854775807}`, 0, false},
		{config.TimeUnixMilli, `{"t":1772368496789}`, 1772368496789, true},
		{config.TimeUnixMilli, `{"t":"x"}`, 0, false},
		{config.TimeUnixMilli, `{"t":null}`, 0, false},
		{config.TimeUnixMilli, `{}`, 0, false},
	} {
		got, ok := timeOf([]byte(tt.line), "t", tt.format)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s of %s: got %d, %v; want %d, %v", tt.format, tt.line, got, ok, tt.want, tt.ok)
		}
	}
}

func BenchmarkValidJSON(b *testing.B) {
	long := `{"ts":"2026-03-01T12:34:56.789Z","level":"error","msg":"` + strings.Repeat("some words of a stack trace at line 12, ", 25) + `","n":1}`
	for name, line := range map[string]string{"line": sampleLine, "long": long} {
		for who, f := range map[string]func([]byte) bool{"ours": validJSON, "std": json.Valid} {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(line)))
				p := []byte(line)
				for b.Loop() {
					if !f(p) {
						b.Fatal("not valid")
					}
				}
			})
		}
	}
}

// sampleLine is 254 bytes of an ordinary log.
const sampleLine = `{"ts":"2026-03-01T12:34:56.789Z","level":"info","logger":"http.access","msg":"request served","method":"GET","path":"/api/v1/items/48213","status":200,"bytes":5120,"duration_ms":12.75,"user":{"id":"u-90210","plan":"pro"},"trace":"4bf92f3577b34da6","ok":true}`
