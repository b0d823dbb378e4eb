package failedlog

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRecordLineIsStable(t *testing.T) {
	r := record("app", 1)
	r.Key, r.Headers = []byte("user-1"), []Header{{"host", []byte("a")}, {"bin", []byte{0xff}}, {"null", nil}}
	r.NotReplayable, r.Oversize = true, &Oversize{5 << 30, "ab12"}
	want := `{"time":"2026-03-01T12:00:01Z","source":"app","file":"/var/log/app.log","file_id":"8:1:77/0","offset":100,` +
		`"topic":"logs","partition":1,"key":"user-1",` +
		`"headers":[{"key":"host","value":"a"},{"key":"bin","value_base64":"/w=="},{"key":"null"}],"timestamp":1700000000001,` +
		`"error":{"class":"retriable","kafka":"NOT_LEADER_OR_FOLLOWER","message":"no leader"},"attempts":1,` +
		`"replayable":false,"oversize":{"length":5368709120,"sha256":"ab12"},"value":{"source":"app","n":1}}`
	if got := string(r.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPayloadTakesTheMostReadableExactForm(t *testing.T) {
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	for _, tt := range []struct{ name, payload, want string }{
		{"object", `{"a":1,"b":"x y"}`, `"value":{"a":1,"b":"x y"}`},
		{"number that a parser would change", `1.000e2`, `"value":1.000e2`},
		{"null", `null`, `"value":null`},
		{"quote and brackets in a string", `{"a":"\"[ ]\\"}`, `"value":{"a":"\"[ ]\\"}`},
		{"html is not escaped", `{"a":"<&>"}`, `"value":{"a":"<&>"}`},
		{"white space between tokens", `{"a": 1}`, `"value_text":"{\"a\": 1}"`},
		{"newline at the end", "{}\n", `"value_text":"{}\n"`},
		{"plain text", "héllo\t\"w\"\u2028", "\"value_text\":\"héllo\\t\\\"w\\\"\u2028\""},
		{"nothing", "", `"value_text":""`},
		{"NUL", "a\x00b", `"value_text":"a\u0000b"`},
		{"many control characters", strings.Repeat("\x00", 12), `"value_base64":"AAAAAAAAAAAAAAAA"`},
		{"no UTF-8", "a\xff", `"value_base64":"Yf8="`},
		{"JSON with no UTF-8 in it", "\"\xff\"", `"value_base64":"Iv8i"`},
		{"truncated JSON", `{"a":`, `"value_text":"{\"a\":"`},
		{"unbalanced", `]`, `"value_text":"]"`},
		{"deep", deep, `"value":` + deep},
		{"too deep", "[" + deep + "]", `"value_text":"[` + deep + `]"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendPayload(nil, []byte(tt.payload))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			r := Record{Payload: []byte(tt.payload)}
			back, err := ParseRecord(r.AppendJSON(nil))
			if err != nil || string(back.Payload) != tt.payload {
				t.Errorf("came back as %q, %v; want %q", back.Payload, err, tt.payload)
			}
		})
	}
}

func TestParseRecordSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{``, "unexpected end of JSON"},
		{`{"topic":"a"`, "unexpected end of JSON"},
		{`{"topic":"a"}`, "none of value"},
		{`{"value":1,"value_text":"1"}`, "more than one of value"},
		{`{"value":1} {"value":2}`, "invalid character"},
		{`{"value_base64":"!"}`, "illegal base64"},
		{`{"offset":"x","value":1}`, "cannot unmarshal string"},
		{"{\"value_text\":\"\xff\"}", "no UTF-8"},
		{`[]`, "cannot unmarshal array"},
		{`null`, "none of value"},
	} {
		_, err := ParseRecord([]byte(tt.line))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want one with %q", tt.line, err, tt.want)
		}
	}
}

// recordGen makes records of all forms that the shipper may write.
func recordGen() *rapid.Generator[Record] {
	payload := rapid.OneOf(
		rapid.SliceOf(rapid.Byte()),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.Map(rapid.MapOf(rapid.String(), rapid.Float64Range(-1e9, 1e9)), func(m map[string]float64) []byte {
			data, err := json.Marshal(m)
			if err != nil {
				panic(err)
			}
			return data
		}),
	)
	word := rapid.StringN(0, 20, -1)
	return rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Time:   time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Source: word.Draw(t, "source"), File: string(rapid.SliceOf(rapid.Byte()).Draw(t, "file")),
			FileID: word.Draw(t, "id"), Offset: rapid.Int64().Draw(t, "offset"), Length: rapid.Int64Range(0, 1<<62).Draw(t, "length"),
			Topic:     word.Draw(t, "topic"),
			Partition: rapid.Int32().Draw(t, "partition"), Timestamp: rapid.Int64().Draw(t, "timestamp"),
			Error:    ErrorInfo{word.Draw(t, "class"), word.Draw(t, "kafka"), word.Draw(t, "message")},
			Attempts: rapid.Int().Draw(t, "attempts"), Payload: payload.Draw(t, "payload"),
			NotReplayable: rapid.Bool().Draw(t, "not replayable"),
		}
		if rapid.Bool().Draw(t, "keyed") {
			r.Key = append([]byte{}, payload.Draw(t, "key")...)
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			h := Header{Key: string(rapid.SliceOf(rapid.Byte()).Draw(t, "header"))}
			if rapid.Bool().Draw(t, "value") {
				h.Value = append([]byte{}, payload.Draw(t, "value")...)
			}
			r.Headers = append(r.Headers, h)
		}
		if rapid.Bool().Draw(t, "oversize") {
			r.Oversize = &Oversize{rapid.Int64().Draw(t, "length"), word.Draw(t, "sum")}
		}
		return r
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := recordGen().Draw(t, "record")
		line := r.AppendJSON(nil)
		if bytes.IndexByte(line, '\n') >= 0 || !json.Valid(line) {
			t.Fatalf("not one line of JSON: %q", line)
		}
		if limit := 2*len(r.Payload) + 16; len(appendPayload(nil, r.Payload)) > limit+len(`"value_base64":""`) {
			t.Fatalf("a payload of %d bytes takes more than %d", len(r.Payload), limit)
		}
		back, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if r.Payload == nil {
			r.Payload = []byte{}
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Fatalf("-want +got:\n%s%s", d, line)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	r := record("app", 1)
	f.Add(r.AppendJSON(nil))
	for _, p := range []string{"plain", "\xff", `{"a": 1}`, "", "null", "\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		f.Add((&Record{Payload: []byte(p), Key: []byte{0xfe}, Headers: []Header{{"h", nil}}}).AppendJSON(nil))
	}
	full := record("app", 1)
	full.NotReplayable, full.Oversize, full.Length = true, &Oversize{5 << 30, "ab12"}, 7
	full.Key, full.Headers = []byte{}, []Header{{"h", []byte("v")}, {"\xff", []byte{0xff}}, {"null", nil}}
	f.Add(full.AppendJSON(nil))
	for _, s := range []string{
		`{"value":{"a": [1 , 2]}}`, `{"value":1,"value_text":"1"}`, `{"value_base64":"!"}`, `{"value":1} {"value":2}`, `{"value":null,"key":null}`,
		`{"value":1,"key":"a","key_base64":"YQ=="}`, `{"VALUE":1,"Value":2,"value":3}`, `{"value":1,"headers":[{"key":"a","value":"b","value_base64":"Yg=="},{}]}`,
		`{"time":"0000-01-01T00:00:00Z","value":1}`, `{"value":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		back, err := ParseRecord(r.AppendJSON(nil))
		if err != nil {
			t.Fatalf("written anew it is no record: %v", err)
		}
		if !bytes.Equal(back.Payload, r.Payload) || !bytes.Equal(back.Key, r.Key) || back.File != r.File {
			t.Fatalf("bytes changed: %q", line)
		}
	})
}

// FuzzPayload wants every payload to come back byte for byte.
func FuzzPayload(f *testing.F) {
	for _, p := range []string{"", `{"a":1}`, `{"a": 1}`, "\xff", "\"\\ud800\"", "[1,2", "\u2028", "\x00", `"\`} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		line := (&Record{Payload: p, Key: append([]byte{}, p...), File: string(p)}).AppendJSON(nil)
		r, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if !bytes.Equal(r.Payload, p) || !bytes.Equal(r.Key, p) || r.File != string(p) {
			t.Fatalf("%q came back as %+v", p, r)
		}
	})
}

func TestJqReadsRecords(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed")
	}
	cmd := exec.Command(jq, "-r", `"\(.source) \(.error.class) \(.value.n)"`)
	var in []byte
	for _, r := range records("app", 1, 3) {
		in = append(r.AppendJSON(in), '\n')
	}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if want := "app retriable 1\napp retriable 2\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r := record("app", 1)
	r.Payload = []byte(`{"time":"2026-03-01T12:00:00Z","level":"info","msg":"` + strings.Repeat("x", 180) + `"}`)
	var buf []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Payload)))
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
}

func BenchmarkParseRecord(b *testing.B) {
	r := record("app", 1)
	r.Payload = []byte(`{"time":"2026-03-01T12:00:00Z","level":"info","msg":"` + strings.Repeat("x", 180) + `"}`)
	line := r.AppendJSON(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ParseRecord(line); err != nil {
			b.Fatal(err)
		}
	}
}
