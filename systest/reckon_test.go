//go:build linux

package systest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tally counts which lines arrived, and how often.
type tally struct {
	t       *testing.T
	times   []int // by line
	foreign int   // records that are no line that was written
	shown   int
}

func newTally(t *testing.T) *tally { return &tally{t: t} }

// add takes records in and gives the numbers of their lines, in order.
func (y *tally) add(records []*kgo.Record) []int {
	numbers := make([]int, 0, len(records))
	for _, r := range records {
		n, ok := number(r.Value)
		if !ok {
			y.stranger(r.Value)
			continue
		}
		y.count(n)
		numbers = append(numbers, n)
	}
	return numbers
}

func (y *tally) count(n int) {
	for n >= len(y.times) {
		y.times = append(y.times, make([]int, 1<<14)...)
	}
	y.times[n]++
}

func (y *tally) stranger(value []byte) {
	y.foreign++
	if y.shown++; y.shown <= 5 {
		y.t.Logf("a record that is no line: %q", value)
	}
}

// arrived says whether a line has arrived.
func (y *tally) arrived(n int) bool { return n < len(y.times) && y.times[n] > 0 }

// missing lists the lines that did not arrive.
func (y *tally) missing(written int) []int {
	var list []int
	for n := range written {
		if !y.arrived(n) {
			list = append(list, n)
		}
	}
	return list
}

// repeats counts the arrivals beyond the first of each line.
func (y *tally) repeats() int {
	n := 0
	for _, times := range y.times {
		n += max(times-1, 0)
	}
	return n
}

// describe says where lines stand in the files that were written.
func (w *writer) describe(numbers []int) string {
	var out strings.Builder
	for i := 0; i < len(numbers); {
		first, s := numbers[i], w.streamOf(numbers[i])
		for i++; i < len(numbers) && numbers[i] == numbers[i-1]+1 && w.streamOf(numbers[i]) == s; i++ {
		}
		start, end := w.streams[s].first, w.written
		if s+1 < len(w.streams) {
			end = w.streams[s+1].first
		}
		fmt.Fprintf(&out, "\n  lines %d to %d: of file %d (%s, now %s), which holds %d to %d",
			first, numbers[i-1], s, w.streams[s].node, w.streams[s].name, start, end-1)
	}
	return out.String()
}

// streamOf gives the index of the file that a line was written to.
func (w *writer) streamOf(n int) int {
	return sort.Search(len(w.streams), func(i int) bool { return w.streams[i].first > n }) - 1
}

// failure is a line of the failure log.
type failure struct {
	Source string
	File   string
	Topic  string
	Offset int64
	Error  struct{ Class, Kafka, Message string }
	Value  json.RawMessage
	Text   *string `json:"value_text"`
	Base64 *string `json:"value_base64"`
	Over   *struct {
		Length int64
		SHA256 string `json:"sha256"`
	} `json:"oversize"`
}

// payload gives the bytes of the line.
func (f *failure) payload(t *testing.T) []byte {
	t.Helper()
	switch {
	case f.Text != nil:
		return []byte(*f.Text)
	case f.Base64 != nil:
		b, err := base64.StdEncoding.DecodeString(*f.Base64)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return f.Value
}

// failures reads a source's failure log from the disk.
func (p *place) failures(t *testing.T, source string) []failure {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.data, "failed", source, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var list []failure
	for _, name := range names {
		if !strings.Contains(filepath.Base(name), ".jsonl") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var f failure
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Errorf("%s: %v: %.200s", name, err, line)
				continue
			}
			list = append(list, f)
		}
	}
	return list
}
