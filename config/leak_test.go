package config

import (
	"errors"
	"strings"
	"testing"
)

const word = "Tr0ub4dor/+x9Kq=" // as passwords look that machines make

// secretConfigs hold the word where a password may stand.
var secretConfigs = []string{
	`kafka:
  brokers: [localhost:9092]
  sasl:
    mechanism: PLAIN
    username: u
    password: ` + word + `
sources:
  - {id: app, include: [/var/log/app/*.log], mode: callback, topic: app}
`, `kafka: {brokers: [localhost:9092]}
sources:
  - id: app
    include: [/var/log/app/*.log]
    mode: callback
    topic: app
    kafka: {sasl: {mechanism: SCRAM-SHA-512, password: "` + word + `", username: u}}
`, `kafka:
  brokers: [localhost:9092]
  sasl: {mechanism: PLAIN, username: u, password: '${PASSWORD:-` + word + `}'}
sources:
  - {id: app, include: [/var/log/app/*.log], mode: callback, topic: app}
`,
}

// said is all that a person gets to see of a configuration.
func said(text string) string {
	c, err := parse("c.yaml", []byte(text), func(name string) (string, bool) { return word, name == "SECRET" })
	if err != nil {
		return err.Error()
	}
	out := c.Redacted()
	for _, w := range c.Warnings() {
		out += w.String() + "\n"
	}
	return out
}

// tells looks for a piece of the word that is long enough to help somebody.
func tells(out string) bool {
	for i := range len(word) - 6 {
		if strings.Contains(out, word[i:i+7]) {
			return true
		}
	}
	return false
}

// TestNoSlipOfAFingerShowsThePassword makes every configuration that differs by one character that was
// inserted, left out or swapped with the next: whatever is wrong with it then, the message does not
// quote the password.
func TestNoSlipOfAFingerShowsThePassword(t *testing.T) {
	const typed = " :'\"*&!{}[],#|>%@`=\t\n-?$~\\x0"
	tried, wrong := 0, map[string]int{}
	try := func(text string) {
		tried++
		if out := said(text); tells(out) {
			if wrong[firstLine(out)]++; wrong[firstLine(out)] == 1 {
				t.Errorf("%s\nis said of\n%s", out, text)
			}
		}
	}
	for _, text := range secretConfigs {
		at := strings.Index(text, word)
		from, to := max(0, at-60), min(len(text), at+len(word)+20)
		for i := from; i < to; i++ {
			for _, c := range typed {
				try(text[:i] + string(c) + text[i:])
			}
			try(text[:i] + text[i+1:])
			if i+1 < len(text) {
				try(text[:i] + text[i+1:i+2] + text[i:i+1] + text[i+2:])
			}
		}
	}
	if tried < 5000 {
		t.Errorf("tried only %d", tried)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// TestNoMistakeShowsThePassword puts it where people put it by mistake.
func TestNoMistakeShowsThePassword(t *testing.T) {
	for _, sasl := range []string{
		"§", "[§]", "[PLAIN, §]", "{§: x}", "{password: §}", "{password: [§]}", "{password: {§: §}}", "{mechanism: PLAIN, §}",
		"{mechanism: PLAIN, username: u, password:§}", "{mechanism: PLAIN, username: u, password=§}", "{mechanism: PLAIN, username: u, password §}",
		"{mechanism: PLAIN, username: u, passwort: §}", "{mechanism: PLAIN, username: u, secret: §}", "{mechanism: PLAIN, username: u, zzz: §}",
		"{mechanism: PLAIN, username: u, password: !§}", "{mechanism: PLAIN, username: u, password: !§ x}", "{mechanism: PLAIN, username: u, password: !!§ x}",
		"{mechanism: PLAIN, username: u, password: !!int §}", "{mechanism: PLAIN, username: u, password: !!binary §}",
		"{mechanism: PLAIN, username: u, password: *§}", "{mechanism: PLAIN, username: u, password: &§ [*§]}", "{mechanism: PLAIN, username: u, password: %§}",
		"{mechanism: PLAIN, username: u, password: '${§}'}", "{mechanism: PLAIN, username: u, password: '${§'}", "{mechanism: PLAIN, username: u, password: 'x${2§}'}",
		"{mechanism: PLAIN, username: u, password: '${PASSWORD-§}'}", "{mechanism: PLAIN, username: u, password: '${PASSWORD:=§}'}",
		"{mechanism: PLAIN, username: u, password: '${PASSWORD:-§${X}}'}", "{mechanism: PLAIN, username: u, password: '${PASSWORD:-§}${NONE}'}",
		"{mechanism: §, username: u, password: §}", "{mechanism: §, username: u, password: x}", "{mechanism: §}", "{mechanism: OAUTHBEARER, password: §}",
		"{mechanism: PLAIN, password: §}", "{username: u, password: §}", "{mechanism: none, password: §}", "{mechanism: PLAIN, username: u, password: §, password: §}",
		"{mechanism: PLAIN, username: u, password: §, password_file: x}", "{mechanism: PLAIN, username: u, 'password: §': §}", "{? {§: §} : §}",
		"{mechanism: PLAIN, username: u, password: '${SECRET}'}", "{mechanism: '${SECRET}', username: u, password: x}", "'${SECRET}'", "{mechanism: PLAIN, username: u, '${SECRET}': x}",
		"{mechanism: PLAIN, username: u, password: ${SECRET}}", "{mechanism: PLAIN, username: u, password: §\x01}", "{mechanism: PLAIN, username: u, password: \"\\q§\"}",
		"{mechanism: PLAIN, username: u, password: §", "{mechanism: PLAIN, username: u, password: \"§}", "{mechanism: PLAIN, username: u, password: §: §}",
		"{mechanism: PLAIN, username: u, §.§: x}",
		"!§ {mechanism: PLAIN}", "!§", "&§ x", "*§", "{<<: §}", "{<<: {password: §}}",
	} {
		for _, form := range []string{"kafka: {brokers: [a:1], sasl: S}", "defaults: {kafka: {sasl: S}}", "sasl: S"} {
			text := strings.ReplaceAll(form, "S", sasl)
			text = strings.ReplaceAll(text, "§", word) + "\nsources: [{id: app, include: [/x/*.log], mode: callback, topic: app}]\n"
			if out := said(text); tells(out) {
				t.Errorf("%s\nis said of\n%s", out, text)
			}
		}
	}
}

// TestBrokersWithAPassword: addresses of other systems have the credentials in them.
func TestBrokersWithAPassword(t *testing.T) {
	for _, broker := range []string{"sasl://u:§@kafka:9092", "u:§@kafka:9092", "kafka://u:§@kafka", "u:§@kafka"} {
		text := strings.ReplaceAll("kafka: {brokers: ['"+broker+"']}\n", "§", word)
		_, err := parse("c.yaml", []byte(text), testLookup)
		var all Errors
		if !errors.As(err, &all) || tells(err.Error()) {
			t.Errorf("%v", err)
		}
	}
}
