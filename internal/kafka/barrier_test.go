package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const apiVersionsKey = int16(18)

func fireAndForget(c *kfake.Cluster) Config {
	conf := settings(c.ListenAddrs())
	conf.Acks = 0
	return conf
}

// barriers calls f at each barrier that a broker gets; a connection's own ApiVersions requests are of
// a newer version. What f returns says whether the broker answers it.
func barriers(c *kfake.Cluster, f func() (answer bool)) {
	c.ControlKey(apiVersionsKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.GetVersion() != 0 {
			return nil, nil, false
		}
		return nil, nil, !f()
	})
}

func never(p *Producer) { p.barrierEvery = time.Hour }

func TestABarrierConfirmsWhatWasSent(t *testing.T) {
	c := cluster(t, 1)
	side := make(chan struct{}, 100)
	barriers(c, func() bool { side <- struct{}{}; return true })
	p, err := New(fireAndForget(c))
	if err != nil {
		t.Fatal(err)
	}
	never(p)
	stop := run(t, p)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if stored(c, 0) != 3 || len(side) != 1 {
		t.Errorf("%d records stored, %d barriers", stored(c, 0), len(side))
	}
	if err := p.Barrier(t.Context()); err != nil || len(side) != 1 {
		t.Errorf("%v: nothing was sent since, yet %d barriers", err, len(side))
	}
	stop()
	if p.Unconfirmed() != 0 {
		t.Errorf("%d unconfirmed", p.Unconfirmed())
	}
}

func TestWhatWasSentSinceTheBarrierIsUnconfirmed(t *testing.T) {
	side := &brokerSide{}
	c := cluster(t, 1, kfake.ListenFn(side.listen))
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	send(t, p, lines(p, 0, 4, "b"))
	send(t, p, lines(p, 0, 5, "c"))
	side.closeAll()
	awaitConnects(t, p, 2)
	if p.Unconfirmed() != 9 {
		t.Errorf("%d unconfirmed, want 9", p.Unconfirmed())
	}
}

func TestBarriersComeByThemselves(t *testing.T) {
	t.Run("by time", func(t *testing.T) {
		c := cluster(t, 1)
		seen := make(chan struct{}, 1000)
		barriers(c, func() bool { seen <- struct{}{}; return true })
		p := start(t, fireAndForget(c), func(p *Producer) { p.barrierEvery = 5 * time.Millisecond })
		ready(t, p, 1)
		for range 3 {
			send(t, p, lines(p, 0, 3, "a"))
			select {
			case <-seen:
			case <-time.After(patience):
				t.Fatal("no barrier")
			}
		}
		if n := p.Stats().Requests; n != 3 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("by size", func(t *testing.T) {
		c := cluster(t, 1)
		seen := make(chan struct{}, 1000)
		barriers(c, func() bool { seen <- struct{}{}; return true })
		p := start(t, fireAndForget(c), never)
		ready(t, p, 1)
		value := make([]byte, 1<<20)
		for i := range 16 {
			rb := p.NewBatch(0)
			rb.Add(nil, value, 1, Headers{})
			send(t, p, rb)
			if i < 7 && len(seen) > 0 {
				t.Error("a barrier before its time")
			}
		}
		for range 2 {
			select {
			case <-seen:
			case <-time.After(patience):
				t.Fatal("no barrier")
			}
		}
	})
}

// A broker that reads and never answers is no broker.
func TestABarrierWithoutAnAnswerEndsTheConnection(t *testing.T) {
	c := cluster(t, 1)
	barriers(c, func() bool { return false })
	conf := fireAndForget(c)
	conf.RequestTimeout = 100 * time.Millisecond
	p := start(t, conf, func(p *Producer) { p.barrierEvery = 10 * time.Millisecond })
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(t.Context()); err == nil {
		t.Error("a barrier without an answer is taken for good")
	}
	awaitConnects(t, p, 2)
	if p.Unconfirmed() != 3 {
		t.Errorf("%d unconfirmed, want 3", p.Unconfirmed())
	}
}

func TestABarrierEndsWithItsContext(t *testing.T) {
	c := cluster(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	barriers(c, func() bool { cancel(); return false })
	p := start(t, fireAndForget(c), never)
	ready(t, p, 1)
	send(t, p, lines(p, 0, 3, "a"))
	if err := p.Barrier(ctx); err != context.Canceled {
		t.Errorf("%v", err)
	}
}

// The stream goes on while a barrier is out: nobody waits for it.
func TestABarrierHoldsNothingUp(t *testing.T) {
	c := cluster(t, 1)
	p := start(t, fireAndForget(c), func(p *Producer) { p.barrierEvery = time.Millisecond })
	ready(t, p, 1)
	for range 300 {
		if r := send(t, p, lines(p, 0, 3, "a"))[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if err := p.Barrier(t.Context()); err != nil || stored(c, 0) != 900 {
		t.Errorf("%v; %d records stored", err, stored(c, 0))
	}
}
