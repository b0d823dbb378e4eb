package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// firstTime is the time of the first line; each line is a millisecond later than the one before.
var firstTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// line is what the lines of these tests are made of.
type line struct {
	N    int    `json:"n"`
	Time string `json:"time"`
	User user   `json:"user"`
	Text string `json:"text"`
}

type user struct {
	ID string `json:"id"`
}

// makeLines makes JSON lines numbered from first, the same at each run: of many lengths, with
// characters of two to four bytes and escapes, and white space that a decoder would not keep.
func makeLines(t *testing.T, first, n int) []string {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(first), 1))
	lines := make([]string, n)
	for i := range lines {
		l := line{N: first + i, Time: lineTime(first + i).Format(time.RFC3339Nano)}
		l.User.ID = fmt.Sprintf("user-%d", r.IntN(50))
		l.Text = text(r, lengths[r.IntN(len(lengths))])
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = string(data)
		if i%7 == 0 {
			lines[i] = strings.Replace(lines[i], ":", " :\t", 1)
		}
	}
	return lines
}

// lengths are common ones, and now and then a long one.
var lengths = [...]int{0, 1, 20, 80, 80, 80, 200, 200, 200, 254, 254, 500, 1000, 4000}

func lineTime(n int) time.Time { return firstTime.Add(time.Duration(n) * time.Millisecond) }

// text makes so many characters that do not compress well.
func text(r *rand.Rand, n int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789 \"\\\t\u0001é漢😀"
	letters := []rune(alphabet)
	var b strings.Builder
	for range n {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// appendLines writes lines to the end of a file, as an application would.
func appendLines(t *testing.T, name string, lines []string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
