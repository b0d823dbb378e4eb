package shipper

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

func TestInvalidLinesFollowThePolicy(t *testing.T) {
	line := "2026-03-01 \"plain\" text\xff"
	for _, tt := range []struct {
		mode, policy  string
		topic, failed []string
		dropped       int64
	}{
		{config.ModeCallback, config.ActionWrap, []string{`{"a":1}`, "{\"message\":\"2026-03-01 \\\"plain\\\" text\uFFFD\"}"}, nil, 0},
		{config.ModeCallback, config.ActionPass, []string{`{"a":1}`, line}, nil, 0},
		{config.ModeCallback, config.ActionDrop, []string{`{"a":1}`}, nil, 1},
		{config.ModeCallback, config.ActionFail, []string{`{"a":1}`}, []string{line}, 0},
		{config.ModeSync, config.ActionFail, []string{`{"a":1}`}, []string{line}, 0},
		{config.ModeAsync, config.ActionFail, []string{`{"a":1}`}, nil, 1},
		{config.ModeAsync, config.ActionWrap, []string{`{"a":1}`, "{\"message\":\"2026-03-01 \\\"plain\\\" text\uFFFD\"}"}, nil, 0},
	} {
		t.Run(tt.mode+"/"+tt.policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				c := settings(tt.mode)
				c.OnInvalidJSON = tt.policy
				r := newRig(t, c, 1, f.block(`{"a":1}`, line))
				a := r.mustRun()
				if diff := cmp.Diff(tt.topic, r.producer.values()); diff != "" {
					t.Error("topic:", diff)
				}
				if diff := cmp.Diff(tt.failed, r.failures.payloads()); diff != "" {
					t.Error("failure log:", diff)
				}
				if a.Dropped["invalid_json"] != tt.dropped {
					t.Errorf("account: %v", a)
				}
				if len(tt.failed) == 1 {
					rec := r.failures.recs[0]
					if rec.Error.Class != "invalid_json" || rec.Attempts != 0 || rec.Partition != -1 || rec.Offset != 8 || rec.NotReplayable {
						t.Errorf("record: %+v", rec)
					}
				}
			})
		})
	}
}

func TestABlockWhoseLinesAreAllGivenUpIsSettled(t *testing.T) {
	for _, policy := range []string{config.ActionDrop, config.ActionFail} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFile("/log/a.log")
			c := settings(config.ModeCallback)
			c.OnInvalidJSON = policy
			r := newRig(t, c, 1, f.block("x", "y", "z"))
			r.mustRun()
			if got := r.tracker.Settled(f.file.ID); got != f.offset {
				t.Errorf("%s: settled to %d, want %d", policy, got, f.offset)
			}
		})
	}
}

func TestOversizeLinesFollowThePolicy(t *testing.T) {
	for _, tt := range []struct {
		mode, policy string
		failed       int
	}{
		{config.ModeCallback, config.ActionFail, 1},
		{config.ModeSync, config.ActionFail, 1},
		{config.ModeAsync, config.ActionFail, 0},
		{config.ModeCallback, config.ActionDrop, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFile("/log/a.log")
			b := f.block(`{"a":1}`)
			b.Runs[0].Oversize = []batch.Oversize{{Offset: 8, Length: 5 << 20, SHA256: [32]byte{0xab}, Head: []byte(`{"big`)}}
			c := settings(tt.mode)
			c.OnOversize = tt.policy
			r := newRig(t, c, 1, b)
			a := r.mustRun()
			if a.Read != 2 || a.FailureLogged != int64(tt.failed) || a.Dropped["oversize"] != int64(1-tt.failed) {
				t.Errorf("%s/%s: %v", tt.mode, tt.policy, a)
			}
			if tt.failed == 0 {
				return
			}
			rec := r.failures.recs[0]
			want := failedlog.Record{
				Source: "app", File: "/log/a.log", FileID: f.file.ID.String(), Offset: 8, Topic: "t", Partition: -1,
				Timestamp: 1_700_000_000_000, Payload: []byte(`{"big`), NotReplayable: true,
				Error:    failedlog.ErrorInfo{Class: "oversize", Message: rec.Error.Message},
				Oversize: &failedlog.Oversize{Length: 5 << 20, SHA256: "ab" + strings.Repeat("0", 62)},
			}
			if diff := cmp.Diff(want, rec); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func template(t testing.TB, s string) config.Template {
	t.Helper()
	tmpl, err := config.ParseTemplate(s)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestFieldsAndHeadersAreFilledInForEachFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFakeFile("/log/a.log"), newFakeFile("/log/sub/b.log")
		c := settings(config.ModeCallback)
		c.Fields = []config.Field{
			{Name: "host", Text: template(t, "%{host}")}, {Name: `odd"name`, Text: template(t, "%{file.path}")}, {Name: "n", JSON: "7"},
		}
		c.Headers = []config.Field{{Name: "file", Text: template(t, "name=%{file.name}")}}
		blk := a.block(`{"x":1}`, `[1]`, `text`, `"str"`)
		b.run(blk, `{}`)
		r := newRig(t, c, 1, blk)
		r.producer.answer = func(*kafka.RecordBatch) kafka.Result { return kafka.Result{Err: retriable} }
		r.mustRun()
		want := []string{
			`{"host":"web-1","odd\"name":"/log/a.log","n":7,"x":1}`,
			`[1]`,
			`{"message":"text","host":"web-1","odd\"name":"/log/a.log","n":7}`,
			`"str"`,
			`{"host":"web-1","odd\"name":"/log/sub/b.log","n":7}`,
		}
		if diff := cmp.Diff(want, r.failures.payloads()); diff != "" {
			t.Error(diff)
		}
		for i, name := range []string{"a.log", "a.log", "a.log", "a.log", "b.log"} {
			want := []failedlog.Header{{Key: "file", Value: []byte("name=" + name)}}
			if diff := cmp.Diff(want, r.failures.recs[i].Headers); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestScratchMayGrowWhileEarlierValuesPointIntoIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		var lines, want []string
		for i := range 500 {
			line := fmt.Sprintf("%d \x01\x02\x03\x04 %s", i, strings.Repeat("\x07", i))
			lines = append(lines, line)
			text, _ := json.Marshal(line)
			want = append(want, string(text))
		}
		r := newRig(t, settings(config.ModeCallback), 1, f.block(lines...))
		r.mustRun()
		for i, v := range r.producer.values() {
			var got struct{ Message string }
			if err := json.Unmarshal([]byte(v), &got); err != nil || got.Message != lines[i] {
				t.Fatalf("line %d: %q, %v; want %s", i, v, err, want[i])
			}
		}
	})
}

func TestKeysDecideThePartitionAsJavaDoes(t *testing.T) {
	for _, mode := range []string{config.ModeSync, config.ModeAsync, config.ModeCallback} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				c := settings(mode)
				c.Key.Field = "k"
				var lines []string
				for i := range 200 {
					lines = append(lines, fmt.Sprintf(`{"k":"key-%d","n":%d}`, i%20, i))
				}
				r := newRig(t, c, 6, f.block(append(lines, `{"n":200}`, "text")...))
				a := r.mustRun()
				if a.Delivered+a.Sent != 202 {
					t.Fatalf("account: %v", a)
				}
				last := make(map[string]int)
				for _, s := range r.producer.topicLog {
					if s.key == "" {
						continue
					}
					if want := kafka.Partition([]byte(s.key), 6); s.partition != want {
						t.Errorf("%s in partition %d, want %d", s.key, s.partition, want)
					}
					var v struct{ N int }
					_ = json.Unmarshal([]byte(s.value), &v)
					if before, ok := last[s.key]; ok && v.N <= before {
						t.Errorf("%s: %d behind %d", s.key, v.N, before)
					}
					last[s.key] = v.N
				}
				if n := r.producer.requests(); n > 7 {
					t.Errorf("%d record batches for 6 partitions", n)
				}
			})
		})
	}
}

func TestTheFileAsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		c.Key.File = true
		r := newRig(t, c, 6, f.block(`{"a":1}`, "text"))
		r.mustRun()
		for _, s := range r.producer.topicLog {
			if s.key != "/log/a.log" || s.partition != kafka.Partition([]byte("/log/a.log"), 6) {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestTheTimestampComesFromTheLineWhereItHasOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFile("/log/a.log")
		c := settings(config.ModeCallback)
		c.Timestamp = config.Timestamp{Field: "@timestamp", Format: config.TimeRFC3339}
		r := newRig(t, c, 1, f.block(`{"@timestamp":"2026-03-01T12:34:56.789Z"}`, `{"a":1}`, "text"))
		r.mustRun()
		var got []int64
		for _, s := range r.producer.topicLog {
			got = append(got, s.time)
		}
		if diff := cmp.Diff([]int64{1772368496789, 1_700_000_000_000, 1_700_000_000_000}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRecordBatchesStayUnderMaxBatchBytes(t *testing.T) {
	for _, key := range []string{"", "k"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFile("/log/a.log")
			c := settings(config.ModeCallback)
			c.MaxBatchBytes, c.Key.Field = 2000, key
			c.Headers = []config.Field{{Name: "file", Text: template(t, "%{file.path}")}}
			var lines []string
			for i := range 300 {
				lines = append(lines, fmt.Sprintf(`{"k":"key-%d","s":"%s"}`, i%7, strings.Repeat("x", i)))
			}
			lines = append(lines, fmt.Sprintf(`{"k":"key-1","s":"%s"}`, strings.Repeat("x", 5000)))
			r := newRig(t, c, 3, f.block(lines...))
			r.producer.answer = func(rb *kafka.RecordBatch) kafka.Result {
				if rb.Size() > 2000 && rb.Len() > 1 {
					t.Errorf("a record batch of %d bytes", rb.Size())
				}
				return kafka.Result{}
			}
			if a := r.mustRun(); a.Delivered != 301 {
				t.Errorf("account: %v", a)
			}
			if n := r.producer.requests(); n > 60 {
				t.Errorf("%d record batches for 60 KB", n)
			}
		})
	}
}
