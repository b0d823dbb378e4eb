package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"shiplog/internal/batch"
)

// DiskFile is a log file as it was found on disk.
type DiskFile struct {
	Path string
	ID   batch.FileID // generation 0: a file does not tell how often it was truncated
	Size int64
}

// FindFiles lists the regular files below a folder, or those that match a pattern, ** included. It must
// be called before the topic's end is asked for: what is written later is no loss.
func FindFiles(where string) ([]DiskFile, error) {
	pattern := where
	if st, err := os.Stat(where); err == nil && st.IsDir() {
		pattern = filepath.Join(escape(where), "**")
	}
	paths, err := doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithNoFollow())
	if err != nil {
		return nil, fmt.Errorf("files %s: %w", where, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("files %s: no file is there", where)
	}
	var out []DiskFile
	for _, p := range paths {
		d, err := statFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // rotated away meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		if d != nil {
			out = append(out, *d)
		}
	}
	return out, nil
}

func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `{`, `\{`).Replace(path)
}

// statFile gives nil for what is no regular file.
func statFile(path string) (*DiskFile, error) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil, err
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	id, err := identify(f)
	if err == nil {
		st, err = f.Stat()
	}
	if err = errors.Join(err, f.Close()); err != nil || !st.Mode().IsRegular() {
		return nil, err
	}
	return &DiskFile{Path: path, ID: id, Size: st.Size()}, nil
}

// openFile opens a file that was a regular one a moment ago: whoever owns the folder may have put a link or
// a pipe there since.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// Compare says for each file on disk which of its lines neither the topic nor a failure log holds. All
// batches and records of the failure log must have been taken in.
func (a *Audit) Compare(files []DiskFile) error {
	a.disk = true
	newest := make(map[batch.FileID][]*file)
	for _, f := range a.order {
		id := f.id
		id.Gen = 0
		newest[id] = append(newest[id], f)
	}
	compressed, unknown := 0, 0
	for i := range files {
		d := &files[i]
		known := newest[d.ID]
		switch {
		case len(known) > 0:
			delete(newest, d.ID) // a second name of the same file
			f := slices.MaxFunc(known, func(x, y *file) int { return cmp.Compare(x.id.Gen, y.id.Gen) })
			f.disk = d
		case isCompressed(d.Path):
			compressed++
			continue
		case !a.seen(d) && !a.opt.Windowed && d.Size > 0:
			unknown++
			f := a.file(a.opt.Source, d.ID)
			f.disk = d
		}
	}
	for _, f := range a.order {
		if f.disk != nil {
			if err := f.compare(a.headKnown(), a.opt.Windowed); err != nil {
				return err
			}
			if f.disk.Size < f.end() {
				a.note("%s is shorter (%d bytes) than what was shipped of it (%d): it was truncated since", f.disk.Path, f.disk.Size, f.end())
			}
		}
	}
	if compressed > 0 {
		a.note("%d compressed files on disk were not compared: their names do not tell which log they were", compressed)
	}
	if unknown > 0 {
		a.note("%d of the files on disk have no line in the topic under their identity; a copy (copytruncate, a restored backup) is another file than the one that was shipped", unknown)
	}
	return nil
}

// seen says that the file was compared already, under another name.
func (a *Audit) seen(d *DiskFile) bool {
	return slices.ContainsFunc(a.order, func(f *file) bool { return f.disk != nil && f.disk.ID == d.ID })
}

func isCompressed(path string) bool {
	return slices.Contains([]string{".gz", ".zst", ".bz2", ".xz", ".lz4"}, filepath.Ext(path))
}

// compare looks up in the file what is missing, and counts lines. What lies before the known part is
// left out unless the head is known; in a window, so is what lies behind it.
func (f *file) compare(head, windowed bool) error {
	from, to := int64(0), f.disk.Size
	if windowed {
		to = min(to, f.end())
	}
	if !head {
		from = min(f.begin(), to)
	}
	var holes []span
	f.looked = to
	f.gaps(from, to, func(h span) {
		switch {
		case len(holes) < maxGaps:
			holes = append(holes, h)
		case len(holes) == maxGaps:
			f.looked = min(f.looked, h.from)
		}
	})
	if len(holes) == 0 {
		return nil
	}
	r, err := openFile(f.disk.Path)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	c := lineCounter{r: bufio.NewReaderSize(io.LimitReader(r, to), 256<<10)}
	for _, h := range holes {
		if err = f.lookUp(&c, h); err != nil {
			break
		}
	}
	return errors.Join(err, r.Close())
}

// lookUp says what stands in one hole. Lines that are never shipped, and a line that waits for its
// newline at the end of the file, are no gap.
func (f *file) lookUp(c *lineCounter, h span) error {
	if err := c.skipTo(h.from); err != nil {
		return fmt.Errorf("%s: %w", f.disk.Path, err)
	}
	gap := Gap{From: h.from, To: h.to, FirstLine: c.line + 1}
	for c.pos < h.to {
		blank, whole, n, err := c.next()
		if err != nil {
			return fmt.Errorf("%s: %w", f.disk.Path, err)
		}
		switch {
		case n == 0: // the file has become shorter
			gap.To = c.pos
		case !whole && c.pos >= f.disk.Size:
			f.waiting += n
			gap.To -= n
		case blank:
			f.blank += n
		default:
			gap.Lines++
			gap.LastLine = c.line
		}
		if n == 0 {
			break
		}
	}
	if gap.Lines > 0 {
		f.diskGaps = append(f.diskGaps, gap)
	}
	return nil
}

// lineCounter goes forward through a file and knows at which line it is.
type lineCounter struct {
	r    *bufio.Reader
	pos  int64
	line int64 // how many newlines lie behind
}

// skipTo reads up to a place.
func (c *lineCounter) skipTo(pos int64) error {
	for c.pos < pos {
		p, err := c.r.Peek(int(min(pos-c.pos, 64<<10)))
		if len(p) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		c.line += int64(bytes.Count(p, []byte{'\n'}))
		c.pos += int64(len(p))
		if _, err := c.r.Discard(len(p)); err != nil {
			return err
		}
	}
	return nil
}

// next reads one line of any length: whether it is blank, whether it has its newline, and how many
// bytes it takes; 0 at the end.
func (c *lineCounter) next() (blank, whole bool, n int64, err error) {
	blank = true
	for {
		p, err := c.r.ReadSlice('\n')
		n += int64(len(p))
		c.pos += int64(len(p))
		blank = blank && len(bytes.Trim(p, "\x00\r\n")) == 0
		switch {
		case err == nil:
			c.line++
			return blank, true, n, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return blank, false, n, nil
		default:
			return blank, false, n, err
		}
	}
}
