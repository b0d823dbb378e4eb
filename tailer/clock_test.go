package tailer

import (
	"os"
	"testing"
	"time"

	"shiplog/tailer/internal/fsid"
)

// stamp gives a file and its folder the time that another clock shows now.
func (r *rig) stamp(shift time.Duration, names ...string) {
	r.t.Helper()
	at := time.Now().Add(shift)
	for _, name := range names {
		r.must(os.Chtimes(r.path(name), at, at))
	}
	r.must(os.Chtimes(r.dir, at, at))
}

// The system's clock is set while shiplog runs: from then on files and folders bear times an hour off those
// before. What shiplog waits for it counts on a clock that nobody sets, so that only these times can mislead it.
func TestAClockThatIsSetLosesNothing(t *testing.T) {
	for _, shift := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(shift.String(), func(t *testing.T) {
			r := newRig(t, "app.log")
			r.append("app.log", "1")
			r.start()
			r.tick()
			r.append("app.log", "2")
			r.stamp(shift, "app.log") // here it is set
			r.write("app.log", "ha")
			r.stamp(shift, "app.log")
			r.tick()
			r.rename("app.log", "app.log.1")
			r.append("app.log", "3")
			r.stamp(shift, "app.log", "app.log.1")
			r.ticks(2)
			r.write("app.log.1", "lf\n") // within rotate_wait, whatever the file's time
			r.stamp(shift, "app.log.1")
			r.ticks(2)
			r.rename("app.log.1", "app.log.2") // and between two looks
			r.append("app.log", "4")
			r.rename("app.log", "app.log.1")
			r.append("app.log", "5")
			r.stamp(shift, "app.log", "app.log.1")
			r.ticks(8)
			r.append("app.log", "6")
			r.copytruncate("app.log", "app.log.0")
			r.append("app.log", "7")
			r.stamp(shift, "app.log", "app.log.0")
			r.ticks(8)
			r.gzip("app.log.0")
			r.append("app.log", "8")
			r.stamp(shift, "app.log", "app.log.0.gz")
			r.ticks(8)
			r.start() // and over a restart
			r.append("app.log", "9")
			r.stamp(shift, "app.log")
			r.ticks(8)
			r.want("app.log", "1", "2", "half", "3", "4", "5", "6", "7", "8", "9")
			r.wantAll(10)
			if s := r.tl.Stats(); s.FilesLost > 0 {
				t.Errorf("%d files lost", s.FilesLost)
			}
		})
	}
}

// A file that takes the inode of a deleted one, and begins with the same kilobytes, is a new file: its birth
// tells. shiplog is down meanwhile, or had closed the old one for others.
func TestAnInodeUsedAgainByAFileThatBeginsAlike(t *testing.T) {
	for _, down := range []bool{true, false} {
		name := map[bool]string{true: "while down", false: "while closed"}[down]
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "*.log")
			r.cfg.MaxOpenFiles = 1
			head := seq("the same line in both files, number", 1, 100) // some 4 KiB
			r.append("app.log", append(head, "old")...)
			r.start()
			r.ticks(2)
			r.append("b.log", "b1")
			r.ticks(2) // and app.log is closed
			before, err := fsid.Lstat(r.path("app.log"))
			r.must(err)
			if before.Birth == 0 {
				t.Skip("NOT TESTED: this file system tells no birth times")
			}
			if down {
				r.stop()
			}
			r.sameInode("app.log", before.Inode, append(head, "old", "new")...)
			if down {
				r.start()
			}
			r.ticks(8)
			r.want("app.log", append(append(append([]string{}, head...), "old"), append(head, "old", "new")...)...)
		})
	}
}

// sameInode deletes a file and makes it anew with its old inode. A file system that does not use an inode
// again at once cannot have this fault.
func (r *rig) sameInode(name string, inode uint64, lines ...string) {
	r.t.Helper()
	r.must(os.Remove(r.path(name)))
	for range 200 {
		time.Sleep(10 * time.Millisecond) // two births in one tick of the kernel's clock would be the same
		r.append(name, lines...)
		info, err := fsid.Lstat(r.path(name))
		r.must(err)
		if info.Inode == inode {
			return
		}
		r.must(os.Remove(r.path(name)))
	}
	r.t.Skip("NOT TESTED: this file system does not use an inode again at once")
}
