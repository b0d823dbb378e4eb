package fsid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// names are the paths of candidates, below dir.
func names(t testing.TB, dir string, found []Candidate) []string {
	t.Helper()
	out := []string{}
	for _, c := range found {
		out = append(out, strings.TrimPrefix(c.Path, dir+"/"))
	}
	return out
}

func TestMatch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"app.log", "app.log.1", "b.log", "x/app.log", "x/y/deep.log", "x/y/deep.txt", "[odd]/a.log", "z{1}.log", ".hidden.log",
	} {
		write(t, filepath.Join(dir, name), "")
	}
	must(t, os.Mkdir(filepath.Join(dir, "folder.log"), 0o755))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo.log"), 0o600))
	must(t, os.Symlink("app.log", filepath.Join(dir, "link.log")))
	must(t, os.Symlink("x", filepath.Join(dir, "linked")))
	must(t, os.Symlink("../x", filepath.Join(dir, "x", "round")))
	tests := []struct {
		name             string
		include, exclude []string
		follow           bool
		want             []string
	}{
		{"one name", []string{"app.log"}, nil, false, []string{"app.log"}},
		{"star", []string{"a*.log*"}, nil, false, []string{"app.log", "app.log.1"}},
		{"only regular files", []string{"*.log"}, nil, false, []string{".hidden.log", "app.log", "b.log", "z{1}.log"}},
		{"a link by its name", []string{"link.log"}, nil, false, []string{}},
		{"links where they are followed", []string{"l*.log"}, nil, true, []string{"link.log"}},
		{"folders behind links where they are followed", []string{"l*/*.log"}, nil, true, []string{"linked/app.log"}},
		{"folders behind links", []string{"l*/*.log"}, nil, false, []string{}},
		{"all below", []string{"**/*.log"}, nil, false, []string{".hidden.log", "[odd]/a.log", "app.log", "b.log", "x/app.log", "x/y/deep.log", "z{1}.log"}},
		{"all below, links that go round", []string{"x/**/app.log"}, nil, true, []string{"x/app.log"}},
		{"each file once", []string{"*.log", "app*", "{app,b}.log"}, []string{".*"}, false, []string{"app.log", "app.log.1", "b.log", "z{1}.log"}},
		{"excluded name", []string{"**/*.log"}, []string{"app.log", ".*", "z*"}, false, []string{"[odd]/a.log", "b.log", "x/y/deep.log"}},
		{"excluded folder", []string{"**/*.log"}, []string{dir + "/x/**", ".*", "[[z]*"}, false, []string{"[odd]/a.log", "app.log", "b.log"}},
		{"quoted", []string{`\[odd\]/*.log`, `z\{1\}.log`}, nil, false, []string{"[odd]/a.log", "z{1}.log"}},
		{"nothing there", []string{"none/**/*.log", "none/a.log", "app.log/x.log"}, nil, false, []string{}},
	}
	for _, tt := range tests {
		include := make([]string, 0, len(tt.include))
		for _, p := range tt.include {
			include = append(include, dir+"/"+p)
		}
		g, err := NewGlob(include, tt.exclude, tt.follow)
		must(t, err)
		found, err := g.Match()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if d := cmp.Diff(tt.want, names(t, dir, found)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		for _, c := range found {
			if !g.Has(c.Path) {
				t.Errorf("%s: Has does not know %s", tt.name, c.Path)
			}
			if !strings.HasPrefix(c.Path, c.Root.Dir+"/") || c.Root.Follow != tt.follow {
				t.Errorf("%s: root of %s is %+v", tt.name, c.Path, c.Root)
			}
			f, _, err := Open(c.Root, c.Path)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			f.Close()
		}
	}
}

func TestRelativePatternsStartFromTheWorkingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "od{d}[x]*")
	write(t, filepath.Join(dir, "logs", "app.log"), "")
	t.Chdir(dir)
	g, err := NewGlob([]string{"logs/*.log"}, []string{"./logs/none.log"}, false)
	must(t, err)
	t.Chdir("/")
	found, err := g.Match()
	must(t, err)
	if d := cmp.Diff([]string{"logs/app.log"}, names(t, dir, found)); d != "" {
		t.Error(d)
	}
}

func TestWrongPatternsAreRefused(t *testing.T) {
	for _, p := range []string{"", "/var/log/", "/var/[log", "/var/{a,b"} {
		if _, err := NewGlob([]string{p}, nil, false); err == nil {
			t.Errorf("include %q: no error", p)
		}
		if _, err := NewGlob(nil, []string{p}, false); err == nil {
			t.Errorf("exclude %q: no error", p)
		}
	}
}

func TestAFolderMayGoAndComeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	g, err := NewGlob([]string{dir + "/*/*.log"}, nil, false)
	must(t, err)
	now := time.Now()
	g.now = func() time.Time { return now }
	for round := range 4 {
		now = now.Add(time.Hour) // old enough for listings to be remembered
		if found, err := g.Match(); len(found) != 0 || err != nil {
			t.Fatalf("round %d, no folder: %v, %v", round, found, err)
		}
		name := fmt.Sprintf("new%d.log", round)
		path := write(t, filepath.Join(dir, "a", name), "")
		found, err := g.Match()
		if d := cmp.Diff([]string{"a/" + name}, names(t, dir, found)); d != "" || err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, d)
		}
		f, _, err := Open(found[0].Root, path)
		must(t, err)
		f.Close()
		must(t, os.RemoveAll(dir))
	}
}

func TestAnUnchangedFolderIsNotReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "a.log"), "")
	g, err := NewGlob([]string{dir + "/*.log"}, nil, false)
	must(t, err)
	long := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(dir, long, long))
	now := time.Now()
	g.now = func() time.Time { return now }
	look := func() int {
		t.Helper()
		found, err := g.Match()
		must(t, err)
		return len(found)
	}
	reads := func() int { return g.include[0].dirs.reads }
	if n := look(); n != 1 || reads() != 1 {
		t.Fatalf("first look: %d files, %d reads", n, reads())
	}
	if n := look(); n != 1 || reads() != 0 {
		t.Fatalf("second look: %d files, %d reads", n, reads())
	}
	now = now.Add(reread)
	if n := look(); n != 1 || reads() != 1 {
		t.Fatalf("after some time: %d files, %d reads", n, reads())
	}
	must(t, os.Rename(path, path+".1"))
	if n := look(); n != 0 || reads() != 1 {
		t.Fatalf("after a change: %d files, %d reads", n, reads())
	}
	now = time.Now()
	write(t, path, "")
	if look() != 1 || reads() != 1 || look() != 1 || reads() != 1 {
		t.Fatalf("a fresh listing was taken for complete")
	}
}

func TestAFolderThatCannotBeReadIsNamed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads every folder")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "x.log"), "")
	write(t, filepath.Join(dir, "b", "x.log"), "")
	must(t, os.Chmod(filepath.Join(dir, "a"), 0))
	defer os.Chmod(filepath.Join(dir, "a"), 0o700) // or it could not be removed
	g, err := NewGlob([]string{dir + "/*/*.log"}, nil, false)
	must(t, err)
	found, err := g.Match()
	if d := cmp.Diff([]string{"b/x.log"}, names(t, dir, found)); d != "" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v\n%s", err, d)
	}
}

func TestSiblings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"app.log", "app.log.1", "app.log-20260102.gz", "app-20260102.log", "app.2026.log.gz", "application.txt", "other.log",
		"app", "old/app.log.2", "old/x", "plain", "plain.1", "[a].log", "[a].log.1", "a.log.1",
	} {
		write(t, filepath.Join(dir, name), "")
	}
	must(t, os.Mkdir(filepath.Join(dir, "app.log.d"), 0o755))
	must(t, os.Symlink("other.log", filepath.Join(dir, "app.log.9")))
	must(t, unix.Mkfifo(filepath.Join(dir, "app.log.8"), 0o600))
	tests := []struct {
		path  string
		extra []string
		want  []string
	}{
		{"app.log", nil, []string{"app-20260102.log", "app.2026.log.gz", "app.log-20260102.gz", "app.log.1"}},
		{"app.log", []string{"old/app*", dir + "/other*"}, []string{"app-20260102.log", "app.2026.log.gz", "app.log-20260102.gz", "app.log.1", "old/app.log.2", "other.log"}},
		{"app.log", []string{"app.log*", "none/*"}, []string{"app-20260102.log", "app.2026.log.gz", "app.log-20260102.gz", "app.log.1"}},
		{"plain", nil, []string{"plain.1"}},
		{"[a].log", nil, []string{"[a].log.1"}},
		{"gone/app.log", nil, nil},
	}
	for _, tt := range tests {
		found, err := Siblings(filepath.Join(dir, tt.path), tt.extra)
		must(t, err)
		var got []string
		for _, p := range found {
			got = append(got, strings.TrimPrefix(p, dir+"/"))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s, %q (-want +got):\n%s", tt.path, tt.extra, d)
		}
	}
	if _, err := Siblings(filepath.Join(dir, "app.log"), []string{"[bad"}); err == nil {
		t.Error("a wrong glob gives no error")
	}
}

// BenchmarkMatch looks at 10,000 files: in a folder that changes all the time, and in one that does not.
func BenchmarkMatch(b *testing.B) {
	dir := b.TempDir()
	for i := range 10_000 {
		write(b, filepath.Join(dir, fmt.Sprintf("app-%05d.log", i)), "")
	}
	g, err := NewGlob([]string{dir + "/*.log"}, []string{"*.gz"}, false)
	must(b, err)
	look := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := g.Match(); len(found) != 10_000 || err != nil {
				b.Fatal(len(found), err)
			}
		}
	}
	b.Run("changing", look)
	long := time.Now().Add(-time.Hour)
	must(b, os.Chtimes(dir, long, long))
	b.Run("unchanged", look)
}
