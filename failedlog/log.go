package failedlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// ErrFull says that max_bytes is reached and nothing may be evicted: the records were not taken.
var ErrFull = errors.New("failure log is full")

// ErrClosed says that the log was closed before.
var ErrClosed = errors.New("failure log is closed")

// Options is what the daemon decides of a source's failure log. Zero values mean the defaults.
type Options struct {
	MaxBytes     int64         // bound of the source's folder; 0: none
	SegmentBytes int64         // 64 MiB; never above an eighth of MaxBytes, so that an eviction stays small
	DropOldest   bool          // when MaxBytes is reached, remove the oldest segment instead of ErrFull
	Fsync        bool          // have records on disk, not only in the kernel, when Append returns
	SealAfter    time.Duration // seal a segment that was left alone for so long; 5 s
	Log          *zap.Logger
}

func (o *Options) setDefaults() {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.MaxBytes > 0 {
		o.SegmentBytes = min(o.SegmentBytes, max(o.MaxBytes/8, 1))
	}
	if o.SealAfter <= 0 {
		o.SealAfter = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Log is the writing side of one source's failure log. Only the holder of data_dir's lock may open
// it, once. All methods are safe for concurrent use.
type Log struct {
	fs  fsx.FS
	dir string
	opt Options
	log *zap.Logger

	mu   sync.Mutex // guards next
	next *group

	disk sync.Mutex // held by the one who touches the disk; guards what follows
	cur  *active    // nil: the next record opens a segment
	// pending are the members whose records stand in cur, not yet synced.
	pending  []*member
	seq      uint64 // of the last segment that was made or found
	others   int64  // bytes of everything in the folder but cur, by the last look
	leftover bool   // there are segments of a daemon that died, which could not be sealed yet
	closed   bool

	size    atomic.Int64
	evicted atomic.Int64
}

// group is what goes to the disk with one sync. Who makes it writes it, as soon as the group before
// it is through; who comes in the meantime joins.
type group struct {
	members []*member
	done    chan struct{}
}

// member is one call of Append.
type member struct {
	buf []byte
	err error
}

// Open prepares the failure log in dir, <data_dir>/failed/<source>. What a daemon that died left
// open is cut after its last whole line and sealed.
func Open(fsys fsx.FS, dir string, opt Options) (*Log, error) {
	opt.setDefaults()
	l := &Log{fs: fsys, dir: filepath.Clean(dir), opt: opt, log: opt.Log}
	if err := l.makeDir(); err != nil {
		return nil, fmt.Errorf("open failure log: %w", err)
	}
	l.releaseStale()
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("open failure log: %w", err)
	}
	return l, nil
}

// makeDir makes the folder and has its entry on disk.
func (l *Log) makeDir() error {
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	if !l.opt.Fsync {
		return nil
	}
	root := filepath.Dir(l.dir)
	return errors.Join(l.fs.SyncDir(root), l.fs.SyncDir(filepath.Dir(root)))
}

// Append writes records and returns nil only when all of them are on disk; after an error none of
// them counts, and what was written of them is taken away again. Calls that come together share one
// sync. ErrFull (see Options) and errors of the disk may pass: try again later.
func (l *Log) Append(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	m := &member{buf: encode(records)}
	l.mu.Lock()
	g := l.next
	leader := g == nil
	if leader {
		g = &group{done: make(chan struct{})}
		l.next = g
	}
	g.members = append(g.members, m)
	l.mu.Unlock()
	if !leader {
		<-g.done
		return m.err
	}
	l.disk.Lock()
	l.mu.Lock()
	l.next = nil // from here on others form the next group
	l.mu.Unlock()
	l.commit(g.members)
	l.disk.Unlock()
	close(g.done)
	return m.err
}

// encode gives the records as lines.
func encode(records []Record) []byte {
	size := 0
	for i := range records {
		size += len(records[i].Payload) + len(records[i].Payload)/4 + 512
	}
	buf := make([]byte, 0, size)
	now := time.Now()
	for i := range records {
		r := &records[i]
		if r.Time.IsZero() {
			stamped := *r
			stamped.Time = now
			r = &stamped
		}
		buf = append(r.AppendJSON(buf), '\n')
	}
	return buf
}

// Tick does what time brings: it seals a segment that was left alone or that a reader asked for, and
// looks at how much the folder holds. Call it about each second; its errors were logged.
func (l *Log) Tick(now time.Time) {
	l.disk.Lock()
	defer l.disk.Unlock()
	if !l.closed {
		l.tick(now)
	}
}

// Seal closes the open segment, so that it can be replayed. Without one it does nothing.
func (l *Log) Seal() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	return l.seal()
}

// Close seals and ends the log. Appends that were called before are through when it returns; later
// ones fail with ErrClosed.
func (l *Log) Close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.closed {
		return nil
	}
	err := l.seal()
	l.closed = true
	if l.cur != nil { // could not be sealed: the next Open does it
		err = errors.Join(err, l.cur.file.Close())
		l.cur = nil
	}
	return err
}

// Evicted is how many lines drop_oldest has removed since Open.
func (l *Log) Evicted() int64 { return l.evicted.Load() }

// Size is how many bytes the folder holds, as far as is known: others remove segments too, which is
// seen at the next Tick.
func (l *Log) Size() int64 { return l.size.Load() }
