// Package simulate is the two upstreams, offline: one seeded World whose event i
// is a pure function of the seed and i, a Timeline that says when event i
// happens, and two servers that speak Bluesky's Jetstream (WebSocket) and
// Wikimedia's EventStreams (Server-Sent Events) as the real ones do, faults
// included. It owns the ground truth that tests and `weir verify` compare with:
// Item says what event i is without any JSON having been parsed.
//
// It is not a client and knows no Kafka: the servers are reached over sockets like
// the real ones. BlueskyConfig and WikipediaConfig say what
// they do differently.
package simulate
