package kafka

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
)

// classes says, for each code that a producer can meet, what it must be taken for.
var classes = map[Class][]int16{
	ClassTooLarge:      {10, 18},
	ClassInvalid:       {32, 87},
	ClassAuth:          {33, 34, 58, 61, 62, 63, 64, 66},
	ClassAuthorization: {29, 30, 31, 53, 65},
	ClassNoTopic:       {3, 100, 103},
	ClassConfig:        {17, 21, 35, 40, 42, 43, 44, 54, 76},
	ClassRetriable:     {2, 5, 6, 8, 9, 14, 15, 16, 19, 41, 45, 47, 49, 51, 59, 72, 74, 75, 89},
}

func TestEveryCodeHasItsClass(t *testing.T) {
	want := make(map[int16]Class)
	for class, codes := range classes {
		for _, c := range codes {
			want[c] = class
		}
	}
	p, err := New(settings([]string{"x:1"}))
	if err != nil {
		t.Fatal(err)
	}
	for code := int16(-1); code < 200; code++ {
		class, ok := want[code]
		if !ok {
			class = ClassUnknown // nothing is known of what was written
		}
		e := p.brokerError(sarama.KError(code), nil, "b:1")
		if code == 0 {
			continue
		}
		if e.Class != class {
			t.Errorf("code %d (%s) is of class %s, want %s", code, e.Kafka, e.Class, class)
		}
		// franz-go keeps the name that code 6 had before Kafka 2.6.
		if known := kerr.TypedErrorForCode(code); known != nil && code != 6 && !strings.HasPrefix(e.Kafka, "ERROR_") && e.Kafka != known.Message {
			t.Errorf("code %d is called %s, want %s", code, e.Kafka, known.Message)
		}
		// What we try again, other clients do too; the codes about sequences need a fresh id first, and
		// CONCURRENT_TRANSACTIONS (51) is retried by Java's client.
		if known := kerr.TypedErrorForCode(code); class == ClassRetriable && !known.Retriable && code != 51 && !aboutSequence(sarama.KError(code)) {
			t.Errorf("code %d (%s) is not retriable", code, e.Kafka)
		}
	}
	if e := p.brokerError(99, nil, ""); e.Kafka != "ERROR_99" {
		t.Errorf("an unnamed code is called %q", e.Kafka)
	}
}

func TestErrorsBeforeASend(t *testing.T) {
	p, err := New(settings([]string{"x:1"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		err       error
		class     Class
		attempted bool
	}{
		{io.EOF, ClassRetriable, false},
		{errors.New("write: broken pipe"), ClassRetriable, false},
		{sarama.ErrNotConnected, ClassRetriable, false},
		{sarama.ConfigurationError("x"), ClassConfig, false},
		{sarama.ErrUnsupportedVersion, ClassConfig, true},
		{sarama.PacketEncodingError{Info: "invalid request size (1)"}, ClassTooLarge, true},
		{sarama.PacketEncodingError{Info: "invalid timestamp"}, ClassInvalid, true},
		{sarama.ErrSASLAuthenticationFailed, ClassAuth, false},
		{sarama.Wrap(sarama.ErrSASLAuthenticationFailed, errors.New("no")), ClassAuth, false},
		{fmt.Errorf("x: %w", sarama.ErrClusterAuthorizationFailed), ClassAuthorization, false},
		{&mismatch{class: ClassConfig, text: "x"}, ClassConfig, false},
	} {
		e, attempted := p.notSent("b:1", tt.err)
		if e.Class != tt.class || attempted != tt.attempted {
			t.Errorf("%v: class %s attempted %v, want %s %v", tt.err, e.Class, attempted, tt.class, tt.attempted)
		}
	}
	if e := p.lost("b:1", io.EOF); e.Class != ClassUnknown {
		t.Errorf("a lost answer is of class %s", e.Class)
	}
}

func TestClassesSayWhatTheySpeakAbout(t *testing.T) {
	line := []Class{ClassTooLarge, ClassInvalid}
	source := []Class{ClassAuth, ClassAuthorization, ClassNoTopic, ClassConfig}
	for _, c := range []Class{ClassNone, ClassTooLarge, ClassInvalid, ClassAuth, ClassAuthorization, ClassNoTopic, ClassConfig, ClassRetriable, ClassUnknown} {
		if c.OfLine() != slices.Contains(line, c) || c.OfSource() != slices.Contains(source, c) {
			t.Errorf("class %s: of line %v, of source %v", c, c.OfLine(), c.OfSource())
		}
	}
}

func TestErrorsNameTopicBrokerAndCause(t *testing.T) {
	e := &Error{Class: ClassNoTopic, Kafka: "UNKNOWN_TOPIC_OR_PARTITION", Topic: "t", Broker: "b:1", Err: io.EOF}
	if got, want := e.Error(), "topic t at b:1: UNKNOWN_TOPIC_OR_PARTITION (no_topic): EOF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(e, io.EOF) {
		t.Error("the cause is hidden")
	}
}

func TestSecretsAreScrubbed(t *testing.T) {
	var s secrets
	s.remember("hunter2")
	s.remember("")
	if got := s.scrub(errors.New("login hunter2 failed")).Error(); got != "login *** failed" {
		t.Errorf("%q", got)
	}
	if got := s.scrub(io.EOF); got != io.EOF {
		t.Errorf("a harmless error became %v", got)
	}
}
