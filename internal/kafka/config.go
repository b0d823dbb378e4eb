package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Config says where a Producer sends, and how.
type Config struct {
	Brokers        []string // host:port, at least one
	ClientID       string
	Version        string // newest protocol to speak, such as "3.9.0"; "" for the newest both sides know
	DialTimeout    time.Duration
	RequestTimeout time.Duration
	TLS            *TLS  // nil: plaintext
	SASL           *SASL // nil: no login
	Topic          string
	Acks           int16 // 0, 1 or -1 (all)
	Idempotent     bool  // for Deliver; needs Acks -1
	Codec          string
	// CompressionLevel is for gzip (1 to 9) and zstd; nil for the codec's default.
	CompressionLevel *int
	// MaxInFlight is how many requests may be out at one leader.
	MaxInFlight int
	Log         *zap.Logger // nil: no log
	// Dial opens a connection; nil for the ordinary way. It must heed the context.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults for what Config leaves at zero.
const (
	DefaultDialTimeout    = 5 * time.Second
	DefaultRequestTimeout = 10 * time.Second
)

// check fills in what follows from the configuration, and says what is wrong with it.
func (p *Producer) check() error {
	c := &p.conf
	version := sarama.MaxVersion
	var err error
	if c.Version != "" {
		if version, err = sarama.ParseKafkaVersion(c.Version); err != nil {
			return fmt.Errorf("version %q: want a form such as 3.9.0: %w", c.Version, err)
		}
	}
	switch {
	case len(c.Brokers) == 0:
		return errors.New("no brokers")
	case c.Topic == "":
		return errors.New("no topic")
	case c.Acks < -1 || c.Acks > 1:
		return fmt.Errorf("acks %d: want 0, 1 or -1 (all)", c.Acks)
	case c.Idempotent && c.Acks != -1:
		return errors.New("an idempotent producer needs acks -1 (all)")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("broker %q: want host:port: %w", b, err)
		}
	}
	if err := p.checkCodec(version); err != nil {
		return err
	}
	p.produceVersion = produceVersion(version)
	if p.produceVersion == 0 {
		return fmt.Errorf("version %s: brokers before 0.11.0 are not supported", c.Version)
	}
	return p.checkSecurity(version)
}

func (p *Producer) checkCodec(version sarama.KafkaVersion) error {
	p.level = sarama.CompressionLevelDefault // 0 would store gzip uncompressed
	name := p.conf.Codec
	if name == "" {
		name = "none"
	}
	if err := p.codec.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("compression %q: want none, gzip, snappy, lz4 or zstd", name)
	}
	if p.codec == sarama.CompressionZSTD && !version.IsAtLeast(sarama.V2_1_0_0) {
		return fmt.Errorf("compression zstd needs version 2.1.0 or later, not %s", p.conf.Version)
	}
	if l := p.conf.CompressionLevel; l != nil {
		switch {
		case p.codec == sarama.CompressionGZIP && *l >= 1 && *l <= 9:
		case p.codec == sarama.CompressionZSTD && *l >= 1 && *l <= 22:
		default:
			return fmt.Errorf("compression level %d: want 1 to 9 with gzip, or 1 to 22 with zstd", *l)
		}
		p.level = *l
	}
	return nil
}

// checkSecurity makes the configuration that all connections share, and reads all files once.
func (p *Producer) checkSecurity(version sarama.KafkaVersion) error {
	p.base = sarama.NewConfig()
	p.base.Version = version
	if p.conf.ClientID != "" {
		p.base.ClientID = p.conf.ClientID
	}
	p.conf.ClientID = p.base.ClientID
	p.base.ApiVersionsRequest = true
	p.base.Net.DialTimeout = p.conf.DialTimeout
	p.base.Net.ReadTimeout = p.conf.RequestTimeout
	p.base.Net.WriteTimeout = p.conf.RequestTimeout
	// Our own count stays below: produce requests, and one for a producer id.
	p.base.Net.MaxOpenRequests = p.conf.MaxInFlight + 2
	p.base.Net.Proxy.Enable = true
	if p.conf.SASL != nil {
		p.secret = p.conf.SASL.file()
	}
	if t := p.conf.TLS; t != nil {
		if (t.CertFile == "") != (t.KeyFile == "") {
			return errors.New("tls: a client certificate needs both its file and its key's")
		}
		if _, err := t.clientConfig(p.conf.Brokers[0]); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	conf, err := p.brokerConfig(nil)
	if err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	return conf.Validate()
}

// produceVersion is the newest produce request that sarama and Kafka of that version know; sarama
// lowers it to what the broker at hand announced. 0 for versions that have no record batches.
func produceVersion(v sarama.KafkaVersion) int16 {
	for _, step := range []struct {
		from    sarama.KafkaVersion
		version int16
	}{
		{sarama.V3_7_0_0, 10},
		{sarama.V2_8_0_0, 9},
		{sarama.V2_4_0_0, 8},
		{sarama.V2_1_0_0, 7},
		{sarama.V2_0_0_0, 6},
		{sarama.V1_0_0_0, 5},
		{sarama.V0_11_0_0, 3},
	} {
		if v.IsAtLeast(step.from) {
			return step.version
		}
	}
	return 0
}

// brokerConfig is the configuration of one connection, with the credentials as they are now.
func (p *Producer) brokerConfig(w *wire) (*sarama.Config, error) {
	conf := *p.base
	conf.Net.Proxy.Dialer = wireDialer{w}
	if p.conf.SASL != nil {
		if err := p.conf.SASL.login(&conf, &p.secrets, p.secret); err != nil {
			return nil, &mismatch{class: ClassAuth, text: "login", cause: err}
		}
	}
	if w != nil {
		w.password = &conf.Net.SASL.Password
	}
	return &conf, nil
}

// wireDialer gives sarama the connection that is already open.
type wireDialer struct{ w *wire }

func (d wireDialer) Dial(string, string) (net.Conn, error) { return d.w, nil }

// brokerTimeout is how long a broker may wait for its replicas: less than we wait for the broker, so
// that its answer still comes.
func (p *Producer) brokerTimeout() time.Duration {
	return p.conf.RequestTimeout - p.conf.RequestTimeout/10
}
