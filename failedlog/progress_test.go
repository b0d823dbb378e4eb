package failedlog

import (
	"fmt"
	"slices"
	"testing"
)

// TestProgressTornAtEveryByte cuts a progress file at each byte: what is whole before the cut counts,
// and nothing else.
func TestProgressTornAtEveryByte(t *testing.T) {
	h := header{"00000000000000000001", 1000, "0badcafe"}
	data := appendLine(nil, h)
	ends := []int{0, len(data)}
	wants := []progress{{}, {bytes: int64(len(data))}}
	p := wants[1]
	for i := range int64(3) {
		p.last = step{Done: []span{{i * 100, i*100 + 50}}, Retry: "r", RetryBytes: i + 1, BadBytes: i}
		data = appendLine(data, p.last)
		p.done = append(slices.Clone(p.done), p.last.Done...)
		p.bytes = int64(len(data))
		ends, wants = append(ends, len(data)), append(wants, p)
	}
	for cut := range len(data) + 1 {
		i := len(ends) - 1
		for ends[i] > cut {
			i--
		}
		for _, tail := range []string{"", "\x00\x00\n", "{}garbage\n"} {
			got := parseProgress(append(slices.Clone(data[:cut]), tail...), h)
			if cut < len(data) && cut > 0 && data[cut-1] != '\n' && tail == "" || tail == "" {
				if fmt.Sprint(got) != fmt.Sprint(wants[i]) {
					t.Fatalf("cut at %d: got %+v, want %+v", cut, got, wants[i])
				}
			}
			if got.bytes > int64(cut) {
				t.Fatalf("cut at %d with %q behind: %d bytes count", cut, tail, got.bytes)
			}
		}
	}
	for _, other := range []header{{"00000000000000000002", 1000, h.CRC}, {h.Segment, 999, h.CRC}, {h.Segment, 1000, "0"}} {
		if got := parseProgress(data, other); got.bytes != 0 || got.done != nil {
			t.Errorf("of another content %v: %+v", other, got)
		}
	}
	if got := parseProgress(append(data[:ends[1]:ends[1]], `{"done":[[5,2000]]}`+"\n"...), h); got.done != nil {
		t.Errorf("beyond the segment: %+v", got)
	}
}

func FuzzParseProgress(f *testing.F) {
	h := header{"00000000000000000001", 1000, "0badcafe"}
	f.Add(appendLine(appendLine(nil, h), step{Done: []span{{0, 10}}, Retry: "r", RetryBytes: 3}))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, tail []byte) {
		p := parseProgress(append(appendLine(nil, h), tail...), h)
		for _, d := range p.done {
			if d[0] < 0 || d[0] >= d[1] || d[1] > h.Size {
				t.Fatalf("%v is done of %d bytes", d, h.Size)
			}
		}
		if p.last.RetryBytes < 0 || p.last.BadBytes < 0 || p.bytes <= 0 {
			t.Fatalf("%+v", p)
		}
	})
}
