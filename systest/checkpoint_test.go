//go:build linux

package systest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// saved is a checkpoint as it stands on disk.
type saved struct {
	At      time.Time
	Offsets map[string]int64 // by file id without its generation
}

// checkpoint reads a source's checkpoint; a zero one when none was saved yet.
func (p *place) checkpoint(t *testing.T, source string) saved {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.data, "checkpoint", source+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}
	}
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Saved time.Time
		Files []struct {
			ID     string
			Offset int64
		}
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatalf("checkpoint after a kill: %v\n%s", err, data)
	}
	s := saved{At: c.Saved, Offsets: map[string]int64{}}
	for _, f := range c.Files {
		s.Offsets[f.ID[:strings.LastIndexByte(f.ID, '-')]] = f.Offset
	}
	return s
}

// covers says whether a line that was written stands before the saved position of its file. It needs
// a writer whose files were never truncated.
func (s saved) covers(streams []stream, n int) bool {
	i := sort.Search(len(streams), func(i int) bool { return streams[i].first > n }) - 1
	return int64(n-streams[i].first+1)*lineBytes <= max(s.Offsets[streams[i].node], s.Offsets[streams[i].gzip])
}

// remembered waits for the first checkpoint. Before it shiplog knows of no file, and so of none that
// was rotated away: what stands in rotated files then was there before shiplog.
func (p *place) remembered(t *testing.T, source string) {
	t.Helper()
	until(t, "the first checkpoint", func() bool { return len(p.checkpoint(t, source).Offsets) > 0 })
}
