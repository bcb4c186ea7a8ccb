// Package conformance holds the tests of Kafka's behaviour that every engine of
// weir has to pass: the embedded cluster, which is part of `go test ./...`, and
// three Apache Kafka brokers (WEIR_TEST_KAFKA=apache), which are the standard.
//
// What is expected comes from Kafka's documentation and its improvement proposals
// (KIPs), never from what an engine was seen to answer. Where the embedded cluster
// is known to differ, the test names an entry of cluster.Differences and asserts
// what that says instead: a difference that goes away fails the test, and leaves
// the list. The package has no code besides the tests.
package conformance
