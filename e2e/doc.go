// Package e2e runs the real shiplog binary against a real Apache Kafka, and reads back what it
// delivered with a client that shiplog does not use. It is a module of its own, so that the tests of
// shiplog itself need nothing but Go.
//
// Run it with `make e2e`. It needs Java 17 and Maven, and fetches Kafka from Maven Central into the
// user's cache folder; or brokers that are there already: SHIPLOG_E2E_BROKERS=host:port,host:port.
// Against those it makes topics with names of its own, and deletes them.
package e2e
