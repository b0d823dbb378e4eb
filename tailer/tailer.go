// Package tailer finds the log files of one source and reads them in batches of whole lines, through
// rotation, truncation and restarts: each line once, and oldest first within a path.
//
// Glob patterns and remembered positions come in, batches go out, one for each Want. It reads nothing
// without demand, so that the files are the buffer; it keeps looking at names and descriptors all
// the same. It knows neither Kafka, nor checkpoints' form, nor the configuration file.
//
// One goroutine, Run, owns all files of a source. Two synchronous functions do the work: scan looks
// at names and sizes once a second, fill reads what a batch can hold; Run only decides when.
package tailer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/tailer/internal/cut"
	"shiplog/tailer/internal/fsid"
	"shiplog/tailer/internal/watch"
)

// Config says what a Tailer reads and how.
type Config struct {
	Source  string   // the source's id, for logs
	Include []string // glob patterns, `**` included
	Exclude []string
	Rotated []string // globs of rotated names that the usual patterns do not find; may name other folders

	MaxLineBytes  int
	Truncate      bool // ship the first MaxLineBytes of a longer line instead of reporting it as Oversize
	MaxBatchBytes int  // bound of a batch; a single line may exceed it
	MaxBatchLines int  // 0 is no bound

	StartAtEnd     bool // files without a remembered position that are there at the first look begin at their end
	Poll           bool // never watch, always poll
	FollowSymlinks bool

	RotateWait   time.Duration // a rotated file that was quiet for so long is finished
	ReleaseAfter time.Duration // a deleted file is held open for so long although it is unread; 0 is for ever
	IgnoreOlder  time.Duration // files without a remembered position and not written for so long are not read; 0 reads all
	Linger       time.Duration // files in use are polled so often
	MaxOpenFiles int           // 0 is no bound

	Once    bool // ship what is there, half lines included, then close Batches
	Resume  []batch.State
	Quota   *batch.Quota
	Claimed func(path string) bool // whether another source matches the path; may be nil
	// Found is told of each generation before anything of it is asked for, so that a file which is
	// rotated while the output is blocked is still known after a restart. It is called on Run's
	// goroutine, more than once for the same generation, and may be nil.
	Found func(batch.State)
	Log   *zap.Logger // nil logs nothing
}

// The values that stand in for a zero in Config.
const (
	defaultMaxLine  = 1 << 20
	defaultMaxBatch = 1 << 20
	defaultLinger   = 5 * time.Millisecond
)

// Tailer reads the files of one source. All its methods are safe for concurrent use.
type Tailer struct {
	cfg  Config
	opt  cut.Options
	glob *fsid.Glob
	log  *limited

	// Seams for tests: how a file is opened and how it is watched.
	open func(root *fsid.Root, path string) (*os.File, fsid.Identity, error)
	arm  func(f *os.File, wake func()) (watcher, error)

	// What Run owns.
	series    map[string]*series
	byNode    map[fsid.Identity]*generation // the newest generation that an inode carries
	known     []*generation                 // finished ones whose file is still there
	maxGen    map[fsid.Identity]uint32
	held      map[fsid.Identity]*held // new files that may be copies
	ready     []*series               // those with something to read, in turn
	opened    map[*generation]struct{}
	hot       []*generation // open files in use: polled
	coldAt    time.Time     // when idle files were polled last
	copies    map[fsid.Identity]judged
	unwatched int  // idle files without a watch
	starved   bool // there was no memory for a batch
	fills     int64
	dirs      dirCache
	scans     int64 // how many scans there were
	grew      time.Time
	blocks    sizer
	refused   map[string]bool   // what was warned about once, by path
	passed    map[string]string // what is no regular file, and why, at the last look
	counts    counts

	out    chan *batch.Batch
	want   chan struct{}
	wake   chan struct{}
	drain  atomic.Int64 // quiet time of Drain in nanoseconds plus one; 0 is not draining
	drainC chan struct{}

	mu      sync.Mutex // guards what follows
	woken   []*generation
	settled map[batch.FileID]int64
	stats   Stats
	present map[batch.FileID]string
}

// watcher is what the tailer needs of a watch.Watch.
type watcher interface {
	Alive() bool
	Stop() bool
}

// New checks the configuration and makes a Tailer. It touches no file.
func New(cfg Config) (*Tailer, error) {
	if cfg.Quota == nil {
		return nil, errors.New("tailer: no quota")
	}
	if len(cfg.Include) == 0 {
		return nil, errors.New("tailer: nothing to include")
	}
	cfg = withDefaults(cfg)
	glob, err := fsid.NewGlob(cfg.Include, cfg.Exclude, cfg.FollowSymlinks)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", cfg.Source, err)
	}
	t := &Tailer{
		cfg:  cfg,
		opt:  cut.Options{MaxLineBytes: cfg.MaxLineBytes, Truncate: cfg.Truncate, MaxLines: cfg.MaxBatchLines},
		glob: glob,
		log:  newLimited(cfg.Log.With(zap.String("source", cfg.Source))),
		open: fsid.Open, arm: armWatch,
		series: map[string]*series{}, byNode: map[fsid.Identity]*generation{},
		maxGen: map[fsid.Identity]uint32{}, held: map[fsid.Identity]*held{},
		copies: map[fsid.Identity]judged{},
		opened: map[*generation]struct{}{}, refused: map[string]bool{},
		out: make(chan *batch.Batch), want: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		drainC: make(chan struct{}, 1), settled: map[batch.FileID]int64{},
	}
	t.dirs.init()
	t.blocks.max = cfg.MaxBatchBytes
	return t, nil
}

func withDefaults(cfg Config) Config {
	if cfg.MaxLineBytes <= 0 {
		cfg.MaxLineBytes = defaultMaxLine
	}
	if cfg.MaxBatchBytes <= 0 {
		cfg.MaxBatchBytes = defaultMaxBatch
	}
	if cfg.Linger <= 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Claimed == nil {
		cfg.Claimed = func(string) bool { return false }
	}
	return cfg
}

func armWatch(f *os.File, wake func()) (watcher, error) {
	w, err := watch.Arm(f, wake)
	if err != nil {
		return nil, err // not a nil *Watch in the interface
	}
	return w, nil
}

// Want asks for one batch. It never blocks; calls before that batch was taken ask for no other one.
func (t *Tailer) Want() { nudge(t.want) }

// Batches gives one batch for each Want, when there is something to ship. It is closed when Once or
// Drain is through and everything was read; it stays open when Run was cut short.
func (t *Tailer) Batches() <-chan *batch.Batch { return t.out }

// Drain makes the tailer end: it reads on, on demand, until everything was read and no file has
// grown for that long. Then it closes Batches, and Run returns.
func (t *Tailer) Drain(quiet time.Duration) {
	t.drain.Store(int64(max(quiet, 0)) + 1)
	nudge(t.drainC)
}

// Settled tells how far a file is settled, so that finished files can be forgotten. It never blocks.
func (t *Tailer) Settled(id batch.FileID, offset int64) {
	t.mu.Lock()
	if at, known := t.settled[id]; known {
		t.settled[id] = max(at, offset)
	}
	t.mu.Unlock()
}

// Present says which generations have a file now, be it live, rotated, copied, compressed or deleted
// and still held open, and where. The map is the caller's.
func (t *Tailer) Present() map[batch.FileID]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.present)
}

// nudge leaves a mark in a channel of one place.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
