package tailer

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"shiplog/internal/batch"
)

// restarts are scenarios in which something happens while nobody runs.
var restarts = []struct {
	name    string
	include string
	down    func(r *rig) // what happens meanwhile to an app.log of which 1 and 2 were settled
	want    []string
	lost    int64 // files
}{
	{"nothing", "app.log", func(r *rig) {
		r.append("app.log", "3")
	}, []string{"1", "2", "3"}, 0},
	{"renamed, with an unread rest", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"renamed to a name like no other", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "kept for later")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"renamed twice", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "app.log.2")
		r.append("app.log", "4")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
	}, []string{"1", "2", "3", "4", "5"}, 0},
	{"renamed twice, and no live file", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "app.log.2")
		r.append("app.log", "4")
		r.rename("app.log", "app.log.1")
	}, []string{"1", "2", "3", "4"}, 0},
	{"renamed and compressed, several times", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.gzipTo("app.log", "app.log.3")
		r.append("app.log", "4")
		r.age("app.log", -1)
		r.gzipTo("app.log", "app.log.2")
		r.append("app.log", "5")
		r.age("app.log", -2)
		r.rename("app.log", "app.log.1")
		r.append("app.log", "6")
	}, []string{"1", "2", "3", "4", "5", "6"}, 0},
	{"compressed, and the include matches it", "app.log*", func(r *rig) {
		r.append("app.log", "3")
		r.gzipTo("app.log", "app.log.1")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"the include matches rotated names, renamed twice", "app.log*", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "app.log.2")
		r.append("app.log", "4")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
	}, []string{"1", "2", "3", "4", "5"}, 0},
	{"copytruncate", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"copytruncate twice, and grown past the old size", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.copytruncate("app.log", "app.log.2")
		r.append("app.log", "4")
		r.copytruncate("app.log", "app.log.1")
		r.append("app.log", "5", "6", "7", "8")
	}, []string{"1", "2", "3", "4", "5", "6", "7", "8"}, 0},
	{"copytruncate and compressed", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.copytruncate("app.log", "app.log.1")
		r.gzip("app.log.1")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"gone without a trace", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.remove("app.log")
		r.append("app.log", "4")
	}, []string{"1", "2", "4"}, 1},
	{"gone, but what came after it is there", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.remove("app.log")
		r.append("app.log", "4")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "5")
	}, []string{"1", "2", "4", "5"}, 1},
	{"written over with something longer", "app.log", func(r *rig) {
		r.must(os.WriteFile(r.path("app.log"), []byte("other\nlines\n"), 0o600))
	}, []string{"1", "2", "other", "lines"}, 1},
	{"moved to the folder that `rotated` names", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "archive/a")
		r.append("app.log", "4")
		r.rename("app.log", "archive/b")
		r.append("app.log", "5")
	}, []string{"1", "2", "3", "4", "5"}, 0},
	{"a compressed file that ends early", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.gzipTo("app.log", "app.log.1")
		r.must(os.Truncate(r.path("app.log.1.gz"), 20))
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 1}, // what can be decompressed is shipped, and then the loss is told
	{"an old sibling that was never ours", "app.log", func(r *rig) {
		r.append("app.log.9", "foreign")
		r.age("app.log.9", 3600)
		r.append("app.log", "3")
		r.rename("app.log", "app.log.1")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
	{"a sibling that another source matches", "app.log", func(r *rig) {
		r.append("app.log", "3")
		r.rename("app.log", "app.log.1")
		r.append("app.log.claimed", "foreign")
		r.append("app.log", "4")
	}, []string{"1", "2", "3", "4"}, 0},
}

func TestRestart(t *testing.T) {
	for _, tt := range restarts {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.include)
			r.must(os.Mkdir(r.path("archive"), 0o700))
			r.cfg.Rotated = []string{"archive/*"}
			r.cfg.Claimed = func(path string) bool { return strings.HasSuffix(path, ".claimed") }
			r.append("app.log", "1", "2")
			r.start()
			r.ticks(2)
			r.stop()
			tt.down(r)
			r.start()
			r.ticks(15)
			r.want("app.log", tt.want...)
			r.wantAll(len(tt.want))
			if got := r.tl.Stats().FilesLost; got != tt.lost {
				t.Errorf("%d files lost, want %d\n%s", got, tt.lost, r.dump())
			}
			// And nothing again, whatever the next start finds.
			r.start()
			r.ticks(10)
			r.want("app.log", tt.want...)
			r.wantAll(len(tt.want))
		})
	}
}

// A backlog through several rotations is stopped after each batch and taken up by another tailer.
func TestResumeAtEveryRunBoundary(t *testing.T) {
	var want []string
	r := newRig(t, "app.log")
	r.cfg.MaxBatchLines = 7
	write := func(from, to int) {
		lines := seq("line", from, to)
		want = append(want, lines...)
		r.append("app.log", lines...)
	}
	write(1, 20)
	r.start()
	r.look()
	r.take()
	r.stop()
	write(21, 40)
	r.rename("app.log", "app.log.3")
	write(41, 60)
	r.copytruncate("app.log", "app.log.2")
	write(61, 80)
	r.rename("app.log", "app.log.1")
	write(81, 100)
	for range 40 {
		r.start()
		r.look()
		r.take()
	}
	r.ticks(10)
	r.want("app.log", want...)
}

func TestResumeFindsAHalfLineAgain(t *testing.T) {
	r := newRig(t, "app.log")
	r.write("app.log", "1\nha")
	r.start()
	r.tick()
	r.start()
	r.tick()
	r.write("app.log", "lf\n")
	r.tick()
	r.want("app.log", "1", "half")
}

func TestDeviceNumberMayChange(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	r.stop()
	for id, s := range r.states {
		if id.Birth == 0 {
			t.Skip("the file system knows no birth time")
		}
		delete(r.states, id)
		id.Dev += 5
		s.ID = id
		r.states[id] = s
		r.order = append(r.order[:0], id)
	}
	r.append("app.log", "2")
	r.start()
	r.ticks(2)
	r.want("app.log", "1", "2")
}

// An inode that is used again is another file: by its birth, or, where there is none, by its content.
func TestInodeUsedAgain(t *testing.T) {
	for _, birth := range []bool{true, false} {
		t.Run(fmt.Sprintf("birth=%v", birth), func(t *testing.T) {
			r := newRig(t, "app.log")
			r.append("app.log", "old one", "old two")
			r.start()
			r.tick()
			r.stop()
			r.must(os.WriteFile(r.path("app.log"), []byte("new 1\nnew 2\nnew 3\n"), 0o600)) // the same inode
			if birth {
				r.renameStates(-7)
			}
			r.start()
			r.ticks(3)
			r.want("app.log", "old one", "old two", "new 1", "new 2", "new 3")
			if len(r.order) != 2 || !birth && r.order[1].Gen != r.order[0].Gen+1 {
				t.Errorf("generations %v", r.order)
			}
		})
	}
}

func TestExcludedNowIsNotResumed(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	r.append("app.log", "2")
	r.cfg.Exclude = []string{"app.log"}
	r.start()
	r.ticks(3)
	r.want("app.log", "1")
}

// Files come to the path and are rotated away between the three looks of a start: for what the patterns
// match, at the folder, at the path. All must be known at once: a process that is killed before its next
// look would remember the newest only, and the next one would take the others for long done.
func TestRotationsBetweenTheLooksOfAStartLeaveNoGap(t *testing.T) {
	r := newRig(t, "app.log")
	r.start()
	r.append("app.log", "1", "2")
	r.tick()
	r.stop()
	r.rename("app.log", "app.log.2")
	r.cfg.Log = r.cfg.Log.WithOptions(zap.Hooks(func(e zapcore.Entry) error {
		if strings.HasPrefix(e.Message, "no file matches") {
			r.append("app.log", "3")
		}
		return nil
	}))
	rotated := false
	r.cfg.Claimed = func(string) bool {
		if !rotated {
			rotated = true
			r.rename("app.log", "app.log.1")
			r.append("app.log", "4")
		}
		return false
	}
	found := map[batch.FileID]bool{}
	r.cfg.Found = func(s batch.State) { found[s.ID] = true }
	r.start()
	r.look() // one look, then killed before anything was asked for
	if !rotated || len(found) != 2 {
		t.Errorf("after one look %d new files are known, want 2 (rotated: %v)", len(found), rotated)
	}
}

// A compressed file comes before the live one, and is announced only when it is read. Until then the live
// one must not be announced either: the next start would take the compressed one for older than all.
func TestNothingIsAnnouncedBeforeAnOlderGeneration(t *testing.T) {
	r := newRig(t, "app.log")
	r.start()
	r.append("app.log", "1", "2")
	r.tick()
	r.stop()
	r.rename("app.log", "app.log.2")
	r.append("app.log", "3")
	r.gzipTo("app.log", "app.log.1")
	r.append("app.log", "4")
	var found []batch.State
	r.cfg.Found = func(s batch.State) { found = append(found, s) }
	r.start()
	r.look()
	if len(found) != 0 {
		t.Errorf("announced before the compressed file was read: %+v", found)
	}
	r.drain()
	r.want("app.log", "1", "2", "3", "4")
}

// The rotated file is compressed between the listing of the folder and the look at the file.
func TestCompressionWhileTheFolderIsLookedAtLeavesNoGap(t *testing.T) {
	r := newRig(t, "app.log")
	r.start()
	r.append("app.log", "1", "2")
	r.tick()
	r.stop()
	r.rename("app.log", "app.log.2")
	r.append("app.log", "3")
	r.rename("app.log", "app.log.1")
	r.append("app.log", "4")
	compressed := false
	r.cfg.Claimed = func(string) bool {
		if !compressed {
			compressed = true
			r.gzip("app.log.1")
		}
		return false
	}
	r.start()
	r.tick() // one look, and all is read that is known
	if !compressed {
		t.Fatal("no sibling was looked at")
	}
	r.want("app.log", "1", "2", "3", "4")
}

// A remembered file with an unread rest is compressed while a start looks: the .gz is no other file.
func TestCompressionOfARememberedFileWhileTheFolderIsLookedAtRepeatsNothing(t *testing.T) {
	r := newRig(t, "app.log")
	r.start()
	r.append("app.log", "1", "2")
	r.tick()
	r.stop()
	r.append("app.log", "3")
	r.rename("app.log", "app.log.1")
	r.append("app.log", "4")
	compressed := false
	r.cfg.Claimed = func(string) bool {
		if !compressed {
			compressed = true
			r.append("app.log.1", "3a") // its writer had it open still
			r.gzip("app.log.1")
		}
		return false
	}
	r.start()
	r.ticks(3)
	if !compressed {
		t.Fatal("no sibling was looked at")
	}
	r.want("app.log", "1", "2", "3", "3a", "4")
}
