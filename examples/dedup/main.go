// Command dedup is an example consumer: it prints each line that shiplog shipped to a topic exactly
// once, although the topic may hold some lines twice (after a crash, or a replay of what had an unknown
// outcome). It tells them by the provenance header, see docs/PROVENANCE.md:
//
//	go run ./examples/dedup localhost:9092 logs
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: dedup BROKER TOPIC")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := consume(ctx, os.Args[1], os.Args[2], os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "dedup:", err)
		os.Exit(1)
	}
}

// line names a line for good: wherever the record stands, and however often.
type line struct {
	file   string
	offset int64
}

// consume prints the topic's lines until ctx ends.
//
// The set of lines it has seen is in memory here. A real consumer has it where it has its data: a
// unique key over (file, offset) and an insert that ignores what is there already.
func consume(ctx context.Context, broker, topic string, out io.Writer) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	seen := make(map[line]bool)
	where := make(places)
	for {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			at, known := where.of(r)
			if known && seen[line{at.File, at.Offset}] {
				continue
			}
			seen[line{at.File, at.Offset}] = known
			if _, err := fmt.Fprintf(out, "%s\n", r.Value); err != nil {
				return err
			}
		}
	}
}
