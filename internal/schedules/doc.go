// Package schedules holds the tests that run the whole pipeline in simulated time: a World on the
// wire servers, ingesters, brokers, counters and the embedded Redis in one testing/synctest bubble,
// with faults, deaths and what is done about them chosen by a seed. Observers of its own (raw Kafka
// requests, a RESP reader) compare what is stored with the World at sampled instants, and what weir's web
// server answers with both. It has no code outside of tests.
package schedules
