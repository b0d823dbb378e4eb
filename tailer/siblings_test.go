package tailer

import (
	"slices"
	"testing"

	"shiplog/tailer/internal/fsid"
)

func TestRotatedName(t *testing.T) {
	tests := []struct {
		other string
		want  bool
	}{
		{"/l/app.log.1", true},
		{"/l/app.log.1.gz", true},
		{"/l/app.log-20260102", true},
		{"/l/app.log-2026-01-02_03:04:05.gz", true},
		{"/l/app.log.2026-01-02.3", true},
		{"/l/app.log.old", true},
		{"/l/app.log_bak", true},
		{"/l/app-20260102.log", true},
		{"/l/app-2026-01-02T03-04-05.678.log", true},
		{"/l/app-2026-01-02T03-04-05.678.log.gz", true},
		{"/l/app.1.log", true},
		{"/l/app.log", false},
		{"/l/app.error.log", false},
		{"/l/app.log.error", false},
		{"/l/app-http2.log", false},
		{"/l/application.log.1", false},
		{"/m/app.log.1", false},
		{"/l/app.log.", false},
	}
	for _, tt := range tests {
		if got := rotatedName("/l/app.log", tt.other); got != tt.want {
			t.Errorf("rotatedName(app.log, %s) = %v", tt.other, got)
		}
	}
}

func TestOlder(t *testing.T) {
	at := func(path string, mtime int64) entry { return entry{path: path, info: fsid.Info{MTime: mtime}} }
	for _, want := range [][]entry{
		{at("app.log.1", 1), at("app.log.2", 2), at("app.log.3", 3)}, // whatever the names say
		{at("app.log.10", 5), at("app.log.9.gz", 5), at("app.log.2", 5), at("app.log.1", 5)},
		{at("app-20251231.log", 5), at("app-20260101.log", 5), at("app-20260102.log.gz", 5)},
		{at("app.log-2026-01-02", 5), at("app.log-2026-01-03", 5)},
		{at("app.log.0100", 5), at("app.log.0099", 5)},
	} {
		got := slices.Clone(want)
		slices.Reverse(got)
		slices.SortFunc(got, older)
		if !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	}
}
