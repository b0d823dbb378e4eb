package shipper

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
	"shiplog/internal/kafka"
)

// The pulse tells of a backlog and of the last request's fate. What is wrong with a line says nothing
// about the broker.
func TestThePulseTellsHowASourceFares(t *testing.T) {
	huge := &kafka.Error{Class: kafka.ClassTooLarge, Err: retriable.Err}
	for _, tc := range []struct {
		name    string
		answers []*kafka.Error // one a block
		full    bool           // the last block
		want    Pulse
	}{
		{"no line yet", nil, false, Pulse{Ready: true, Behind: true}},
		{"a line", []*kafka.Error{nil}, false, Pulse{Ready: true, Proven: true}},
		{"a full block", []*kafka.Error{nil}, true, Pulse{Ready: true, Proven: true, Behind: true}},
		{"a failure of the moment", []*kafka.Error{nil, retriable}, false, Pulse{Ready: true}},
		{"an unknown outcome", []*kafka.Error{nil, unknown}, false, Pulse{Ready: true}},
		{"a success behind a failure", []*kafka.Error{unknown, nil}, false, Pulse{Ready: true, Proven: true}},
		{"a bad line behind a success", []*kafka.Error{nil, huge}, false, Pulse{Ready: true, Proven: true}},
		{"a bad line behind a failure", []*kafka.Error{retriable, huge}, false, Pulse{Ready: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFile("/log/a.log")
				r := newRig(t, settings(config.ModeCallback), 1)
				asked := 0
				r.producer.answer = func(*kafka.RecordBatch) kafka.Result {
					asked++
					return kafka.Result{Attempted: true, Err: tc.answers[asked-1]}
				}
				r.start()
				pass(time.Second)
				for i := range tc.answers {
					b := f.block(numbered(i, i+1)...)
					b.Full = tc.full
					r.reader.add(b)
					pass(time.Second)
				}
				got := r.source.Pulse()
				if got.Asked.IsZero() {
					t.Error("the source asks for no block")
				}
				got.Asked = tc.want.Asked
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				_ = r.stop()
				if p := r.source.Pulse(); p.Ready {
					t.Errorf("a source that has ended is ready: %+v", p)
				}
			})
		})
	}
}
