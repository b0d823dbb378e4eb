package kafka

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestSecretsAreTakenOutInEveryForm(t *testing.T) {
	const word = `Tr0ub"4\dor/+&x é`
	var s secrets
	s.remember("")
	s.remember(word)
	forms := []string{word, strconv.Quote(word), url.QueryEscape(word), url.PathEscape(word), hex.EncodeToString([]byte(word))}
	for _, before := range []string{"", "a", "ab", "\x00app\x00"} {
		for _, after := range []string{"", "\x01", "\x01\x01"} {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				forms = append(forms, enc.EncodeToString([]byte(before+word+after)))
			}
		}
	}
	for _, form := range forms {
		for _, at := range []int{0, maxWords - 10, maxWords} {
			got := s.scrub(errors.New(strings.Repeat("-", at) + "<" + form + ">")).Error()
			if i := strings.Index(got, form[4:8]); i >= 0 || len(got) > maxWords+3 {
				t.Errorf("%q at %d became %q", form, at, got[max(0, len(got)-60):])
			}
		}
	}
	if got := s.scrub(io.ErrUnexpectedEOF); got != io.ErrUnexpectedEOF {
		t.Errorf("an error without a secret became %v", got)
	}
}

func TestAShortPasswordDoesNotSpoilEveryMessage(t *testing.T) {
	var s secrets
	s.remember("ab")
	const words = "kafka server: no such broker, YWI at 6162 characters"
	if got := s.clean(words); got != strings.ReplaceAll(words, "6162", "***") {
		t.Errorf("got %q", got)
	}
}
