package shipper

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// said is what the headers say of one record.
type said struct {
	value string
	file  batch.FileID
	provenance.Range
	tail int64 // bytes of skipped lines behind it
}

// rangesOf reads a topic as a consumer does: partition by partition, header by header. Nothing may be
// left out or stand in two headers.
func rangesOf(failf func(string, ...any), topic []stored, mode string) []said {
	var out []said
	headers := make(map[int32]*provenance.Header)
	walks := make(map[int32]*provenance.Walk)
	requests := make(map[int32]int)
	for _, s := range topic {
		if mode == config.ProvenanceOff || mode == "" {
			if s.provenance != "" {
				failf("a header without provenance: %q", s.provenance)
			}
			continue
		}
		if s.provenance != "" {
			if w := walks[s.partition]; w != nil && w.Left() > 0 {
				failf("a header before the %d records left of the one before", w.Left())
			}
			h, err := provenance.Parse([]byte(s.provenance))
			if err != nil || h.Source != "app" || h.Replayed || mode == config.ProvenanceRecord && h.Records != 1 {
				failf("header %+v: %v", h, err)
			}
			w := h.Walk()
			headers[s.partition], walks[s.partition] = &h, &w
		}
		w := walks[s.partition]
		if s.request != requests[s.partition] && s.provenance == "" {
			failf("the first record of a record batch has no header: %q", s.value)
		}
		requests[s.partition] = s.request
		if w == nil {
			failf("a record with no header before it: %q", s.value)
			continue
		}
		r, ok := w.Next(len(s.value))
		if !ok {
			failf("no range for %q", s.value)
			continue
		}
		one := said{value: s.value, file: headers[s.partition].File, Range: r}
		if w.Left() == 0 {
			one.tail = headers[s.partition].Tail
		}
		out = append(out, one)
	}
	for partition, w := range walks {
		if w.Left() > 0 {
			failf("partition %d ends before the last %d records of a header", partition, w.Left())
		}
	}
	return out
}

// written is a file as it is written, line by line, and what is known of each line.
type written struct {
	file    *fakeFile
	lines   map[int64]int64 // length by offset: what is to be shipped
	skipped []provenance.Range
}

// drawRun adds a run with every kind of line to a block, as the tailer would.
func (f *written) drawRun(t *rapid.T, b *batch.Batch) {
	r := batch.Run{File: f.file.file, Start: f.file.offset, First: len(b.Lines)}
	for range rapid.IntRange(0, 12).Draw(t, "lines") {
		at := f.file.offset
		kind := rapid.SampledFrom([]string{"json", "json", "json", "text", "crlf", "hole", "truncated", "empty", "nul", "oversize"}).Draw(t, "kind")
		body := fmt.Sprintf(`{"k":"%d","v":"%s"}`, rapid.IntRange(0, 5).Draw(t, "k"), strings.Repeat("x", rapid.IntRange(0, 200).Draw(t, "size")))
		length := int64(len(body) + 1)
		switch kind {
		case "text":
			body = `quoted "text"` + body
			length = int64(len(body) + 1)
		case "crlf":
			length++
		case "hole":
			length += int64(rapid.IntRange(1, 4096).Draw(t, "hole"))
		case "truncated":
			length += rapid.Int64Range(1, 3<<30).Draw(t, "cut off")
		case "empty", "nul":
			length = rapid.Int64Range(1, 3).Draw(t, "empty")
			f.skipped = append(f.skipped, provenance.Range{Offset: at, Length: length})
			r.Skipped[batch.SkipEmpty]++
			f.file.offset += length
			continue
		case "oversize":
			length = rapid.Int64Range(1<<20, 1<<40).Draw(t, "oversize")
			r.Oversize = append(r.Oversize, batch.Oversize{Offset: at, Length: length - 1})
			f.file.offset += length
			continue
		}
		start := len(b.Buf)
		b.Buf = append(append(b.Buf, body...), '\n')
		b.Lines = append(b.Lines, batch.Line{Start: uint32(start), End: uint32(len(b.Buf) - 1), Length: uint32(length), Offset: at})
		f.lines[at] = length
		f.file.offset += length
	}
	r.Last, r.End = len(b.Lines), batch.Pos{Offset: f.file.offset}
	b.Runs = append(b.Runs, r)
}

// shipBlock makes the record batches of a block, cuts them at random as a hunt would, and gives what
// would stand in the topic.
func shipBlock(t *rapid.T, s *Source, b *batch.Batch) []stored {
	blk := &block{b: b, preparing: true}
	s.account.begin(blk)
	s.stamp.begin(blk)
	parts := s.stamp.stamped(s.prep.block(blk), s.cfg.MaxBatchBytes)
	var topic []stored
	for request := 1; len(parts) > 0; request++ {
		p := parts[0]
		parts = parts[1:]
		if p.rb.Size() > s.cfg.MaxBatchBytes && p.rb.Len() > 1 {
			t.Fatalf("a record batch of %d bytes, max_batch_bytes is %d", p.rb.Size(), s.cfg.MaxBatchBytes)
		}
		n := p.rb.Len()
		switch rapid.IntRange(0, 3).Draw(t, "fate") {
		case 0:
			if n > 1 {
				parts = append(p.halves(), parts...)
				continue
			}
		case 1:
			if n > 1 {
				bad := kafka.RecordError{Index: rapid.IntRange(0, n-1).Draw(t, "named")}
				parts = append(p.named([]kafka.RecordError{bad}, invalid), parts...)
				continue
			}
		}
		for i := range n {
			_, value, _ := p.rb.Record(i)
			topic = append(topic, stored{partition: p.rb.Partition, value: string(value), request: s.turnOf + request, provenance: headerOf(p.rb, i)})
		}
	}
	return topic
}

func TestHeadersReconstructTheSource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := settings(config.ModeCallback)
		c.Provenance = rapid.SampledFrom([]string{config.ProvenanceBatch, config.ProvenanceRecord}).Draw(t, "provenance")
		c.MaxBatchBytes = rapid.SampledFrom([]int{300, 2000, 1 << 20}).Draw(t, "max_batch_bytes")
		c.OnInvalidJSON = rapid.SampledFrom([]string{"wrap", "pass", "drop"}).Draw(t, "on_invalid_json")
		if rapid.Bool().Draw(t, "key") {
			c.Key.Field = "k"
		}
		if rapid.Bool().Draw(t, "fields") {
			c.Fields = []config.Field{{Name: "n", JSON: "7"}}
			c.Headers = []config.Field{{Name: "env"}}
		}
		s, err := New(c, Deps{Reader: newFakeReader(), Producer: newFakeProducer(rapid.Int32Range(1, 4).Draw(t, "partitions")), FailureLog: &fakeLog{}})
		if err != nil {
			t.Fatal(err)
		}
		s.topic, _ = s.producer.Ready()
		var files []*written
		for i := range rapid.IntRange(1, 3).Draw(t, "files") {
			files = append(files, &written{file: newFakeFile(fmt.Sprint("/log/", i)), lines: make(map[int64]int64)})
			files[i].file.offset = rapid.Int64Range(0, 1<<40).Draw(t, "start")
		}
		var topic []stored
		for range rapid.IntRange(1, 6).Draw(t, "blocks") {
			b := &batch.Batch{ReadAt: time.UnixMilli(1_700_000_000_000)}
			for range rapid.IntRange(1, 4).Draw(t, "runs") {
				rapid.SampledFrom(files).Draw(t, "file").drawRun(t, b)
			}
			topic = append(topic, shipBlock(t, s, b)...)
		}
		checkSaid(t, files, rangesOf(t.Fatalf, topic, c.Provenance), c.OnInvalidJSON == "drop")
	})
}

// checkSaid compares what the headers say with what was written.
func checkSaid(t *rapid.T, files []*written, got []said, dropped bool) {
	for _, f := range files {
		lines := make(map[int64]int64)
		for _, s := range got {
			if s.file != f.file.file.ID {
				continue
			}
			if _, twice := lines[s.Offset]; twice {
				t.Fatalf("the line at %d stands twice", s.Offset)
			}
			lines[s.Offset] = s.Length
			for _, skip := range []provenance.Range{{Offset: s.Offset - s.Skipped, Length: s.Skipped}, {Offset: s.End(), Length: s.tail}} {
				for at := skip.Offset; at < skip.End(); {
					i := slices.IndexFunc(f.skipped, func(r provenance.Range) bool { return r.Offset == at })
					if i < 0 {
						t.Fatalf("nothing was skipped at %d, which %+v says", at, s)
					}
					at = f.skipped[i].End()
				}
			}
			if !f.skippedAround(s) {
				t.Fatalf("skipped lines right before or behind %+v, of which it says nothing: %v", s, f.skipped)
			}
		}
		if dropped { // lines that are no JSON
			for at := range f.lines {
				if lines[at] == 0 {
					delete(f.lines, at)
				}
			}
		}
		if d := cmp.Diff(f.lines, lines); d != "" {
			t.Fatalf("lines by offset (-written +said):\n%s", d)
		}
	}
}

// skippedAround says whether a record tells of the skipped lines that end where it begins.
func (f *written) skippedAround(s said) bool {
	i := slices.IndexFunc(f.skipped, func(r provenance.Range) bool { return r.End() == s.Offset })
	if i < 0 {
		return true
	}
	first := i
	for first > 0 && f.skipped[first-1].End() == f.skipped[first].Offset {
		first--
	}
	before := f.skipped[first].Offset
	for at, length := range f.lines { // an oversize line before them: its end is not known
		if at+length == before {
			return s.Skipped == s.Offset-before
		}
	}
	return true
}

func TestSkippedLinesOfEarlierBlocksAreTold(t *testing.T) {
	c := settings(config.ModeCallback)
	c.Provenance = config.ProvenanceBatch
	r := newRig(t, c, 1)
	f := newFakeFile("/log/a.log")
	empty := func(b *batch.Batch, n int64) *batch.Batch {
		run := f.run(b)
		run.Skipped[batch.SkipEmpty] = n
		run.End.Offset += n
		f.offset += n
		return b
	}
	r.reader.add(f.block(`{"n":1}`), empty(f.block(), 3), empty(f.block(), 2))
	r.reader.add(empty(f.block(`{"n":2}`), 4))
	r.mustRun()
	got := rangesOf(t.Errorf, r.producer.topicLog, c.Provenance)
	want := []provenance.Range{{Offset: 0, Length: 8}, {Offset: 13, Length: 8, Skipped: 5}}
	if len(got) != 2 || got[0].Range != want[0] || got[1].Range != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSkippedLinesBehindTheLastLineAreTold(t *testing.T) {
	c := settings(config.ModeCallback)
	c.Provenance = config.ProvenanceBatch
	r := newRig(t, c, 1)
	f := newFakeFile("/log/a.log")
	b := f.block(`{"n":1}`)
	b.Runs[0].Skipped[batch.SkipEmpty], b.Runs[0].End.Offset, f.offset = 2, f.offset+2, f.offset+2
	r.reader.add(b, f.block(`{"n":2}`))
	r.mustRun()
	got := rangesOf(t.Errorf, r.producer.topicLog, c.Provenance)
	if len(got) != 2 || got[0].tail != 2 || got[1].Skipped != 2 || got[1].tail != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAFileThatGoesBackBeginsAnotherHeader(t *testing.T) {
	c := settings(config.ModeCallback)
	c.Provenance = config.ProvenanceBatch
	r := newRig(t, c, 1)
	f := newFakeFile("/log/a.log")
	b := f.block(`{"n":1}`, `{"n":2}`)
	f.offset = 8 // a file that is read again
	f.run(b, `{"n":2}`)
	r.reader.add(b)
	r.mustRun()
	got := rangesOf(t.Errorf, r.producer.topicLog, c.Provenance)
	if len(got) != 3 || got[2].Offset != 8 || got[2].value != `{"n":2}` {
		t.Errorf("got %+v", got)
	}
}

func TestHeadersDoNotMakeARecordBatchTooLarge(t *testing.T) {
	c := settings(config.ModeCallback)
	c.Provenance, c.MaxBatchBytes = config.ProvenanceBatch, 3000
	r := newRig(t, c, 1)
	f := newFakeFile("/log/a.log")
	var want int
	for range 5 {
		b := f.block()
		for i := range 400 { // each line stands behind an oversize one: a gap that takes many bytes
			run := &b.Runs[0]
			run.Oversize = append(run.Oversize, batch.Oversize{Offset: f.offset, Length: 1 << 50 >> (i % 40)})
			f.offset += 1<<50>>(i%40) + 1
			next := f.run(b, `{"n":1}`)
			run.Last, run.End = next.Last, next.End
			b.Runs = b.Runs[:1]
			want++
		}
		r.reader.add(b)
	}
	r.producer.answer = func(rb *kafka.RecordBatch) kafka.Result {
		if rb.Size() > c.MaxBatchBytes {
			t.Errorf("a record batch of %d bytes", rb.Size())
		}
		return kafka.Result{}
	}
	r.mustRun()
	lines := make(map[int64]bool)
	for _, s := range rangesOf(t.Errorf, r.producer.topicLog, c.Provenance) {
		lines[s.Offset] = true
	}
	if len(lines) != want {
		t.Errorf("%d lines of %d", len(lines), want)
	}
}

func TestFailureLogKnowsHowLongTheLinesWere(t *testing.T) {
	c := settings(config.ModeCallback)
	c.OnInvalidJSON = config.ActionFail
	r := newRig(t, c, 1)
	r.producer.answer = refuseValues(unknown, "refuse")
	b := newFakeFile("/log/a.log").block(`{"n":"refuse"}`, `no json`)
	b.Lines[0].Length++ // a carriage return
	r.reader.add(b)
	r.mustRun()
	got := map[string]int64{}
	for _, rec := range r.failures.recs {
		got[string(rec.Payload)] = rec.Length
	}
	if d := cmp.Diff(map[string]int64{`{"n":"refuse"}`: 16, `no json`: 8}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestHeadersKeepTheOthers(t *testing.T) {
	c := settings(config.ModeCallback)
	c.Provenance = config.ProvenanceBatch
	c.Headers = []config.Field{{Name: "file", Text: template(t, "%{file.name}")}}
	s, err := New(c, Deps{Reader: newFakeReader(), Producer: newFakeProducer(1), FailureLog: &fakeLog{}})
	if err != nil {
		t.Fatal(err)
	}
	s.topic, _ = s.producer.Ready()
	b := newFakeFile("/log/a.log").block(numbered(0, 3)...)
	newFakeFile("/log/b.log").run(b, numbered(0, 2)...)
	blk := &block{b: b}
	s.stamp.begin(blk)
	p := s.stamp.stamped(s.prep.block(blk), 1<<20)[0]
	for i, file := range []string{"a.log", "a.log", "a.log", "b.log", "b.log"} {
		h := p.rb.Headers(i)
		if marked := i == 0 || i == 3; len(h) == 0 || !bytes.Equal(h[0].Value, []byte(file)) || (len(h) == 2) != marked {
			t.Errorf("record %d: %q", i, h)
		}
	}
}
