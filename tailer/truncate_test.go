package tailer

import (
	"os"
	"strings"
	"testing"
)

var truncations = []struct {
	name    string
	include string
	run     func(r *rig)
}{
	{"with nothing unread", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(3)
		r.want("app.log", "1", "2", "3")
	}},
	{"with an unread backlog", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.append("app.log", "3", "4")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(3)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"grown past the old offset before anybody looked", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.append("app.log", "3", "4")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", seq("new", 1, 50)...)
		r.ticks(3)
		r.want("app.log", append([]string{"1", "2", "3", "4"}, seq("new", 1, 50)...)...)
	}},
	{"of the same size as before", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "3", "4")
		r.ticks(3)
		r.want("app.log", "1", "2", "3", "4")
	}},
	{"nothing was read, since nobody asked", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.look()
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", seq("b", 1, 20)...)
		r.look()
		r.rename("app.log.1", "app.log.2")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", seq("c", 1, 30)...)
		r.look()
		r.look()
		r.ticks(3)
		r.want("app.log", append(append([]string{"1", "2"}, seq("b", 1, 20)...), seq("c", 1, 30)...)...)
	}},
	{"twice between two looks", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.append("app.log", "3")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "4")
		r.rename("app.log.1", "app.log.2")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(3)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"the copy is compressed at once", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.append("app.log", "3", "4")
		r.copytruncate("app.log", "app.log.1")
		r.gzip("app.log.1")
		r.append("app.log", "5")
		r.ticks(3)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"the include matches the copy, which appears before the truncation", "app.log*", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.copy("app.log", "app.log.1")
		r.ticks(2)
		r.must(os.Truncate(r.path("app.log"), 0))
		r.append("app.log", "3")
		r.ticks(10)
		r.want("app.log", "1", "2", "3")
		r.wantAll(3)
	}},
	{"the include matches the copy, and rotation goes on", "app.log*", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(8)
		r.rename("app.log.1", "app.log.2")
		r.append("app.log", "4")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(8)
		r.gzip("app.log.2")
		r.ticks(8)
		r.want("app.log", "1", "2", "3", "4", "5")
		r.wantAll(5)
	}},
	{"the copy is written over with the next one", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(8)
		r.append("app.log", "4")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(8)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"a writer without O_APPEND leaves a hole", "app.log", func(r *rig) {
		w, err := os.Create(r.path("app.log"))
		r.must(err)
		defer w.Close() //nolint:errcheck // a test's file
		r.writeTo(w, "1\n2\n")
		r.start()
		r.tick()
		r.copytruncate("app.log", "app.log.1")
		r.writeTo(w, "3\n")
		r.ticks(3)
		r.want("app.log", "1", "2", "3")
		if r.nuls != 4 {
			r.t.Errorf("%d NUL bytes counted, want 4", r.nuls)
		}
	}},
	{"no copy: what was unread is counted", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "lost")
		r.look()
		r.must(os.Truncate(r.path("app.log"), 0))
		r.append("app.log", "2")
		r.ticks(3)
		r.want("app.log", "1", "2")
		if got := r.tl.Stats().UnreadBytesLost[LostTruncated]; got != 5 {
			r.t.Errorf("%d unread bytes lost, want 5", got)
		}
	}},
	{"no copy and nothing unread: nothing is lost", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.must(os.Truncate(r.path("app.log"), 0))
		r.append("app.log", "2")
		r.ticks(3)
		r.want("app.log", "1", "2")
		if s := r.tl.Stats(); len(s.UnreadBytesLost) > 0 || s.FilesLost > 0 {
			r.t.Errorf("lost: %v, %d files", s.UnreadBytesLost, s.FilesLost)
		}
	}},
	{"two files with the same lines are two files", "*.log", func(r *rig) {
		lines := seq("same", 1, 300)
		r.append("a.log", lines...)
		r.append("b.log", lines...)
		r.start()
		r.ticks(3)
		r.want("a.log", lines...)
		r.want("b.log", lines...)
	}},
	{"a backup with the same lines is shipped once it is clear that nothing was truncated", "app.log*", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.copy("app.log", "app.log.bak")
		r.tick()
		r.want("app.log.bak")
		r.ticks(8)
		r.want("app.log.bak", "1", "2")
	}},
	{"files that begin with the same kilobytes are told apart", "app.log*", func(r *rig) {
		head := strings.Repeat("x", 3000)
		r.append("app.log", head, "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", head, "2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", head, "3")
		r.ticks(10)
		r.want("app.log", head, "1", head, "2", head, "3")
	}},
	{"a rotated file that is written over is given up, not misread", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(2)
		r.must(os.Truncate(r.path("app.log.1"), 0))
		r.ticks(8)
		r.want("app.log", "1", "2", "3")
		r.wantFinished("app.log", true, false)
	}},
}

func TestTruncation(t *testing.T) {
	for _, tt := range truncations {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(newRig(t, tt.include))
		})
	}
}
