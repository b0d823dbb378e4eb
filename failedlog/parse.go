package failedlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// wire is the line as encoding/json sees it.
type wire struct {
	Time       time.Time       `json:"time"`
	Source     string          `json:"source"`
	File       string          `json:"file"`
	FileBase64 []byte          `json:"file_base64"`
	FileID     string          `json:"file_id"`
	Offset     int64           `json:"offset"`
	Length     int64           `json:"length"`
	Topic      string          `json:"topic"`
	Partition  int32           `json:"partition"`
	Key        *string         `json:"key"`
	KeyBase64  []byte          `json:"key_base64"`
	Headers    []wireHeader    `json:"headers"`
	Timestamp  int64           `json:"timestamp"`
	Error      wireError       `json:"error"`
	Attempts   int             `json:"attempts"`
	Replayable *bool           `json:"replayable"`
	Oversize   *wireOversize   `json:"oversize"`
	Value      json.RawMessage `json:"value"`
	Text       *string         `json:"value_text"`
	Base64     []byte          `json:"value_base64"`
}

type wireHeader struct {
	Key         string  `json:"key"`
	KeyBase64   []byte  `json:"key_base64"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64"`
}

type wireError struct {
	Class   string `json:"class"`
	Kafka   string `json:"kafka"`
	Message string `json:"message"`
}

type wireOversize struct {
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// ParseRecord reads one line, without its newline. The record shares no memory with it. Fields it
// does not know are ignored; the error says in words what is wrong with the line.
func ParseRecord(line []byte) (Record, error) {
	if !utf8.Valid(line) {
		// encoding/json would put U+FFFD into the payload without a word.
		return Record{}, errors.New("not a record: bytes that are no UTF-8")
	}
	w := wire{Partition: -1}
	if err := json.Unmarshal(line, &w); err != nil {
		return Record{}, fmt.Errorf("not a record: %w", err)
	}
	payload, err := w.payload()
	if err != nil {
		return Record{}, err
	}
	r := Record{
		Time: w.Time, Source: w.Source, File: either(w.File, w.FileBase64), FileID: w.FileID, Offset: w.Offset, Length: w.Length,
		Topic: w.Topic, Partition: w.Partition, Timestamp: w.Timestamp, Key: orBytes(w.Key, w.KeyBase64),
		Error: ErrorInfo(w.Error), Attempts: w.Attempts, Payload: payload,
		NotReplayable: w.Replayable != nil && !*w.Replayable, Oversize: (*Oversize)(w.Oversize),
	}
	for _, h := range w.Headers {
		r.Headers = append(r.Headers, Header{either(h.Key, h.KeyBase64), orBytes(h.Value, h.ValueBase64)})
	}
	return r, nil
}

// payload takes the one form of the payload that the line has.
func (w *wire) payload() ([]byte, error) {
	var found []byte
	n := 0
	if w.Value != nil {
		found, n = w.Value, n+1
	}
	if w.Text != nil {
		found, n = []byte(*w.Text), n+1
	}
	if w.Base64 != nil {
		found, n = w.Base64, n+1
	}
	switch n {
	case 0:
		return nil, errors.New("not a record: none of value, value_text and value_base64 is there")
	case 1:
		return found, nil
	}
	return nil, errors.New("not a record: more than one of value, value_text and value_base64")
}

func either(s string, b []byte) string {
	if b != nil {
		return string(b)
	}
	return s
}

func orBytes(s *string, b []byte) []byte {
	if s != nil {
		return []byte(*s)
	}
	return b
}
