package audit

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
)

// maxShown bounds how many ranges of a file are printed of each kind; --json has more.
const maxShown = 10

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) error {
	var b bytes.Buffer
	if len(r.Files) > 0 {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "SOURCE\tFILE\tLINES\tBYTES\tBEGINS\tENDS\tGAPS\tDUPLICATES\tORDER\tREPLAYED\tFAILED")
		for i := range r.Files {
			f := &r.Files[i]
			_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", orDash(f.Source), f.name(), f.Lines, f.Bytes, f.Begins, f.Ends,
				dash(f.GapCount), dash(f.Duplicates.Lines), dash(f.DisorderCount), dash(f.Replayed), dash(f.InLog))
		}
		_ = t.Flush() // into a buffer
	}
	for i := range r.Files {
		r.Files[i].details(&b)
	}
	r.sumUp(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func dash(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// name is the path where the file was found on disk; a topic knows only the identity.
func (f *File) name() string {
	if f.Path != "" {
		return f.Path
	}
	return f.ID
}

// details lists what is wrong with a file.
func (f *File) details(b *bytes.Buffer) {
	if f.GapCount+f.Duplicates.Lines+f.DisorderCount+f.Waiting == 0 {
		return
	}
	_, _ = fmt.Fprintf(b, "\n%s", f.name())
	if f.Path != "" {
		_, _ = fmt.Fprintf(b, " (%s)", f.ID)
	}
	b.WriteByte('\n')
	for i, g := range f.Gaps {
		if i == maxShown {
			break
		}
		_, _ = fmt.Fprintf(b, "  gap        offset %d to %d, %d bytes", g.From, g.To, g.To-g.From)
		if g.Lines > 0 {
			_, _ = fmt.Fprintf(b, ": lines %d to %d, %d lines", g.FirstLine, g.LastLine, g.Lines)
		}
		b.WriteByte('\n')
	}
	more(b, f.GapCount, "gaps")
	for i, d := range f.Duplicates.Ranges {
		if i == maxShown {
			break
		}
		_, _ = fmt.Fprintf(b, "  duplicate  offset %d to %d\n", d.From, d.To)
	}
	more(b, f.Duplicates.Count, "duplicate ranges")
	for i, d := range f.Disorders {
		if i == maxShown {
			break
		}
		_, _ = fmt.Fprintf(b, "  order      partition %d, Kafka offset %d: offset %d comes behind offset %d\n", d.Partition, d.Position, d.Offset, d.Behind)
	}
	more(b, f.DisorderCount, "places out of order")
	if f.Waiting > 0 {
		_, _ = fmt.Fprintf(b, "  waiting    the last %d bytes on disk have no newline yet\n", f.Waiting)
	}
}

func more(b *bytes.Buffer, n int64, what string) {
	if n > maxShown {
		_, _ = fmt.Fprintf(b, "  ... %d %s in all\n", n, what)
	}
}

func (r *Report) sumUp(b *bytes.Buffer) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	_, _ = fmt.Fprintf(b, "topic %s: read %d records in %d batches of %d partitions; %d lines (%d bytes) of %d files\n",
		r.Topic, r.Read.Records, r.Read.Batches, len(r.Partitions), r.Lines, r.Bytes, len(r.Files))
	switch r.Verdict {
	case VerdictGaps:
		_, _ = fmt.Fprintf(b, "GAPS: %d, of %d bytes", r.Gaps, r.Missing)
		if r.Duplicates > 0 {
			_, _ = fmt.Fprintf(b, "; %d lines more than once", r.Duplicates)
		}
	case VerdictDuplicates:
		_, _ = fmt.Fprintf(b, "DUPLICATES: no line is missing, %d lines are there more than once", r.Duplicates)
	case VerdictComplete:
		b.WriteString("COMPLETE: no line is missing, none is there twice")
		if r.InLog > 0 {
			_, _ = fmt.Fprintf(b, "; %d lines stand in the failure log", r.InLog)
		}
	case VerdictNothing:
		b.WriteString("NOTHING is proved: no record says where it came from")
	}
	if r.Disorders > 0 {
		_, _ = fmt.Fprintf(b, "; %d places out of order", r.Disorders)
	}
	b.WriteByte('\n')
	if len(r.Unknown) > 0 {
		b.WriteString("not known:\n")
		for _, u := range r.Unknown {
			_, _ = fmt.Fprintf(b, "  - %s\n", u)
		}
	}
}
