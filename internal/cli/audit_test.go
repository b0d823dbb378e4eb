package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"shiplog/internal/audit"
)

// auditScene is a folder with logs, a configuration and a broker.
type auditScene struct {
	t       *testing.T
	dir     string
	config  string
	brokers []string
	written int
}

func newAuditScene(t *testing.T, source string, topics ...string) *auditScene {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(3, append(topics, "t")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &auditScene{t: t, dir: t.TempDir(), brokers: c.ListenAddrs()}
	s.config = filepath.Join(s.dir, "c.yaml")
	text := fmt.Sprintf("data_dir: %s\nkafka: {brokers: [%q, %q]}\nsources: [{id: a, topic: t, include: [%q], max_batch_lines: 500, %s}]\n",
		filepath.Join(s.dir, "data"), s.brokers[0], s.brokers[1], filepath.Join(s.dir, "logs", "*.log"), source)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// write appends lines to a log file: JSON of several lengths, broken ones, empty ones, CRLF.
func (s *auditScene) write(name string, n int) {
	s.t.Helper()
	var b bytes.Buffer
	for range n {
		i := s.written
		s.written++
		switch i % 50 {
		case 7:
			b.WriteString("no JSON\n\n")
		case 21:
			fmt.Fprintf(&b, "{\"n\":%d,\"user\":\"u%d\"}\r\n", i, i%17)
		default:
			fmt.Fprintf(&b, "{\"n\":%d,\"user\":\"u%d\",\"pad\":%q}\n", i, i%17, strings.Repeat("x", i%90))
		}
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "logs", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.Write(b.Bytes())
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *auditScene) ship() {
	s.t.Helper()
	var out bytes.Buffer
	if code := Main([]string{"run", "-c", s.config, "--once"}, strings.NewReader(""), &out, &out); code != ExitOK {
		s.t.Fatalf("run: exit %d\n%s", code, out.String())
	}
}

// audit runs the command and gives its report.
func (s *auditScene) audit(want int, args ...string) audit.Report {
	s.t.Helper()
	var out, text bytes.Buffer
	code := Main(append([]string{"audit", "-c", s.config, "--json"}, args...), strings.NewReader(""), &out, &text)
	if code != want {
		s.t.Fatalf("audit %q: exit %d, want %d\n%s%s", args, code, want, out.String(), text.String())
	}
	var r audit.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		s.t.Fatalf("%v\n%s", err, out.String())
	}
	return r
}

// inOrder is the oracle of the order: it goes by the numbers in the lines, partition by partition.
func (s *auditScene) inOrder(file func(n int) int) bool {
	type place struct {
		partition int32
		file      int
	}
	last, ok := make(map[place]int), true
	for _, r := range s.read() {
		var line struct {
			N *int `json:"n"`
		}
		if json.Unmarshal(r.Value, &line) != nil || line.N == nil {
			continue // wrapped
		}
		at := place{r.Partition, file(*line.N)}
		ok = ok && last[at] <= *line.N
		last[at] = max(last[at], *line.N)
	}
	return ok
}

// copyTo reads the topic t and writes what change makes of it to another one, partition by partition.
func (s *auditScene) copyTo(topic string, change func([]*kgo.Record) []*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// One record batch a partition, however slow this machine is: a header speaks of records of its own batch.
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ManualFlushing())
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	for _, r := range change(s.read()) {
		out := &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
		cl.Produce(ctx, out, func(_ *kgo.Record, err error) {
			if err != nil {
				s.t.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// read gives the records of the topic t, partition by partition.
func (s *auditScene) read() []*kgo.Record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics("t"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for len(records) < s.written {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { records = append(records, r) })
	}
	slices.SortStableFunc(records, func(x, y *kgo.Record) int { return int(x.Partition - y.Partition) })
	return records
}

// fileOf tells, by the numbers, which lines were written to one file in TestAuditOfWhatWasShipped.
func fileOf(n int) int {
	switch {
	case n >= 3000 && n < 3100:
		return 1
	case n >= 3600:
		return 2
	}
	return 0
}

// TestAuditOfWhatWasShipped ships with each mode and each way to choose a partition, over rotations and
// restarts; the audit has to agree that nothing is missing.
func TestAuditOfWhatWasShipped(t *testing.T) {
	for name, source := range map[string]string{
		"sync":            "mode: sync",
		"callback":        "mode: callback, compression: zstd",
		"async":           "mode: async",
		"keyed":           "mode: callback, key: {field: user}",
		"rewritten":       "mode: callback, key: {field: user}, fields: {host: h1}",
		"keyed by file":   "mode: sync, key: {file: true}",
		"a header a line": "mode: callback, key: {field: user}, provenance: record, compression: gzip",
	} {
		t.Run(name, func(t *testing.T) {
			s := newAuditScene(t, source)
			s.write("a.log", 3000)
			s.write("b.log", 100)
			s.ship()
			s.write("a.log", 500)
			if err := os.Rename(filepath.Join(s.dir, "logs", "a.log"), filepath.Join(s.dir, "logs", "a.log.1")); err != nil {
				t.Fatal(err)
			}
			s.write("a.log", 700)
			s.ship()
			r := s.audit(ExitOK, "--topic", "t", "--files", filepath.Join(s.dir, "logs"))
			if r.Verdict != audit.VerdictComplete || r.Lines != int64(s.written) || len(r.Files) != 3 || len(r.Unknown) != 0 {
				t.Errorf("%s: %d lines of %d files, %d written; unknown %q", r.Verdict, r.Lines, len(r.Files), s.written, r.Unknown)
			}
			// callback keeps no order where a partition has to wait for its leader: the topic says.
			inOrder := s.inOrder(fileOf)
			if (r.Disorders == 0) != inOrder || strings.HasPrefix(source, "mode: sync") && !inOrder {
				t.Errorf("%d places out of order; in order: %v", r.Disorders, inOrder)
			}
		})
	}
}

// TestAuditFindsFaults copies a topic and makes each fault by hand.
func TestAuditFindsFaults(t *testing.T) {
	s := newAuditScene(t, "mode: sync, partition: 1, provenance: record", "gap", "dup", "swap", "both", "none")
	s.write("a.log", 1000)
	s.ship()
	at := 400
	s.copyTo("gap", func(r []*kgo.Record) []*kgo.Record { return slices.Delete(slices.Clone(r), at, at+1) })
	s.copyTo("dup", func(r []*kgo.Record) []*kgo.Record { return append(slices.Clone(r), r[at]) })
	s.copyTo("swap", func(r []*kgo.Record) []*kgo.Record {
		r = slices.Clone(r)
		r[at], r[at+1] = r[at+1], r[at]
		return r
	})
	s.copyTo("both", func(r []*kgo.Record) []*kgo.Record { return append(slices.Delete(slices.Clone(r), at, at+1), r[0]) })
	s.copyTo("none", func(r []*kgo.Record) []*kgo.Record {
		for _, x := range r {
			x.Headers = nil
		}
		return r
	})
	logs := filepath.Join(s.dir, "logs")
	offset := func(n int) int64 { // of line n, blank ones left out
		text, err := os.ReadFile(filepath.Join(logs, "a.log"))
		if err != nil {
			t.Fatal(err)
		}
		pos := int64(0)
		for l := range bytes.SplitSeq(text, []byte{'\n'}) {
			if len(l) > 0 {
				if n--; n < 0 {
					break
				}
			}
			pos += int64(len(l)) + 1
		}
		return pos
	}

	r := s.audit(ExitGaps, "--topic", "gap", "--source", "a", "--files", logs)
	if g := r.Files[0].Gaps; len(g) != 1 || g[0].From != offset(at) || g[0].To != offset(at+1) || g[0].Lines != 1 || g[0].FirstLine != int64(at+1+at/50) {
		t.Errorf("gap: %+v, want %d to %d", g, offset(at), offset(at+1))
	}
	r = s.audit(ExitDuplicates, "--topic", "dup")
	if d := r.Files[0].Duplicates; d.Lines != 1 || len(d.Ranges) != 1 || d.Ranges[0].From != offset(at) || d.Ranges[0].To != offset(at+1) {
		t.Errorf("duplicate: %+v", d)
	}
	r = s.audit(ExitOK, "--topic", "swap")
	if d := r.Files[0].Disorders; r.Disorders != 1 || d[0].Offset != offset(at) || d[0].Partition != 1 || d[0].Position != int64(at+1) {
		t.Errorf("swap: %+v", d)
	}
	r = s.audit(ExitGaps, "--topic", "both")
	if r.Gaps != 1 || r.Duplicates != 1 {
		t.Errorf("%d gaps, %d duplicates", r.Gaps, r.Duplicates)
	}
	r = s.audit(ExitNoAnswer, "--topic", "none")
	if r.Verdict != audit.VerdictNothing || r.Read.Unmarked != 1000 {
		t.Errorf("%s, %d unmarked", r.Verdict, r.Read.Unmarked)
	}
}

// TestAuditFindsRecordsLeftOut leaves a record out of a run whose header stands in its first record.
func TestAuditFindsRecordsLeftOut(t *testing.T) {
	s := newAuditScene(t, "mode: sync, partition: 0", "gap")
	s.write("a.log", 100)
	s.ship()
	lost := 0
	s.copyTo("gap", func(r []*kgo.Record) []*kgo.Record {
		lost = len(r[60].Value) + 1
		return slices.Delete(slices.Clone(r), 60, 61)
	})
	r := s.audit(ExitGaps, "--topic", "gap", "--files", filepath.Join(s.dir, "logs"))
	if r.Lines != 99 || r.Missing != int64(lost) || r.Read.Short == 0 {
		t.Errorf("%d lines, %d bytes missing (want %d), %d short runs", r.Lines, r.Missing, lost, r.Read.Short)
	}
}
