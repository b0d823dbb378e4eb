// Command naive ships a file the way most people would write it first: nxadm/tail's TailFile feeds
// one message a line to sarama's AsyncProducer. It exists to be measured beside shiplog: the same
// file, acks, compression and broker. It exits when every line is acknowledged.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/nxadm/tail"
)

func main() {
	brokers := flag.String("brokers", "", "host:port,...")
	topic := flag.String("topic", "", "topic")
	path := flag.String("file", "", "file to ship")
	lines := flag.Int("lines", 0, "lines to ship before it exits")
	compression := flag.String("compression", "none", "none or lz4")
	flag.Parse()
	if err := ship(strings.Split(*brokers, ","), *topic, *path, *lines, *compression); err != nil {
		log.Fatal(err)
	}
}

func ship(brokers []string, topic, path string, lines int, compression string) error {
	conf := sarama.NewConfig()
	conf.Version = sarama.V2_8_0_0
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Return.Successes = true
	conf.Producer.Return.Errors = true
	if err := conf.Producer.Compression.UnmarshalText([]byte(compression)); err != nil {
		return fmt.Errorf("compression %q: %w", compression, err)
	}
	producer, err := sarama.NewAsyncProducer(brokers, conf)
	if err != nil {
		return fmt.Errorf("producer: %w", err)
	}
	t, err := tail.TailFile(path, tail.Config{
		Follow: true, ReOpen: true, Logger: tail.DiscardingLogger,
		Location: &tail.SeekInfo{Whence: io.SeekStart},
	})
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	go func() {
		for n := 0; n < lines; n++ {
			line := <-t.Lines
			producer.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(line.Text)}
		}
	}()
	failed := 0
	for n := 0; n < lines; n++ {
		select {
		case <-producer.Successes():
		case e := <-producer.Errors():
			if failed++; failed == 1 {
				fmt.Fprintln(os.Stderr, e)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d lines failed", failed)
	}
	return producer.Close()
}
