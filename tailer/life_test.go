package tailer

import (
	"fmt"
	"io/fs"
	"testing"
	"time"
)

func TestStateChangesAreLoggedOnce(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.ticks(3)
	r.rename("app.log", "app.log.1")
	r.append("app.log", "2")
	r.ticks(3)
	r.copytruncate("app.log", "app.log.0")
	r.append("app.log", "3")
	r.ticks(3)
	r.remove("app.log")
	r.ticks(10)
	for msg, want := range map[string]int{"file found": 2, "rotated": 1, "truncated": 1, "file gone": 1} {
		if n := r.logs.FilterMessage(msg).Len(); n != want {
			t.Errorf("%q was logged %d times, want %d", msg, n, want)
		}
	}
	for _, field := range []string{"source", "path", "file_id", "offset"} {
		if _, ok := r.logs.FilterMessage("rotated").All()[0].ContextMap()[field]; !ok {
			t.Errorf("field %s is missing", field)
		}
	}
}

// Folders that cannot be read are said again when they could be read meanwhile.
func TestUnreadableFoldersAreSaidAgain(t *testing.T) {
	r := newRig(t, "app.log")
	r.start()
	for range 2 {
		for range 3 {
			r.tl.warnOnce("", unreadFolders, fs.ErrPermission)
		}
		r.look() // reads all folders
	}
	if n := r.logs.FilterMessage(unreadFolders).Len(); n != 2 {
		t.Errorf("said %d times, want 2", n)
	}
}

func TestManyFilesDoNotFloodTheLog(t *testing.T) {
	r := newRig(t, "*.log")
	for i := range 3 * logPerTopic {
		r.append(fmt.Sprintf("%03d.log", i), "x")
	}
	r.start()
	r.ticks(1)
	if n := r.logs.FilterMessage("file found").Len(); n != logPerTopic {
		t.Errorf("logged %d times, want %d", n, logPerTopic)
	}
	r.ticks(10)
	left := r.logs.FilterMessage("log messages left out").All()
	if len(left) != 1 || left[0].ContextMap()["count"] != int64(2*logPerTopic) {
		t.Errorf("left out: %v", left)
	}
}

func TestPresent(t *testing.T) {
	r := newRig(t, "app.log")
	r.append("app.log", "1")
	r.start()
	r.tick()
	r.rename("app.log", "app.log.1")
	r.append("app.log", "2")
	r.ticks(10)
	first := r.order[0]
	check := func(want string) {
		t.Helper()
		if got, ok := r.tl.Present()[first]; got != want || ok != (want != "") {
			t.Fatalf("present at %q (%v), want %q\n%s", got, ok, want, r.dump())
		}
	}
	check(r.path("app.log.1"))
	r.gzip("app.log.1")
	r.ticks(2)
	check(r.path("app.log.1.gz"))
	r.rename("app.log.1.gz", "app.log.2.gz")
	r.tick()
	check(r.path("app.log.2.gz"))
	r.remove("app.log.2.gz")
	r.ticks(2)
	check("")
	r.ticks(5)
	if len(r.tl.known) != 0 {
		t.Errorf("a settled generation without a file is still in mind: %v", r.tl.known)
	}
}

func TestReleaseAfterBoundsHowLongADeletedFileIsHeld(t *testing.T) {
	for _, after := range []time.Duration{0, 3 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			r := newRig(t, "app.log")
			r.cfg.ReleaseAfter = after
			r.append("app.log", "1", "2")
			r.start()
			r.look()
			r.remove("app.log")
			for range 20 {
				r.look()
			}
			s := r.tl.Stats()
			if after == 0 {
				if s.Open != 1 || s.UnreadRotatedBytes != 4 {
					t.Errorf("open %d, unread rotated %d", s.Open, s.UnreadRotatedBytes)
				}
				r.tick()
				r.want("app.log", "1", "2")
				return
			}
			if s.Open != 0 || s.UnreadBytesLost[LostReleased] != 4 {
				t.Errorf("open %d, lost %v", s.Open, s.UnreadBytesLost)
			}
			r.tick()
			r.want("app.log")
		})
	}
}

func TestMemoryOfFilesThatComeAndGo(t *testing.T) {
	r := newRig(t, "*.log")
	r.start()
	for i := range 50 {
		name := fmt.Sprintf("%d.log", i)
		r.append(name, "x")
		r.ticks(2)
		r.remove(name)
	}
	r.ticks(20)
	tl := r.tl
	if n := len(tl.series) + len(tl.byNode) + len(tl.known) + len(tl.opened) + len(tl.settled) + len(tl.maxGen); n != 0 {
		t.Errorf("series %d, nodes %d, known %d, open %d, settled %d, generations %d", len(tl.series), len(tl.byNode),
			len(tl.known), len(tl.opened), len(tl.settled), len(tl.maxGen))
	}
	r.wantAll(50)
}
