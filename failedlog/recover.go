package failedlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// recover puts the folder in order after a daemon that may have died at any moment.
func (l *Log) recover() error {
	segs, err := l.look()
	if err != nil {
		return err
	}
	for _, s := range segs {
		if s.State == StateEvicted {
			if err := l.dropEvicted(s); err != nil {
				l.log.Error("failure log: finish an eviction", zap.Error(err))
			}
		}
	}
	l.sealLeft()
	if _, err := l.look(); err != nil {
		return err
	}
	l.measure()
	return nil
}

// sealLeft seals what a daemon that died left open. A disk that does not let it keeps nothing else
// from working: Tick tries again.
func (l *Log) sealLeft() {
	var skip string
	if l.cur != nil {
		skip = l.cur.seg.Path()
	}
	err := sealLeft(l.fs, l.dir, skip, l.log)
	l.leftover = err != nil
	if err != nil {
		l.log.Error("failure log: seal what was left open", zap.String("dir", l.dir), zap.Error(err))
	}
}

// Recover does what Open does for segments that a daemon left open, without a daemon: it cuts each
// after its last whole line and seals it. Only the holder of data_dir's lock may call it.
func Recover(fsys fsx.FS, dir string, log *zap.Logger) error {
	if log == nil {
		log = zap.NewNop()
	}
	return sealLeft(fsys, dir, "", log)
}

func sealLeft(fsys fsx.FS, dir, skip string, log *zap.Logger) error {
	segs, err := listDir(fsys, dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range segs {
		if s.State == StateOpen && s.Path() != skip {
			errs = append(errs, sealTorn(fsys, s, log))
		}
	}
	return errors.Join(errs...)
}

// sealTorn cuts a segment after its last newline and seals it. What is cut was never answered for:
// its writer died in the middle of it.
func sealTorn(fsys fsx.FS, s Segment, log *zap.Logger) error {
	f, err := fsys.OpenFile(s.Path(), os.O_RDWR)
	if err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	size, err := cutTorn(f, s, log)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	if size == 0 {
		err = fsys.Remove(s.Path())
	} else {
		err = fsys.Rename(s.Path(), s.in(StateSealed))
	}
	if err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	return nil
}

func cutTorn(f fsx.File, s Segment, log *zap.Logger) (int64, error) {
	end, err := lastNewline(f, s.Size)
	if err != nil || end == s.Size {
		return end, err
	}
	log.Warn("failure log: a torn last line was cut", zap.String("segment", s.Path()), zap.Int64("bytes", s.Size-end))
	if err := f.Truncate(end); err != nil {
		return 0, err
	}
	return end, f.Sync()
}

// lastNewline gives the offset behind the last newline before size.
func lastNewline(f io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for size > 0 {
		n := min(size, int64(len(buf)))
		if _, err := io.ReadFull(io.NewSectionReader(f, size-n, n), buf[:n]); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return size - n + int64(i) + 1, nil
		}
		size -= n
	}
	return 0, nil
}

// requestPoll is how often RequestSeal looks whether it was heard.
const requestPoll = 50 * time.Millisecond

// RequestSeal asks the daemon to seal what it has open in dir, and waits until it did or ctx ends.
// It needs a daemon that calls Tick; without one see Recover.
func RequestSeal(ctx context.Context, fsys fsx.FS, dir string) error {
	open, err := openPaths(fsys, dir)
	if err != nil || len(open) == 0 {
		return err
	}
	request := filepath.Join(dir, requestName)
	f, err := fsys.OpenFile(request, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("ask to seal: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("ask to seal: %w", err)
	}
	timer := time.NewTicker(requestPoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("ask to seal: %w", ctx.Err()), removeIfThere(fsys, request))
		case <-timer.C:
		}
		gone, err := allGone(fsys, open)
		if err != nil || gone {
			// Where the daemon sealed by itself, the request would seal the next segment too early.
			return errors.Join(err, removeIfThere(fsys, request))
		}
	}
}

func removeIfThere(fsys fsx.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func openPaths(fsys fsx.FS, dir string) ([]string, error) {
	segs, err := listDir(fsys, dir)
	var open []string
	for _, s := range segs {
		if s.State == StateOpen {
			open = append(open, s.Path())
		}
	}
	return open, err
}

func allGone(fsys fsx.FS, paths []string) (bool, error) {
	for _, p := range paths {
		if _, err := fsys.Stat(p); err == nil {
			return false, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("ask to seal: %w", err)
		}
	}
	return true, nil
}
