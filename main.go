// Command shiplog tails JSON-lines files and delivers each line to Apache Kafka.
package main

import (
	"os"

	"shiplog/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
