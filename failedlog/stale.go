package failedlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// lockPoll is how often a lock that is waited for is tried: often enough to get between two rounds of
// a daemon that replays by itself.
const lockPoll = 20 * time.Millisecond

// lockRoot takes the lock that one replay or drop holds at a time. It waits so long for another's.
func lockRoot(ctx context.Context, fsys fsx.FS, root string, wait time.Duration) (*fsx.FileLock, error) {
	for began := time.Now(); ; {
		lock, err := fsys.Lock(filepath.Join(root, lockName))
		if err == nil {
			return lock, nil
		}
		if locked := (*fsx.LockedError)(nil); !errors.As(err, &locked) {
			return nil, fmt.Errorf("lock failure log: %w", err)
		}
		if time.Since(began) >= wait {
			return nil, fmt.Errorf("another replay or drop is at work: %w", err)
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// releaseStale takes claims back from a replay that died, unless one is at work now.
func (l *Log) releaseStale() {
	segs, err := listDir(l.fs, l.dir)
	if err == nil && !anyOf(segs, StateClaimed, StateCollecting) {
		return
	}
	var lock *fsx.FileLock
	if err == nil {
		lock, err = l.fs.Lock(filepath.Join(filepath.Dir(l.dir), lockName))
	}
	if err == nil {
		err = errors.Join(releaseStale(l.fs, l.dir, l.log), lock.Unlock())
	}
	if locked := (*fsx.LockedError)(nil); err != nil && !errors.As(err, &locked) {
		l.log.Error("failure log: take back the claims of a replay that died", zap.String("dir", l.dir), zap.Error(err))
	}
}

func anyOf(segs []Segment, states ...State) bool {
	for _, s := range segs {
		for _, state := range states {
			if s.State == state {
				return true
			}
		}
	}
	return false
}

// releaseStale puts a folder in order after a replay that may have died at any moment. Called under
// replay.lock, so whatever is claimed is claimed by nobody.
func releaseStale(fsys fsx.FS, dir string, log *zap.Logger) error {
	segs, err := listDir(fsys, dir)
	if err != nil {
		return err
	}
	for _, s := range segs {
		if s.State == StateCollecting {
			if err := settleRetry(fsys, segs, s, log); err != nil {
				return err
			}
		}
	}
	for _, s := range segs {
		if s.State == StateClaimed {
			log.Info("failure log: a claim of a replay that died is taken back", zap.String("segment", s.Path()))
			if err := fsys.Rename(s.Path(), s.in(StateSealed)); err != nil {
				return fmt.Errorf("take back claim: %w", err)
			}
		}
	}
	return removeOrphans(fsys, dir, log)
}

// settleRetry seals what a replay has collected, cut to what the progress of the segment that it
// came from says. Called when that replay writes no more.
func settleRetry(fsys fsx.FS, segs []Segment, r Segment, log *zap.Logger) error {
	keep, err := collected(fsys, segs, r)
	if err != nil {
		return fmt.Errorf("seal what failed again: %w", err)
	}
	f, err := fsys.OpenFile(r.Path(), os.O_RDWR)
	if err != nil {
		return fmt.Errorf("seal what failed again: %w", err)
	}
	size, err := cutTo(f, r, keep, log)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("seal what failed again: %w", err)
	}
	if size == 0 {
		err = fsys.Remove(r.Path())
	} else {
		err = fsys.Rename(r.Path(), r.in(StateSealed))
	}
	// On disk before the segment that it came from can go.
	if err == nil {
		err = fsys.SyncDir(r.Dir)
	}
	if err != nil {
		return fmt.Errorf("seal what failed again: %w", err)
	}
	return nil
}

// unknown says that no progress tells how much of a collecting segment counts.
const unknown = -1

// collected finds how much of r counts. Nothing when its origin is there and does not speak of it:
// then all of it is still to be done there.
func collected(fsys fsx.FS, segs []Segment, r Segment) (int64, error) {
	keep := int64(unknown)
	for _, s := range segs {
		if s.Seq != r.Seq || s.Attempt >= r.Attempt || (s.State != StateSealed && s.State != StateClaimed) {
			continue
		}
		p, found, err := loadProgress(fsys, s)
		if err != nil {
			return 0, err
		}
		switch {
		case found && p.bytes == 0:
			return unknown, nil // of another content
		case p.last.Retry == r.Name():
			return p.last.RetryBytes, nil
		}
		keep = 0
	}
	return keep, nil
}

func loadProgress(fsys fsx.FS, s Segment) (p progress, found bool, err error) {
	data, err := fsx.ReadFile(fsys, s.donePath())
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	f, err := fsys.OpenFile(s.Path(), os.O_RDONLY)
	if err != nil {
		return p, false, err
	}
	h, err := contentOf(f, s)
	return parseProgress(data, h), true, errors.Join(err, f.Close())
}

// cutTo cuts a collecting segment to its length that counts, or after its last whole line where that
// is not known, and has the result on disk.
func cutTo(f fsx.File, r Segment, keep int64, log *zap.Logger) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if keep > size {
		log.Error("failure log: records that failed again are missing", zap.String("segment", r.Path()),
			zap.Int64("bytes", size), zap.Int64("expected", keep))
	}
	if keep == unknown || keep > size {
		if keep, err = lastNewline(f, size); err != nil {
			return 0, err
		}
	}
	if keep < size {
		if err := f.Truncate(keep); err != nil {
			return 0, err
		}
	}
	return keep, f.Sync()
}

// removeOrphans removes progress whose segment is gone.
func removeOrphans(fsys fsx.FS, dir string, log *zap.Logger) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list failure log: %w", err)
	}
	for _, e := range entries {
		s, ok := parseDone(e.Name())
		if !ok {
			continue
		}
		s.Dir = dir
		gone := true
		for _, state := range []State{StateSealed, StateClaimed, StateEvicted} {
			if _, err := fsys.Stat(s.in(state)); !errors.Is(err, fs.ErrNotExist) {
				gone = false // it is there, or nobody knows
			}
		}
		if gone {
			removeDone(fsys, s, log)
		}
	}
	return nil
}
