// Package e2e tests the shiplog binary against a real Apache Kafka of three nodes, which its first test
// starts from the jars of Maven Central (package kafka). "make e2e" runs them all; SHIPLOG_E2E_BROKERS
// names brokers of one's own for the tests that break nothing.
//
// A test of a fault is a scene: a shiplog with one source a mode, each with a file, a writer and a topic of its
// own. The test lets things go wrong, drains, replays, and reckons: an oracle that counts numbered lines and
// "shiplog audit" must agree on what was lost and repeated, and both must stay within the contract of the
// mode. The rows come out as a table; "make chaos" runs the long form and writes docs/RELIABILITY.md.
//
// TestSecurity has a broker of its own with TLS, every login and permissions, and authorities, users and tokens
// that are made for it.
//
// The module is apart from shiplog's own: users of shiplog need none of what it needs.
package e2e
