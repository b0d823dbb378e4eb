package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// batchLines bounds a batch, so that what is in flight (5 batches) is a known number of lines.
const batchLines = 500

// scene is one fault: a shiplog with one source a mode, each with a file, a writer and a topic of its own.
type scene struct {
	t       *testing.T
	fault   string // as the table names it
	dir     string
	config  string
	data    string
	sources []*source
	d       *daemon // the one that runs, or ran last
	spec    spec
}

// source is one source of a scene, and what the oracle knows of it.
type source struct {
	name, mode string
	topic      *topic
	w          *writer
	spread     bool // its lines are spread over files: only audit can tell their order
	*oracle
}

// spec says how a scene differs from the usual one.
type spec struct {
	// modes are the sources: sync, callback, leader (callback with acks: leader), async, spool (callback
	// with on_outage: spool). Default: sync, callback, async.
	modes      []string
	partitions int32    // of each topic; default 3
	topic      []string // configs of each topic, key and value in turn
	rate       int      // lines/s of each writer; default 5,000
	brokers    []string // default: the proxied listeners of the cluster
	top        string   // further keys of the configuration, whole lines
	kafka      string   // further keys of kafka, as a flow mapping's inside: "request_timeout: 2s"
	source     string   // further keys of every source, one a line
	include    string   // what a source reads of its folder; default app.log
	audited    string   // what audit compares of its folder; default *
}

// newScene makes the folders, topics, writers and the configuration. Nothing runs yet.
func newScene(t *testing.T, fault string, sp spec) *scene {
	t.Helper()
	if sp.modes == nil {
		sp.modes = []string{"sync", "callback", "async"}
	}
	if sp.partitions == 0 {
		sp.partitions = 3
	}
	if sp.rate == 0 {
		sp.rate = 5000
	}
	if sp.include == "" {
		sp.include = "app.log"
	}
	if sp.audited == "" {
		sp.audited = "*"
	}
	if sp.brokers == nil {
		sp.brokers = cluster(t).Proxied()
	}
	dir := t.TempDir()
	s := &scene{t: t, fault: fault, dir: dir, spec: sp, config: filepath.Join(dir, "config.yaml"), data: filepath.Join(dir, "data")}
	for _, mode := range sp.modes {
		tp := newTopic(t, sp.partitions, sp.topic...)
		logs := s.logs(mode)
		if err := os.MkdirAll(logs, 0o755); err != nil {
			t.Fatal(err)
		}
		s.sources = append(s.sources, &source{name: mode, mode: modeOf(mode), topic: tp,
			w: newWriter(t, filepath.Join(logs, "app.log"), mode, sp.rate), oracle: newOracle(t, mode, tp)})
	}
	s.configure(sp)
	return s
}

// modeOf gives the delivery mode of a kind of source.
func modeOf(kind string) string {
	switch kind {
	case "leader", "spool":
		return "callback"
	}
	return kind
}

// logs is the folder with the file and the rotated files of a source.
func (s *scene) logs(source string) string { return filepath.Join(s.dir, "logs", source) }

// configure writes the configuration anew.
func (s *scene) configure(sp spec) {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir: %s\nlog: {level: info, format: json}\ncheckpoint_interval: 250ms\nshutdown_quiet: 300ms\nkafka: {brokers: [%s]", s.data, strings.Join(sp.brokers, ", "))
	if sp.kafka != "" {
		b.WriteString(", " + sp.kafka)
	}
	b.WriteString("}\n" + sp.top)
	if sp.top != "" && !strings.HasSuffix(sp.top, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString("sources:\n")
	for _, src := range s.sources {
		fmt.Fprintf(&b, "  - id: %s\n    include: ['%s/%s']\n    mode: %s\n    topic: %s\n    max_batch_lines: %d\n    rotate_wait: 1s\n",
			src.name, s.logs(src.name), sp.include, src.mode, src.topic.name, batchLines)
		switch src.name {
		case "leader":
			b.WriteString("    acks: leader\n")
		case "spool":
			b.WriteString("    on_outage: spool\n")
		}
		for key := range strings.Lines(sp.source) {
			if key = strings.TrimSpace(key); key != "" {
				fmt.Fprintf(&b, "    %s\n", key)
			}
		}
	}
	if err := os.WriteFile(s.config, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// source gives the source of a kind.
func (s *scene) source(name string) *source {
	s.t.Helper()
	for _, src := range s.sources {
		if src.name == name {
			return src
		}
	}
	s.t.Fatalf("the scene has no source %s", name)
	return nil
}

// start starts shiplog and waits until it says so.
func (s *scene) start() *daemon { return s.startWith(nil) }

// startWith is start with a command that change sets up first.
func (s *scene) startWith(change func(*exec.Cmd)) *daemon {
	s.t.Helper()
	s.d = spawn(s.t, change, "run", "-c", s.config)
	until(s.t, "shiplog to start", func() bool { return s.d.said("shiplog started") || s.d.ended() })
	if s.d.ended() {
		s.t.Fatalf("shiplog ended at its start with exit code %d", s.d.cmd.ProcessState.ExitCode())
	}
	return s.d
}

// write lets all writers begin, and ends them when the test ends or endWriters is called.
func (s *scene) write() {
	for _, src := range s.sources {
		src.w.begin()
	}
}

func (s *scene) endWriters() {
	for _, src := range s.sources {
		src.w.end()
	}
}

// rotate rotates the files of all sources.
func (s *scene) rotate() {
	for _, src := range s.sources {
		src.w.rotate()
	}
}

// flowing waits until every source has so many more records in its topic: delivery goes on.
func (s *scene) flowing(more int64) {
	s.t.Helper()
	for _, src := range s.sources {
		src.topic.grows(more)
	}
}

// remembered waits for the first checkpoints. Before them shiplog knows of no file, and so of none that
// was rotated away.
func (s *scene) remembered() {
	s.t.Helper()
	for _, src := range s.sources {
		until(s.t, "the first checkpoint of "+src.name, func() bool { return len(s.checkpoint(src.name).offsets) > 0 })
	}
}

// drain ends the writers, lets shiplog deliver everything, stops it, and checks its exit code.
func (s *scene) drain() {
	s.t.Helper()
	s.endWriters()
	if code := s.d.stop(); code != 0 {
		s.t.Errorf("exit code %d, want 0\n%s", code, tail(s.d.out.String(), 20))
	}
}

// checkpoint is what a source's checkpoint on disk holds.
type checkpoint struct {
	saved   time.Time
	offsets map[uint64]int64 // by inode
}

// checkpoint reads a source's checkpoint; an empty one when none was saved yet.
func (s *scene) checkpoint(source string) checkpoint {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.data, "checkpoint", source+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint{}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var disk struct {
		Saved time.Time
		Files []struct {
			ID     string // device-inode-birth-generation, hexadecimal
			Offset int64
		}
	}
	if err := json.Unmarshal(data, &disk); err != nil {
		s.t.Fatalf("checkpoint: %v\n%s", err, data)
	}
	c := checkpoint{saved: disk.Saved, offsets: map[uint64]int64{}}
	for _, f := range disk.Files {
		var device, ino uint64
		if _, err := fmt.Sscanf(f.ID, "%x-%x-", &device, &ino); err != nil {
			s.t.Fatalf("file id %s in a checkpoint: %v", f.ID, err)
		}
		c.offsets[ino] = f.Offset
	}
	return c
}

// covers says whether line n of the writer stands before the saved position of its file. The writer's
// files must never have been truncated.
func (c checkpoint) covers(w *writer, n int) bool {
	i := sort.Search(len(w.streams), func(i int) bool { return w.streams[i].first > n }) - 1
	return int64(n-w.streams[i].first+1)*lineBytes <= c.offsets[w.streams[i].inode]
}

// failures counts the lines in a source's failure log, by error class.
func (s *scene) failures(source string) map[string]int {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.data, "failed", source, "*.jsonl*"))
	if err != nil {
		s.t.Fatal(err)
	}
	classes := map[string]int{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var f struct{ Error struct{ Class string } }
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				s.t.Errorf("%s: %v: %.200s", name, err, line)
				continue
			}
			classes[f.Error.Class]++
		}
	}
	return classes
}

// replay sends the failure logs again until they are empty.
func (s *scene) replay() {
	s.t.Helper()
	shiplog(s.t, 0, "replay", "-c", s.config)
	for _, src := range s.sources {
		if left := s.failures(src.name); len(left) > 0 {
			s.t.Errorf("%s: the failure log still holds %v after a replay", src.name, left)
		}
	}
}

// ends gives the end offsets of all partitions together.
func (tp *topic) ends() (sum int64) {
	tp.t.Helper()
	ends, err := tp.admin.ListEndOffsets(tp.t.Context(), tp.name)
	if err := errors.Join(err, ends.Error()); err != nil {
		return -1 // a partition without a leader
	}
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}

// grows waits until the topic holds so many more records than now.
func (tp *topic) grows(more int64) {
	tp.t.Helper()
	from := int64(-1)
	until(tp.t, "the topic to answer", func() bool { from = tp.ends(); return from >= 0 })
	until(tp.t, fmt.Sprintf("%d more records in %s", more, tp.name), func() bool { return tp.ends() >= from+more })
}

// settled waits until nothing more arrives in topics: what a dead producer had handed to the kernel is in, and its
// end can be seen, for which a follower has to fetch it. On a busy machine that takes some time.
func settled(topics ...*topic) {
	t := topics[0].t
	t.Helper()
	last, since := make([]int64, len(topics)), time.Now()
	until(t, "the ends of topics to stand still", func() bool {
		for i, tp := range topics {
			if now := tp.ends(); now != last[i] || now < 0 {
				last[i], since = now, time.Now()
			}
		}
		return time.Since(since) > time.Second
	})
}

// whole waits until every partition of every topic has a leader and all its replicas in sync.
func whole(t *testing.T) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	until(t, "all replicas to be in sync", func() bool {
		topics, err := admin.ListTopics(t.Context())
		if err != nil {
			return false
		}
		for _, tp := range topics {
			for _, p := range tp.Partitions {
				if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return false
				}
			}
		}
		return true
	})
}

// mended makes sure, when the test ends, that the cluster is whole for the next one.
func mended(t *testing.T) {
	c := cluster(t)
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			if err := n.Proxy.Heal(); err != nil {
				t.Error(err)
			}
			if n.Running() {
				_ = n.Resume() // in case it was paused
			}
		}
		if err := startNodes(c.Nodes...); err != nil {
			t.Error(err)
		}
	})
}
