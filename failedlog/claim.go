package failedlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"shiplog/internal/fsx"
)

// claim is a segment in the hands of the holder of replay.lock. What becomes of its records is told
// to it batch by batch; killed at any moment, it leaves at most one batch to be repeated.
type claim struct {
	fs     fsx.FS
	seg    Segment // in state Claimed
	log    *zap.Logger
	file   fsx.File
	header header
	done   spans

	steps *side // the progress file
	retry *side // collects what failed again; nil until something did
	bad   *side // lines kept aside; nil until there are any
	// badBytes is how much of the .bad file counted when the segment was claimed.
	badBytes int64
	// retries is the highest <n> that the progress speaks of; such a name is not given twice.
	retries int
	// edited says that there was progress, but of another content of the segment.
	edited bool
}

// side is a file beside the segment. It is written up to end; whether that counts, the next step in
// the progress file says.
type side struct {
	seg  Segment // of the one that collects
	path string
	file fsx.File
	end  int64
}

// take claims a sealed segment. fs.ErrNotExist: somebody else was faster.
func take(fsys fsx.FS, s Segment, log *zap.Logger) (*claim, error) {
	c := &claim{fs: fsys, seg: s, log: log}
	c.seg.State = StateClaimed
	if err := fsys.Rename(s.Path(), c.seg.Path()); err != nil {
		return nil, fmt.Errorf("claim segment: %w", err)
	}
	err := c.open()
	if err == nil {
		return c, nil
	}
	return nil, errors.Join(err, c.close(), fsys.Rename(c.seg.Path(), s.Path()))
}

// open reads how far the segment is done.
func (c *claim) open() (err error) {
	if c.file, err = c.fs.OpenFile(c.seg.Path(), os.O_RDONLY); err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if c.header, err = contentOf(c.file, c.seg); err != nil {
		return err
	}
	data, err := fsx.ReadFile(c.fs, c.seg.donePath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read progress: %w", err)
	}
	p := parseProgress(data, c.header)
	if len(data) > 0 && p.bytes == 0 {
		c.edited = true
		c.log.Error("failure log: the progress belongs to another content of the segment (was it edited?); all of it counts as not done",
			zap.String("segment", c.seg.Path()))
	}
	c.done, c.badBytes, c.retries = p.done, p.last.BadBytes, p.retries
	c.steps = &side{path: c.seg.donePath(), end: p.bytes}
	return nil
}

// outcome is what became of a batch of records.
type outcome struct {
	done   []span // delivered, or dropped
	failed []span // failed again; lines holds them as they are to be kept
	lines  []byte
	bad    []span // no records
	kept   bool   // set by commit: failed is on disk elsewhere
}

func (o *outcome) empty() bool { return len(o.done)+len(o.failed)+len(o.bad) == 0 }

// commit makes an outcome last. What failed again is on disk elsewhere before it counts as done
// here. When that cannot be written, it stays in the segment, and the rest of the outcome counts.
func (c *claim) commit(o *outcome) error {
	if o.empty() {
		return nil
	}
	var errs []error
	all := o.done
	if len(o.failed) > 0 {
		if err := c.keep(o.lines); err != nil {
			errs = append(errs, err)
		} else {
			o.kept = true
			all = append(all, o.failed...)
		}
	}
	if len(o.bad) > 0 {
		if err := c.setAside(o.bad); err != nil {
			errs = append(errs, err)
		} else {
			all = append(all, o.bad...)
		}
	}
	if len(all) > 0 {
		errs = append(errs, c.step(all))
	}
	return errors.Join(errs...)
}

// keep has lines on disk in the segment that collects what failed again.
func (c *claim) keep(lines []byte) error {
	if err := c.openRetry(); err != nil {
		return err
	}
	if err := c.retry.write(c.fs, lines, true); err != nil {
		return fmt.Errorf("keep what failed again: %w", err)
	}
	return nil
}

// move takes lines as they are into the segment that collects.
func (c *claim) move(lines []span) error {
	if err := c.openRetry(); err != nil {
		return err
	}
	for i, m := range lines {
		r := io.NewSectionReader(c.file, m[0], m[1]-m[0])
		if err := c.retry.copy(c.fs, r, i == len(lines)-1); err != nil {
			return fmt.Errorf("keep what cannot be replayed: %w", err)
		}
	}
	return c.step(lines)
}

func (c *claim) openRetry() error {
	if c.retry != nil {
		return nil
	}
	s, err := c.retryName()
	if err != nil {
		return err
	}
	c.retry = &side{seg: s, path: s.Path()}
	return nil
}

// retryName finds a name <sequence>.r<n> behind this segment that is not there and that its progress
// does not speak of: what the progress says of a segment that is gone must not fit a new one.
func (c *claim) retryName() (Segment, error) {
	s := Segment{Dir: c.seg.Dir, Seq: c.seg.Seq, Attempt: max(c.seg.Attempt, c.retries), State: StateCollecting}
	for {
		s.Attempt++
		taken := false
		for _, e := range suffixes {
			_, err := c.fs.Stat(s.in(e.state))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return s, fmt.Errorf("keep what failed again: %w", err)
			}
			taken = taken || err == nil
		}
		if !taken {
			return s, nil
		}
	}
}

// setAside copies lines that are no records to the .bad file.
func (c *claim) setAside(bad []span) error {
	if c.bad == nil {
		end, err := c.badEnd()
		if err != nil {
			return fmt.Errorf("keep bad lines aside: %w", err)
		}
		c.bad = &side{path: c.seg.in(StateBad), end: end}
	}
	for i, b := range bad {
		r := io.NewSectionReader(c.file, b[0], b[1]-b[0])
		if err := c.bad.copy(c.fs, r, i == len(bad)-1); err != nil {
			return fmt.Errorf("keep bad lines aside: %w", err)
		}
	}
	return nil
}

// badEnd is how much of the .bad file counts: what the progress says, or where the progress counts
// for nothing, its whole lines.
func (c *claim) badEnd() (int64, error) {
	data, err := fsx.ReadFile(c.fs, c.seg.in(StateBad))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if c.edited {
		return int64(bytes.LastIndexByte(data, '\n')) + 1, err
	}
	return min(c.badBytes, int64(len(data))), err
}

// step appends to the progress file. It is not synced: a loss of power repeats the segment.
func (c *claim) step(done []span) error {
	var all spans
	for _, d := range done {
		all.add(d[0], d[1])
	}
	st := step{Done: all, BadBytes: c.badBytes}
	if c.retry != nil && c.retry.end > 0 {
		st.Retry, st.RetryBytes = c.retry.seg.Name(), c.retry.end
	}
	if c.bad != nil {
		st.BadBytes = c.bad.end
	}
	var buf []byte
	if c.steps.end == 0 {
		buf = appendLine(buf, c.header)
	}
	if err := c.steps.write(c.fs, appendLine(buf, st), false); err != nil {
		return fmt.Errorf("write progress: %w", err)
	}
	for _, d := range all {
		c.done.add(d[0], d[1])
	}
	return nil
}

func appendLine(dst []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of numbers and names
	}
	return append(append(dst, data...), '\n')
}

// write appends to the side file. After an error its end is where it was.
func (s *side) write(fsys fsx.FS, data []byte, sync bool) error {
	if err := s.ready(fsys, sync); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(data, s.end); err != nil {
		return err
	}
	if sync {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	s.end += int64(len(data))
	return nil
}

// copy appends a line of any length, with its newline.
func (s *side) copy(fsys fsx.FS, r *io.SectionReader, sync bool) error {
	if err := s.ready(fsys, true); err != nil {
		return err
	}
	n, err := io.Copy(io.NewOffsetWriter(s.file, s.end), r)
	if err != nil {
		return err
	}
	last := make([]byte, 1)
	if _, err := r.ReadAt(last, n-1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if last[0] != '\n' {
		if _, err := s.file.WriteAt([]byte{'\n'}, s.end+n); err != nil {
			return err
		}
		n++
	}
	if sync {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	s.end += n
	return nil
}

// ready opens the file, cuts it to its end, and has its entry on disk where that matters.
func (s *side) ready(fsys fsx.FS, entry bool) error {
	if s.file != nil {
		return nil
	}
	f, err := fsys.OpenFile(s.path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	err = f.Truncate(s.end)
	if err == nil && entry {
		err = fsys.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file = f
	return nil
}

// finish ends the claim: what failed again becomes a segment of its own, and the claimed one goes
// when nothing of it is left, or back among the sealed ones. After an error the claim may stay; the
// next holder of the lock takes it up.
func (c *claim) finish() (removed bool, err error) {
	left, err := c.end()
	if err != nil {
		return false, err
	}
	if c.retry != nil && c.retry.end > 0 {
		if err := settleRetry(c.fs, []Segment{c.seg}, c.retry.seg, c.log); err != nil {
			return false, err
		}
	}
	if left > 0 {
		if err := c.fs.Rename(c.seg.Path(), c.seg.in(StateSealed)); err != nil {
			return false, fmt.Errorf("give segment back: %w", err)
		}
		return false, nil
	}
	if err := c.fs.Remove(c.seg.Path()); err != nil {
		return false, fmt.Errorf("remove segment: %w", err)
	}
	// The progress goes only when the segment is surely gone, or all of it would be sent again.
	if err := c.fs.SyncDir(c.seg.Dir); err != nil {
		return true, fmt.Errorf("remove segment: %w", err)
	}
	removeDone(c.fs, c.seg, c.log)
	return true, nil
}

// end syncs the progress, counts what is left and closes the files.
func (c *claim) end() (left int64, err error) {
	defer func() { err = errors.Join(err, c.close()) }()
	if c.steps.file != nil {
		if err := c.steps.file.Sync(); err != nil {
			return 0, fmt.Errorf("sync progress: %w", err)
		}
	}
	if left, _, err = countOpen(c.file, c.seg, c.done); err != nil {
		return 0, fmt.Errorf("read segment %s: %w", c.seg.Path(), err)
	}
	return left, nil
}

// close closes the files, and nothing else: as a crash does.
func (c *claim) close() error {
	var errs []error
	for _, s := range []*side{c.steps, c.retry, c.bad} {
		if s != nil && s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	if c.file != nil {
		errs = append(errs, c.file.Close())
	}
	return errors.Join(errs...)
}

// parseDone reads the name of a progress file.
func parseDone(name string) (Segment, bool) {
	base, ok := strings.CutSuffix(name, doneSuffix)
	if !ok {
		return Segment{}, false
	}
	return parseBase(base)
}
