package kafka

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy stands before one listener of a node and breaks the network on request. One goroutine may use it.
type Proxy struct {
	proxy *toxiproxy.Proxy
}

func newProxy(name, listen, upstream string) (*Proxy, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to the global logger
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, name, listen, upstream)
	return &Proxy{p}, p.Start()
}

// Toxic is a fault of the network, as toxiproxy names it: latency {latency, jitter: ms}, bandwidth {rate:
// KB/s}, timeout {timeout: ms; 0 swallows everything and never closes}, reset_peer {timeout: ms},
// limit_data {bytes}, slicer, slow_close.
type Toxic struct {
	Type       string           `json:"type"`
	Stream     string           `json:"stream"` // upstream: to the broker; downstream: from it
	Attributes map[string]int64 `json:"attributes"`
}

// Add adds a fault to all connections, those that are there and those to come.
func (p *Proxy) Add(t Toxic) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = p.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
	return err
}

// Heal takes all faults away, and listens again after a Cut. Connections that a timeout held are closed.
func (p *Proxy) Heal() error {
	p.proxy.Toxics.ResetToxics(context.Background())
	if p.proxy.Enabled {
		return nil
	}
	return p.proxy.Start()
}

// Cut closes all connections in the middle of whatever they do, and refuses new ones until Heal.
func (p *Proxy) Cut() { p.proxy.Stop() }

// Reset closes all connections; new ones are taken at once.
func (p *Proxy) Reset() error {
	p.proxy.Stop()
	return p.proxy.Start()
}

// Close ends the proxy.
func (p *Proxy) Close() { p.proxy.Stop() }

// Through puts something else in the place of the node's listener, and gives what was there. All connections
// are closed.
func (p *Proxy) Through(upstream string) (before string, err error) {
	before = p.proxy.Upstream
	p.proxy.Stop()
	p.proxy.Upstream = upstream
	return before, p.proxy.Start()
}
