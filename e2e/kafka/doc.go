// Package kafka starts real Apache Kafka clusters of KRaft nodes on loopback, for tests: from the jars of
// Maven Central, in folders and on ports of their own. Nodes can be killed, stopped, paused and started
// again; a listener of each stands behind a toxiproxy, which breaks the network on request.
package kafka
