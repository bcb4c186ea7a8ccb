// Package interop tries weir against other people's programs: the real Jetstream
// server with its simulated network, Kafka's and Redis's other clients, Kafka Connect
// and Kafka Streams, and franz-go's own tests. It is a module of its own, so that
// their dependencies stay out of weir's. It drives the built program only.
package interop
