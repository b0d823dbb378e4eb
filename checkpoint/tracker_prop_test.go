package checkpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"shiplog/internal/batch"
)

// model is the tracker as one would write it without a thought for cost: all runs, in order.
type model struct {
	runs map[batch.FileID][]*modelRun
	out  []modelBatch
}

type modelRun struct {
	run     batch.Run
	settled bool
}

type modelBatch struct {
	ticket Ticket
	runs   []*modelRun
}

// TestAnyOrderOfSettling drives the tracker with batches of runs of several files and generations,
// settled in any order, and compares each position with the model's, also after it was saved and
// read back. A position that passed an unsettled run would lose lines.
func TestAnyOrderOfSettling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr, m := NewTracker(nil), &model{runs: map[batch.FileID][]*modelRun{}}
		files := []*batch.File{
			testFile(1, 0, "/a"), testFile(1, 1, "/a"), testFile(2, 0, "/b"), testFile(3, 0, "/c"),
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin":  func(t *rapid.T) { m.begin(t, tr, files) },
			"settle": func(t *rapid.T) { m.settle(t, tr) },
			"":       func(t *rapid.T) { m.compare(t, tr) },
		})
	})
}

func (m *model) begin(t *rapid.T, tr *Tracker, files []*batch.File) {
	b := &batch.Batch{}
	var runs []*modelRun
	for range rapid.IntRange(0, 4).Draw(t, "runs") {
		f := rapid.SampledFrom(files).Draw(t, "file")
		var start int64
		if all := m.runs[f.ID]; len(all) > 0 {
			start = all[len(all)-1].run.End.Offset
		}
		r := run1(f, start, start+rapid.Int64Range(0, 2000).Draw(t, "bytes"))
		r.Finished = rapid.Bool().Draw(t, "finished")
		b.Runs = append(b.Runs, r)
		mr := &modelRun{run: r}
		m.runs[f.ID] = append(m.runs[f.ID], mr)
		runs = append(runs, mr)
	}
	m.out = append(m.out, modelBatch{tr.Begin(b), runs})
}

func (m *model) settle(t *rapid.T, tr *Tracker) {
	if len(m.out) == 0 {
		t.Skip("nothing is out")
	}
	i := rapid.IntRange(0, len(m.out)-1).Draw(t, "which")
	b := m.out[i]
	m.out = append(m.out[:i], m.out[i+1:]...)
	for _, r := range b.runs {
		r.settled = true
	}
	tr.Settle(b.ticket)
}

func (m *model) compare(t *rapid.T, tr *Tracker) {
	want := map[batch.FileID]batch.State{}
	for id, runs := range m.runs {
		s := batch.State{ID: id, Path: runs[0].run.File.Path}
		s.Pos.Head, s.Pos.HeadLen = runs[0].run.End.Head, runs[0].run.End.HeadLen
		for _, r := range runs {
			if !r.settled {
				break
			}
			s.Pos, s.Finished = r.run.End, r.run.Finished
		}
		want[id] = s
	}
	if diff := cmp.Diff(want, byID(tr.States())); diff != "" {
		t.Fatalf("states (-want +got):\n%s", diff)
	}
	c, _ := tr.snapshot()
	data, err := encode("s", c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	again := NewTracker(nil)
	again.restore(back)
	if diff := cmp.Diff(want, byID(again.States())); diff != "" {
		t.Fatalf("states after a restart (-want +got):\n%s", diff)
	}
}

func byID(states []batch.State) map[batch.FileID]batch.State {
	m := map[batch.FileID]batch.State{}
	for _, s := range states {
		m[s.ID] = s
	}
	return m
}
