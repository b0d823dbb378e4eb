// Command bench measures shiplog beside other ways to do its job: in turns, on the same file, on the
// same broker (an embedded one in a process of its own), with the same acks and compression, in one
// run. It prints CPU and memory as the kernel accounts them to each child process, and ratios, since
// machines differ. A run whose lines did not all reach the topic fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	lines := flag.Int("lines", 2_000_000, "lines a run")
	size := flag.Int("size", 254, "bytes a line, newline not included")
	rounds := flag.Int("rounds", 3, "rounds; each runs every contestant once")
	compression := flag.String("compression", "none", "none or lz4, for all")
	goal := flag.Float64("goal", 8, "exit 1 when naive/shiplog CPU a line is below this; 0: no goal")
	broker := flag.Bool("broker", false, "be the broker (used by the bench itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *broker {
		err = runBroker(ctx)
	} else {
		err = runBench(ctx, bench{lines: *lines, size: *size, rounds: *rounds, compression: *compression, goal: *goal})
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
