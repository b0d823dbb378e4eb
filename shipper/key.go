package shipper

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// fieldPath turns a dotted path of the configuration, such as user.id, into gjson's form: whatever
// gjson would take for a wildcard, a query or a modifier stands for itself. Only dots have a meaning.
func fieldPath(dotted string) string {
	parts := strings.Split(dotted, ".")
	for i, part := range parts {
		parts[i] = escapeField(part)
	}
	return strings.Join(parts, ".")
}

// escapeField leaves names such as @timestamp as they are: an escaped path costs gjson an allocation
// a line, and without a modifier of that name there is nothing to escape.
func escapeField(name string) string {
	if rest, ok := strings.CutPrefix(name, "@"); ok && !gjson.ModifierExists(rest, nil) && !strings.Contains(rest, ":") {
		return "@" + gjson.Escape(rest)
	}
	return gjson.Escape(name)
}

// field finds a field in a line of valid JSON; where a name stands twice, the first one counts. The
// result points into the line and is good as long as the line is.
func field(line []byte, path string) gjson.Result {
	return gjson.Get(text(line), path)
}

// keyOf gives a record's key: the text of a string, the JSON of anything else. A line without the
// field, or with null in it, has no key, which is nil.
func keyOf(line []byte, path string) []byte {
	r := field(line, path)
	switch {
	case !r.Exists() || r.Type == gjson.Null:
		return nil
	case r.Type == gjson.String:
		return bytesOf(r.Str)
	}
	return bytesOf(r.Raw)
}

// text views bytes as a string without a copy. The bytes of a block do not change until the block is
// released, and nothing made from the string outlives that.
func text(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// bytesOf views a string as bytes that must not be written to; they are never nil.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
