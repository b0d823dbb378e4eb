package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestATroubleIsLoggedOnce(t *testing.T) {
	log, logs := observed()
	r := newReporter(log, topic)
	now := time.Unix(0, 0)
	r.now = func() time.Time { return now }
	refused := &Error{Class: ClassRetriable, Broker: "b:1", Err: errors.New("refused")}
	auth := &Error{Class: ClassAuth, Broker: "b:1", Err: errors.New("password")}

	r.solved("b:1", "broker back") // was never lost
	for range 5 {
		r.trouble("b:1", "broker lost", refused)
		now = now.Add(time.Second)
	}
	r.trouble("b:1", "broker lost", auth) // another kind
	now = now.Add(repeatEvery)
	r.trouble("b:1", "broker lost", auth) // it goes on
	r.solved("b:1", "broker back")
	r.solved("b:1", "broker back")
	r.trouble("b:1", "broker lost", refused) // lost again
	var got []string
	for _, e := range logs.All() {
		got = append(got, e.Level.String()+" "+e.Message)
	}
	want := []string{"warn broker lost", "error broker lost", "error broker lost", "info broker back", "warn broker lost"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f := logs.All()[1].ContextMap(); f["times"] != int64(5) || f["broker"] != "b:1" || f["topic"] != topic {
		t.Errorf("fields %v", f)
	}
}

// A cause that a person mends in another way is said at once, also when Kafka calls it the same; causes
// that take turns are each said once.
func TestAnotherCauseIsSaidAtOnce(t *testing.T) {
	log, logs := observed()
	r := newReporter(log, topic)
	expired := &Error{Class: ClassAuth, Broker: "b:1", Err: errors.New("x"), Hint: "renew it"}
	unknown := &Error{Class: ClassAuth, Broker: "b:1", Err: errors.New("x"), Hint: "trust it"}
	for range 5 {
		r.trouble("metadata", "no answer", expired)
		r.trouble("metadata", "no answer", unknown)
	}
	if logs.Len() != 2 {
		t.Errorf("%d log lines, want each cause once: %v", logs.Len(), logs.All())
	}
}
