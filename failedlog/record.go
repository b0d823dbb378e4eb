package failedlog

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is one line that was not delivered, with all that is needed to send it again.
type Record struct {
	Time      time.Time // when it was logged; Append sets it where it is zero
	Source    string    // the source's id
	File      string    // path, any bytes
	FileID    string    // identity and generation
	Offset    int64     // of the line's first byte in the file
	Length    int64     // how many bytes of the file the line took, newline included; 0: not known
	Topic     string
	Partition int32  // -1 when none was chosen
	Timestamp int64  // of the Kafka record, in milliseconds since 1970
	Key       []byte // nil: no key, which is not the same as an empty one
	Headers   []Header
	Error     ErrorInfo
	Attempts  int // how often it was sent
	Payload   []byte
	// NotReplayable marks a record that Replay leaves where it is.
	NotReplayable bool
	// Oversize is set when Payload holds only the start of a line that was too long.
	Oversize *Oversize
}

// Header is a Kafka record header. A nil Value is a null header.
type Header struct {
	Key   string
	Value []byte
}

// ErrorInfo says why the record was not delivered.
type ErrorInfo struct {
	Class   string // bounded set: see internal/kafka
	Kafka   string // the protocol's name of the error, "" when no broker answered
	Message string
}

// Oversize tells what the whole line was.
type Oversize struct {
	Length int64
	SHA256 string // hex
}

// maxDepth bounds the nesting of a payload that is put into a line as JSON: decoders, ours too, have
// a limit, and the line adds a level.
const maxDepth = 512

// AppendJSON appends the record as one line of JSON, without a newline. Text fields other than the
// payload, the key, the headers' values and the path lose bytes that are no UTF-8.
func (r *Record) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendTime(dst, r.Time)
	dst = append(dst, `","source":`...)
	dst = appendString(dst, r.Source)
	dst = appendBytes(append(dst, ','), "file", r.File)
	dst = append(dst, `,"file_id":`...)
	dst = appendString(dst, r.FileID)
	dst = strconv.AppendInt(append(dst, `,"offset":`...), r.Offset, 10)
	if r.Length > 0 {
		dst = strconv.AppendInt(append(dst, `,"length":`...), r.Length, 10)
	}
	dst = append(dst, `,"topic":`...)
	dst = appendString(dst, r.Topic)
	dst = strconv.AppendInt(append(dst, `,"partition":`...), int64(r.Partition), 10)
	if r.Key != nil {
		dst = appendBytes(append(dst, ','), "key", string(r.Key))
	}
	dst = appendHeaders(dst, r.Headers)
	dst = strconv.AppendInt(append(dst, `,"timestamp":`...), r.Timestamp, 10)
	dst = appendError(dst, r.Error)
	dst = strconv.AppendInt(append(dst, `,"attempts":`...), int64(r.Attempts), 10)
	if r.NotReplayable {
		dst = append(dst, `,"replayable":false`...)
	}
	if r.Oversize != nil {
		dst = strconv.AppendInt(append(dst, `,"oversize":{"length":`...), r.Oversize.Length, 10)
		dst = appendString(append(dst, `,"sha256":`...), r.Oversize.SHA256)
		dst = append(dst, '}')
	}
	return append(appendPayload(append(dst, ','), r.Payload), '}')
}

func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Time{} // RFC 3339 has no form for it
	}
	return t.AppendFormat(dst, time.RFC3339Nano)
}

func appendHeaders(dst []byte, headers []Header) []byte {
	if len(headers) == 0 {
		return dst
	}
	dst = append(dst, `,"headers":[`...)
	for i, h := range headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBytes(append(dst, '{'), "key", h.Key)
		if h.Value != nil {
			dst = appendBytes(append(dst, ','), "value", string(h.Value))
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendError(dst []byte, e ErrorInfo) []byte {
	dst = appendString(append(dst, `,"error":{"class":`...), e.Class)
	if e.Kafka != "" {
		dst = appendString(append(dst, `,"kafka":`...), e.Kafka)
	}
	dst = appendString(append(dst, `,"message":`...), e.Message)
	return append(dst, '}')
}

// appendPayload appends the payload's field in the most readable form that keeps every byte.
func appendPayload(dst, p []byte) []byte {
	switch {
	case compactJSON(p):
		return append(append(dst, `"value":`...), p...)
	case utf8.Valid(p) && escapedLen(p) <= 2*len(p)+16:
		return appendString(append(dst, `"value_text":`...), string(p))
	}
	return appendBase64(append(dst, `"value_base64":`...), p)
}

// appendBytes appends a field of any bytes: name when they are UTF-8, name_base64 else.
func appendBytes(dst []byte, name, s string) []byte {
	dst = append(append(dst, '"'), name...)
	if utf8.ValidString(s) {
		return appendString(append(dst, `":`...), s)
	}
	return appendBase64(append(dst, `_base64":`...), []byte(s))
}

func appendBase64(dst, p []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), p)
	return append(dst, '"')
}

// appendString appends s as a JSON string. Unlike encoding/json it escapes no HTML, so that people
// read what the application wrote.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = appendEscape(append(dst, s[start:i]...), c)
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return hex.AppendEncode(append(dst, `\u00`...), []byte{c})
}

// escapedLen is how many bytes appendString takes for p, without the quotes.
func escapedLen(p []byte) int {
	n := len(p)
	for _, c := range p {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			n++
		case c < ' ':
			n += 5
		}
	}
	return n
}

// compactJSON says whether p is JSON that can stand in a line as it is and come out byte for byte:
// valid, valid UTF-8, no white space between tokens (a tool that writes the line anew would drop
// it) and not too deep.
func compactJSON(p []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			return false
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return len(p) > 0 && utf8.Valid(p) && json.Valid(p)
}
