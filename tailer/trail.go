package tailer

import (
	"slices"

	"shiplog/internal/batch"
)

// trailLength is how many positions of a file are remembered.
const trailLength = 32

// trail is the positions that a live file has gone through, thinned out towards its beginning. It
// recognises a copy that ends before the place we have read to: copytruncate copied, the application
// wrote on, we read that, and only then came the truncation. Nothing of such a copy is unread.
type trail []batch.Pos

// add notes a position behind the last one.
func (tr *trail) add(at batch.Pos) {
	n := len(*tr)
	if at.Offset == 0 || n > 0 && at.Offset <= (*tr)[n-1].Offset {
		return
	}
	if n == trailLength {
		for i := trailLength/2 - 1; i > 0; i -= 2 {
			*tr = slices.Delete(*tr, i, i+1)
		}
	}
	*tr = append(*tr, at)
}

// before gives the last position that is not behind an offset.
func (tr trail) before(offset int64) (batch.Pos, bool) {
	for _, at := range slices.Backward(tr) {
		if at.Offset <= offset {
			return at, true
		}
	}
	return batch.Pos{}, false
}

// copyOfRead says that a file is a copy of a part of a generation that was read as a whole.
func (t *Tailer) copyOfRead(s *series, e entry) bool {
	if compressed(e.path) {
		return false
	}
	for _, g := range slices.Concat(s.gens, t.knownOf(s)) {
		if at, ok := g.trail.before(e.info.Size); ok && e.info.Size <= g.offset() && t.holds(e, at) {
			return true
		}
	}
	return false
}
