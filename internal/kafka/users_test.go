package kafka

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// recorder keeps what was written to each connection.
type recorder struct {
	mu    sync.Mutex
	conns []*recorded
}

type recorded struct {
	net.Conn
	r       *recorder
	written bytes.Buffer
}

func (r *recorder) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := dialer(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := &recorded{Conn: c, r: r}
	r.conns = append(r.conns, rec)
	return rec, nil
}

func (c *recorded) Write(p []byte) (int, error) {
	c.r.mu.Lock()
	c.written.Write(p)
	c.r.mu.Unlock()
	return c.Conn.Write(p)
}

// Two sources with users of their own never share a connection: each connection has one user's login, and
// carries that user's lines alone.
func TestTwoUsersNeverShareAConnection(t *testing.T) {
	c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "alice-word"), kfake.Superuser("PLAIN", "bob", "bob-word"))
	r := &recorder{}
	var producers []*Producer
	for _, user := range []string{"alice", "bob"} {
		s := settings(c.ListenAddrs())
		s.Dial = r.dial
		s.SASL = &SASL{Mechanism: "PLAIN", Username: user, Password: user + "-word"}
		producers = append(producers, start(t, s))
	}
	for range 3 {
		for i, user := range []string{"alice", "bob"} {
			ready(t, producers[i], 1)
			if res := send(t, producers[i], lines(producers[i], 0, 3, "line-of-"+user))[0]; res.Err != nil {
				t.Fatalf("result %+v", res)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	carried := map[string]int{}
	for i, conn := range r.conns {
		text := conn.written.Bytes()
		for user, other := range map[string]string{"alice": "bob", "bob": "alice"} {
			if !bytes.Contains(text, []byte("\x00"+user+"\x00")) {
				continue
			}
			carried[user] += bytes.Count(text, []byte("line-of-"+user))
			if bytes.Contains(text, []byte("\x00"+other+"\x00")) || bytes.Contains(text, []byte("line-of-"+other)) {
				t.Errorf("connection %d of %s carries something of %s", i, user, other)
			}
		}
	}
	if carried["alice"] != 9 || carried["bob"] != 9 {
		t.Errorf("lines on connections of their own user: %v, want 9 each", carried)
	}
}
