package kafka

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
)

// fact is what is known of one of the protocol's error codes.
type fact struct {
	name  string
	class Class
}

// facts classes the codes that a producer can meet: in the answer to a produce, metadata,
// InitProducerID or SASL request. A code that is not here can say nothing about what was written,
// so it is an unknown outcome.
var facts = map[sarama.KError]fact{
	sarama.ErrUnknown:                         {"UNKNOWN_SERVER_ERROR", ClassUnknown},
	sarama.ErrRequestTimedOut:                 {"REQUEST_TIMED_OUT", ClassUnknown},
	sarama.ErrNetworkException:                {"NETWORK_EXCEPTION", ClassUnknown},
	sarama.ErrNotEnoughReplicasAfterAppend:    {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", ClassUnknown},
	sarama.ErrKafkaStorageError:               {"KAFKA_STORAGE_ERROR", ClassUnknown}, // the disk failed, at or after the append
	sarama.ErrDuplicateSequenceNumber:         {"DUPLICATE_SEQUENCE_NUMBER", ClassUnknown},
	sarama.ErrMessageSizeTooLarge:             {"MESSAGE_TOO_LARGE", ClassTooLarge},
	sarama.ErrMessageSetSizeTooLarge:          {"RECORD_LIST_TOO_LARGE", ClassTooLarge},
	sarama.ErrInvalidTimestamp:                {"INVALID_TIMESTAMP", ClassInvalid},
	sarama.ErrInvalidRecord:                   {"INVALID_RECORD", ClassInvalid},
	sarama.ErrUnsupportedSASLMechanism:        {"UNSUPPORTED_SASL_MECHANISM", ClassAuth},
	sarama.ErrIllegalSASLState:                {"ILLEGAL_SASL_STATE", ClassAuth},
	sarama.ErrSASLAuthenticationFailed:        {"SASL_AUTHENTICATION_FAILED", ClassAuth},
	sarama.ErrDelegationTokenAuthDisabled:     {"DELEGATION_TOKEN_AUTH_DISABLED", ClassAuth},
	sarama.ErrDelegationTokenNotFound:         {"DELEGATION_TOKEN_NOT_FOUND", ClassAuth},
	sarama.ErrDelegationTokenExpired:          {"DELEGATION_TOKEN_EXPIRED", ClassAuth},
	sarama.ErrTopicAuthorizationFailed:        {"TOPIC_AUTHORIZATION_FAILED", ClassAuthorization},
	sarama.ErrGroupAuthorizationFailed:        {"GROUP_AUTHORIZATION_FAILED", ClassAuthorization},
	sarama.ErrClusterAuthorizationFailed:      {"CLUSTER_AUTHORIZATION_FAILED", ClassAuthorization},
	sarama.ErrUnknownTopicOrPartition:         {"UNKNOWN_TOPIC_OR_PARTITION", ClassNoTopic},
	unknownTopicID:                            {"UNKNOWN_TOPIC_ID", ClassNoTopic},
	inconsistentTopicID:                       {"INCONSISTENT_TOPIC_ID", ClassNoTopic},
	sarama.ErrInvalidTopic:                    {"INVALID_TOPIC_EXCEPTION", ClassConfig},
	sarama.ErrInvalidRequiredAcks:             {"INVALID_REQUIRED_ACKS", ClassConfig},
	sarama.ErrUnsupportedVersion:              {"UNSUPPORTED_VERSION", ClassConfig},
	sarama.ErrInvalidConfig:                   {"INVALID_CONFIG", ClassConfig},
	sarama.ErrInvalidRequest:                  {"INVALID_REQUEST", ClassConfig},
	sarama.ErrUnsupportedForMessageFormat:     {"UNSUPPORTED_FOR_MESSAGE_FORMAT", ClassConfig},
	sarama.ErrPolicyViolation:                 {"POLICY_VIOLATION", ClassConfig},
	sarama.ErrSecurityDisabled:                {"SECURITY_DISABLED", ClassConfig},
	sarama.ErrUnsupportedCompressionType:      {"UNSUPPORTED_COMPRESSION_TYPE", ClassConfig},
	sarama.ErrInvalidMessage:                  {"CORRUPT_MESSAGE", ClassRetriable},
	sarama.ErrLeaderNotAvailable:              {"LEADER_NOT_AVAILABLE", ClassRetriable},
	sarama.ErrNotLeaderForPartition:           {"NOT_LEADER_OR_FOLLOWER", ClassRetriable},
	sarama.ErrBrokerNotAvailable:              {"BROKER_NOT_AVAILABLE", ClassRetriable},
	sarama.ErrReplicaNotAvailable:             {"REPLICA_NOT_AVAILABLE", ClassRetriable},
	sarama.ErrOffsetsLoadInProgress:           {"COORDINATOR_LOAD_IN_PROGRESS", ClassRetriable},
	sarama.ErrConsumerCoordinatorNotAvailable: {"COORDINATOR_NOT_AVAILABLE", ClassRetriable},
	sarama.ErrNotCoordinatorForConsumer:       {"NOT_COORDINATOR", ClassRetriable},
	sarama.ErrNotEnoughReplicas:               {"NOT_ENOUGH_REPLICAS", ClassRetriable},
	sarama.ErrNotController:                   {"NOT_CONTROLLER", ClassRetriable},
	sarama.ErrConcurrentTransactions:          {"CONCURRENT_TRANSACTIONS", ClassRetriable},
	sarama.ErrListenerNotFound:                {"LISTENER_NOT_FOUND", ClassRetriable},
	sarama.ErrFencedLeaderEpoch:               {"FENCED_LEADER_EPOCH", ClassRetriable},
	sarama.ErrUnknownLeaderEpoch:              {"UNKNOWN_LEADER_EPOCH", ClassRetriable},
	sarama.ErrThrottlingQuotaExceeded:         {"THROTTLING_QUOTA_EXCEEDED", ClassRetriable},
	// Nothing was written under that producer id; a fresh one passes.
	sarama.ErrOutOfOrderSequenceNumber:           {"OUT_OF_ORDER_SEQUENCE_NUMBER", ClassRetriable},
	sarama.ErrInvalidProducerEpoch:               {"INVALID_PRODUCER_EPOCH", ClassRetriable},
	sarama.ErrInvalidProducerIDMapping:           {"INVALID_PRODUCER_ID_MAPPING", ClassRetriable},
	sarama.ErrUnknownProducerID:                  {"UNKNOWN_PRODUCER_ID", ClassRetriable},
	sarama.ErrTransactionalIDAuthorizationFailed: {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", ClassAuthorization},
	sarama.ErrDelegationTokenAuthorizationFailed: {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", ClassAuthorization},
	sarama.ErrDelegationTokenOwnerMismatch:       {"DELEGATION_TOKEN_OWNER_MISMATCH", ClassAuth},
	sarama.ErrDelegationTokenRequestNotAllowed:   {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", ClassAuth},
}

// Codes that sarama has no names for.
const (
	unknownTopicID      sarama.KError = 100
	inconsistentTopicID sarama.KError = 103
)

// factOf gives the protocol's name and the class of a code.
func factOf(code sarama.KError) fact {
	if f, ok := facts[code]; ok {
		return f
	}
	return fact{fmt.Sprintf("ERROR_%d", int16(code)), ClassUnknown}
}

// brokerError is the error for a code that a broker answered with, and its message, where it sent
// one.
func (p *Producer) brokerError(code sarama.KError, message *string, broker string) *Error {
	f := factOf(code)
	var err error = code
	if message != nil && *message != "" {
		err = errors.New(bounded(p.secrets.clean(*message)))
	}
	return p.withHint(&Error{Class: f.class, Kafka: f.name, Topic: p.conf.Topic, Broker: broker, Err: err, code: code}, err)
}

// maxWords bounds what a broker may say: it stands in logs, and in the failure log with each line.
const maxWords = 1000

func bounded(words string) string {
	if len(words) <= maxWords {
		return words
	}
	return strings.ToValidUTF8(words[:maxWords], "") + "..."
}

// sameKind says that two errors differ in their words at most.
func (e *Error) sameKind(other *Error) bool {
	if e == nil || other == nil {
		return e == other
	}
	return e.Class == other.Class && e.Kafka == other.Kafka && e.Broker == other.Broker && e.Hint == other.Hint
}

// mismatch is a difference between the two sides of a connection that a person has to mend.
type mismatch struct {
	class Class
	text  string
	cause error
}

func (m *mismatch) Error() string {
	if m.cause == nil {
		return m.text
	}
	return fmt.Sprintf("%s: %v", m.text, m.cause)
}

func (m *mismatch) Unwrap() error { return m.cause }

// Is makes sarama take the connection for closed, which it is.
func (m *mismatch) Is(target error) bool { return target == net.ErrClosed }

// saslCodes are looked for by errors.Is, because sarama's wrapped errors hide their code from
// errors.As.
var saslCodes = []sarama.KError{
	sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism, sarama.ErrIllegalSASLState,
	sarama.ErrClusterAuthorizationFailed,
}

// connectError classes what went wrong on the way to a broker, before anything was sent.
func (p *Producer) connectError(broker string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e := &Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: broker, Err: p.secrets.scrub(err)}
	e.setClass(err)
	return p.withHint(e, err)
}

// setClass finds the class of what went wrong on the way to a broker.
func (e *Error) setClass(err error) {
	for _, code := range saslCodes {
		if errors.Is(err, code) {
			e.Class, e.Kafka, e.code = factOf(code).class, factOf(code).name, code
			return
		}
	}
	var (
		m    *mismatch
		code sarama.KError
		conf sarama.ConfigurationError
	)
	switch {
	case errors.As(err, &m):
		e.Class = m.class
	case errors.As(err, &code):
		e.Class, e.Kafka, e.code = factOf(code).class, factOf(code).name, code
	case errors.As(err, &conf), errors.Is(err, sarama.ErrUnsupportedVersion):
		e.Class = ClassConfig
	}
}

// notSent classes an error that AsyncProduce returned: the request did not go out as a whole, so the
// broker took nothing from it. Attempted says that trying again on another connection is of no use.
func (p *Producer) notSent(broker string, err error) (e *Error, attempted bool) {
	var encoding sarama.PacketEncodingError
	switch {
	case errors.As(err, &encoding):
		class := ClassInvalid
		if strings.Contains(encoding.Info, "size") {
			class = ClassTooLarge
		}
		return &Error{Class: class, Topic: p.conf.Topic, Err: err}, true
	case errors.Is(err, sarama.ErrUnsupportedVersion):
		return &Error{Class: ClassConfig, Topic: p.conf.Topic, Broker: broker, Err: err}, true
	}
	return p.connectError(broker, err), false
}

// lost is the error of a request that was out when its connection broke: it may have been written.
func (p *Producer) lost(broker string, err error) *Error {
	return &Error{Class: ClassUnknown, Topic: p.conf.Topic, Broker: broker, Err: fmt.Errorf("no answer: %w", p.secrets.scrub(err))}
}

// gone is the error of a request that met a connection which had just ended.
func (p *Producer) gone(l *link) *Error {
	return &Error{Class: ClassRetriable, Topic: p.conf.Topic, Broker: l.addr, Err: errors.New("connection lost")}
}

// closedByPeer says that the other side ended the connection.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
