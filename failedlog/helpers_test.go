package failedlog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"shiplog/internal/fsx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record gives the n-th record of a source; each has its own payload and is a second younger.
func record(source string, n int) Record {
	return Record{
		Time: start.Add(time.Duration(n) * time.Second), Source: source, File: "/var/log/app.log", FileID: "8:1:77/0",
		Offset: int64(n) * 100, Topic: "logs", Partition: int32(n % 3), Timestamp: 1_700_000_000_000 + int64(n),
		Error:    ErrorInfo{Class: "retriable", Kafka: "NOT_LEADER_OR_FOLLOWER", Message: "no leader"},
		Attempts: 1, Payload: fmt.Appendf(nil, `{"source":%q,"n":%d}`, source, n),
	}
}

func records(source string, from, to int) []Record {
	var rs []Record
	for n := from; n < to; n++ {
		rs = append(rs, record(source, n))
	}
	return rs
}

// ramDir is a folder of the test in memory, where the machine has that: tests that make a power loss
// of every step need no disk, but thousands of files.
func ramDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "failedlog")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// openLog opens the failure log of a source below root and closes it with the test.
func openLog(t *testing.T, fsys fsx.FS, root, source string, opt Options) *Log {
	t.Helper()
	l, err := Open(fsys, filepath.Join(root, source), opt)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fill writes records into sealed segments, one a call of Append.
func fill(t *testing.T, root, source string, segments ...[]Record) {
	t.Helper()
	l, err := Open(fsx.OS, filepath.Join(root, source), Options{})
	must(t, err)
	for _, rs := range segments {
		must(t, l.Append(rs))
		must(t, l.Seal())
	}
	must(t, l.Close())
}

// held reads all payloads of a source that are not done, in order.
func held(t *testing.T, root, source string) []string {
	t.Helper()
	var out []string
	segs, err := List(fsx.OS, root, source)
	must(t, err)
	for _, s := range segs {
		if s.State == StateBad {
			continue
		}
		must(t, Read(fsx.OS, s, func(e *Entry) error {
			if e.Err != nil {
				return fmt.Errorf("%s line %d: %w", s.Path(), e.Line, e.Err)
			}
			out = append(out, string(e.Record.Payload))
			return nil
		}))
	}
	return out
}

func payloads(rs []Record) []string {
	var out []string
	for _, r := range rs {
		out = append(out, string(r.Payload))
	}
	return out
}

// names lists the files of a source's folder.
func names(t *testing.T, root, source string) []string {
	t.Helper()
	entries, err := fsx.OS.ReadDir(filepath.Join(root, source))
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
