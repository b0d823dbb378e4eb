package shipper

import (
	"math"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"shiplog/config"
)

// maxUnixMilli is the end of the year 9999. A later time is a wrong unit, not a time.
const maxUnixMilli = 253402300799999

// timeOf reads a record's time from a field of the line. It is false where the field is missing, in
// another form, before 1970 or after the year 9999: the time of reading stands in then.
func timeOf(line []byte, path, format string) (unixMilli int64, ok bool) {
	r := field(line, path)
	if r.Type != gjson.String && r.Type != gjson.Number {
		return 0, false
	}
	s := r.Str
	if r.Type == gjson.Number {
		s = r.Raw
	}
	switch format {
	case config.TimeRFC3339:
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return 0, false
		}
		unixMilli = t.UnixMilli()
	case config.TimeUnix:
		unixMilli, ok = scaled(s, 1000)
		if !ok {
			return 0, false
		}
	default:
		unixMilli, ok = scaled(s, 1)
		if !ok {
			return 0, false
		}
	}
	return unixMilli, unixMilli >= 0 && unixMilli <= maxUnixMilli
}

// scaled reads a number, whole or with a fraction, and multiplies it.
func scaled(s string, by int64) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n * by, n <= maxUnixMilli && n >= 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > maxUnixMilli {
		return 0, false
	}
	return int64(math.Round(f * float64(by))), true
}
