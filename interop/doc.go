// Package interop tries weir against other people's programs: the real Jetstream
// server with its simulated network, and Kafka's and Redis's other clients. It is a
// module of its own, so that their dependencies stay out of weir's. It drives the
// built program only.
package interop
