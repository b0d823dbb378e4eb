package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/fsx"
)

// ReadFailureLog counts the lines in a failure log as accounted for: dir is data_dir, its folder
// "failed", or the folder of one source in that. It changes nothing and may run beside a daemon.
func (a *Audit) ReadFailureLog(dir string) error {
	a.log = true
	root, source := dir, a.opt.Source
	if st, err := os.Stat(filepath.Join(dir, "failed")); err == nil && st.IsDir() {
		root = filepath.Join(dir, "failed")
	} else if segments, _ := filepath.Glob(filepath.Join(escape(dir), "*.jsonl")); len(segments) > 0 {
		root, source = filepath.Dir(filepath.Clean(dir)), filepath.Base(filepath.Clean(dir))
	}
	if st, err := os.Stat(root); err != nil {
		return fmt.Errorf("failure log: %w", err)
	} else if !st.IsDir() {
		return fmt.Errorf("failure log: %s is no folder", root)
	}
	segments, err := failedlog.List(fsx.OS, root, source)
	if err != nil {
		return fmt.Errorf("failure log: %w", err)
	}
	bad := 0
	for _, s := range segments {
		if s.State == failedlog.StateEvicted || s.State == failedlog.StateBad {
			continue
		}
		err := failedlog.Read(fsx.OS, s, func(e *failedlog.Entry) error {
			if e.Err != nil || !a.fail(&e.Record) {
				bad++
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a replay has finished with it
			return fmt.Errorf("failure log: %w", err)
		}
	}
	if bad > 0 {
		a.note("%d lines of the failure log do not say which line of which file they are", bad)
	}
	return nil
}

// fail takes in one record; false when it does not tell where it came from.
func (a *Audit) fail(r *failedlog.Record) bool {
	if r.Topic != a.opt.Topic || a.opt.Source != "" && r.Source != a.opt.Source {
		return true
	}
	id, err := batch.ParseFileID(r.FileID)
	if err != nil || r.Offset < 0 {
		return false
	}
	length := sourceLength(r)
	if length <= 0 {
		return false
	}
	a.file(r.Source, id).fail(span{r.Offset, r.Offset + length})
	return true
}

// sourceLength is how many bytes of its file a record took; records of older versions do not tell, but
// for a line that was not rewritten it is known.
func sourceLength(r *failedlog.Record) int64 {
	switch {
	case r.Length > 0:
		return r.Length
	case r.Oversize != nil:
		return r.Oversize.Length + 1
	}
	return int64(len(r.Payload)) + 1
}
