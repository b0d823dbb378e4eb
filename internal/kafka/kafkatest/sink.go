// Package kafkatest has doubles of brokers for tests and benchmarks.
package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sink is a broker that stores nothing and decodes nothing: what is measured against it is the
// producer's. It answers the requests of a new connection, metadata of one topic with one partition,
// and produce requests with success.
type Sink struct {
	Addr  string
	topic string
	bytes atomic.Int64
}

// Bytes is how many bytes of produce requests came in.
func (s *Sink) Bytes() int64 { return s.bytes.Load() }

// NewSink starts one on a free port of the loopback interface; it ends with the test.
func NewSink(t testing.TB, topic string) *Sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Addr: ln.Addr().String(), topic: topic}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				s.serve(c, ln.Addr().(*net.TCPAddr))
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return s
}

// Keys of the protocol's requests: https://kafka.apache.org/protocol
const (
	produceKey     = 0
	listOffsetsKey = 2
	metadataKey    = 3
	apiVersionsKey = 18
)

func (s *Sink) serve(c net.Conn, addr *net.TCPAddr) {
	var (
		head [12]byte
		buf  = make([]byte, 4<<20)
	)
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[:4])) - 8
		if size < 0 || size > len(buf) {
			return
		}
		if _, err := io.ReadFull(c, buf[:size]); err != nil {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))
		if key == produceKey && wantsNoAnswer(buf[:size]) {
			s.bytes.Add(int64(size))
			continue
		}
		resp := s.answer(key, size, addr)
		if resp == nil {
			return
		}
		resp.SetVersion(version)
		out := append(make([]byte, 4, 256), head[8:]...)
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// wantsNoAnswer says whether a produce request (version 3 to 8) has acks=0. Before the acks stand the
// client id and the transactional id, each a nullable string.
func wantsNoAnswer(req []byte) bool {
	for range 2 {
		n := int16(binary.BigEndian.Uint16(req))
		req = req[2+max(n, 0):]
	}
	return binary.BigEndian.Uint16(req) == 0
}

func (s *Sink) answer(key int16, size int, addr *net.TCPAddr) kmsg.Response {
	switch key {
	case apiVersionsKey:
		r := kmsg.NewPtrApiVersionsResponse()
		for k, version := range map[int16]int16{produceKey: 8, metadataKey: 8, apiVersionsKey: 3} {
			a := kmsg.NewApiVersionsResponseApiKey()
			a.ApiKey, a.MaxVersion = k, version
			r.ApiKeys = append(r.ApiKeys, a)
		}
		return r
	case metadataKey:
		r := kmsg.NewPtrMetadataResponse()
		b, mt, mp := kmsg.NewMetadataResponseBroker(), kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopicPartition()
		b.Host, b.Port = addr.IP.String(), int32(addr.Port)
		mt.Topic, mt.Partitions = kmsg.StringPtr(s.topic), append(mt.Partitions, mp)
		r.Brokers, r.Topics = append(r.Brokers, b), append(r.Topics, mt)
		return r
	case listOffsetsKey: // a barrier: no partition, and so no error
		return kmsg.NewPtrListOffsetsResponse()
	case produceKey:
		s.bytes.Add(int64(size))
		r := kmsg.NewPtrProduceResponse()
		pt, pp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		pt.Topic, pt.Partitions = s.topic, append(pt.Partitions, pp)
		r.Topics = append(r.Topics, pt)
		return r
	}
	return nil
}
