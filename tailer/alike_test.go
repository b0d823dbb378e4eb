package tailer

import (
	"os"
	"testing"
)

// The files beside a log that hold what it held, or begin like it: copies of what ships anyway, or files of their own.
var alike = []struct {
	name string
	run  func(r *rig)
}{
	{"compressed while an application still writes to it", func(r *rig) {
		w := r.compressedTooSoon("1", "2", "3")
		r.writeTo(w, "4\n")
		r.ticks(2)
		r.writeTo(w, "5\n")
		r.append("app.log", "6")
		r.ticks(8)
		r.want("app.log", "1", "2", "3", "4", "5", "6")
		r.wantOpen(1)
	}},
	{"compressed while an application still writes to it, and no new file yet", func(r *rig) {
		w := r.compressedTooSoon("1", "2", "3")
		r.remove("app.log")
		r.writeTo(w, "4\n")
		r.ticks(20)
		r.append("app.log", "5")
		r.ticks(8)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"compressed while an application still writes to it, before it was read", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		w := r.open("app.log")
		r.rename("app.log", "app.log.1")
		r.write("app.log", "")
		r.look()
		r.writeTo(w, "2\n3\n")
		r.gzip("app.log.1")
		r.writeTo(w, "4\n")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
		r.look()
		r.ticks(8)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"a compressed file that goes on otherwise than the one it begins like", func(r *rig) {
		r.append("app.log", "banner")
		r.start()
		r.tick()
		r.append("app.log", "1", "2", "3")
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "banner", "4")
		r.gzipTo("app.log", "app.log.1")
		r.append("app.log", "banner", "5")
		r.ticks(8)
		r.want("app.log", "banner", "1", "2", "3", "banner", "4", "banner", "5")
	}},
	{"a compressed file that is equal to an older file", func(r *rig) {
		r.append("app.log", "banner")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "banner")
		r.gzipTo("app.log", "app.log.1")
		r.append("app.log", "banner", "5")
		r.ticks(8)
		r.want("app.log", "banner", "banner", "banner", "5")
	}},
	{"a rotated file that is equal to an older file", func(r *rig) {
		r.append("app.log", "banner")
		r.start()
		r.tick()
		r.append("app.log", "1")
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "banner")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "banner", "5")
		r.ticks(8)
		r.want("app.log", "banner", "1", "banner", "banner", "5")
	}},
	{"a compressed file that is equal to a file that was compressed before", func(r *rig) {
		r.append("app.log", "banner")
		r.start()
		r.ticks(2)
		r.gzipTo("app.log", "app.log.2")
		r.append("app.log", "banner")
		r.ticks(10)
		r.gzipTo("app.log", "app.log.1")
		r.append("app.log", "banner", "5")
		r.ticks(8)
		r.want("app.log", "banner", "banner", "banner", "5")
	}},
	{"a compressed copy of a rotated file, which is kept", func(r *rig) {
		lines := seq("a line that is long enough", 1, 100)
		r.append("app.log", lines...)
		r.start()
		r.tick()
		r.copy("app.log", "app.log-20260101")
		r.gzip("app.log-20260101")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(8)
		r.want("app.log", append(lines, "5")...)
	}},
	{"a compressed copy of a rotated file, which is kept, made while nobody runs", func(r *rig) {
		lines := seq("a line that is long enough", 1, 100)
		r.append("app.log", lines...)
		r.start()
		r.tick()
		r.stop()
		r.append("app.log", "4")
		r.copy("app.log", "app.log-20260101")
		r.gzip("app.log-20260101")
		r.age("app.log-20260101.gz", -1)
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
		r.start()
		r.ticks(8)
		r.want("app.log", append(lines, "4", "5")...)
	}},
	{"a copy of a rotated file, which is kept", func(r *rig) {
		lines := seq("a line that is long enough", 1, 100)
		r.append("app.log", lines...)
		r.start()
		r.tick()
		r.copy("app.log", "app.log.1.bak")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(8)
		r.want("app.log", append(lines, "5")...)
	}},
	{"a compressed file as long as an older one, and alike at the beginning", func(r *rig) {
		lines := seq("a line that is long enough", 100, 199)
		r.append("app.log", append(lines, "1")...)
		r.start()
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", append(lines, "2")...)
		r.gzipTo("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(8)
		r.want("app.log", append(append(append(append([]string{}, lines...), "1"), append(lines, "2")...), "3")...)
	}},
	{"a rotated file that goes on otherwise than the one it begins like", func(r *rig) {
		r.append("app.log", "banner")
		r.start()
		r.tick()
		r.append("app.log", "1", "2", "3")
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "banner", "4")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "banner", "5")
		r.ticks(8)
		r.want("app.log", "banner", "1", "2", "3", "banner", "4", "banner", "5")
	}},
}

// compressedTooSoon rotates twice, as logrotate does with delaycompress, under an application that has
// not opened its file anew. It gives what the application holds: a file without a name, with lines of
// which all that there were stand in app.log.2.gz too.
func (r *rig) compressedTooSoon(lines ...string) *os.File {
	r.t.Helper()
	w := r.open("app.log")
	r.start()
	for i, line := range lines {
		if i == len(lines)-1 {
			r.rename("app.log", "app.log.1")
			r.write("app.log", "")
		}
		r.writeTo(w, line+"\n")
		r.tick()
	}
	r.gzipTo("app.log.1", "app.log.2")
	r.rename("app.log", "app.log.1")
	r.write("app.log", "")
	return w
}

func TestFilesAlike(t *testing.T) {
	for _, tt := range alike {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(newRig(t, "app.log"))
		})
	}
}
