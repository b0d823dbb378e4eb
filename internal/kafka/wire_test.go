package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a server that is no Kafka broker: it reads a little and says what it is told to.
func peer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// problem runs a producer and waits until it tells why it is not ready.
func problem(t *testing.T, p *Producer) *Error {
	t.Helper()
	_, first, changed := p.Watch()
	run(t, p)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatalf("no problem is told but %v", first)
	}
	_, err := p.Ready()
	return err
}

func TestAMismatchSaysWhichSideSpeaksWhat(t *testing.T) {
	readSome := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 4)) }
	for name, tt := range map[string]struct {
		tls   *TLS
		serve func(net.Conn)
		class Class
		want  []string
	}{
		"plaintext to a TLS port that answers with an alert": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, 80})
		}, ClassConfig, []string{"this side speaks plaintext", "answered in TLS"}},
		"plaintext to a port that closes": {nil, readSome, ClassRetriable, []string{"this side speaks plaintext", "as a TLS port may do"}},
		"plaintext to a web server": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, ClassConfig, []string{"answered in HTTP"}},
		"plaintext to nonsense": {nil, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write(bytes.Repeat([]byte{0x7f}, 16))
		}, ClassConfig, []string{"no Kafka broker"}},
		"TLS to a plaintext port that closes": {&TLS{}, readSome, ClassConfig, []string{"this side speaks TLS", "as a port without TLS does"}},
		"TLS to a plaintext port that answers": {&TLS{}, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte{0, 0, 0, 10, 0, 0, 0, 0, 0, 35, 0, 0, 0, 0})
		}, ClassConfig, []string{"this side speaks TLS", "answered without TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := peer(t, tt.serve)
			conf := settings([]string{addr})
			conf.TLS = tt.tls
			p, err := New(conf)
			if err != nil {
				t.Fatal(err)
			}
			checkMismatch(t, problem(t, p), addr, tt.class, tt.want)
		})
	}
}

// A broker that spoke TLS before and closes a handshake is on its way down: nobody is told to turn TLS off.
func TestABrokerThatStopsInAHandshakeIsNoMismatch(t *testing.T) {
	addr := peer(t, func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 4)) })
	conf := settings([]string{addr})
	conf.TLS = &TLS{}
	p, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	p.spokeTLS.Store(true)
	checkMismatch(t, problem(t, p), addr, ClassRetriable, []string{"closed the connection in the TLS handshake"})
}

func checkMismatch(t *testing.T, err *Error, addr string, class Class, want []string) {
	t.Helper()
	if err == nil || err.Class != class || err.Broker != addr {
		t.Fatalf("error %v, want class %s at %q", err, class, addr)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// An answer that announces gigabytes must not be allocated.
func TestAHugeAnswerIsRefused(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	w := &wire{addr: "b:1", raw: client, stream: client, timeout: time.Second, dead: make(chan struct{}), gone: make(chan struct{})}
	w.out, w.in = net.Pipe()
	go w.pump()
	frame := binary.BigEndian.AppendUint32(nil, maxAnswer+1)
	_, _ = server.Write(append(frame, 0, 0, 0, 1))
	<-w.gone
	var m *mismatch
	if !errors.As(w.why(), &m) {
		t.Errorf("ended by %v", w.why())
	}
}

// What is written behind half a frame would be taken for the rest of it.
func TestNothingIsWrittenBehindHalfAFrame(t *testing.T) {
	client, server := net.Pipe()
	f := &faults{}
	f.onWrite(func(*faultyConn, []byte) (int, error, bool) { return 3, errCut, true })
	raw := &faultyConn{Conn: client, f: f}
	w := &wire{addr: "b:1", raw: raw, stream: raw, timeout: time.Second, dead: make(chan struct{}), gone: make(chan struct{})}
	w.out, w.in = net.Pipe()
	go w.pump()
	if n, err := w.Write(make([]byte, 10)); n != 3 || !errors.Is(err, errCut) {
		t.Errorf("%d, %v", n, err)
	}
	f.onWrite(func(*faultyConn, []byte) (int, error, bool) { t.Error("a second frame"); return 0, errCut, true })
	if _, err := w.Write(make([]byte, 10)); !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
	<-w.gone
	_ = server.Close()
}
