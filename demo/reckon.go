package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
)

// reckon reads every topic with an independent consumer and compares what the applications wrote
// with what shiplog says and with what is there.
func (d *demo) reckon(ctx context.Context) error {
	step("An independent consumer (franz-go) reads the topics. Do the numbers add up?")
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "source\twritten\tread\tdelivered\tsent\tfailure-logged\tdropped\treplayed\tfound\tlost\tduplicated\t")
	var wrong []error
	for i, a := range d.daemon.Accounts() {
		f, err := d.broker.consume(ctx, a.Source)
		if err != nil {
			return err
		}
		written := d.apps[i].written
		replayed := int(d.replayed[a.Source])
		dropped := a.Read - a.Delivered - a.Sent - a.FailureLogged - a.InFlight // skipped included
		lost, duplicated := written-f.distinct, f.records-f.distinct
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", a.Source, written, a.Read, a.Delivered, a.Sent,
			a.FailureLogged, dropped, replayed, f.records, lost, duplicated)
		wrong = append(wrong, check(a.Source, "read", int(a.Read), written), check(a.Source, "lost", lost, 0),
			check(a.Source, "duplicated", duplicated, 0), check(a.Source, "in flight", int(a.InFlight), 0),
			check(a.Source, "replayed", replayed, int(a.FailureLogged)),
			check(a.Source, "delivered, sent and replayed", int(a.Delivered+a.Sent)+replayed, f.records))
		if a.Source == "sync" {
			wrong = append(wrong, check(a.Source, "out of order", f.disordered, 0))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("the numbers do not add up:\n%w", err)
	}
	fmt.Printf("\n✔ Every line is accounted for: lost 0, duplicated 0, and sync kept its order.\n")
	return nil
}

func check(source, what string, got, want int) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: %s is %d, want %d", source, what, got, want)
}
