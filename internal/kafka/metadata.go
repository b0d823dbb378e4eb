package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

const (
	// askNext is how long one broker is waited for before another one is asked beside it, so that a
	// broker that swallows packets does not delay what the others know.
	askNext = 250 * time.Millisecond
	// askAgain is how long after that those that failed are asked once more: they may come back while
	// a silent one is still waited for.
	askAgain = time.Second
)

// asked is one broker's answer.
type asked struct {
	meta   *sarama.MetadataResponse
	broker string
	err    error
}

// fetchMetadata asks the brokers about our topic, one after the other and overlapping, until one
// answers, or each has failed. The connection is its own and is closed after it: a leader that has
// stalled holds up neither the question nor the batches of the others.
func (p *Producer) fetchMetadata(ctx context.Context, addrs []string) (*sarama.MetadataResponse, string, *Error) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan asked)
	running := 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			<-answers
		}
	}()
	next := addrs
	ask := func() {
		if len(next) == 0 {
			return
		}
		addr := next[0]
		next = next[1:]
		running++
		go func() {
			meta, err := p.askBroker(ctx, addr)
			answers <- asked{meta, addr, err}
		}()
	}
	var worst *Error
	var again []string // have failed, and may be asked once more
	failed := make(map[string]bool, len(addrs))
	for ask(); ; {
		pause := askNext
		if len(next) == 0 {
			pause = askAgain
		}
		select {
		case a := <-answers:
			running--
			if a.err == nil {
				return a.meta, a.broker, nil
			}
			worst = telling(worst, p.connectError(a.broker, a.err))
			failed[a.broker] = true
			if len(failed) == len(addrs) {
				return nil, "", worst
			}
			again = append(again, a.broker)
		case <-time.After(pause):
			if len(next) == 0 {
				next, again = again, nil
			}
		}
		ask()
	}
}

// telling is the error that says more: what a person has to mend before what may pass by itself.
func telling(a, b *Error) *Error {
	if a == nil || b.Class.OfSource() && !a.Class.OfSource() {
		return b
	}
	return a
}

// askBroker gets the metadata of our topic from one broker. It never creates the topic.
func (p *Producer) askBroker(ctx context.Context, addr string) (*sarama.MetadataResponse, error) {
	w, b, err := p.openBroker(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer closeBroker(w, b, errClosed)
	ctx, cancel := context.WithTimeout(ctx, p.conf.DialTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { w.kill(fmt.Errorf("no answer to a metadata request: %w", context.Cause(ctx))) })()
	req := sarama.NewMetadataRequest(p.base.Version, []string{p.conf.Topic})
	req.AllowAutoTopicCreation = false
	req.IncludeTopicAuthorizedOperations = true
	meta, err := b.GetMetadata(req)
	if err != nil {
		if closedByPeer(err) && p.conf.SASL == nil {
			return nil, fmt.Errorf("%s closed the connection at the first request without a login: it may want SASL, so look at kafka.sasl: %w", addr, err)
		}
		return nil, err
	}
	if len(meta.Brokers) == 0 {
		return nil, errors.New("the metadata name no brokers")
	}
	return meta, nil
}
