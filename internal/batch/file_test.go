package batch

import (
	"encoding/json"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestFileIDSurvivesText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := FileID{
			Dev: rapid.Uint64().Draw(t, "dev"), Inode: rapid.Uint64().Draw(t, "inode"),
			Birth: rapid.Int64().Draw(t, "birth"), Gen: rapid.Uint32().Draw(t, "gen"),
		}
		text, err := json.Marshal(map[FileID]FileID{id: id})
		if err != nil {
			t.Fatal(err)
		}
		var got map[FileID]FileID
		if err := json.Unmarshal(text, &got); err != nil || got[id] != id {
			t.Fatalf("%+v became %s, then %+v: %v", id, text, got, err)
		}
	})
}

func TestParseFileIDRefusesAllElse(t *testing.T) {
	for _, s := range []string{"", "1-2-3", "1-2-3-4-5", "1-2-3-4 ", " 1-2-3-4", "1-2-3-x", "01-2-3-4", "1-2-3-100000000", "A-2-3-4"} {
		if id, err := ParseFileID(s); err == nil {
			t.Errorf("%q became %+v", s, id)
		}
	}
	if (FileID{Gen: 1}).IsZero() || !(FileID{}).IsZero() {
		t.Error("IsZero")
	}
	if id, err := ParseFileID("1-2-3-ffffffff"); err != nil || id.Gen != math.MaxUint32 {
		t.Errorf("%+v, %v", id, err)
	}
}

func FuzzParseFileID(f *testing.F) {
	f.Add("1-2-3-4")
	f.Add("ff-0--1-0")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseFileID(s); err == nil && id.String() != s {
			t.Errorf("%q became %+v, which is %q", s, id, id)
		}
	})
}

func TestLineCountCountsAllThatWasRead(t *testing.T) {
	b := Batch{Runs: []Run{
		{First: 0, Last: 3, Skipped: [NumSkips]int64{SkipEmpty: 2, SkipNUL: 1}, NULBytes: 99},
		{First: 3, Last: 3, Oversize: make([]Oversize, 2)},
	}}
	if n := b.LineCount(); n != 8 {
		t.Errorf("got %d", n)
	}
}
