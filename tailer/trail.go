package tailer

import (
	"io"
	"slices"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
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

// judged is what was found out about a file that repeats what we have.
type judged struct {
	size int64
	scan int64 // when it was last asked for
}

// copyOfRead says that a file holds the beginning of a generation and nothing else, and that all of it
// is read or will be. The answer yes is kept for as long as somebody asks: the generation may be forgotten
// while the file is there, and a compressed file is compared as a whole.
func (t *Tailer) copyOfRead(s *series, e entry) bool {
	known, is := t.copies[e.info.Identity]
	if !is || known.size != e.info.Size {
		is = slices.ContainsFunc(slices.Concat(s.gens, t.knownOf(s)), func(g *generation) bool { return t.isCopy(g, e) })
	}
	if is {
		t.copies[e.info.Identity] = judged{e.info.Size, t.scans}
	}
	return is
}

// isCopy compares a file with one generation. Beside a twin, a plain file is a copy only if copytruncate may have
// made it: what a trail tells is how a file begins, and another one that begins alike may go on otherwise.
func (t *Tailer) isCopy(g *generation, e entry) bool {
	switch {
	case t.isTwin(g, e):
		return true
	case compressed(e.path):
		return g.state == rotated && !t.stands(g) && t.holdsAll(g, e)
	case g.state == live, g.lost == LostTruncated:
		at, ok := g.trail.before(e.info.Size)
		return ok && e.info.Size <= g.offset() && t.holds(e, at)
	}
	return false
}

// isTwin says that a file is equal to a rotated one that still stands: somebody keeps a copy of it. A few
// lines may be those of an application that begins like that each time: such a file is one of its own.
func (t *Tailer) isTwin(g *generation, e entry) bool {
	length := max(g.size, g.offset())
	if g.gzip || length <= batch.FingerprintBytes || !compressed(e.path) && e.info.Size != length {
		return false
	}
	if g.state == live || !t.stands(g) {
		return false
	}
	twin, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer twin.Close() //nolint:errcheck // opened for reading
	own, err := t.openCarrier(g)
	if err != nil {
		return false
	}
	defer own.Close() //nolint:errcheck // opened for reading
	var part io.ReaderAt = twin
	if compressed(e.path) {
		if n, ok := gzipSize(twin, e.info.Size); !ok || n != length&(1<<32-1) {
			return false
		}
		z := cut.NewGzip(twin, t.gzipBody())
		defer z.Close()
		part = z
	}
	equal, err := cut.Begins(own, part)
	return equal && err == nil
}

// holdsAll says that all that was compressed stands in a file that we hold open, of which we have read it or
// shall: an application wrote on to a rotated file while it was compressed.
func (t *Tailer) holdsAll(g *generation, e entry) bool {
	if g.f == nil || g.z != nil {
		return false
	}
	f, _, err := t.openEntry(e)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	z := cut.NewGzip(f, t.gzipBody())
	defer z.Close()
	begins, err := cut.Begins(g.f, z)
	return begins && err == nil
}
