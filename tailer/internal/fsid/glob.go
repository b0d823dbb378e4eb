package fsid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Candidate is a file that the patterns match.
type Candidate struct {
	Path string // absolute
	Root *Root  // what to open it below
}

// Glob finds the files of a source. One goroutine may use it at a time.
type Glob struct {
	include []pattern
	exclude []string
	follow  bool
	now     func() time.Time
	refused []Error // by the last Match
}

// pattern is one include pattern, split into its fixed root and what follows.
type pattern struct {
	full   string
	rest   string
	single bool // it names one path
	root   *Root
	dirs   *folders
}

// NewGlob takes patterns with `**` and braces as doublestar has them; relative ones start from the
// working folder. An exclude pattern without a slash applies to the name alone.
func NewGlob(include, exclude []string, follow bool) (*Glob, error) {
	g := &Glob{follow: follow, now: time.Now}
	roots := map[string]*Root{}
	for _, p := range include {
		full, err := absPattern(p, "")
		if err != nil {
			return nil, err
		}
		dir, rest := doublestar.SplitPattern(full)
		if rest == "" {
			return nil, fmt.Errorf("pattern %q names a folder, not files", p)
		}
		if roots[dir] == nil {
			roots[dir] = &Root{Dir: dir, Follow: follow}
		}
		g.include = append(g.include, pattern{
			full: full, rest: rest, single: quoteMeta(rest) == rest, root: roots[dir],
			dirs: &folders{root: dir, follow: follow, known: map[string]*listing{}},
		})
	}
	for _, p := range exclude {
		full, err := p, checkPattern(p)
		if err == nil && strings.Contains(p, "/") {
			full, err = absPattern(p, "")
		}
		if err != nil {
			return nil, err
		}
		g.exclude = append(g.exclude, full)
	}
	return g, nil
}

// absPattern makes a pattern absolute and clean; base is the working folder when it is empty.
func absPattern(p, base string) (string, error) {
	if err := checkPattern(p); err != nil {
		return "", err
	}
	if filepath.IsAbs(p) {
		return filepath.Clean(p), nil
	}
	if base == "" {
		var err error
		if base, err = os.Getwd(); err != nil {
			return "", fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return filepath.Join(quoteMeta(base), p), nil
}

func checkPattern(p string) error {
	switch {
	case p == "":
		return errors.New("empty pattern")
	case strings.HasSuffix(p, "/"):
		return fmt.Errorf("pattern %q names a folder, not files", p)
	case !doublestar.ValidatePattern(p):
		return fmt.Errorf("pattern %q: %w", p, doublestar.ErrBadPattern)
	}
	return nil
}

// quoteMeta makes a path a pattern that matches nothing else.
func quoteMeta(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`).Replace(path)
}

// Match lists the regular files that are there now, sorted by path, each once. A folder that is not
// there is no error. Folders that cannot be read are named in the error, beside what was found in the
// others.
func (g *Glob) Match() ([]Candidate, error) {
	var found []Candidate
	var errs []error
	g.refused = g.refused[:0]
	for i := range g.include {
		p := &g.include[i]
		p.dirs.begin(g.now())
		err := doublestar.GlobWalk(p.dirs, p.rest, func(rel string, d fs.DirEntry) error {
			path := below(p.root.Dir, rel)
			if p.is(path, d, g.follow) {
				if !g.excluded(path) {
					found = append(found, Candidate{Path: path, Root: p.root})
				}
				return nil
			}
			g.refuse(p, path, d)
			return nil
		}, p.options(g.follow)...)
		errs = append(errs, err)
		errs = append(errs, p.dirs.end()...)
	}
	slices.SortStableFunc(found, func(a, b Candidate) int { return strings.Compare(a.Path, b.Path) })
	found = slices.CompactFunc(found, func(a, b Candidate) bool { return a.Path == b.Path })
	return found, errors.Join(errs...)
}

// refuse notes what is no file to read. A wildcard is not meant to match folders.
func (g *Glob) refuse(p *pattern, path string, d fs.DirEntry) {
	kind, regular := kindOf(d.Type())
	if !regular && (kind != KindDirectory || p.single) && !g.excluded(path) {
		g.refused = append(g.refused, Error{Path: path, Kind: kind})
	}
}

// Refused lists what the last Match passed by, because it is no regular file. It is valid until the next one.
func (g *Glob) Refused() []Error { return g.refused }

func (p *pattern) options(follow bool) []doublestar.GlobOption {
	if follow {
		return nil
	}
	return []doublestar.GlobOption{doublestar.WithNoFollow()}
}

// is says whether an entry is a regular file, perhaps behind a link.
func (p *pattern) is(path string, d fs.DirEntry, follow bool) bool {
	mode := d.Type()
	if follow && mode&fs.ModeSymlink != 0 {
		fi, err := os.Stat(path)
		return err == nil && fi.Mode().IsRegular()
	}
	return mode.IsRegular()
}

func (g *Glob) excluded(path string) bool {
	for _, p := range g.exclude {
		name := path
		if !strings.Contains(p, "/") {
			name = filepath.Base(path)
		}
		if doublestar.MatchUnvalidated(p, name) {
			return true
		}
	}
	return false
}

// Has says whether the patterns match an absolute path, whether or not a file is there.
func (g *Glob) Has(path string) bool {
	for i := range g.include {
		if doublestar.MatchUnvalidated(g.include[i].full, path) {
			return !g.excluded(path)
		}
	}
	return false
}

// below joins a clean folder and a clean path; filepath.Join would look at every byte of 10,000 names
// each second.
func below(dir, rel string) string {
	if dir == "/" {
		return dir + rel
	}
	return dir + "/" + rel
}
