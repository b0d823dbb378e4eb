package failedlog

import (
	"fmt"
	"slices"
	"time"
)

// Filter picks records. The zero value picks all.
type Filter struct {
	Source  string    // "": all sources
	Since   time.Time // logged at that time or later; zero: no bound
	Until   time.Time // logged before that time; zero: no bound
	Classes []string  // of the error; empty: all
}

// Match says whether the filter picks the record. The source is not looked at: it is the folder's.
func (f *Filter) Match(r *Record) bool {
	if !f.Since.IsZero() && r.Time.Before(f.Since) {
		return false
	}
	if !f.Until.IsZero() && !r.Time.Before(f.Until) {
		return false
	}
	return len(f.Classes) == 0 || slices.Contains(f.Classes, r.Error.Class)
}

// all says that the filter picks every record of its source.
func (f *Filter) all() bool { return f.Since.IsZero() && f.Until.IsZero() && len(f.Classes) == 0 }

// BadLine is a line that is no record.
type BadLine struct {
	Segment Segment
	Line    int // from 1
	Err     error
}

// Error names the file and the line, as compilers do.
func (b BadLine) Error() string {
	path := b.Segment.Path()
	if b.Segment.State == StateClaimed {
		path = b.Segment.in(StateSealed) // the name by which people know it
	}
	return fmt.Sprintf("%s:%d: %v", path, b.Line, b.Err)
}

// Unwrap gives what is wrong with the line.
func (b BadLine) Unwrap() error { return b.Err }
