package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/daemon"
	"shiplog/internal/provenance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is shiplog beside a broker.
type scene struct {
	t       *testing.T
	cluster *kfake.Cluster
	cfg     *config.Config
	log     string
}

func newScene(t *testing.T, source string) *scene {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(3, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s/data\nkafka: {brokers: [%q]}\nsources:\n  - {id: app, include: [%s/*.log], topic: logs, %s}\n",
		dir, cluster.ListenAddrs()[0], dir, source)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return &scene{t, cluster, cfg, filepath.Join(dir, "app.log")}
}

// ship ships what is there, to the end.
func (s *scene) ship() {
	s.t.Helper()
	d, err := daemon.New(s.cfg, daemon.Options{Once: true, Log: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := d.Run(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// forget loses the checkpoint, so that everything is shipped again.
func (s *scene) forget() {
	s.t.Helper()
	if err := os.RemoveAll(daemon.CheckpointDir(s.cfg)); err != nil {
		s.t.Fatal(err)
	}
}

// replay sends the failure log.
func (s *scene) replay() failedlog.Stats {
	s.t.Helper()
	r := daemon.NewReplayer(s.cfg, zap.NewNop())
	stats, err := failedlog.Replay(s.t.Context(), failedlog.ReplayOptions{Dir: daemon.FailedDir(s.cfg)}, r)
	if err = errors.Join(err, r.Close()); err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// failOnce makes the broker answer the next produce request with a time-out.
func (s *scene) failOnce() {
	failed := false
	s.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
		s.cluster.KeepControl()
		if failed {
			return nil, nil, false
		}
		failed = true
		produce := r.(*kmsg.ProduceRequest)
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, kerr.RequestTimedOut.Code, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

// lockedBuffer may be looked at while it is written to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSuffix(b.buf.String(), "\n"), "\n")
}

func TestEachLineIsPrintedOnce(t *testing.T) {
	for i, source := range []string{
		"mode: callback", "mode: callback, key: {field: k}", "mode: callback, key: {field: k}, provenance: record",
		"mode: sync", "mode: async, fields: {env: prod}", "mode: callback, key: {field: k}, max_batch_bytes: 1KiB",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { // by number: a folder with braces in its name is a pattern
			t.Log(source)
			s := newScene(t, source)
			var text strings.Builder
			want := make(map[string]int)
			for i := range 300 {
				line := fmt.Sprintf(`{"k":"%d","n":%d,"pad":"%s"}`, i*7%11, i, strings.Repeat("x", i%50))
				end := []string{"\n", "\r\n", "\n\n", "\n\x00\x00"}[i%4]
				text.WriteString(line + end)
				if strings.Contains(source, "fields") {
					line = `{"env":"prod",` + line[1:]
				}
				want[line] = 1
			}
			if err := os.WriteFile(s.log, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			s.ship()
			s.forget()
			s.ship() // everything a second time
			if strings.Contains(source, "callback") {
				s.forget()
				s.failOnce()
				s.ship() // a part of it goes to the failure log
				if stats := s.replay(); stats.Delivered == 0 || stats.Delivered != stats.Selected {
					t.Errorf("replayed %+v", stats)
				}
			}
			if d := cmp.Diff(want, s.consumed(len(want))); d != "" {
				t.Errorf("lines and how often they were printed (-want +got):\n%s", d)
			}
			s.placesAreTrue([]byte(text.String()))
		})
	}
}

// consumed runs the example until it has printed so many lines and read the topic to its end.
func (s *scene) consumed(n int) map[string]int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var out lockedBuffer
	ended := make(chan error, 1)
	go func() { ended <- consume(ctx, s.cluster.ListenAddrs()[0], "logs", &out) }()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(out.lines()) < n {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Errorf("%d lines after 20 s", len(out.lines()))
			n = 0
		}
	}
	s.records() // what is there was there for the example, too
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		s.t.Error(err)
	}
	got := make(map[string]int)
	for _, l := range out.lines() {
		got[l]++
	}
	return got
}

// records reads the whole topic.
func (s *scene) records() []*kgo.Record {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.ConsumeTopics("logs"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	var total int64
	for p := range int32(3) {
		total += s.cluster.PartitionInfo("logs", p).HighWatermark
	}
	var list []*kgo.Record
	for int64(len(list)) < total {
		fetches := client.PollFetches(s.t.Context())
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		list = slices.AppendSeq(list, fetches.RecordsAll())
	}
	return list
}

// placesAreTrue checks each record's place against the file.
func (s *scene) placesAreTrue(text []byte) {
	s.t.Helper()
	where := make(places)
	replayed := 0
	for _, r := range s.records() {
		at, ok := where.of(r)
		if !ok || at.Source != "app" || at.Offset+at.Length > int64(len(text)) {
			s.t.Fatalf("%q is at %+v, %v", r.Value, at, ok)
		}
		bare := strings.TrimLeft(strings.TrimRight(string(text[at.Offset:at.Offset+at.Length]), "\r\n"), "\x00")
		if value := strings.Replace(string(r.Value), `"env":"prod",`, "", 1); value != bare {
			s.t.Fatalf("%q is said to be %q", value, bare)
		}
		if at.Replayed {
			replayed++
		}
	}
	if callback := s.cfg.Sources[0].Mode == config.ModeCallback; callback != (replayed > 0) {
		s.t.Errorf("%d records are marked as replayed", replayed)
	}
}

// TestTheDecoderAgreesWithShiplogs: the description is enough to write a decoder.
func TestTheDecoderAgreesWithShiplogs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := batch.FileID{Dev: rapid.Uint64().Draw(t, "dev"), Inode: rapid.Uint64().Draw(t, "inode"),
			Birth: rapid.Int64().Draw(t, "birth"), Gen: rapid.Uint32().Draw(t, "gen")}
		var b provenance.Builder
		b.Begin(rapid.StringN(0, 40, 80).Draw(t, "source"), id)
		at := rapid.Int64Range(0, 1<<50).Draw(t, "offset")
		var want []place
		var values [][]byte
		for range rapid.IntRange(1, 50).Draw(t, "records") {
			gap := rapid.SampledFrom([]int64{0, 0, 0, 1, 500, 1 << 45}).Draw(t, "gap")
			at += gap
			value := make([]byte, rapid.IntRange(0, 300).Draw(t, "value"))
			length := int64(len(value)) + rapid.SampledFrom([]int64{1, 1, 1, 0, 2, 1 << 33}).Draw(t, "more")
			b.Add(provenance.Range{Offset: at, Length: length, Skipped: rapid.Int64Range(0, gap).Draw(t, "skipped")}, len(value))
			want = append(want, place{Source: "", File: id.String(), Offset: at, Length: length})
			values = append(values, value)
			at += length
		}
		b.Tail(rapid.Int64Range(0, 5).Draw(t, "tail"))
		where := make(places)
		for i, v := range values {
			r := &kgo.Record{Value: v, Offset: int64(100 + i)}
			if i == 0 {
				r.Headers = []kgo.RecordHeader{{Key: provenance.Key, Value: b.Header().Append(nil)}}
			}
			got, ok := where.of(r)
			got.Source = ""
			if !ok || got != want[i] {
				t.Fatalf("record %d: %+v, %v, want %+v", i, got, ok, want[i])
			}
		}
		if _, ok := where.of(&kgo.Record{Offset: int64(100 + len(values))}); ok {
			t.Fatal("a record behind the last one has a place")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 10, 1})
	f.Add([]byte{1, 8, 0, 0, 0, 0, 0, 0, 10, 2, 0, 0x80})
	f.Fuzz(func(t *testing.T, p []byte) {
		theirs, err := provenance.Parse(p)
		ours, ourErr := parse(p)
		if err == nil && ourErr != nil {
			t.Fatalf("shiplog reads %x, and the example does not: %v", p, ourErr)
		}
		if err == nil && (ours.records != theirs.Records || ours.end != theirs.Offset+theirs.Bytes) {
			t.Fatalf("%+v and %+v", ours, theirs)
		}
	})
}
