package event

import (
	"slices"
	"time"
)

// Cursor is a position in an upstream. The zero value means "from now on".
// It is stored as JSON beside the events that it follows.
type Cursor struct {
	// Host is the server that Seq belongs to, as host:port.
	Host string `json:"host,omitempty"`
	// Seq is the server's own sequence number of the last event, 0 where it has
	// none. It means nothing on another host.
	Seq int64 `json:"seq,omitempty"`
	// TimeUS is the newest event time seen, in Unix microseconds.
	TimeUS int64 `json:"time_us,omitempty"`
	// Partitions are the positions in each upstream topic and partition that was
	// ever seen, for sources that merge several. The first is the one that Last
	// came from: their order means something.
	Partitions []Partition `json:"partitions,omitempty"`
	// Last is the identity of the last event: the overlap witness.
	Last string `json:"last,omitempty"`
	// Scope is what the subscription asked for. An event outside today's scope
	// cannot be a witness.
	Scope string `json:"scope,omitempty"`
	// Origin is where the events come from: OriginLive, or OriginSimulated and
	// the seed. Events of two origins never share a topic.
	Origin string `json:"origin,omitempty"`
}

// Origins of events. A simulated one has the seed appended: "simulated:1".
const (
	OriginLive      = "live"
	OriginSimulated = "simulated"
	// OriginHeader is the HTTP response header with which `weir simulate` says
	// that it is one; its value is the seed.
	OriginHeader = "Weir-Simulated"
)

// Partition is a position in one topic and partition of an upstream.
type Partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// TimestampMS is the newest timestamp seen there, in Unix milliseconds.
	TimestampMS int64 `json:"timestamp"`
}

// IsZero reports whether the cursor says nothing about a position.
func (c *Cursor) IsZero() bool { return c.Seq == 0 && c.TimeUS == 0 && len(c.Partitions) == 0 }

// Clone returns a copy that shares no memory.
func (c *Cursor) Clone() Cursor {
	d := *c
	d.Partitions = slices.Clone(c.Partitions)
	return d
}

// StreamError is an error of a source's connection that says what to do next.
// An error of another type, and a nil one, mean: connect again.
type StreamError struct {
	Err error
	// Permanent: trying again cannot help (a wrong URL, HTTP 400, 403, 404).
	Permanent bool
	// RetryAfter is how long upstream asked to be left alone; 0 where it did not.
	RetryAfter time.Duration
}

func (e *StreamError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StreamError) Unwrap() error { return e.Err }
