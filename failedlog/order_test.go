package failedlog

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"shiplog/internal/fsx"
	"shiplog/internal/fsx/fsxtest"
)

// trace is a file system that notes what is changed, in order, as "call name".
type trace struct {
	fsx.FS
	mu    sync.Mutex
	calls []string
}

type traceFile struct {
	fsx.File
	tr *trace
}

func (tr *trace) note(call, name string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.calls = append(tr.calls, call+" "+strings.TrimPrefix(filepath.Base(name), "0000000000000000000"))
}

func (tr *trace) OpenFile(name string, flag int) (fsx.File, error) {
	f, err := tr.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return traceFile{f, tr}, nil
}

func (tr *trace) Rename(a, b string) error  { tr.note("rename", a); return tr.FS.Rename(a, b) }
func (tr *trace) Remove(name string) error  { tr.note("remove", name); return tr.FS.Remove(name) }
func (tr *trace) SyncDir(name string) error { tr.note("syncdir", name); return tr.FS.SyncDir(name) }

func (f traceFile) WriteAt(p []byte, off int64) (int, error) {
	f.tr.note("write", f.Name())
	return f.File.WriteAt(p, off)
}

func (f traceFile) Sync() error { f.tr.note("sync", f.Name()); return f.File.Sync() }

// TestReplayWritesInTheOrderThatALossOfPowerNeeds: a file system may bring later changes to the disk
// before earlier ones, unless a sync stands between. What failed again is on disk before its
// origin's progress says so, and before its origin goes; the progress goes after the origin did.
func TestReplayWritesInTheOrderThatALossOfPowerNeeds(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "app", records("app", 0, 2))
	tr := &trace{FS: fsxtest.New()}
	replay(t, root, ReplayOptions{FS: tr}, &broker{verdict: picky})
	diff(t, "calls", tr.calls, []string{
		"rename 1.jsonl",
		"syncdir app", "write 1.r1.retry.jsonl", "sync 1.r1.retry.jsonl",
		"write 1.done",
		"sync 1.done",
		"sync 1.r1.retry.jsonl", "rename 1.r1.retry.jsonl", "syncdir app",
		"remove 1.claimed.jsonl", "syncdir app",
		"remove 1.done",
	})
}

func TestReplayKeepsWhatItCollectedWhenTheProgressIsOfNoUse(t *testing.T) {
	line := string(encode(records("app", 0, 1)))
	for _, tt := range []struct{ name, done, retry, want string }{
		{"of another content", `{"segment":"x"}` + "\n", line + line[:9], line},
		{"speaks of more than there is", "", line + line[:9], line},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			fill(t, root, "app", records("app", 0, 2))
			origin := Segment{Dir: filepath.Join(root, "app"), Seq: 1, State: StateSealed}
			r := Segment{Dir: origin.Dir, Seq: 1, Attempt: 1, State: StateCollecting}
			if tt.done == "" {
				f, err := os.Open(origin.Path())
				must(t, err)
				h, err := contentOf(f, origin)
				must(t, err)
				must(t, f.Close())
				tt.done = string(appendLine(appendLine(nil, h), step{Retry: r.Name(), RetryBytes: 1 << 20}))
			}
			must(t, os.WriteFile(origin.donePath(), []byte(tt.done), 0o600))
			must(t, os.WriteFile(r.Path(), []byte(tt.retry), 0o600))
			openLog(t, fsx.OS, root, "app", Options{})
			if got := tree(t, root)["app/"+filepath.Base(r.in(StateSealed))]; got != tt.want {
				t.Errorf("kept %q, want %q", got, tt.want)
			}
			if slices.Contains(names(t, root, "app"), filepath.Base(r.Path())) {
				t.Error("still collecting")
			}
		})
	}
}

func TestRecoverSealsWhatADeadDaemonLeft(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "app"), 0o700))
	line := string(encode(records("app", 0, 1)))
	must(t, os.WriteFile(filepath.Join(root, "app", "00000000000000000001.open.jsonl"), []byte(line+line[:5]), 0o600))
	must(t, Recover(fsx.OS, filepath.Join(root, "app"), nil))
	diff(t, "files", tree(t, root), map[string]string{"app/00000000000000000001.jsonl": line})
}
