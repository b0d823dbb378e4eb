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
	return os.WriteFile(file, []byte(y.document(text)), 0o644)
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

func (y *table) document(text string) string {
	form := "short"
	command := "make e2e"
	if long() {
		form, command = "long", "make chaos"
	}
	return fmt.Sprintf(`# Reliability

<!-- Written by "%s"; do not edit the table by hand. -->

What became of every line while things went wrong, on a real Apache Kafka 4.2.0 of three nodes (replication 3,
min.insync.replicas 2). Made on %s by `+"`%s`"+` (the %s form), on %d virtual CPUs (%s), %s.

Each line has a number. An independent consumer (franz-go, read_committed) counts which numbers stand in the topic, how
often and in what order; `+"`shiplog audit`"+` must come to the same counts from the provenance headers, or the test fails. A number in brackets is what the contract of the mode
allows, computed from the checkpoint on disk or from the account.

%s`, command, time.Now().UTC().Format(time.DateOnly), command, form, runtime.NumCPU(), cpuModel(), runtime.Version(), text)
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
