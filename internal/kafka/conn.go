package kafka

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxAnswer bounds one answer of a broker. A larger one is no Kafka: "HTTP" would be 1.2 GB.
const maxAnswer = 32 << 20

// wire is one connection to a broker. Its own goroutine, the pump, reads it all the time, so that a
// FIN or a reset is seen at once, also while nobody waits for an answer: an idle connection that the
// broker closed is replaced before the next send, and with acks=0 nobody else would read at all. The
// pump hands whole answers to sarama, and keeps those that are ours.
//
// Closing it closes the TCP connection first, so it never waits for a blocked write.
type wire struct {
	addr    string
	tls     bool
	raw     net.Conn // the TCP connection
	stream  net.Conn // raw, or TLS on it
	timeout time.Duration

	// password is what sarama logs in with, at the beginning and again when the session ends; "" without one.
	password *string

	out, in net.Conn // a pipe: the pump writes into in, sarama reads from out
	answers atomic.Int64
	// answer is called by the pump with the correlation id of an answer that is ours, and with its
	// body, which it may keep if it says so. It must not block. It may be nil as long as nothing of
	// ours was sent.
	answer atomic.Pointer[func(correlation int32, body []byte) (kept bool)]

	writing sync.Mutex // one frame at a time

	once  sync.Once
	dead  chan struct{} // closed when the connection is of no more use
	gone  chan struct{} // closed when the pump has ended
	cause error         // why; set before dead is closed
}

var errClosed = errors.New("closed by shiplog")

// connect dials the broker and speaks TLS where configured. The context bounds both.
func (p *Producer) connect(ctx context.Context, addr string) (*wire, error) {
	raw, err := p.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	w := &wire{
		addr: addr, raw: raw, stream: raw, timeout: p.conf.RequestTimeout, password: new(string),
		dead: make(chan struct{}), gone: make(chan struct{}),
	}
	if p.conf.TLS != nil {
		if err := w.handshake(ctx, p.conf.TLS); err != nil {
			_ = raw.Close() // the handshake's error says more
			if p.spokeTLS.Load() && closedByPeer(err) {
				// It did speak TLS, so no person has to mend anything: it stops, most likely.
				err = fmt.Errorf("%s closed the connection in the TLS handshake: %w", addr, errors.Unwrap(err))
			}
			return nil, err
		}
		p.spokeTLS.Store(true)
	}
	w.out, w.in = net.Pipe()
	go w.pump()
	return w, nil
}

func (w *wire) handshake(ctx context.Context, t *TLS) error {
	conf, err := t.clientConfig(w.addr)
	if err != nil {
		return &mismatch{class: ClassConfig, text: "TLS", cause: err}
	}
	conn := tls.Client(w.raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return explainHandshake(w.addr, err)
	}
	w.tls, w.stream = true, conn
	return nil
}

// explainHandshake says what each side speaks when a handshake failed.
func explainHandshake(addr string, err error) error {
	var (
		plain  tls.RecordHeaderError
		verify *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &plain):
		return &mismatch{ClassConfig, "this side speaks TLS, but " + addr + " answered without TLS: name its TLS port in kafka.brokers, or turn kafka.tls.enabled off", err}
	case errors.As(err, &verify):
		return &mismatch{ClassAuth, "the certificate of " + addr + " is not accepted", err}
	case isAlert(err):
		return &mismatch{ClassAuth, addr + " refused the TLS handshake", err}
	case closedByPeer(err):
		return &mismatch{ClassConfig, "this side speaks TLS, and " + addr + " closed the connection in the handshake, as a port without TLS does: name its TLS port in kafka.brokers, or turn kafka.tls.enabled off", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &mismatch{ClassRetriable, "this side speaks TLS, and " + addr + " did not answer the handshake in time, as a port without TLS may do: look at kafka.brokers and kafka.tls.enabled", err}
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// isAlert says that the peer sent a TLS alert. crypto/tls has no type for that, but a word.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// pump reads answers until the connection ends.
func (w *wire) pump() {
	defer close(w.gone)
	w.kill(w.readAnswers())
}

func (w *wire) readAnswers() error {
	var (
		r    = bufio.NewReader(w.stream)
		head [8]byte // length and correlation id
		buf  []byte
	)
	for {
		n, err := io.ReadFull(r, head[:])
		if foreign := w.foreign(head[:n]); foreign != nil {
			return foreign
		}
		if err != nil {
			return w.explainEnd(err)
		}
		size := int(binary.BigEndian.Uint32(head[:4]))
		if need := size + 4; need > cap(buf) {
			buf = make([]byte, need)
		}
		buf = buf[:size+4]
		copy(buf, head[:])
		if _, err := io.ReadFull(r, buf[8:]); err != nil {
			return w.explainEnd(err)
		}
		w.answers.Add(1)
		kept, err := w.deliver(buf, int32(binary.BigEndian.Uint32(head[4:])))
		if err != nil {
			return err
		}
		if kept || cap(buf) > 64<<10 {
			buf = nil // metadata of many partitions need not stay
		}
	}
}

func (w *wire) deliver(frame []byte, correlation int32) (kept bool, err error) {
	if correlation < 0 {
		if f := w.answer.Load(); f != nil {
			kept = (*f)(correlation, frame[8:])
		}
		return kept, nil
	}
	_, err = w.in.Write(frame)
	return false, err
}

// foreign recognises, by the first bytes, a peer that does not speak Kafka.
func (w *wire) foreign(head []byte) error {
	if len(head) < 4 {
		return nil
	}
	switch size := binary.BigEndian.Uint32(head); {
	case !w.tls && (head[0] == 0x15 || head[0] == 0x16) && head[1] == 3:
		return &mismatch{ClassConfig, "this side speaks plaintext, but " + w.addr + " answered in TLS: turn kafka.tls.enabled on, or name its plaintext port in kafka.brokers", nil}
	case string(head[:4]) == "HTTP":
		return &mismatch{ClassConfig, w.addr + " answered in HTTP: it is no Kafka broker", nil}
	case size < 4 || size > maxAnswer:
		return &mismatch{ClassConfig, fmt.Sprintf("%s announced an answer of %d bytes: it is no Kafka broker, or the stream is broken", w.addr, size), nil}
	}
	return nil
}

// explainEnd adds what it may mean that the peer closed the connection without ever answering.
func (w *wire) explainEnd(err error) error {
	switch {
	case w.answers.Load() > 0:
		return err
	case isAlert(err): // TLS 1.3 refuses a client's certificate after the handshake
		return &mismatch{ClassAuth, w.addr + " refused the client certificate, or wants one", err}
	case !closedByPeer(err):
		return err
	}
	if w.tls {
		return fmt.Errorf("%s closed the connection without an answer: %w", w.addr, err)
	}
	return &mismatch{ClassRetriable, "this side speaks plaintext, and " + w.addr + " closed the connection without an answer, as a TLS port may do: look at kafka.brokers and kafka.tls.enabled", err}
}

// kill makes the connection useless at once, for the reason given; the first reason stays.
func (w *wire) kill(cause error) {
	w.once.Do(func() {
		w.cause = cause
		close(w.dead)
		_ = w.raw.Close() // it is thrown away, whatever it says
		_ = w.in.Close()
		_ = w.out.Close()
	})
}

// why gives the reason for which the connection died, nil while it lives.
func (w *wire) why() error {
	select {
	case <-w.dead:
		return w.cause
	default:
		return nil
	}
}

// Read gives sarama the next bytes of an answer.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.out.Read(p)
	if err != nil {
		if cause := w.why(); cause != nil {
			return n, cause
		}
	}
	return n, err
}

// Write sends one frame. It takes at most the request time-out. After a failure the connection is
// dead: half a frame would spoil whatever came behind it.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if cause := w.why(); cause != nil {
		return 0, cause
	}
	if err := w.stream.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		w.kill(err)
		return 0, err
	}
	n, err := w.stream.Write(p)
	if err != nil {
		w.kill(fmt.Errorf("write (%d of %d bytes): %w", n, len(p), err))
		return n, w.cause
	}
	return n, nil
}

// Close ends the connection.
func (w *wire) Close() error {
	w.kill(errClosed)
	return nil
}

// SetReadDeadline bounds sarama's wait for an answer.
func (w *wire) SetReadDeadline(t time.Time) error {
	err := w.out.SetReadDeadline(t)
	if cause := w.why(); cause != nil {
		return cause
	}
	return err
}

// SetWriteDeadline does nothing: Write sets its own, under its lock.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline bounds reads only, as above.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// LocalAddr is the TCP connection's.
func (w *wire) LocalAddr() net.Addr { return w.raw.LocalAddr() }

// RemoteAddr is the TCP connection's.
func (w *wire) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }
