package shipper

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep encoding/json lets values nest. What nests deeper is no valid JSON to us
// either, since most consumers could not read it.
const maxDepth = 10000

// Classes of bytes where a value may begin.
const (
	cOther = iota
	cSpace
	cQuote
	cOpen  // { or [
	cDigit // also the minus sign
	cWord  // the first letter of true, false, null
)

var startClass = func() (t [256]uint8) {
	for _, c := range " \t\r\n" {
		t[c] = cSpace
	}
	for _, c := range "-0123456789" {
		t[c] = cDigit
	}
	for _, c := range "tfn" {
		t[c] = cWord
	}
	t['"'], t['{'], t['['] = cQuote, cOpen, cOpen
	return t
}()

// validJSON says whether p is one JSON value with nothing but white space around it. It agrees with
// encoding/json.Valid on every input, which a fuzz test asserts, at a fifth of its cost; it neither
// recurses nor allocates, so that no line, however it was made, costs more than its length.
func validJSON(p []byte) bool {
	var nest nesting
	i := 0
	for {
		// A value begins at or after i.
		i = skipSpace(p, i)
		if i == len(p) {
			return false
		}
		switch startClass[p[i]] {
		case cOpen:
			object := p[i] == '{'
			if !nest.push(object) {
				return false
			}
			i = skipSpace(p, i+1)
			if i == len(p) {
				return false
			}
			if p[i] != closer(object) {
				if object {
					if i = scanKey(p, i); i < 0 {
						return false
					}
				}
				continue
			}
			nest.pop()
			i++
		case cQuote:
			i = scanString(p, i+1)
		case cDigit:
			i = scanNumber(p, i)
		case cWord:
			i = scanWord(p, i)
		default:
			return false
		}
		if i < 0 {
			return false
		}
		if i = afterValue(p, i, &nest); i <= 0 {
			return i == 0
		}
	}
}

// afterValue goes on behind a value: it leaves the objects and arrays that end there, and gives the
// place where the next value begins, 0 when p has ended as it should, -1 when it is not valid.
func afterValue(p []byte, i int, nest *nesting) int {
	for {
		if i < len(p) && p[i] <= ' ' {
			i = skipSpace(p, i)
		}
		if nest.depth == 0 {
			if i == len(p) {
				return 0
			}
			return -1
		}
		if i == len(p) {
			return -1
		}
		object := nest.object()
		switch p[i] {
		case ',':
			if !object {
				return i + 1
			}
			return scanKey(p, skipSpace(p, i+1))
		case closer(object):
			nest.pop()
			i++
		default:
			return -1
		}
	}
}

// nesting is the stack of open objects (1) and arrays (0), a bit each.
type nesting struct {
	depth int
	top   uint64   // the bits of the innermost 64 levels, the innermost lowest
	rest  []uint64 // the outer levels; nil for all but the strangest lines
}

func (n *nesting) push(object bool) bool {
	if n.depth == maxDepth {
		return false
	}
	if n.depth > 0 && n.depth%64 == 0 {
		n.rest = append(n.rest, n.top)
	}
	n.depth++
	n.top <<= 1
	if object {
		n.top |= 1
	}
	return true
}

func (n *nesting) pop() {
	n.depth--
	n.top >>= 1
	if n.depth > 0 && n.depth%64 == 0 {
		last := len(n.rest) - 1
		n.top = n.rest[last]
		n.rest = n.rest[:last]
	}
}

func (n *nesting) object() bool { return n.top&1 != 0 }

func closer(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

func skipSpace(p []byte, i int) int {
	for i < len(p) && startClass[p[i]] == cSpace {
		i++
	}
	return i
}

// scanKey reads a string and the colon behind it, and gives the place behind that, or -1.
func scanKey(p []byte, i int) int {
	if i >= len(p) || p[i] != '"' {
		return -1
	}
	if i = scanString(p, i+1); i < 0 {
		return -1
	}
	if i < len(p) && p[i] == ':' {
		return i + 1
	}
	if i = skipSpace(p, i); i < len(p) && p[i] == ':' {
		return i + 1
	}
	return -1
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString reads on from behind the opening quote, and gives the place behind the closing one, or
// -1. It looks at eight bytes at a time for a quote, a backslash or a control character.
func scanString(p []byte, i int) int {
	for {
		for i+8 <= len(p) {
			w := binary.LittleEndian.Uint64(p[i:])
			quote := w ^ (ones * '"')
			slash := w ^ (ones * '\\')
			// A byte's high bit is set where the byte is below 0x20, zero in quote, or zero in slash. A
			// borrow may set it in a byte above a true one, never in one below: the lowest is true.
			hit := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
			if hit != 0 {
				i += bits.TrailingZeros64(hit) >> 3
				break
			}
			i += 8
		}
		if i >= len(p) {
			return -1
		}
		switch c := p[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = scanEscape(p, i+1); i < 0 {
				return -1
			}
		case c < 0x20:
			return -1
		default:
			i++
		}
	}
}

// scanEscape reads what stands behind a backslash.
func scanEscape(p []byte, i int) int {
	if i >= len(p) {
		return -1
	}
	switch p[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 > len(p) {
			return -1
		}
		for _, c := range p[i+1 : i+5] {
			if !isHex(c) {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

func isHex(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 5
}

// scanNumber reads a number that begins at i with a digit or a minus sign.
func scanNumber(p []byte, i int) int {
	if p[i] == '-' {
		i++
	}
	if i < len(p) && p[i] == '0' {
		i++
	} else if i = scanDigits(p, i); i < 0 {
		return -1
	}
	if i < len(p) && p[i] == '.' {
		if i = scanDigits(p, i+1); i < 0 {
			return -1
		}
	}
	if i < len(p) && p[i]|0x20 == 'e' {
		i++
		if i < len(p) && (p[i] == '+' || p[i] == '-') {
			i++
		}
		return scanDigits(p, i)
	}
	return i
}

// scanDigits reads one digit or more.
func scanDigits(p []byte, i int) int {
	start := i
	for i < len(p) && p[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// scanWord reads true, false or null.
func scanWord(p []byte, i int) int {
	word := "true"
	switch p[i] {
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	}
	if len(p)-i < len(word) || string(p[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}
