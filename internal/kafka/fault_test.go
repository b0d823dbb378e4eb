package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const produceKey = int16(0)

// answerProduce lets the cluster answer the next n produce requests with a code, for all partitions,
// without storing anything. After gets called with each of them; it may be nil.
func answerProduce(c *kfake.Cluster, n int, code int16, change func(*kmsg.ProduceResponseTopicPartition)) *atomic.Int64 {
	var hits atomic.Int64
	c.ControlKey(produceKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		if hits.Add(1) < int64(n) {
			c.KeepControl()
		} else {
			c.DropControl() // a control that was kept once stays kept
		}
		return produceAnswer(r.(*kmsg.ProduceRequest), code, change), nil, true
	})
	return &hits
}

func produceAnswer(req *kmsg.ProduceRequest, code int16, change func(*kmsg.ProduceResponseTopicPartition)) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode, p.BaseOffset = rp.Partition, code, -1
			if change != nil {
				change(&p)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// batchesOf gives the record batches of a produce request.
func batchesOf(r kmsg.Request) []kmsg.RecordBatch {
	var out []kmsg.RecordBatch
	for _, t := range r.(*kmsg.ProduceRequest).Topics {
		for _, p := range t.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err != nil {
				panic(err)
			}
			out = append(out, b)
		}
	}
	return out
}

// watchProduce notes all batches that arrive, and lets the cluster handle them.
func watchProduce(c *kfake.Cluster) func() []kmsg.RecordBatch {
	var (
		mu  sync.Mutex
		all []kmsg.RecordBatch
	)
	c.ControlKey(produceKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, batchesOf(r)...)
		return nil, nil, false
	})
	return func() []kmsg.RecordBatch {
		mu.Lock()
		defer mu.Unlock()
		return append([]kmsg.RecordBatch(nil), all...)
	}
}

var errCut = errors.New("cut by the test")

// faults makes connections of a producer misbehave. Faults are armed for the next write that
// matches; all others go through.
type faults struct {
	mu    sync.Mutex
	conns []*faultyConn
	dials int
	// write is asked before each write, with its bytes; it may be nil.
	write func(c *faultyConn, p []byte) (n int, err error, handled bool)
	// refuse is asked before each dial; it may be nil.
	refuse func(addr string) error
}

type faultyConn struct {
	net.Conn
	f      *faults
	serial int
	// lose makes reads swallow what comes and wait until the connection is cut.
	lose atomic.Bool
}

func (f *faults) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	refuse := f.refuse
	f.dials++
	serial := f.dials
	f.mu.Unlock()
	if refuse != nil {
		if err := refuse(addr); err != nil {
			return nil, err
		}
	}
	c, err := dialer(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	fc := &faultyConn{Conn: c, f: f, serial: serial}
	f.mu.Lock()
	f.conns = append(f.conns, fc)
	f.mu.Unlock()
	return fc, nil
}

func (f *faults) onWrite(fn func(c *faultyConn, p []byte) (int, error, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write = fn
}

func (f *faults) onDial(fn func(addr string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = fn
}

// cutAll closes all connections that were ever made.
func (f *faults) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Conn.Close()
	}
	f.conns = nil
}

func (c *faultyConn) Write(p []byte) (int, error) {
	c.f.mu.Lock()
	write := c.f.write
	c.f.mu.Unlock()
	if write != nil {
		if n, err, handled := write(c, p); handled {
			return n, err
		}
	}
	return c.Conn.Write(p)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil || !c.lose.Load() {
		return n, err
	}
	_ = c.Conn.Close() // the answer is lost: the connection breaks instead
	return 0, errCut
}

// isProduce says that a frame is a produce request.
func isProduce(p []byte) bool { return len(p) > 8 && p[4] == 0 && p[5] == 0 }

// once makes a write fault that acts on the first produce request only.
func once(fn func(c *faultyConn, p []byte) (int, error)) func(*faultyConn, []byte) (int, error, bool) {
	var used atomic.Bool
	return func(c *faultyConn, p []byte) (int, error, bool) {
		if !isProduce(p) || used.Swap(true) {
			return 0, nil, false
		}
		n, err := fn(c, p)
		return n, err, true
	}
}

// loseAnswer lets the first produce request through, and cuts the connection when its answer comes.
func loseAnswer() func(*faultyConn, []byte) (int, error, bool) {
	return once(func(c *faultyConn, p []byte) (int, error) {
		c.lose.Store(true)
		return c.Conn.Write(p)
	})
}

// watchVersions notes the version of each produce request.
func watchVersions(c *kfake.Cluster, versions chan<- int16) {
	c.ControlKey(produceKey, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		versions <- r.GetVersion()
		return nil, nil, false
	})
}
