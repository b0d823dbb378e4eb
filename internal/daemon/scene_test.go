package daemon

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/fsx"
)

// scene is a daemon with auto_replay and one callback source, a, before an embedded broker.
type scene struct {
	t       *testing.T
	dir     string
	cfg     *config.Config
	cluster *kfake.Cluster
	d       *Daemon
	logs    *observer.ObservedLogs
	ended   chan Report

	mu sync.Mutex
	// fresh and replay are what the broker answers to what comes from the source's files and from its
	// failure log: nil for the usual answer.
	fresh, replay *kerr.Error
	stall         chan struct{} // answers to a replay wait for it, if it is not nil
	stalled       int
	proven        bool // something fresh got through since the last that failed
	replays       int  // requests of the replay
	early         int  // of them, before proven
}

// newScene writes the configuration; keys are further keys of the source.
func newScene(t *testing.T, keys string) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), ended: make(chan Report, 1)}
	var err error
	if s.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(1, "t")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Close)
	s.cluster.ControlKey(int16(kmsg.Produce), s.produce)
	path := filepath.Join(s.dir, "config.yaml")
	writeFile(t, path, fmt.Sprintf("data_dir: %s\nshutdown_quiet: 0s\nfailure_log: {auto_replay: true}\nkafka: {brokers: [%q]}\n"+
		"sources: [{id: a, mode: callback, topic: t, include: [%q]%s}]\n",
		filepath.Join(s.dir, "data"), s.cluster.ListenAddrs()[0], s.path(), keys))
	if s.cfg, err = config.Load(path); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) path() string { return filepath.Join(s.dir, "app.log") }

// start runs the daemon at the pace of a test.
func (s *scene) start(change func(*autoPace)) {
	s.t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s.logs = logs
	d, err := New(s.cfg, Options{Log: zap.New(core)})
	if err != nil {
		s.t.Fatal(err)
	}
	d.pace = autoPace{tick: 2 * time.Millisecond, idle: 10 * time.Millisecond, turn: 2 * time.Second, patience: 30 * time.Second,
		first: 5 * time.Millisecond, most: 20 * time.Millisecond, seal: 10 * time.Millisecond, say: time.Minute, attempts: 10}
	if change != nil {
		change(&d.pace)
	}
	s.d = d
	ended := make(chan struct{})
	s.t.Cleanup(func() { // of a test that failed in the middle
		d.Stop()
		<-ended
	})
	go func() {
		defer close(ended)
		report, err := d.Run(s.t.Context())
		if err != nil {
			s.t.Error(err)
		}
		s.ended <- report
	}()
}

// stop ends the daemon and checks that its account adds up.
func (s *scene) stop() Report {
	s.t.Helper()
	s.d.Stop()
	report := <-s.ended
	if a := report.Accounts[0]; a.Missing() != 0 || a.InFlight != 0 || report.TimedOut {
		s.t.Errorf("at the end: %s, timed out: %t", a, report.TimedOut)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.early > 0 {
		s.t.Errorf("%d requests of the replay came before a fresh line had got through", s.early)
	}
	return report
}

// answers sets what the broker answers from now on.
func (s *scene) answers(fresh, replay *kerr.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh, s.replay = fresh, replay
}

// write appends numbered lines to the log.
func (s *scene) write(from, to int) {
	s.t.Helper()
	var text strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&text, "{\"n\":%d}\n", n)
	}
	s.append(text.String())
}

func (s *scene) append(text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// produce answers a produce request. What is replayed has a producer id, what is fresh has none. One
// request speaks of one batch.
func (s *scene) produce(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	s.cluster.KeepControl()
	req := r.(*kmsg.ProduceRequest)
	records := req.Topics[0].Partitions[0].Records
	replay := int64(binary.BigEndian.Uint64(records[43:])) >= 0
	s.mu.Lock()
	fail := s.fresh
	if replay {
		fail = s.replay
		s.replays++
		if !s.proven {
			s.early++
		}
	}
	// A line that the broker never takes; it looks into batches that are not compressed.
	if strings.Contains(string(records), "huge") {
		fail = kerr.MessageTooLarge
	}
	if !replay && fail != kerr.MessageTooLarge {
		s.proven = fail == nil
	}
	stall := s.stall
	if replay && stall != nil {
		s.stalled++
	}
	s.mu.Unlock()
	if replay && stall != nil {
		s.cluster.SleepControl(func() { <-stall })
	}
	if fail == nil {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	t := kmsg.NewProduceResponseTopic()
	t.Topic, t.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode, p.BaseOffset = req.Topics[0].Partitions[0].Partition, fail.Code, -1
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp, nil, true
}

// until waits for the account to hold.
func (s *scene) until(what string, done func() bool) {
	s.t.Helper()
	eventually(s.t, what, done)
}

func (s *scene) logged() int64    { return s.d.Accounts()[0].FailureLogged }
func (s *scene) delivered() int64 { return s.d.Accounts()[0].Delivered }
func (s *scene) replayed() int64  { return s.d.pipes[0].replayed.Load() }

// failed gives what stands in the failure log.
func (s *scene) failed() (list []failedlog.Record) {
	s.t.Helper()
	segments, err := failedlog.List(fsx.OS, FailedDir(s.cfg), "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, seg := range segments {
		err := failedlog.Read(fsx.OS, seg, func(e *failedlog.Entry) error {
			rec := e.Record
			rec.Payload = slices.Clone(rec.Payload)
			list = append(list, rec)
			return e.Err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return list
}

// topic gives the values in the topic, of which there must be n, in their order.
func (s *scene) topic(n int) (values []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.ConsumeTopics("t"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for len(values) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("after %d of %d values: %v", len(values), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	if len(values) > n {
		s.t.Errorf("%d values in the topic, want %d", len(values), n)
	}
	return values
}

// once checks that the topic holds the lines 0 to n, each once.
func (s *scene) once(n int) []string {
	s.t.Helper()
	values := s.topic(n)
	times := make(map[string]int)
	for _, v := range values {
		times[v]++
	}
	for i := range n {
		if v := fmt.Sprintf(`{"n":%d}`, i); times[v] != 1 {
			s.t.Errorf("line %d stands in the topic %d times, want once", i, times[v])
		}
	}
	return values
}

// number gives the number of a line.
func number(line string) (n int, err error) {
	_, err = fmt.Sscanf(line, `{"n":%d}`, &n)
	return n, err
}
