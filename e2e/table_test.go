package e2e

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// theTable is what all faults came to.
var theTable table

type table struct {
	mu   sync.Mutex
	rows []row
}

// row is one mode under one fault.
type row struct {
	fault, mode   string
	written       int
	lost, repeats int
	allowed       allowed
	audit         string
	note          string
	failed        bool
}

func (y *table) add(r row) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.rows = append(y.rows, r)
}

// finish prints the table, and writes it to a file when one is named.
func (y *table) finish(out io.Writer, file string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.rows) == 0 {
		return nil
	}
	text := y.markdown()
	if _, err := io.WriteString(out, "\n"+text); err != nil {
		return err
	}
	if file == "" {
		return nil
	}
	return replacePart(file, "faults", heading(form())+text)
}

func (y *table) markdown() string {
	var b strings.Builder
	b.WriteString("| fault | mode | written | lost | repeats | audit | |\n|---|---|---:|---:|---:|---|---|\n")
	for _, r := range y.rows {
		verdict := r.audit
		if r.failed {
			verdict += ", **FAILED**"
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s |\n", r.fault, r.mode, r.written,
			bounded(r.lost, r.allowed.lost), bounded(r.repeats, r.allowed.repeats), verdict, r.note)
	}
	return b.String()
}

// bounded writes a count, and what was allowed where that is more than none.
func bounded(n, most int) string {
	if most == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (≤ %d)", n, most)
}

// heading says when and how a table was made.
func heading(command string) string {
	return fmt.Sprintf("Made on %s by `%s`, on %d virtual CPUs (%s), %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), command, runtime.NumCPU(), cpuModel(), runtime.Version())
}

// form is the command that this run is.
func form() string {
	if long() {
		return "make chaos"
	}
	return "make e2e"
}

// replacePart replaces what stands between the two marks of a part of a document.
func replacePart(file, part, text string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+part+" -->\n", "<!-- end of "+part+" -->"
	head, rest, ok := strings.Cut(string(data), begin)
	_, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no part %q between %q and %q", file, part, begin, end)
	}
	return os.WriteFile(file, []byte(head+begin+"\n"+text+"\n"+end+foot), 0o644)
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}
