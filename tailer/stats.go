package tailer

import (
	"maps"

	"shiplog/internal/batch"
)

// Reasons why bytes of a file never became lines; they label Stats.UnreadBytesLost.
const (
	LostReleased  = "released"  // a deleted file was let go after release_after
	LostTruncated = "truncated" // truncated, and no copy of what was unread was found
	LostGone      = "gone"      // rotated away or deleted while nobody held it open, and not found
)

// Stats is a snapshot of what a Tailer has and has done. Counts only grow, until restart.
type Stats struct {
	Files  int // generations that are not finished
	Open   int // descriptors held
	Queued int // paths with something to read
	Held   int // new files that may be the copy of a copytruncate: looked at, not yet read

	Found       int64 // generations found
	Rotated     int64 // renamed or deleted ones among them
	Truncated   int64 // truncations seen
	Copies      int64 // generations that were read on from a copy or a compressed form
	FilesLost   int64 // generations whose unread rest was not found
	OpenErrors  int64 // failed opens, each try
	Unreadable  int   // files that cannot be opened now
	UnreadBytes int64 // bytes behind the position, rotated files included
	// UnreadRotatedBytes are those of rotated and deleted files: what a rotator may take away.
	UnreadRotatedBytes int64
	UnreadBytesLost    map[string]int64 // by reason
	NULBytes           int64            // NUL bytes taken away before lines
}

// counts is the part of Stats that Run owns.
type counts struct {
	found, rotated, truncated, copies, filesLost, openErrors, nuls int64
	lost                                                           map[string]int64
}

func (c *counts) lose(reason string, n int64) {
	if n <= 0 {
		return
	}
	if c.lost == nil {
		c.lost = map[string]int64{}
	}
	c.lost[reason] += n
}

// Stats gives a snapshot, at most a second old.
func (t *Tailer) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.UnreadBytesLost = maps.Clone(s.UnreadBytesLost)
	return s
}

// publish takes the snapshots that other goroutines see. untaken is how many bytes were read into a
// batch that nobody took: they are unread to everybody else.
func (t *Tailer) publish(untaken int64) {
	c := &t.counts
	s := Stats{
		Open: len(t.opened), Queued: len(t.ready), Held: len(t.held),
		Found: c.found, Rotated: c.rotated, Truncated: c.truncated, Copies: c.copies,
		UnreadBytes: untaken, FilesLost: c.filesLost, OpenErrors: c.openErrors, NULBytes: c.nuls,
		Unreadable: t.unreadable(), UnreadBytesLost: maps.Clone(c.lost),
	}
	present := make(map[batch.FileID]string, len(t.byNode))
	for _, ser := range t.series {
		for _, g := range ser.gens {
			s.Files++
			s.UnreadBytes += g.unread()
			if g.state != live {
				s.UnreadRotatedBytes += g.unread()
			}
			if g.at != "" || g.f != nil {
				present[g.file.ID] = g.at
			}
		}
	}
	for _, g := range t.known {
		if g.at != "" {
			present[g.file.ID] = g.at
		}
	}
	t.mu.Lock()
	t.stats, t.present = s, present
	t.mu.Unlock()
}
