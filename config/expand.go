package config

import (
	"fmt"
	"strings"
)

// expandError is a mistake in a ${...}, with a way to mend it.
type expandError struct {
	msg, hint string
	quotes    bool // msg and hint quote what stands between the braces
}

// hidden is the mistake without what stands between the braces, which may be a password as a default.
func (e *expandError) hidden() *expandError {
	if !e.quotes {
		return e
	}
	return &expandError{msg: "this is no form of a variable (not shown)", hint: "write ${NAME}, ${NAME:-default} or ${NAME:?message}, or $${ for the characters ${"}
}

// expand puts the variables of the environment into one scalar value:
//
//	${VAR}           the value of VAR, which must be set (it may be set to nothing)
//	${VAR:-default}  the value of VAR, or default when VAR is not set or empty
//	${VAR:?message}  the value of VAR, or an error with message when VAR is not set or empty
//	$$               a dollar sign
//
// Any other dollar sign stands for itself. It runs after the YAML parse and never on its own output,
// so a value can hold anything and stays one value.
func expand(s string, env func(string) (string, bool)) (string, *expandError) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "$$"):
			out.WriteByte('$')
			i += 2
		case strings.HasPrefix(s[i:], "${"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", &expandError{msg: "${ without a closing }", hint: "write $${ for the characters ${"}
			}
			v, err := variable(s[i+2:i+end], env)
			if err != nil {
				return "", err
			}
			out.WriteString(v)
			i += end + 1
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String(), nil
}

// variable gives the value of what stands between ${ and }.
func variable(expr string, env func(string) (string, bool)) (string, *expandError) {
	n := 0
	for n < len(expr) && isNameByte(expr[n], n == 0) {
		n++
	}
	name, rest := expr[:n], expr[n:]
	if name == "" {
		return "", &expandError{msg: fmt.Sprintf("${%s} names no variable", expr), quotes: true,
			hint: "write ${NAME}, with letters, digits and _, or $${ for the characters ${"}
	}
	value, set := env(name)
	switch {
	case rest == "":
		if !set {
			return "", &expandError{msg: "variable " + name + " is not set",
				hint: fmt.Sprintf("set it in the environment, or give a default: ${%s:-default}", name)}
		}
		return value, nil
	case strings.Contains(rest, "${"):
		return "", &expandError{msg: fmt.Sprintf("a variable within ${%s...}", name), hint: "a default is plain text; variables do not nest"}
	case strings.HasPrefix(rest, ":-"):
		if value == "" {
			return strings.ReplaceAll(rest[2:], "$$", "$"), nil
		}
		return value, nil
	case strings.HasPrefix(rest, ":?"):
		if value == "" {
			msg := "variable " + name + " is not set"
			if rest[2:] != "" {
				msg += ": " + strings.ReplaceAll(rest[2:], "$$", "$")
			}
			return "", &expandError{msg: msg, hint: "set it in the environment"}
		}
		return value, nil
	}
	return "", &expandError{msg: fmt.Sprintf("${%s} is no form of a variable", expr), quotes: true,
		hint: fmt.Sprintf("write ${%s}, ${%s:-default} or ${%s:?message}", name, name, name)}
}

func isNameByte(c byte, first bool) bool {
	switch {
	case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return true
	case '0' <= c && c <= '9':
		return !first
	}
	return false
}
