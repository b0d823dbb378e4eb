package shipper

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Table shows accounts side by side, for a person at a terminal.
func Table(accounts []Account) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			_, _ = fmt.Fprintf(w, "%v\t", c) // a strings.Builder takes everything
		}
		_, _ = fmt.Fprintln(w)
	}
	row("source", "mode", "read", "= delivered", "+ sent", "+ failure-logged", "+ dropped", "+ skipped", "+ in flight")
	for _, a := range accounts {
		row(a.Source, a.Mode, a.Read, a.Delivered, a.Sent, a.FailureLogged, reasons(a.Dropped), reasons(a.Skipped), a.InFlight)
	}
	_ = w.Flush() // into a strings.Builder, which takes everything
	return b.String()
}
