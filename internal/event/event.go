// Package event holds what flows from a source to Kafka: events, the batches
// that carry them between goroutines, and the cursor from which a source can be
// resumed. It owns the memory of a batch. It knows no protocol, no Kafka and no
// Redis, and depends on the standard library alone.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Route says where an event goes. The zero value is invalid, so that an event
// that nobody classified cannot slip into a topic.
type Route uint8

// The routes of an event.
const (
	// Data goes to the source's data topic and is counted by its type.
	Data Route = iota + 1
	// Account goes to the source's topic of account and identity events.
	Account
	// Reject goes to the dead-letter topic: its type is the reason.
	Reject
	// Gap goes to the dead-letter topic: a range of events that upstream no longer offers.
	Gap
	// Skip is counted and not stored (canary events): the cursor moves past it.
	Skip
)

// String returns the route's name as logs and metrics show it.
func (r Route) String() string {
	switch r {
	case Data:
		return "data"
	case Account:
		return "account"
	case Reject:
		return "reject"
	case Gap:
		return "gap"
	case Skip:
		return "skip"
	}
	return "invalid(" + strconv.Itoa(int(r)) + ")"
}

// Limits on what an upstream can make the program hold.
const (
	// MaxValue is the largest event in bytes that is stored as it is. Wikimedia
	// documents messages of up to 4 MiB; a larger one becomes a Reject.
	MaxValue = 4 << 20
	// MaxHead is how many bytes of a rejected frame are kept.
	MaxHead = 64 << 10
	// MaxKind is the longest event type in bytes; a longer one is counted as OtherKind.
	MaxKind = 64
)

// Kinds that no upstream sends, in parentheses so that they cannot be taken for one.
const (
	// MalformedKind counts a record whose type is unknown.
	MalformedKind = "(malformed)"
	// OtherKind counts types beyond the limits on their number and length.
	OtherKind = "(other)"
	// DeletedKind counts, in a cursor that was rebuilt from its topics, the records
	// that had been deleted from them by then.
	DeletedKind = "(deleted)"
)

// Reasons for a Reject, and the type of a Gap: the `kind` header in the dead-letter topic.
const (
	ReasonMalformed = "malformed" // not valid JSON, or a required field is missing or of the wrong type
	ReasonTooLarge  = "too-large" // over MaxValue, or over what the topic accepts
	ReasonUnknown   = "unknown"   // well formed, of a kind that belongs in no topic
	ReasonError     = "error"     // an error frame or event that upstream sent in the stream
	ReasonBinary    = "binary"    // a binary frame that cannot be decompressed
	KindGap         = "gap"       // a Gap
)

// Event is one thing that an upstream said, decoded just far enough to be
// stored, ordered and counted. Its byte slices are views into the Batch that
// carries it and live as long as that batch.
type Event struct {
	Route Route
	// Kind is what is counted: create, update, delete, edit, new, log,
	// categorize, ...; for a Reject the reason, for a Gap KindGap.
	Kind string
	// Key orders the event: account DID, or wiki and page title. Never empty for Data.
	Key []byte
	// Value is the upstream's bytes, unchanged; of a Reject the head of them,
	// of a Gap a JSON object that describes it.
	Value []byte
	// ID is the event's identity: equal for two deliveries of one event from any
	// host, different for two events. Empty means that there is none to compare.
	ID []byte
	// TimeUS is the event time in Unix microseconds; 0 means unknown.
	TimeUS int64
	// AtUS is where the event stands in the upstream's own order of delivery, in Unix
	// microseconds, where that is not TimeUS; 0 means TimeUS.
	AtUS int64
	// Size is a Reject's full size in bytes, which Value may be the head of.
	Size int64
	// Detail says in words why a Reject was rejected, without upstream's bytes.
	Detail string
	// ReceivedUS is when the event's bytes had arrived, in Unix microseconds, where that
	// is not its batch's Received; 0 means that it is.
	ReceivedUS int64
	// Sum and Hash are the ingester's, of ID and of Key; without a Sum there are neither.
	Sum  [2]uint64
	Hash int32
}

// RejectID is the identity of rejected bytes: their digest, so that the same
// frame that is sent again is recognised like any other event.
func RejectID(sum [sha256.Size]byte) string { return "sha256:" + hex.EncodeToString(sum[:]) }
