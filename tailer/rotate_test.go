package tailer

import (
	"os"
	"testing"

	"shiplog/tailer/internal/fsid"
)

// Each scenario works on real files below a fresh folder; include is app.log unless said otherwise.
var rotations = []struct {
	name    string
	include string
	run     func(r *rig)
}{
	{"rename, and the writer goes on in the old file", "app.log", func(r *rig) {
		r.append("app.log", "1", "2")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log.1", "3")
		r.tick()
		r.append("app.log.1", "4")
		r.append("app.log", "5")
		r.append("app.log.1", "late in the old file")
		r.tick()
		r.append("app.log.1", "later still")
		r.append("app.log", "6")
		r.tick()
		r.want("app.log", "1", "2", "3", "4", "late in the old file", "5", "later still", "6")
	}},
	{"the old file is finished when it was quiet for rotate_wait", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.ticks(4)
		r.wantFinished("app.log", false, false)
		r.ticks(3)
		r.wantFinished("app.log", true, false)
		r.wantOpen(1)
	}},
	{"an old file that grows after its end is read on", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.ticks(10)
		r.rename("app.log.1", "app.log.2")
		r.append("app.log.2", "3")
		r.append("app.log", "4")
		r.ticks(10)
		r.want("app.log", "1", "2", "3", "4")
		r.wantFinished("app.log", true, false)
	}},
	{"a half line at the end of the old file holds the new one up, and is shipped as it is", "app.log", func(r *rig) {
		r.write("app.log", "1\nhalf")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.tick()
		r.want("app.log", "1")
		r.ticks(6)
		r.want("app.log", "1", "half", "2")
	}},
	{"a half line that is completed after the rotation stays whole", "app.log", func(r *rig) {
		r.write("app.log", "1\nha")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.tick()
		r.write("app.log.1", "lf\n")
		r.tick()
		r.want("app.log", "1", "half", "2")
	}},
	{"renamed twice between two looks", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.rename("app.log", "app.log.2")
		r.append("app.log", "3")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "4")
		r.ticks(10)
		r.want("app.log", "1", "2", "3", "4")
		r.wantFinished("app.log", true, true, false)
	}},
	{"renamed four times between two looks, the oldest compressed", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.4")
		r.append("app.log", "2")
		r.age("app.log", -10)
		r.gzipTo("app.log", "app.log.3")
		r.append("app.log", "3")
		r.age("app.log", -20)
		r.gzipTo("app.log", "app.log.2")
		r.append("app.log", "4")
		r.age("app.log", -30)
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
		r.ticks(10)
		r.want("app.log", "1", "2", "3", "4", "5")
	}},
	{"renamed twice, and no new file yet", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "2")
		r.rename("app.log", "app.log.1")
		r.ticks(3)
		r.want("app.log", "1", "2")
		r.append("app.log", "3")
		r.tick()
		r.want("app.log", "1", "2", "3")
	}},
	{"rotation by date beside the extension", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.rename("app.log", "app-2026-01-01.log")
		r.append("app.log", "3")
		r.rename("app.log", "app-2026-01-02.log")
		r.append("app.log", "4")
		r.ticks(10)
		r.want("app.log", "1", "2", "3", "4")
	}},
	{"an include that matches the rotated names too repeats nothing", "app.log*", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(10)
		r.rename("app.log.1", "app.log.2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "4")
		r.ticks(10)
		r.gzip("app.log.2")
		r.ticks(10)
		r.want("app.log", "1", "2", "3", "4")
		r.wantAll(4)
	}},
	{"an include that matches the rotated names, rotated twice between two looks", "app.log*", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.2")
		r.append("app.log", "2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(10)
		r.want("app.log", "1", "2", "3")
		r.wantAll(3)
	}},
	{"deleted, and read to its end through the descriptor", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.append("app.log", "2")
		r.remove("app.log")
		r.ticks(8)
		r.want("app.log", "1", "2")
		r.wantFinished("app.log", true)
		r.wantOpen(0)
	}},
	{"deleted while a writer still holds it", "app.log", func(r *rig) {
		w := r.open("app.log")
		r.writeTo(w, "1\n")
		r.start()
		r.tick()
		r.remove("app.log")
		r.tick()
		r.writeTo(w, "2\n")
		r.tick()
		r.append("app.log", "3")
		r.writeTo(w, "2b\n")
		r.ticks(8)
		r.want("app.log", "1", "2", "2b", "3")
	}},
	{"the log folder is removed and made again", "logs/app.log", func(r *rig) {
		r.must(os.Mkdir(r.path("logs"), 0o700))
		r.append("logs/app.log", "1")
		r.start()
		r.tick()
		r.append("logs/app.log", "2")
		r.must(os.RemoveAll(r.path("logs")))
		r.tick()
		r.must(os.Mkdir(r.path("logs"), 0o700))
		r.append("logs/app.log", "3")
		r.ticks(8)
		r.want("logs/app.log", "1", "2", "3")
	}},
	{"without a checkpoint, rotated files are not shipped", "app.log", func(r *rig) {
		r.append("app.log.1", "old")
		r.append("app.log", "1")
		r.start()
		r.ticks(3)
		r.rename("app.log.1", "app.log.2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.ticks(8)
		r.rename("app.log.1", "app.log.3")
		r.gzip("app.log.2")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "3")
		r.ticks(8)
		r.want("app.log", "1", "2", "3")
	}},
	{"the old file is read once more when the new one has begun", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.write("app.log", "")
		r.ticks(3)
		r.append("app.log.1", "2")
		r.append("app.log", "3")
		g := r.tl.series[r.path("app.log")].live()
		r.tl.look(g, r.now) // only the new file is looked at
		b := r.tl.fill(r.now)
		r.receive(b)
		b.Release()
		r.want("app.log", "1", "2", "3")
	}},
	{"a log of its own is no rotated form", "*.log", func(r *rig) {
		r.append("app.log", "1")
		r.append("app.error.log", "e1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.append("app.log", "2")
		r.append("app.audit.log", "a1")
		r.ticks(8)
		r.want("app.log", "1", "2")
		r.want("app.error.log", "e1")
		r.want("app.audit.log", "a1")
	}},
	{"a live file is moved away and back", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "elsewhere")
		r.tick()
		r.rename("elsewhere", "app.log")
		r.append("app.log", "2")
		r.ticks(8)
		r.rename("app.log", "elsewhere")
		r.ticks(8)
		r.rename("elsewhere", "app.log")
		r.append("app.log", "3")
		r.ticks(2)
		r.want("app.log", "1", "2", "3")
	}},
	{"an empty new file is no beginning", "app.log", func(r *rig) {
		r.append("app.log", "1")
		r.start()
		r.tick()
		r.rename("app.log", "app.log.1")
		r.write("app.log", "")
		r.tick()
		r.append("app.log.1", "2")
		r.tick()
		r.append("app.log", "3")
		r.tick()
		r.want("app.log", "1", "2", "3")
	}},
}

func TestRotation(t *testing.T) {
	for _, tt := range rotations {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(newRig(t, tt.include))
		})
	}
}

// A new file is renamed after its folder was listed, and found under its new name while the look goes on. It is
// that file still, and ships once.
func TestANewFileThatIsRotatedWhileItIsLookedAtShipsOnce(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	r.rename("app.log", "app.log.2")
	r.append("app.log", "2")
	r.rename("app.log", "app.log.1")
	r.append("app.log", "3")
	open, moved := r.tl.open, false
	r.tl.open = func(root *fsid.Root, path string) (*os.File, fsid.Identity, error) {
		if path == r.path("app.log.1") && !moved {
			moved = true
			r.rename("app.log.2", "app.log.3")
			r.rename("app.log.1", "app.log.2")
			r.rename("app.log", "app.log.1")
			r.append("app.log", "4")
		}
		return open(root, path)
	}
	r.ticks(8)
	r.want("app.log", "1", "2", "3", "4")
	if !moved {
		t.Error("nothing was renamed")
	}
}
