package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSequenceNumbersRunOut lets a test of package kafka, which can begin where it likes, number its records
// up to the end of the sequence numbers, and looks at what the brokers made of that.
func TestSequenceNumbersRunOut(t *testing.T) {
	t.Parallel()
	const name = "TestSequenceNumbersRunOutOnARealBroker"
	tp := newTopic(t, 2, "retention.ms", "-1") // the records are of a year long past
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^"+name+"$", "./internal/kafka")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off", brokersEnv+"="+strings.Join(brokers(t), ","), "SHIPLOG_E2E_TOPIC="+tp.name)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Fatalf("%v\n%s", err, tail(string(out), 40))
	}
	var want []string
	for i, lines := range []int{4, 2, 4} {
		for n := range lines {
			want = append(want, fmt.Sprintf("batch-%d-%d", i, n))
		}
	}
	got := map[int32][]string{}
	ids := map[int32]map[int64]bool{}
	for _, r := range tp.records() {
		got[r.Partition] = append(got[r.Partition], string(r.Value))
		if ids[r.Partition] == nil {
			ids[r.Partition] = map[int64]bool{}
		}
		ids[r.Partition][r.ProducerID] = true
	}
	for p := range int32(2) {
		if strings.Join(got[p], " ") != strings.Join(want, " ") {
			t.Errorf("partition %d holds %v, want %v", p, got[p], want)
		}
		if len(ids[p]) != 2 {
			t.Errorf("partition %d holds records of producer ids %v, want two", p, ids[p])
		}
	}
}
