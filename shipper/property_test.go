package shipper

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// plan is what one run of the property test does.
type plan struct {
	mode, invalidJSON, oversize, outage, permanent string
	key                                            bool
	provenance                                     string
	partitions                                     int32
	files, blocks, lines                           int
	batchBytes                                     int
	badLines                                       int // one line in so many is refused by the broker; 0: none
	cancelled                                      bool
	seed                                           uint64
}

func drawPlan(t *rapid.T) plan {
	return plan{
		mode:        rapid.SampledFrom([]string{config.ModeSync, config.ModeAsync, config.ModeCallback}).Draw(t, "mode"),
		invalidJSON: rapid.SampledFrom([]string{"wrap", "pass", "fail", "drop"}).Draw(t, "on_invalid_json"),
		oversize:    rapid.SampledFrom([]string{"fail", "drop"}).Draw(t, "on_oversize"),
		outage:      rapid.SampledFrom([]string{"wait", "spool"}).Draw(t, "on_outage"),
		permanent:   rapid.SampledFrom([]string{"halt", "fail"}).Draw(t, "on_permanent_error"),
		key:         rapid.Bool().Draw(t, "key"),
		provenance:  rapid.SampledFrom([]string{"batch", "record", "off"}).Draw(t, "provenance"),
		partitions:  rapid.Int32Range(1, 4).Draw(t, "partitions"),
		files:       rapid.IntRange(1, 3).Draw(t, "files"),
		blocks:      rapid.IntRange(1, 30).Draw(t, "blocks"),
		lines:       rapid.IntRange(0, 60).Draw(t, "lines"),
		batchBytes:  rapid.SampledFrom([]int{200, 1000, 1 << 20}).Draw(t, "max_batch_bytes"),
		badLines:    rapid.SampledFrom([]int{0, 2, 10, 100}).Draw(t, "bad lines"),
		cancelled:   rapid.Bool().Draw(t, "cancelled"),
		seed:        rapid.Uint64().Draw(t, "seed"),
	}
}

func TestAccountAndCheckpointAreTrueAtEveryInstant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = newTrial(t, p).run() })
		if len(wrong) > 0 {
			rt.Fatalf("%+v\n%s", p, strings.Join(wrong, "\n"))
		}
	})
}

// trial is one run: a rig whose rooms fail at random, and watchers on all of them.
type trial struct {
	*rig
	plan     plan
	rng      *rand.Rand
	calm     time.Time // from then on only bad lines are refused
	mended   time.Time // from then on nothing is: so many bad lines may have looked like a bad source
	total    int64     // lines in all
	expected []lineAt

	mu       sync.Mutex
	outcomes map[string]int // by line's id: how often it has an outcome
	wrong    []string
}

// lineAt is where a line stands.
type lineAt struct {
	id     string
	file   batch.FileID
	offset int64
	length int64
}

var lineID = regexp.MustCompile(`id-\d+-\d+;`)

func newTrial(t *testing.T, p plan) *trial {
	c := settings(p.mode)
	c.OnInvalidJSON, c.OnOversize, c.MaxBatchBytes, c.Provenance = p.invalidJSON, p.oversize, p.batchBytes, p.provenance
	if p.mode == config.ModeSync {
		c.OnPermanentError = p.permanent
	}
	if p.mode == config.ModeCallback {
		c.OnOutage = p.outage
	}
	if p.key {
		c.Key.Field = "k"
	}
	tr := &trial{plan: p, rng: rand.New(rand.NewPCG(p.seed, 1)), outcomes: make(map[string]int)}
	tr.rig = &rig{
		t: t, reader: newFakeReader(), producer: newFakeProducer(p.partitions), failures: &fakeLog{},
		tracker: checkpoint.NewTracker(nil), quota: &fakeQuota{}, result: make(chan error, 1),
	}
	tr.producer.answer = tr.answer
	tr.producer.delay = func() time.Duration { return time.Duration(tr.intN(50)) * time.Millisecond }
	tr.calm, tr.mended = time.Now().Add(5*time.Second), time.Now().Add(time.Hour)
	var err error
	tr.source, err = New(c, Deps{
		Reader: tr.reader, Producer: tr.producer, FailureLog: tr, Tracker: tr, Quota: tr.quota,
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.makeBlocks()
	return tr
}

func (tr *trial) intN(n int) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.rng.IntN(n)
}

func (tr *trial) failf(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.wrong) < 10 {
		tr.wrong = append(tr.wrong, fmt.Sprintf(format, args...))
	}
}

// makeBlocks makes blocks of runs of several files, with every kind of line.
func (tr *trial) makeBlocks() {
	var files []*fakeFile
	for i := range tr.plan.files {
		files = append(files, newFakeFile(fmt.Sprintf("/log/%d.log", i)))
	}
	n := 0
	for range tr.plan.blocks {
		b := &batch.Batch{ReadAt: time.Now(), Full: tr.intN(2) == 0}
		for range 1 + tr.intN(3) {
			f := tr.intN(len(files))
			var lines []string
			for range tr.intN(tr.plan.lines + 1) {
				lines = append(lines, tr.line(f, n))
				n++
			}
			r := files[f].run(b, lines...)
			for i := r.First; i < r.Last; i++ {
				tr.expected = append(tr.expected, lineAt{lineID.FindString(lines[i-r.First]), files[f].file.ID, b.Lines[i].Offset, int64(b.Lines[i].Length)})
			}
			r.Skipped[batch.SkipEmpty] = int64(tr.intN(3))
			if tr.intN(10) == 0 {
				r.Oversize = []batch.Oversize{{Offset: r.Start, Length: 1 << 30, Head: []byte("big")}}
			}
			tr.total += r.LineCount()
		}
		tr.reader.add(b)
	}
}

func (tr *trial) line(f, n int) string {
	id := fmt.Sprintf("id-%d-%d;", f, n)
	if bad := tr.plan.badLines; bad > 0 && tr.intN(bad) == 0 {
		id += " refuse me"
	}
	if tr.intN(10) == 0 {
		return "plain text " + id
	}
	return fmt.Sprintf(`{"k":"%d","v":%q}`, tr.intN(5), id)
}

// answer fails at random until it is calm, and refuses bad lines always.
func (tr *trial) answer(rb *kafka.RecordBatch) kafka.Result {
	tr.look("a request")
	var res kafka.Result
	if time.Now().Before(tr.mended) {
		res = refuseValues(invalid, "refuse me")(rb)
	}
	if res.Err != nil && tr.intN(2) == 0 {
		for i := range rb.Len() {
			if _, v, _ := rb.Record(i); strings.Contains(string(v), "refuse me") {
				res.RecordErrors = append(res.RecordErrors, kafka.RecordError{Index: i})
			}
		}
	}
	if time.Now().Before(tr.calm) && tr.intN(4) == 0 {
		res = kafka.Result{Err: []*kafka.Error{retriable, unknown, denied, noTopic}[tr.intN(4)]}
	}
	switch {
	case res.Err == nil:
		tr.settledBy(rb)
	case tr.plan.mode == config.ModeAsync && !res.Err.Class.OfSource():
		tr.settledBy(rb) // dropped, as async may
	}
	return res
}

// settledBy notes that the lines of a record batch have an outcome.
func (tr *trial) settledBy(rb *kafka.RecordBatch) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i := range rb.Len() {
		_, v, _ := rb.Record(i)
		tr.outcomes[lineID.FindString(string(v))]++
	}
}

// look compares the account at this very instant.
func (tr *trial) look(when string) {
	if a := tr.source.Account(); a.Missing() != 0 {
		tr.failf("%s: %d lines are missing: %v", when, a.Missing(), a)
	}
}

// watch looks at every millisecond, as long as much happens.
func (tr *trial) watch(ctx context.Context) {
	for ctx.Err() == nil {
		tr.look("in between")
		every := time.Millisecond
		if time.Now().After(tr.calm) {
			every = time.Minute
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
}
