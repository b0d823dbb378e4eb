package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// failed is a record of the failure log with a value of ten bytes.
func failed(file uint64, offset, length int64) failedlog.Record {
	return failedlog.Record{
		Source: "app", FileID: batch.FileID{Inode: file}.String(), Offset: offset, Length: length,
		Payload: []byte("0123456789"), Headers: []failedlog.Header{{Key: "env", Value: []byte("prod")}},
	}
}

// resent makes a batch of the records, as split does.
func resent(mode string, records []failedlog.Record) (*resend, *kafka.RecordBatch) {
	s := &resend{records: records, errs: make([]error, len(records)), provenance: mode}
	rb := (*kafka.Producer)(nil).NewBatch(0)
	var indexes []int
	for i, rec := range records {
		rb.Add(rec.Key, rec.Payload, rec.Timestamp, recordHeaders(rec.Headers))
		indexes = append(indexes, i)
	}
	rb.Tag = indexes
	s.stamp(rb)
	return s, rb
}

// told words what the headers of a batch say of its records.
func told(t *testing.T, rb *kafka.RecordBatch) (out []string) {
	t.Helper()
	var h provenance.Header
	var w provenance.Walk
	for i := range rb.Len() {
		headers := rb.Headers(i)
		if len(headers) == 0 || headers[0].Key != "env" {
			t.Errorf("record %d lost its own header: %v", i, headers)
		}
		mark := ""
		for _, x := range headers[1:] {
			if w.Left() > 0 {
				t.Errorf("record %d: %d left of the header before", i, w.Left())
			}
			if x.Key != provenance.Key || h.Parse(x.Value) != nil || !h.Replayed || h.Source != "app" {
				t.Errorf("record %d: %v, %+v", i, headers, h)
			}
			w, mark = h.Walk(), "*"
		}
		_, value, _ := rb.Record(i)
		if r, ok := w.Next(len(value)); ok {
			out = append(out, fmt.Sprintf("%s%d:%d+%d", mark, h.File.Inode, r.Offset, r.Length))
		} else {
			out = append(out, "?")
		}
	}
	if w.Left() > 0 {
		t.Errorf("%d records are missing behind the last one", w.Left())
	}
	return out
}

func TestReplayedRecordsSayWhereTheyCameFrom(t *testing.T) {
	records := []failedlog.Record{
		failed(1, 100, 11), failed(1, 111, 12), failed(1, 200, 11), // a gap, and a carriage return
		failed(1, 0, 11),                      // back
		failed(2, 11, 11),                     // another file
		failed(2, 22, 0),                      // of an older shiplog
		failed(2, 33, 11), failed(2, 44, 500), // cut
	}
	strange := failed(2, 600, 11)
	strange.FileID = "none"
	records = append(records, strange)
	batched := []string{"*1:100+11", "1:111+12", "1:200+11", "*1:0+11", "*2:11+11", "?", "*2:33+11", "2:44+500", "?"}
	single := []string{"*1:100+11", "*1:111+12", "*1:200+11", "*1:0+11", "*2:11+11", "?", "*2:33+11", "*2:44+500", "?"}
	none := []string{"?", "?", "?", "?", "?", "?", "?", "?", "?"}
	for mode, want := range map[string][]string{
		config.ProvenanceBatch: batched, config.ProvenanceRecord: single, config.ProvenanceOff: none,
	} {
		_, rb := resent(mode, records)
		if d := cmp.Diff(want, told(t, rb)); d != "" {
			t.Errorf("%s (-want +got):\n%s", mode, d)
		}
		rb.Release()
	}
}

func TestHalvesOfAReplayedBatchSayWhereTheyCameFrom(t *testing.T) {
	s, rb := resent(config.ProvenanceBatch, []failedlog.Record{
		failed(1, 0, 11), failed(1, 11, 11), failed(1, 22, 11), failed(2, 0, 11),
	})
	halves := s.verdict(context.Background(), rb, kafka.Result{Attempted: true,
		Err: &kafka.Error{Class: kafka.ClassInvalid, Kafka: "INVALID_RECORD", Err: errors.New("refused")}})
	rb.Release()
	var got [][]string
	for _, half := range halves {
		got = append(got, told(t, half))
		half.Release()
	}
	want := [][]string{{"*1:0+11", "1:11+11"}, {"*1:22+11", "*2:0+11"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
