package failedlog

import (
	"testing"

	"shiplog/internal/fsx"
)

func TestAppendedRecordsAreReadInOrder(t *testing.T) {
	root := t.TempDir()
	l := openLog(t, fsx.OS, root, "app", Options{Fsync: true})
	must(t, l.Append(records("app", 0, 3)))
	must(t, l.Append(nil))
	must(t, l.Append(records("app", 3, 5)))
	diff(t, "of the open segment", held(t, root, "app"), payloads(records("app", 0, 5)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.open.jsonl"})
	must(t, l.Seal())
	diff(t, "of the sealed segment", held(t, root, "app"), payloads(records("app", 0, 5)))
	diff(t, "files", names(t, root, "app"), []string{"00000000000000000001.jsonl"})
}
