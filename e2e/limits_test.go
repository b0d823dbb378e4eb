package e2e

import (
	"bufio"
	bigendian "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shiplog/e2e/kafka"
)

// tooLong is a line that no batch of a topic with a limit of 20,000 bytes can hold.
func tooLong(n int) []byte {
	return fmt.Appendf(nil, "{\"big\":%d,\"text\":%q}\n", n, incompressible(60_000))
}

// TestTooLargeForTheTopic writes single lines over the topic's limit among thousands. Our own batches are over it, too.
func TestTooLargeForTheTopic(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ mode, source string }{
		{"callback", "compression: none"},
		{"sync", "compression: none\non_permanent_error: fail"},
	} {
		tooLargeAmong(t, f.mode, spec{source: f.source}, false)
	}
}

// TestTooLargeInABatchOfThousands does so with the batches and the compression that nobody has to ask for.
func TestTooLargeInABatchOfThousands(t *testing.T) {
	t.Parallel()
	tooLargeAmong(t, "callback", spec{}, true)
	tooLargeAmong(t, "sync", spec{source: "on_permanent_error: fail"}, true)
}

// tooLargeAmong ships a few lines that are too large among thousands, which may all be there before shiplog starts, so
// that they come in as few batches as it makes by default.
func tooLargeAmong(t *testing.T, mode string, sp spec, defaults bool) {
	t.Helper()
	sp.modes, sp.topic = []string{mode}, []string{"max.message.bytes", "20000"}
	s := newScene(t, "lines over the topic's limit among thousands, and batches over it", sp)
	src := s.sources[0]
	if defaults {
		s.fault += ", our default batches"
		s.edit(fmt.Sprintf("    max_batch_lines: %d\n", batchLines), "")
	} else {
		s.start()
	}
	const bad = 3
	for i := range bad {
		src.w.write(2000)
		src.w.raw(tooLong(i))
	}
	src.w.write(500)
	if defaults {
		s.start()
	}
	until(t, "all other lines", func() bool { return src.topic.ends() >= int64(src.w.count()) })
	s.drain()
	if classes := s.failures(mode); classes["too_large"] != bad || total(classes) != bad {
		t.Errorf("%s: the failure log holds %v, want %d of too_large", mode, classes, bad)
	}
	s.reckon(src, allowed{kept: bad, note: fmt.Sprintf("%d lines too large, in the failure log", bad)})
}

// TestASyncSourceHalts lets the default of sync meet a line that can never be accepted: its order would break.
func TestASyncSourceHalts(t *testing.T) {
	t.Parallel()
	s := newScene(t, "a line over the topic's limit, on_permanent_error: halt", spec{
		modes: []string{"sync", "callback"}, topic: []string{"max.message.bytes", "20000"}})
	sync, other := s.sources[0], s.sources[1]
	s.start()
	sync.w.write(1000)
	sync.w.raw(tooLong(0))
	sync.w.write(1000)
	other.w.write(1000)
	until(t, "the halt", func() bool { return s.d.said("source halted") })
	other.w.write(1000) // goes on
	until(t, "the other source's lines", func() bool { return other.topic.ends() >= 2000 })
	if code := s.d.stop(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if at := fmt.Sprintf("%d", 1000*lineBytes); !s.d.said("app.log") || !s.d.said(at) || !s.d.said("MESSAGE_TOO_LARGE") {
		t.Errorf("the log does not name the file, the offset %s and the cause:\n%s", at, tail(s.d.out.String(), 10))
	}
	s.reckon(other, allowed{note: "beside a source that halted"})
	sync.read(sync.topic)
	if sync.distinct() != 1000 || sync.repeats() != 0 || sync.disorders != 0 {
		t.Errorf("sync: %d lines, %d repeats, want the 1000 before the bad one", sync.distinct(), sync.repeats())
	}
	// The way on that the documentation names.
	sync.topic.set("max.message.bytes", "1000000")
	s.start()
	until(t, "the rest", func() bool { return sync.topic.ends() >= 2001 })
	s.drain()
	sync.read(sync.topic)
	if sync.distinct() != 2000 || sync.foreign != 1 || sync.repeats() != 0 || sync.disorders != 0 {
		t.Errorf("sync after the limit was raised: %d lines and %d others, %d repeats, %d out of order; want 2000 and 1",
			sync.distinct(), sync.foreign, sync.repeats(), sync.disorders)
	}
}

// TestTimesAhead writes lines with a time that the topic does not take among good ones.
func TestTimesAhead(t *testing.T) {
	t.Parallel()
	s := newScene(t, "lines with a time two hours ahead among good ones", spec{
		modes: []string{"callback"}, topic: []string{"message.timestamp.after.max.ms", "3600000"},
		source: "timestamp: {field: time, format: rfc3339}"})
	src := s.sources[0]
	s.start()
	const bad = 3
	for i := range bad {
		src.w.write(1000) // numbered lines have no time of their own
		src.w.raw(fmt.Appendf(nil, "{\"time\":%q,\"late\":%d}\n", time.Now().Add(2*time.Hour).Format(time.RFC3339), i))
	}
	src.w.write(1000)
	until(t, "all other lines", func() bool { return src.topic.ends() >= int64(src.w.count()) })
	s.drain()
	if classes := s.failures("callback"); classes["invalid"] != bad || total(classes) != bad {
		t.Errorf("the failure log holds %v, want %d of invalid", classes, bad)
	}
	s.reckon(src, allowed{kept: bad, note: fmt.Sprintf("%d lines refused, in the failure log", bad)})
}

// TestTimesAheadAmongGoodOnes does so where every line has a time of its own, also with sync.
func TestTimesAheadAmongGoodOnes(t *testing.T) {
	t.Parallel()
	for mode, further := range map[string]string{"callback": "", "sync": "\non_permanent_error: fail"} {
		tp := newTopic(t, 1, "message.timestamp.after.max.ms", "3600000")
		s := newSetup(t, tp, mode, "timestamp: {field: time, format: rfc3339}"+further)
		lines := makeLines(t, 0, 5000)
		ahead := time.Now().Add(2 * time.Hour)
		var good, bad []string
		for i := range lines {
			if i%1000 != 500 {
				good = append(good, lines[i])
				continue
			}
			lines[i] = strings.Replace(lines[i], lineTime(i).Format(time.RFC3339Nano), ahead.Format(time.RFC3339Nano), 1)
			bad = append(bad, lines[i])
		}
		appendLines(t, s.log, lines)
		shiplog(t, 0, "run", "-c", s.config, "--once")
		records := tp.records()
		wantEachOnce(t, records, good)
		if mode == "sync" {
			wantStrictOrder(t, records, good)
		}
		for _, r := range records {
			if want := lineTime(parse(t, r).N); !r.Timestamp.Equal(want) {
				t.Fatalf("%s: the record has the time %v, its line %v", mode, r.Timestamp, want)
			}
		}
		refused := refusedTimes(t, s)
		slices.Sort(bad)
		slices.Sort(refused)
		if diff := cmp.Diff(bad, refused); diff != "" {
			t.Errorf("%s: the failure log (-want +got):\n%s", mode, diff)
		}
	}
}

// refusedTimes gives the lines in the failure log, which must all be there for their time.
func refusedTimes(t *testing.T, s setup) (refused []string) {
	t.Helper()
	for text := range strings.Lines(shiplog(t, 0, "failed", "show", "-c", s.config)) {
		var f struct {
			Value json.RawMessage
			Text  string `json:"value_text"` // of a line with white space
			Error struct{ Class, Kafka string }
		}
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("failure log: %v in %.500s", err, text)
		}
		if f.Error.Class != "invalid" || f.Error.Kafka != "INVALID_TIMESTAMP" {
			t.Errorf("a line failed with %+v, want invalid, INVALID_TIMESTAMP", f.Error)
		}
		refused = append(refused, string(f.Value)+f.Text)
	}
	return refused
}

// TestAHaltedSourceIsLedPastItsLine takes the way on that changes neither the topic nor the configuration.
func TestAHaltedSourceIsLedPastItsLine(t *testing.T) {
	t.Parallel()
	s := newScene(t, "a line over the topic's limit halts sync, then checkpoint seek", spec{
		modes: []string{"sync"}, topic: []string{"max.message.bytes", "20000"}})
	src := s.sources[0]
	src.w.write(3000)
	bad := tooLong(0)
	src.w.raw(bad)
	src.w.write(3000)
	s.start()
	until(t, "the halt", func() bool { return s.d.said("source halted") })
	if code := s.d.stop(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if want := fmt.Sprintf("the line at %s, offset %d ", src.w.path, 3000*lineBytes); !s.d.said(want) {
		t.Errorf("the log does not say %q:\n%s", want, tail(s.d.out.String(), 5))
	}
	shiplog(t, 0, "checkpoint", "seek", "-c", s.config, "--source", "sync", "--file", src.w.path, "--to", fmt.Sprint(3000*lineBytes+len(bad)))
	s.start()
	s.drain()
	s.reckon(src, allowed{gone: int64(len(bad)), note: "all but the line that was passed by"})
}

// TestCompactedTopic ships lines without keys to a compacted topic, which takes none of them: the topic is wrong, not
// the lines.
func TestCompactedTopic(t *testing.T) {
	c := cluster(t)
	mended(t)
	relay := newRelay(t, c)
	s := newScene(t, "a compacted topic and lines without keys, then delete instead", spec{
		modes: []string{"sync", "callback"}, topic: []string{"cleanup.policy", "compact"}})
	s.start()
	for _, src := range s.sources {
		src.w.write(5000)
	}
	said := func() int {
		return len(s.d.log("the source itself is at fault, not its lines; nothing is given up, it is tried again"))
	}
	until(t, "both sources to see it", func() bool { return said() >= 2 })
	before := relay.produced.Load()
	pass(5 * time.Second)
	during := relay.produced.Load() - before
	if most := int64(200); during > most {
		t.Errorf("%d produce requests in 5 s to topics that take nothing, want at most %d", during, most)
	}
	if n := said(); n != 2 {
		t.Errorf("said %d times that a source is at fault, want once for each of the two", n)
	}
	if lines := strings.Count(s.d.out.String(), "\n"); lines > 60 {
		t.Errorf("%d lines of log, want a few:\n%s", lines, tail(s.d.out.String(), 20))
	}
	if kept := s.failures("callback"); len(kept) > 0 {
		t.Errorf("lines were given up for a fault of the topic: %v", kept)
	}
	for _, src := range s.sources {
		src.topic.set("cleanup.policy", "delete")
	}
	for _, src := range s.sources {
		// A broker that learns of it later than another may refuse some lines for good meanwhile.
		until(t, "all lines of "+src.name, func() bool {
			return src.topic.ends() >= int64(src.w.count()-total(s.failures(src.name)))
		})
	}
	s.drain()
	s.replay()
	for _, src := range s.sources {
		s.reckon(src, allowed{note: fmt.Sprintf("%d produce requests in 5 s meanwhile", during)})
	}
}

// relay stands between the proxies and the brokers and counts the produce requests.
type relay struct {
	produced atomic.Int64
	wg       sync.WaitGroup
}

func newRelay(t *testing.T, c *kafka.Cluster) *relay {
	t.Helper()
	r := &relay{}
	t.Cleanup(func() { r.wg.Wait() }) // the last of the cleanups
	for _, n := range c.Nodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		to, err := n.Proxy.Through(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r.wg.Go(func() { r.serve(ln, to) })
		t.Cleanup(func() {
			if _, err := n.Proxy.Through(to); err != nil { // closes all connections
				t.Error(err)
			}
			_ = ln.Close() // nobody uses it any more
		})
	}
	return r
}

func (r *relay) serve(ln net.Listener, to string) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close() // as a dead broker does
			continue
		}
		r.wg.Go(func() { r.requests(out, in); _ = out.Close(); _ = in.Close() })
		r.wg.Go(func() { _, _ = io.Copy(in, out); _ = out.Close(); _ = in.Close() })
	}
}

// requests copies requests and counts those with the key of Produce.
func (r *relay) requests(to io.Writer, from io.Reader) {
	in := bufio.NewReader(from)
	for {
		head, err := in.Peek(6) // length and key
		if err != nil {
			return
		}
		if bigendian.BigEndian.Uint16(head[4:]) == 0 {
			r.produced.Add(1)
		}
		if _, err := io.CopyN(to, in, int64(bigendian.BigEndian.Uint32(head))+4); err != nil {
			return
		}
	}
}
