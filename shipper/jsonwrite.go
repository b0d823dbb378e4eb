package shipper

import (
	"unicode/utf8"

	"shiplog/config"
)

// appendWrapped appends {"message":"<line>"} with the tail, which closes the object and may hold
// static fields: `}` or `,"env":"prod"}`.
func appendWrapped(dst, line []byte, tail string) []byte {
	dst = append(dst, `{"message":"`...)
	dst = appendEscaped(dst, line)
	dst = append(dst, '"')
	return append(dst, tail...)
}

// appendSpliced appends a JSON object with static fields put in front of its own, so that most
// readers, for whom the last of two equal names counts, see what the application wrote. fields is
// such as `"env":"prod"`, and line must be a valid object.
func appendSpliced(dst, line []byte, fields string) []byte {
	open := skipSpace(line, 0) + 1
	dst = append(dst, '{')
	dst = append(dst, fields...)
	if rest := skipSpace(line, open); line[rest] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, line[open:]...)
}

// isObject says whether a line of valid JSON is an object.
func isObject(line []byte) bool {
	i := skipSpace(line, 0)
	return i < len(line) && line[i] == '{'
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends a line as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD,
// as in encoding/json; no HTML is escaped.
func appendEscaped(dst, line []byte) []byte {
	start := 0
	for i := 0; i < len(line); {
		c := line[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(line[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, line[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, line[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	return append(dst, line[start:]...)
}

// appendEscape appends a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendFields appends static fields as they stand inside an object: "env":"prod","n":1.
func appendFields(dst []byte, fields []config.Field, v config.Vars) []byte {
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = appendEscaped(dst, []byte(f.Name))
		dst = append(dst, '"', ':')
		dst = f.AppendJSON(dst, v)
	}
	return dst
}
