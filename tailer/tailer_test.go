package tailer

import "testing"

func TestGrowingFile(t *testing.T) {
	r := newRig(t, "*.log")
	r.append("a.log", "one", "two")
	r.start()
	r.tick()
	r.want("a.log", "one", "two")
	r.append("a.log", "three")
	r.tick()
	r.want("a.log", "one", "two", "three")
}

func TestHalfLineWaitsForItsNewline(t *testing.T) {
	r := newRig(t, "*.log")
	r.write("a.log", "one\ntw")
	r.start()
	r.ticks(10)
	r.want("a.log", "one")
	r.write("a.log", "o\n")
	r.tick()
	r.want("a.log", "one", "two")
}

func TestNewFileIsPickedUpAndReadFromTheBeginning(t *testing.T) {
	r := newRig(t, "*.log")
	r.cfg.StartAtEnd = true
	r.append("old.log", "old")
	r.start()
	r.tick()
	r.append("new.log", "new")
	r.append("old.log", "fresh")
	r.tick()
	r.want("old.log", "fresh")
	r.want("new.log", "new")
}
