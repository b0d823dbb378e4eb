package kafka

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnExtenderGivesEachRecordItsOwnHeader(t *testing.T) {
	base := NewHeaders([]Header{{"env", []byte("prod")}, {"host", nil}})
	var e Extender
	extended, plain := newBatch(0), newBatch(0)
	defer extended.Release()
	defer plain.Release()
	const n = 2000
	for i := range n {
		value := []byte(fmt.Sprint(i))
		h := base
		if i%3 == 0 {
			h = Headers{}
		}
		extended.Add(nil, value, 0, h)
		extended.SetHeaders(i, e.With(h, []byte("from"), value))
		plain.Add(nil, value, 0, h.With(Header{"from", value}))
	}
	if extended.Size() != plain.Size() {
		t.Errorf("size %d, want %d", extended.Size(), plain.Size())
	}
	for i := range n {
		if d := cmp.Diff(plain.Headers(i), extended.Headers(i)); d != "" || extended.ValueBytes(i) != len(fmt.Sprint(i)) {
			t.Fatalf("record %d (-want +got):\n%s", i, d)
		}
	}
}

func TestAnExtenderAllocatesOnceForMany(t *testing.T) {
	base := NewHeaders([]Header{{"env", []byte("prod")}})
	key, value := []byte("from"), []byte("here")
	var e Extender
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			e.With(base, key, value)
		}
	}); n > 20 {
		t.Errorf("%v allocations for 1000 lists", n)
	}
}
