package checkpoint

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
)

// Tracker knows, for each file generation of one source, up to where everything is settled. Safe
// for concurrent use. Begin and Settle take amortised constant time a run, and do not allocate
// once the files are known and as many batches have been out as are out at most.
type Tracker struct {
	log *zap.Logger

	mu         sync.Mutex
	files      map[batch.FileID]*file
	partitions map[string]int32 // by path
	slots      []slot
	free       []uint32 // slots without a batch
	version    uint64   // changes with everything that is to be saved

	found chan struct{} // gets a value when a new file is known; the store may share it
}

// Ticket names a batch between its Begin and its Settle. The zero Ticket names none.
type Ticket struct{ slot, use uint32 }

// slot is where a batch that is out keeps its runs.
type slot struct {
	use  uint32 // counts the uses, so that an old Ticket is told from the present one; 0: never used
	runs []runRef
}

type runRef struct {
	file *file
	seq  uint64 // of the run, within the file
}

// file is one generation of a file.
type file struct {
	state  batch.State // Pos is the settled position
	placed bool        // there is a settled position
	broken bool        // a gap was seen: nothing behind it can move the position any more
	begun  int64       // where the next run has to begin
	first  uint64      // seq of the oldest pending run
	// pending are the runs behind the settled position, in order: a ring of a power of two.
	pending []run
	count   uint64 // of pending runs
}

// run is what is to become of a file's position when the run, and all before it, are settled.
type run struct {
	end      batch.Pos
	finished bool
	settled  bool
}

// NewTracker gives a tracker that knows no file. Use Store.Source for one that is kept on disk.
func NewTracker(log *zap.Logger) *Tracker {
	if log == nil {
		log = zap.NewNop()
	}
	return &Tracker{log: log, files: map[batch.FileID]*file{}, partitions: map[string]int32{}, found: make(chan struct{}, 1)}
}

// Found registers a file generation of which nothing was read yet, at the position where reading will
// begin, so that it is known after a restart even when it is rotated before its first batch. What is
// known of the generation already stays, but for a longer fingerprint of its head.
func (t *Tracker) Found(s batch.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[s.ID]
	switch {
	case f == nil:
		s.Seen = time.Now()
		t.files[s.ID] = &file{state: s, placed: true, begun: s.Pos.Offset}
		t.version++
		t.news()
	case f.placed && f.count == 0 && f.state.Pos.Offset == s.Pos.Offset && f.state.Pos.HeadLen < s.Pos.HeadLen:
		f.state.Pos.Head, f.state.Pos.HeadLen = s.Pos.Head, s.Pos.HeadLen
		t.version++
	}
}

// news asks for a save soon: until a new file is on disk, a crash forgets it. Called under mu.
func (t *Tracker) news() {
	select {
	case t.found <- struct{}{}:
	default:
	}
}

// Begin registers all runs of a batch that was read, in the order of reading: batches of one source
// must be begun one after the other. It keeps nothing of b. A run must begin where the file's last
// run ended: behind a gap the position stays, and an error is logged, since bytes that nobody
// settled must be read again after a restart.
func (t *Tracker) Begin(b *batch.Batch) Ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	ticket := t.ticket()
	s := &t.slots[ticket.slot]
	for i := range b.Runs {
		r := &b.Runs[i]
		f := t.file(r, b.ReadAt)
		if f.continues(r, t.log) {
			s.runs = append(s.runs, runRef{file: f, seq: f.push(r)})
		}
	}
	return ticket
}

// Settle says that all runs of the batch are settled. To settle a batch twice has no effect.
func (t *Tracker) Settle(ticket Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ticket.use == 0 || t.slots[ticket.slot].use != ticket.use {
		return
	}
	s := &t.slots[ticket.slot]
	for _, ref := range s.runs {
		if ref.file.settle(ref.seq) {
			t.version++
		}
	}
	clear(s.runs) // lets go of forgotten files
	s.runs = s.runs[:0]
	s.use++
	t.free = append(t.free, ticket.slot)
}

// Settled gives the offset up to which everything in the file is settled; 0 for an unknown file.
func (t *Tracker) Settled(id batch.FileID) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.files[id]; f != nil {
		return f.state.Pos.Offset
	}
	return 0
}

// States gives the settled position of each file generation, ordered by path and generation.
func (t *Tracker) States() []batch.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states()
}

// Partition gives the partition chosen for the file at that path, if one was.
func (t *Tracker) Partition(path string) (int32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.partitions[path]
	return p, ok
}

// SetPartition remembers the partition chosen for the file at that path, for as long as an entry
// with that path lives.
func (t *Tracker) SetPartition(path string, p int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.partitions[path]; !ok || old != p {
		t.partitions[path] = p
		t.version++
	}
}

// ticket takes a slot. Called under mu.
func (t *Tracker) ticket() Ticket {
	if len(t.free) == 0 {
		t.slots = append(t.slots, slot{use: 1})
		return Ticket{slot: uint32(len(t.slots) - 1), use: 1}
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	return Ticket{slot: i, use: t.slots[i].use}
}

// file finds the file of a run, or begins to know it. Called under mu.
func (t *Tracker) file(r *batch.Run, readAt time.Time) *file {
	f := t.files[r.File.ID]
	if f == nil {
		f = &file{begun: r.Start, state: batch.State{ID: r.File.ID, Path: r.File.Path}}
		// Before the first byte everything is settled. That is worth remembering at once: after a
		// crash the file is not taken for an old one to be begun at its end (start_at: end). A file
		// first seen in its middle waits for its run, which has the hashes.
		if r.Start == 0 {
			f.placed = true
			f.state.Pos.Head, f.state.Pos.HeadLen = r.End.Head, r.End.HeadLen
		}
		t.files[r.File.ID] = f
		t.version++
		t.news()
	}
	if readAt.After(f.state.Seen) {
		f.state.Seen = readAt
	}
	if f.state.Path != r.File.Path {
		f.state.Path = r.File.Path
		t.version++
	}
	return f
}

// states is States. Called under mu.
func (t *Tracker) states() []batch.State {
	list := make([]batch.State, 0, len(t.files))
	for _, f := range t.files {
		if f.placed {
			list = append(list, f.state)
		}
	}
	sortStates(list)
	return list
}

// sortStates orders by path and generation, so that the form on disk changes no more than it must.
func sortStates(list []batch.State) {
	slices.SortFunc(list, func(a, b batch.State) int {
		return cmp.Or(
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.ID.Gen, b.ID.Gen),
			cmp.Compare(a.ID.Birth, b.ID.Birth),
			cmp.Compare(a.ID.Inode, b.ID.Inode),
			cmp.Compare(a.ID.Dev, b.ID.Dev),
		)
	})
}

// changed says whether anything changed since that version.
func (t *Tracker) changed(since uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version != since
}

// snapshot gives what is to be saved, and the version of it.
func (t *Tracker) snapshot() (content, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return content{States: t.states(), Partitions: maps.Clone(t.partitions)}, t.version
}

// refresh notes which files are there, and forgets those that were last there long ago, if it is
// to forget.
func (t *Tracker) refresh(present map[batch.FileID]string, now time.Time, forget bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, f := range t.files {
		if _, ok := present[id]; ok || f.count > 0 {
			f.state.Seen = now
		} else if forget && now.Sub(f.state.Seen) > entryLife {
			delete(t.files, id)
			t.version++
			t.unpin(f.state.Path)
		}
	}
}

// unpin forgets the partition of a path that no file has any more. Called under mu.
func (t *Tracker) unpin(path string) {
	for _, f := range t.files {
		if f.state.Path == path {
			return
		}
	}
	delete(t.partitions, path)
}

// restore puts in what was saved. Only for a new tracker.
func (t *Tracker) restore(c content) {
	for _, s := range c.States {
		t.files[s.ID] = &file{state: s, placed: true, begun: s.Pos.Offset}
	}
	maps.Copy(t.partitions, c.Partitions)
}

// continues says whether a run begins where the last one ended.
func (f *file) continues(r *batch.Run, log *zap.Logger) bool {
	if f.broken {
		return false
	}
	if r.Start > f.begun {
		f.broken = true
		log.Error("gap between two runs of a file; its checkpoint stays before the gap",
			zap.String("file", r.File.Path), zap.Stringer("file_id", r.File.ID),
			zap.Int64("from", f.begun), zap.Int64("to", r.Start))
		return false
	}
	f.begun = max(f.begun, r.End.Offset)
	return true
}

// push appends a run to the pending ones.
func (f *file) push(r *batch.Run) (seq uint64) {
	if f.count == uint64(len(f.pending)) {
		f.grow()
	}
	seq = f.first + f.count
	*f.at(seq) = run{end: r.End, finished: r.Finished}
	f.count++
	return seq
}

// settle settles a run, and moves the position over all that are settled now without a gap. It
// says whether anything moved.
func (f *file) settle(seq uint64) (moved bool) {
	f.at(seq).settled = true
	for f.count > 0 && f.at(f.first).settled {
		done := f.at(f.first)
		// A run that was read again may end before what is settled already.
		if done.end.Offset >= f.state.Pos.Offset {
			f.state.Pos, f.state.Finished = done.end, done.finished
		}
		f.placed, moved = true, true
		f.first++
		f.count--
	}
	return moved
}

// at gives the pending run with that seq.
func (f *file) at(seq uint64) *run { return &f.pending[seq&uint64(len(f.pending)-1)] }

// grow doubles the ring.
func (f *file) grow() {
	old := *f
	f.pending = make([]run, max(4, 2*len(old.pending)))
	for seq := old.first; seq < old.first+old.count; seq++ {
		*f.at(seq) = *old.at(seq)
	}
}
