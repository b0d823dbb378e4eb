package tailer

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
	"shiplog/tailer/internal/fsid"
)

// state is what has become of a generation's file.
type state uint8

const (
	live     state = iota // it stands at its path
	rotated               // renamed, deleted, or a copy or compressed form of what stood at the path
	orphan                // its bytes stand nowhere that we know of: a copy is looked for
	finished              // rotated, and read to its end
)

// neverBlank is the scan at which a file was empty that never was.
const neverBlank = -2

// fingerprint recognises the beginning of a file of which nothing may have been read yet.
type fingerprint struct {
	hash uint64
	n    int // 0 to batch.FingerprintBytes; grows with the file
}

// generation is one stream of bytes and the file that carries it.
type generation struct {
	file  *batch.File
	ser   *series
	state state

	// The carrier.
	node   fsid.Identity
	root   *fsid.Root
	at     string // where it stands; "" when it has no name any more
	gzip   bool
	static bool // a copy or a compressed form: it never grows

	// How far it is read. cut is nil once the generation is finished; pos stands in for it then.
	cut   *cut.Cutter
	pos   batch.Pos
	head  fingerprint
	trail trail
	eof   bool // the end of a compressed carrier was seen

	// The open carrier; f is nil while it is not held open.
	f       *os.File
	z       *cut.Gzip
	watch   watcher
	wakes   int
	used    int64 // the fill in which it was read last
	hotTill time.Time

	// As last seen.
	size, mtime, checked int64 // checked is the mtime at which the content was compared last
	sound                int64 // the size up to which the content was known to be this generation's
	links                uint64
	grown                time.Time // when it was last seen to grow, or when its state changed
	goneAt               time.Time // when it was first seen to have no name

	announced  bool  // the checkpoint was told of it
	told       int   // and so much of its head
	passed     bool  // it was read to its end after a later generation had begun
	final      bool  // nothing more will be written: ship a half line as it is
	blank      int64 // the scan at which it was last seen to be empty
	dead       bool  // its rest is given up: only its end has to be told
	sought     bool  // the compressed carrier was wound to the offset
	remembered bool  // it comes from a checkpoint

	// The search for a lost carrier.
	lost       string // the reason, for the count of lost bytes
	tries      int
	incomplete bool                   // a compressed form was found that is not complete
	rejected   map[fsid.Identity]bool // carriers that turned out to be none

	tried  int64 // the scan at which opening it failed last
	denied bool
	isHot  bool // in Tailer.hot
	woke   bool // guarded by Tailer.mu
}

// series is the generations of one path, oldest first: those that are not finished.
type series struct {
	path   string
	root   *fsid.Root
	gens   []*generation
	latest *generation // the newest generation that there ever was
	seen   int64       // the scan at which the live file was last at its path
	queued bool        // in Tailer.ready
	known  int         // finished generations of it in Tailer.known
}

// live gives the generation at the path, nil when there is none now.
func (s *series) live() *generation {
	if n := len(s.gens); n > 0 && s.gens[n-1].state == live {
		return s.gens[n-1]
	}
	return nil
}

func (s *series) remove(g *generation) {
	if i := slices.Index(s.gens, g); i >= 0 {
		s.gens = slices.Delete(s.gens, i, i+1)
	}
}

// add puts a new generation behind the others.
func (s *series) add(g *generation) {
	g.ser = s
	s.gens = append(s.gens, g)
	s.latest = g
}

// from begins to read, or goes on, at a position.
func (g *generation) from(opt cut.Options, at batch.Pos) {
	g.cut = cut.New(opt, g.file, at)
	if at.HeadLen > g.head.n {
		g.head = fingerprint{at.Head, at.HeadLen}
	}
}

// reader gives the stream of an open generation.
func (g *generation) reader() io.ReaderAt {
	if g.z != nil {
		return g.z
	}
	return g.f
}

// offset is where the next unread line starts.
func (g *generation) offset() int64 {
	if g.cut != nil {
		return g.cut.Offset()
	}
	return g.pos.Offset
}

// position is the offset with all that is known to recognise the stream, also of what was only looked
// at so far.
func (g *generation) position() batch.Pos {
	p := g.pos
	if g.cut != nil {
		p = g.cut.Pos()
	}
	if g.head.n > p.HeadLen {
		p.Head, p.HeadLen = g.head.hash, g.head.n
	}
	return p
}

// unread is how many bytes wait to be read, half lines that were looked at included.
func (g *generation) unread() int64 {
	if g.state == finished || g.dead {
		return 0
	}
	return max(g.size-g.offset(), 0)
}

// more says that a look into the file may give something that was not seen yet.
func (g *generation) more() bool {
	switch {
	case g.state == finished:
		return false
	case g.dead, g.final, g.untold():
		return true
	case g.state == orphan || g.cut == nil:
		return false
	case g.gzip:
		return !g.eof
	}
	return g.size > g.cut.Offset()+g.cut.Partial() || g.checked != g.mtime && g.f == nil
}

// untold says that the checkpoint does not know of the generation, or less of its beginning than we do.
func (g *generation) untold() bool {
	return !g.announced || g.head.n > g.told && g.offset() == 0 && g.state != orphan
}

func (g *generation) fields() []zap.Field {
	return []zap.Field{
		zap.String("path", g.file.Path), zap.Stringer("file_id", g.file.ID),
		zap.Int64("offset", g.offset()),
	}
}

// String names the generation in test failures.
func (g *generation) String() string {
	return fmt.Sprintf("%s (%s at %q, offset %d of %d, state %d)", g.file.Path, g.file.ID, g.at, g.offset(), g.size, g.state)
}
