package config

import (
	"net"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

var (
	topicForm   = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	idForm      = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)
	clientForm  = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)
	versionForm = regexp.MustCompile(`^[1-9][0-9]{0,3}\.[0-9]{1,4}(\.[0-9]{1,4})?$`)
	schemeForm  = regexp.MustCompile(`^[a-zA-Z_]+://`)
)

func checkTopic(s string) (wrong, expected string) {
	if !topicForm.MatchString(s) || s == "." || s == ".." {
		return "bad topic name", "1 to 249 letters, digits, dots, underscores and hyphens, and not . or .."
	}
	return "", ""
}

func checkID(s string) (wrong, expected string) {
	if !idForm.MatchString(s) {
		return "bad source id", "1 to 64 letters, digits, dots, underscores and hyphens, with a letter or digit first: it names a folder"
	}
	return "", ""
}

func checkClientID(s string) (wrong, expected string) {
	if !clientForm.MatchString(s) {
		return "bad client id", "1 to 200 letters, digits, dots, underscores and hyphens"
	}
	return "", ""
}

func checkVersion(s string) (wrong, expected string) {
	if s != "auto" && !versionForm.MatchString(s) {
		return "bad Kafka version", "auto, or a version such as 2.8.0, from 1.0.0 on"
	}
	return "", ""
}

// fieldPathPattern is checkFieldPath for the schema.
const fieldPathPattern = `^[^.]+(\.[^.]+)*$`

func checkFieldPath(s string) (wrong, expected string) {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" {
			return "bad name of a field", "names with single dots between them, such as user.id"
		}
	}
	return "", ""
}

// checkBroker looks at one host:port.
func checkBroker(s string) (wrong, expected, hint string) {
	const want = "host:port, such as kafka-1:9092 or [::1]:9092"
	if scheme := schemeForm.FindString(s); scheme != "" {
		return "bad broker address", want, didYouMean(strings.TrimSuffix(s[max(len(scheme), strings.LastIndexByte(s, '@')+1):], "/"))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if s != "" && !strings.ContainsAny(s, ": ") {
			return "the broker's port is missing", want, didYouMean(s + ":9092")
		}
		return "bad broker address", want, ""
	}
	n, err := strconv.Atoi(port)
	switch {
	case host == "" || strings.ContainsAny(host, " \t/@"):
		return "bad host in the broker's address", want, ""
	case err != nil || n < 1 || n > 65535:
		return "bad port in the broker's address", "a port from 1 to 65535", ""
	}
	return "", "", ""
}

// loginForm is the part of an address that names a user, and most often the password.
var loginForm = regexp.MustCompile(`[^\s,"]*@`)

// withoutLogins takes user names and passwords out of addresses.
func withoutLogins(s string) string {
	return loginForm.ReplaceAllString(s, "(not shown)@")
}

// absolute makes a path absolute: a relative one is relative to the folder of the configuration.
func (d *decoder) absolute(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(d.dir, p)
}

// pattern checks a glob and makes it absolute.
func (d *decoder) pattern(s string, exclude bool) (abs, wrong, hint string) {
	switch {
	case s == "":
		return "", "the pattern is empty", ""
	case strings.ContainsAny(s, "\x00\n\r"):
		return "", "bad pattern: more than one line", ""
	case strings.HasPrefix(s, "~"):
		return "", "bad pattern: ~ is not expanded", "write the folder out, or ${HOME}"
	case strings.HasSuffix(s, "/"):
		return "", "bad pattern: it names a folder", didYouMean(s + "*.log")
	case !doublestar.ValidatePattern(s):
		return "", "bad pattern: a [, { or \\ is not closed", `write \[ for the character [`
	}
	if exclude && !strings.Contains(s, "/") {
		if strings.Contains(s, "**") {
			return "", "bad pattern: ** stands for whole folders", didYouMean(strings.ReplaceAll(s, "**", "*"))
		}
		return "/**/" + s, "", ""
	}
	if !strings.HasPrefix(s, "/") {
		s, wrong, hint = d.relativePattern(s)
		if wrong != "" {
			return "", wrong, hint
		}
	}
	parts := strings.Split(s, "/")
	for _, part := range parts[1:] {
		switch {
		case part == "..":
			return "", "bad pattern: .. within it", "write the folder out"
		case strings.Contains(part, "**") && part != "**":
			return "", "bad pattern: ** must stand alone between slashes", didYouMean(strings.Replace(s, part, "**/"+strings.ReplaceAll(part, "**", "*"), 1))
		}
	}
	return cleanPattern(parts), "", ""
}

// relativePattern puts the folder of the configuration before a pattern.
func (d *decoder) relativePattern(s string) (abs, wrong, hint string) {
	dir := filepath.ToSlash(d.dir)
	for {
		switch {
		case strings.HasPrefix(s, "./"):
			s = s[2:]
		case strings.HasPrefix(s, "../"):
			s, dir = s[3:], path.Dir(dir)
		default:
			// A folder's own name is no pattern.
			dir = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `{`, `\{`).Replace(dir)
			return strings.TrimSuffix(dir, "/") + "/" + s, "", ""
		}
	}
}

// cleanPattern puts the parts together without empty ones and single dots.
func cleanPattern(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		if p != "" && p != "." {
			b.WriteString("/" + p)
		}
	}
	return b.String()
}
