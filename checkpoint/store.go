package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/batch"
	"shiplog/internal/fsx"
)

const (
	suffix = ".json"
	// entryLife is how long an entry lives after its file, and every rotated or compressed form of
	// it, was last there.
	entryLife = 24 * time.Hour
	// settleIn is how long after a start nothing is forgotten: files may have to be found, and
	// network folders mounted, first.
	settleIn = time.Hour
	// askEvery is how often it is asked which files are there, and seenEvery how often that is
	// saved while nothing else changes.
	askEvery  = time.Minute
	seenEvery = time.Hour
)

// Store keeps the trackers of all sources in a folder, one JSON file a source. Safe for concurrent
// use. Only the holder of data_dir's lock may have one.
type Store struct {
	fs  fsx.FS
	dir string
	log *zap.Logger

	mu      sync.Mutex // held while saving
	sources map[string]*source

	found chan struct{} // a tracker knows a new file

	stateMu sync.Mutex
	stale   time.Time // of the first failed save since the last good one
}

// source is one source's place in the store.
type source struct {
	tracker *Tracker
	present func() map[batch.FileID]string // may be nil
	loaded  time.Time
	asked   time.Time // when present was last called
	saved   uint64    // the version of the tracker that is on disk
	savedAt time.Time // when it was written, or loaded
}

// Open makes a store over the folder, which it makes when needed.
func Open(fsys fsx.FS, dir string, log *zap.Logger) (*Store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("checkpoint folder: %w", err)
	}
	return &Store{fs: fsys, dir: dir, log: log, sources: map[string]*source{}, found: make(chan struct{}, 1)}, nil
}

// Source gives the tracker of a source, with what was saved of it; the same one each time. A file
// that cannot be understood is set aside under another name with a loud error, and the tracker is
// empty, so that the source begins where start_at says. An error means that the file could not be
// read: to go on as if there were none would send everything again.
func (s *Store) Source(id string) (*Tracker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src := s.sources[id]; src != nil {
		return src.tracker, nil
	}
	name, err := fileName(s.dir, id)
	if err != nil {
		return nil, err
	}
	data, err := fsx.ReadFile(s.fs, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read checkpoint of source %s: %w", id, err)
	}
	t := NewTracker(s.log.With(zap.String("source", id)))
	t.found = s.found
	if err == nil {
		c, err := parse(data)
		if err != nil {
			s.setAside(id, name, err)
		}
		t.restore(c)
	}
	now := time.Now()
	s.sources[id] = &source{tracker: t, loaded: now, savedAt: now}
	return t, nil
}

// Present gives the store a way to ask which file generations of a source exist now: their entries
// live on. Entries of others are forgotten 24 hours after they were last there. Without it, nothing
// is forgotten. f is called within Save.
func (s *Store) Present(id string, f func() map[batch.FileID]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src := s.sources[id]; src != nil {
		src.present = f
	}
}

// Save writes the checkpoints that changed, each atomically. When it returns nil, everything
// settled before the call is on disk. After an error the others were saved all the same, and the
// next call tries again.
func (s *Store) Save() error { return s.save(seenEvery) }

// StaleSince says whether the last save failed, and since when there has been no good one.
func (s *Store) StaleSince() (time.Time, bool) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.stale, !s.stale.IsZero()
}

// foundDelay is how long a save waits for more new files to come.
const foundDelay = 100 * time.Millisecond

// Run saves each interval, soon after a new file is known, and a last time when ctx ends; it returns
// the error of that last save. Failures before it are logged once, and so is their end.
func (s *Store) Run(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	soon := time.NewTimer(0)
	<-soon.C
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.save(0)
		case <-s.found:
			soon.Reset(foundDelay)
		case <-soon.C:
			s.saveAndTell()
		case <-tick.C:
			s.saveAndTell()
		}
	}
}

// saveAndTell saves, and logs when failing begins or ends.
func (s *Store) saveAndTell() {
	since, failing := s.StaleSince()
	err := s.Save()
	switch {
	case err != nil && !failing:
		s.log.Error("the checkpoint cannot be saved; a crash now would repeat what is delivered from here on",
			zap.Error(err))
	case err == nil && failing:
		s.log.Info("the checkpoint can be saved again", zap.Duration("after", time.Since(since)))
	}
}

// save is Save; seen is the age at which the news that files are still there is saved too.
func (s *Store) save(seen time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for id, src := range s.sources {
		errs = append(errs, s.saveSource(id, src, seen))
	}
	err := errors.Join(errs...)
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	switch {
	case err == nil:
		s.stale = time.Time{}
	case s.stale.IsZero():
		s.stale = time.Now()
	}
	return err
}

func (s *Store) saveSource(id string, src *source, seen time.Duration) error {
	now := time.Now()
	if src.present != nil && now.Sub(src.asked) >= min(askEvery, seen) {
		src.tracker.refresh(src.present(), now, now.Sub(src.loaded) > settleIn)
		src.asked = now
	}
	if !src.tracker.changed(src.saved) && now.Sub(src.savedAt) < seen {
		return nil
	}
	c, version := src.tracker.snapshot()
	c.Saved = now
	data, err := encode(id, c)
	if err != nil {
		return fmt.Errorf("encode checkpoint of source %s: %w", id, err)
	}
	name, err := fileName(s.dir, id)
	if err != nil {
		return err
	}
	if err := fsx.WriteFileAtomic(s.fs, name, data); err != nil {
		return err
	}
	src.saved, src.savedAt = version, now
	return nil
}

// setAside keeps a file that could not be understood out of the way, and says so.
func (s *Store) setAside(id, name string, why error) {
	aside := name + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
	err := s.fs.Rename(name, aside)
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	// A failed rename is no reason to stop: the next save replaces the file, and what is lost then
	// is a file that nobody could read.
	s.log.Error("the checkpoint is corrupt and was set aside; the source begins where start_at says",
		zap.String("source", id), zap.String("file", name), zap.String("set_aside_as", aside),
		zap.NamedError("reason", why), zap.NamedError("set_aside_error", err))
}

// fileName is where the checkpoint of a source stands.
func fileName(dir, id string) (string, error) {
	if id == "" || id[0] == '.' || filepath.Base(id) != id {
		return "", fmt.Errorf("source id %q cannot be a file name", id)
	}
	return filepath.Join(dir, id+suffix), nil
}
