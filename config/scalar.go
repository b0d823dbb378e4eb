package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Forms of values, in the words of the messages and of the documentation.
const (
	wantDuration = "a duration with its unit, such as 500ms, 5s, 1m30s, 24h or 7d"
	wantSize     = "a size, such as 1MiB, 1MB, 512KiB or a plain count of bytes"
	wantBool     = "true or false"
	wantInt      = "a whole number"
)

// unit is a named factor.
type unit struct {
	name   string
	factor int64
}

// durationUnits are in the order in which print-config tries them.
var durationUnits = []unit{
	{"w", 7 * day}, {"d", day}, {"h", hour}, {"m", 60 * second}, {"s", second},
	{"ms", milli}, {"us", 1000}, {"µs", 1000}, {"μs", 1000}, {"ns", 1},
}

var sizeUnits = []unit{
	{"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"GB", 1e9}, {"MB", mb}, {"KB", 1000},
	{"TiB", 1 << 40}, {"TB", 1e12}, {"B", 1},
}

// parseDuration reads numbers with units, such as 1m30s or 1.5h; 0 needs no unit. Negative durations
// are an error.
func parseDuration(s string) (time.Duration, error) {
	switch {
	case s == "0":
		return 0, nil
	case s == "":
		return 0, errors.New("it is empty")
	case strings.HasPrefix(s, "-"):
		return 0, errors.New("it is negative")
	case strings.ContainsAny(s, " \t"):
		return 0, errors.New("it has spaces in it")
	}
	var total int64
	for rest := s; rest != ""; {
		number, tail := leading(rest, "0123456789.")
		name, tail := leadingNot(tail, "0123456789.")
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, errors.New("it is not a number with a unit")
		}
		if name == "" {
			return 0, fmt.Errorf("the unit is missing; did you mean %q or %q?", s+"s", s+"ms")
		}
		factor, ok := factorOf(durationUnits, name)
		if !ok {
			return 0, fmt.Errorf("%q is no unit of time: use ns, us, ms, s, m, h, d or w", name)
		}
		if value*float64(factor)+float64(total) > math.MaxInt64/2 {
			return 0, errors.New("it is too long")
		}
		if whole, ok := parseInt(number); ok {
			total += whole * factor // exactly, where a float would round
		} else {
			total += int64(math.Round(value * float64(factor)))
		}
		rest = tail
	}
	return time.Duration(total), nil
}

// parseSize reads a whole number of bytes, with or without a unit. Units are read in any case.
func parseSize(s string) (int64, error) {
	number, name := leading(s, "0123456789")
	name = strings.TrimPrefix(name, " ")
	switch {
	case s == "":
		return 0, errors.New("it is empty")
	case number == "" || strings.HasPrefix(name, "."):
		return 0, errors.New("it is not a whole number with a unit")
	}
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, errors.New("it is too large")
	}
	if name == "" {
		return value, nil
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, name) {
			if value > math.MaxInt64/u.factor {
				return 0, errors.New("it is too large")
			}
			return value * u.factor, nil
		}
	}
	for _, letter := range []string{"K", "M", "G", "T"} {
		if strings.EqualFold(name, letter) {
			return 0, fmt.Errorf("the unit is not clear; did you mean %q (1024s) or %q (1000s)?", number+letter+"iB", number+letter+"B")
		}
	}
	return 0, fmt.Errorf("%q is no unit of size: use B, KB, MB, GB, TB, KiB, MiB, GiB or TiB", name)
}

// leading cuts off the bytes at the front that are in set.
func leading(s, set string) (head, tail string) {
	n := 0
	for n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return s[:n], s[n:]
}

// leadingNot cuts off the bytes at the front that are not in set.
func leadingNot(s, set string) (head, tail string) {
	n := strings.IndexAny(s, set)
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:]
}

func factorOf(units []unit, name string) (int64, bool) {
	for _, u := range units {
		if u.name == name {
			return u.factor, true
		}
	}
	return 0, false
}

// formatDuration is the inverse of parseDuration, in whole units: 1m30s.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	rest := int64(d)
	// A whole number of one unit reads best: 36h, not 1d12h. Days and weeks only when they divide.
	for _, u := range durationUnits {
		if u.factor > hour && rest%u.factor == 0 && u.name == "d" {
			return strconv.FormatInt(rest/u.factor, 10) + u.name
		}
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if u.factor > hour || u.name == "µs" || u.name == "μs" {
			continue
		}
		if n := rest / u.factor; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			rest -= n * u.factor
		}
	}
	return b.String()
}

// formatSize is the inverse of parseSize, with the largest unit that divides.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n > 0 && n%u.factor == 0 && u.factor <= gib {
			if u.factor == 1 {
				break
			}
			return strconv.FormatInt(n/u.factor, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseBool reads true and false, in any case since variables are often upper case.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// parseInt reads a decimal number.
func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && !strings.HasPrefix(s, "+")
}
