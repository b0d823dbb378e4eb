package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// setup is the folder of one test: a log, a data_dir and a configuration that ships the one to tp.
type setup struct{ log, config, data string }

// newSetup writes a configuration with one source; source holds further keys of it, one a line.
func newSetup(t *testing.T, tp *topic, mode, source string) setup {
	t.Helper()
	dir := t.TempDir()
	s := setup{
		log:    filepath.Join(dir, "log", "app.log"),
		config: filepath.Join(dir, "config.yaml"),
		data:   filepath.Join(dir, "data"),
	}
	if err := os.Mkdir(filepath.Dir(s.log), 0o700); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir: %s\nkafka:\n  brokers: [%s]\nsources:\n  - id: app\n    include: [%s]\n"+
		"    topic: %s\n    mode: %s\n", s.data, strings.Join(brokers(t), ", "), s.log, tp.name, mode)
	for key := range strings.Lines(source) {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(key))
	}
	if err := os.WriteFile(s.config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSyncShipsInStrictOrder(t *testing.T) {
	tp := newTopic(t, 3)
	s := newSetup(t, tp, "sync", `compression: zstd
		timestamp: {field: time, format: rfc3339}
		headers: {env: e2e, from: "%{file.name}"}`)
	lines := makeLines(t, 0, 20000)
	appendLines(t, s.log, lines[:12000])
	shiplog(t, 0, "run", "-c", s.config, "--once")
	wantStrictOrder(t, tp.records(), lines[:12000])

	// The second run goes on where the first one ended.
	appendLines(t, s.log, lines[12000:])
	shiplog(t, 0, "run", "-c", s.config, "--once")
	records := tp.records()
	wantStrictOrder(t, records, lines)
	for i, r := range records {
		if !r.Timestamp.Equal(lineTime(i)) {
			t.Fatalf("timestamp of line %d is %v, want %v", i, r.Timestamp, lineTime(i))
		}
		if got := headers(r); got["env"] != "e2e" || got["from"] != "app.log" {
			t.Fatalf("headers of line %d are %v", i, got)
		}
	}
}

func TestAsyncShipsEveryLineOfAHealthyBroker(t *testing.T) {
	tp := newTopic(t, 3)
	s := newSetup(t, tp, "async", `compression: snappy`)
	begin := time.Now().Truncate(time.Millisecond)
	lines := makeLines(t, 0, 20000)
	appendLines(t, s.log, lines)
	shiplog(t, 0, "run", "-c", s.config, "--once")
	records := tp.records()
	wantEachOnceInPartitionOrder(t, records, lines)
	for _, r := range records {
		if r.Timestamp.Before(begin) || r.Timestamp.After(time.Now()) {
			t.Fatalf("timestamp %v is not the time of reading", r.Timestamp)
		}
	}
}

// TestCallbackShipsByKey compares the partitions with those that franz-go's own implementation of
// Java's partitioner chooses.
func TestCallbackShipsByKey(t *testing.T) {
	const partitions = 3
	tp := newTopic(t, partitions)
	s := newSetup(t, tp, "callback", `compression: lz4
		key: {field: user.id}`)
	lines := makeLines(t, 0, 20000)
	appendLines(t, s.log, lines)
	shiplog(t, 0, "run", "-c", s.config, "--once")
	records := tp.records()
	wantEachOnce(t, records, lines)
	java := kgo.StickyKeyPartitioner(nil).ForTopic(tp.name)
	for _, r := range records {
		if got, want := string(r.Key), parse(t, r).User.ID; got != want {
			t.Fatalf("key is %q, want %q", got, want)
		}
		if want := java.Partition(&kgo.Record{Key: r.Key}, partitions); int(r.Partition) != want {
			t.Fatalf("key %s is in partition %d, want %d", r.Key, r.Partition, want)
		}
	}
}

// TestLineThatIsNoJSONIsWrapped sends text, and bytes that are no text.
func TestLineThatIsNoJSONIsWrapped(t *testing.T) {
	tp := newTopic(t, 1)
	s := newSetup(t, tp, "callback", ``)
	appendLines(t, s.log, []string{`{"n":0}`, `panic: "it broke" \ here`, `{"n":2}`})
	shiplog(t, 0, "run", "-c", s.config, "--once")
	want := []string{`{"n":0}`, `{"message":"panic: \"it broke\" \\ here"}`, `{"n":2}`}
	if diff := cmp.Diff(want, values(tp.records())); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestRefusedLineComesHomeByReplay: a line that the topic does not take lands in the failure log,
// and in the topic once the limit is raised and the failure log is replayed.
func TestRefusedLineComesHomeByReplay(t *testing.T) {
	tp := newTopic(t, 1, "max.message.bytes", "20000")
	s := newSetup(t, tp, "callback", `key: {field: user.id}
		timestamp: {field: time, format: rfc3339}
		headers: {env: e2e}`)
	lines := makeLines(t, 0, 300)
	const big = 150
	lines[big] = fmt.Sprintf(`{"n":%d,"time":%q,"user":{"id":"user-big"},"text":%q}`,
		big, lineTime(big).Format(time.RFC3339Nano), incompressible(60000))
	appendLines(t, s.log, lines)
	shiplog(t, 0, "run", "-c", s.config, "--once")

	wantEachOnce(t, tp.records(), slices.Delete(slices.Clone(lines), big, big+1))
	wantRefused(t, s, lines[big])
	shiplog(t, 1, "replay", "-c", s.config) // the topic is as it was
	wantRefused(t, s, lines[big])

	tp.set("max.message.bytes", "1000000")
	shiplog(t, 0, "replay", "-c", s.config)
	records := tp.records()
	if len(records) != len(lines) {
		t.Fatalf("%d records, want %d", len(records), len(lines))
	}
	last := records[len(records)-1]
	if string(last.Value) != lines[big] || string(last.Key) != "user-big" ||
		!last.Timestamp.Equal(lineTime(big)) || headers(last)["env"] != "e2e" {
		t.Errorf("replayed record: key %s, time %v, headers %v, %d bytes; want line %d as it would have been sent",
			last.Key, last.Timestamp, headers(last), len(last.Value), big)
	}
	if out := shiplog(t, 0, "failed", "show", "-c", s.config); out != "" {
		t.Errorf("the failure log still holds:\n%s", out)
	}
	shiplog(t, 0, "replay", "-c", s.config)
	if got := len(tp.records()); got != len(lines) {
		t.Errorf("%d records after a replay of nothing, want %d", got, len(lines))
	}
}

// wantRefused checks that the failure log holds that line alone, and why.
func wantRefused(t *testing.T, s setup, want string) {
	t.Helper()
	var got struct {
		Value json.RawMessage
		Error struct{ Class, Kafka string }
	}
	out := shiplog(t, 0, "failed", "show", "-c", s.config)
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("failure log: %v in %.500s", err, out)
	}
	if !bytes.Equal(got.Value, []byte(want)) {
		t.Errorf("the failure log holds %.100s, want %.100s", got.Value, want)
	}
	if got.Error.Class != "too_large" || got.Error.Kafka != "MESSAGE_TOO_LARGE" {
		t.Errorf("the error is %+v, want too_large, MESSAGE_TOO_LARGE", got.Error)
	}
}

// TestDaemonFollowsARotation runs the daemon as it runs in production: it follows the log over a
// rotation, and SIGTERM ends it with everything delivered.
func TestDaemonFollowsARotation(t *testing.T) {
	tp := newTopic(t, 3)
	s := newSetup(t, tp, "sync", ``)
	lines := makeLines(t, 0, 3000)
	appendLines(t, s.log, lines[:1000])

	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), "run", "-c", s.config)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tp.await(1000)
	if err := os.Rename(s.log, s.log+".1"); err != nil {
		t.Fatal(err)
	}
	appendLines(t, s.log, lines[1000:2000])
	tp.await(2000)
	appendLines(t, s.log, lines[2000:]) // some of these are read only after the signal
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("shiplog ended with %v, want exit code 0\n%s", err, tail(errs.String(), 40))
	}
	wantStrictOrder(t, tp.records(), lines)
}

// incompressible makes printable text that no codec makes much smaller.
func incompressible(n int) string {
	letters := []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
	state := uint64(1)
	out := make([]byte, n)
	for i := range out {
		state = state*6364136223846793005 + 1442695040888963407
		out[i] = letters[state>>58]
	}
	return string(out)
}

// wantStrictOrder checks that one partition holds exactly these lines, in this order.
func wantStrictOrder(t *testing.T, records []*kgo.Record, lines []string) {
	t.Helper()
	for _, r := range records {
		if r.Partition != records[0].Partition {
			t.Fatalf("records in partitions %d and %d, want one", r.Partition, records[0].Partition)
		}
	}
	got := values(records)
	if slices.Equal(got, lines) {
		return
	}
	for i := range min(len(got), len(lines)) {
		if got[i] != lines[i] {
			t.Fatalf("record %d of %d is\n%.200s\nwant line %d of %d:\n%.200s", i, len(got), got[i], i, len(lines), lines[i])
		}
	}
	t.Fatalf("%d records, want %d", len(got), len(lines))
}

// wantEachOnceInPartitionOrder checks that the partitions together hold each line once, and that
// each partition has its lines in the order of the file.
func wantEachOnceInPartitionOrder(t *testing.T, records []*kgo.Record, lines []string) {
	t.Helper()
	last := map[int32]int{}
	for _, r := range records {
		n := parse(t, r).N
		if before, ok := last[r.Partition]; ok && n <= before {
			t.Errorf("partition %d: line %d comes after line %d", r.Partition, n, before)
		}
		last[r.Partition] = n
	}
	wantEachOnce(t, records, lines)
}

// wantEachOnce checks that the records are exactly these lines, in any order: callback promises
// none around a line that was refused, or while a leader is looked for.
func wantEachOnce(t *testing.T, records []*kgo.Record, lines []string) {
	t.Helper()
	got, want := values(records), slices.Clone(lines)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d records do not hold the bytes of the %d lines, each once", len(got), len(want))
	}
}

func parse(t *testing.T, r *kgo.Record) (l line) {
	t.Helper()
	if err := json.Unmarshal(r.Value, &l); err != nil {
		t.Fatalf("record %d of partition %d: %v", r.Offset, r.Partition, err)
	}
	return l
}

func values(records []*kgo.Record) []string {
	list := make([]string, len(records))
	for i, r := range records {
		list[i] = string(r.Value)
	}
	return list
}

func headers(r *kgo.Record) map[string]string {
	m := map[string]string{}
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}
