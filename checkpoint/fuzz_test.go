package checkpoint

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"shiplog/internal/batch"
)

// FuzzParse gives the parser any bytes: it must not panic, and what it takes for a checkpoint must
// hold to what a reader relies on, and come back the same when it is written again.
func FuzzParse(f *testing.F) {
	c := content{
		States: []batch.State{
			{ID: batch.FileID{Dev: 1, Inode: 2, Gen: 3}, Path: "/a\xff", Pos: posFor(100)},
			{ID: batch.FileID{Dev: 1, Inode: 2, Birth: 5, Gen: 4}, Path: "/a", Finished: true},
		},
		Partitions: map[string]int32{"/a": 1, "/b\xfe": 2},
	}
	data, err := encode("app", c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add(append(bytes.Clone(data), data...))
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`}, {`"offset":100`, `"offset":-1`}, {`"offset":100`, `"offset":1e3`}, {`"offset":100`, `"offset":9223372036854775808`},
		{`"head_len":100`, `"head_len":1025`}, {`"tail_len":100`, `"tail_len":101`}, {`"tail":"`, `"tail":"-`}, {`"seen":"0001`, `"seen":"9999`},
		{`"partition":1`, `"partition":-1`}, {`"path":"/a`, `"path":"/b`}, {`"id":"`, `"id":"0`}, {`"files":[`, `"files":[null,`},
	} {
		f.Add(bytes.Replace(data, []byte(change[0]), []byte(change[1]), 1))
	}
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		for _, s := range c.States {
			p := s.Pos
			if p.Offset < 0 || p.HeadLen < 0 || p.TailLen < 0 || int64(p.TailLen) > p.Offset || s.Path == "" {
				t.Errorf("parsed %+v", s)
			}
		}
		again, err := encode("app", c)
		if err != nil {
			t.Fatalf("encode what was parsed: %v", err)
		}
		back, err := parse(again)
		if err != nil {
			t.Fatalf("parse what was encoded: %v\n%s", err, again)
		}
		c.Saved = back.Saved
		if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("once more (-first +second):\n%s", diff)
		}
	})
}
