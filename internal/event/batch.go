package event

import (
	"crypto/sha256"
	"sync"
	"time"
)

// chunk is the size in bytes of one piece of a batch's memory. A frame that
// does not fit the rest of a piece gets the next one.
const chunk = 128 << 10

// Batch carries consecutive events of one source between goroutines, with the
// cursor that follows the last of them. One goroutine owns it at a time.
type Batch struct {
	Events []Event
	// Cursor is the position after the last event: resuming there loses nothing.
	Cursor Cursor
	// Host is the server that sent the events; empty where it is the Cursor's. After a
	// change of servers the Cursor stays the old one's until the overlap is seen.
	Host string
	// Received is when the bytes of the events without a time of their own had arrived;
	// zero means not known.
	Received time.Time

	buf   []byte // the piece in use: len is what is taken
	bytes int    // bytes taken over all pieces
}

var batches = sync.Pool{New: func() any {
	return &Batch{Events: make([]Event, 0, 256), buf: make([]byte, 0, chunk)}
}}

// NewBatch returns an empty batch, from a pool.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Release gives the batch's memory back. Nothing may hold a view into it.
func (b *Batch) Release() {
	if cap(b.buf) > chunk { // one large frame must not pin its memory for good
		b.buf = make([]byte, 0, chunk)
	}
	clear(b.Events)
	b.Events, b.buf, b.bytes = b.Events[:0], b.buf[:0], 0
	b.Cursor, b.Host, b.Received = Cursor{}, "", time.Time{}
	batches.Put(b)
}

// Bytes is how much memory the events take, in bytes: what a queue bounds.
func (b *Batch) Bytes() int { return b.bytes }

// Spare returns at least n bytes of memory of the batch to read into, with
// length 0; what was read becomes part of the batch with Keep. Views handed out
// earlier stay valid.
func (b *Batch) Spare(n int) []byte {
	if cap(b.buf)-len(b.buf) < n {
		b.buf = make([]byte, 0, max(chunk, n))
	}
	return b.buf[len(b.buf):len(b.buf):cap(b.buf)]
}

// Keep takes the first n bytes of the memory that the last Spare returned, and
// returns them.
func (b *Batch) Keep(n int) []byte {
	from := len(b.buf)
	b.buf = b.buf[:from+n]
	b.bytes += n
	return b.buf[from : from+n : from+n]
}

// Copy keeps a copy of p in the batch.
func (b *Batch) Copy(p []byte) []byte {
	s := b.Spare(len(p))
	copy(s[:len(p)], p)
	return b.Keep(len(p))
}

// CopyString is Copy for a string.
func (b *Batch) CopyString(s string) []byte {
	p := b.Spare(len(s))
	copy(p[:len(s)], s)
	return b.Keep(len(s))
}

// Add appends an event and returns it to be filled in. The pointer is valid
// until the next Add.
func (b *Batch) Add() *Event {
	b.Events = append(b.Events, Event{})
	return &b.Events[len(b.Events)-1]
}

// Append copies the events of another batch to the end of this one, whose cursor becomes the
// other's.
func (b *Batch) Append(other *Batch) {
	own := func(p []byte) []byte {
		if p == nil { // a record's nil key means none
			return nil
		}
		return b.Copy(p)
	}
	if len(b.Events) == 0 && b.Received.IsZero() {
		b.Received = other.Received
	}
	for _, e := range other.Events {
		if !other.Received.Equal(b.Received) {
			e.ReceivedUS = other.ReceivedUS(&e)
		}
		e.Key, e.Value, e.ID = own(e.Key), own(e.Value), own(e.ID)
		*b.Add() = e
	}
	b.Cursor = other.Cursor
}

// ReceivedUS returns when the bytes of one of the batch's events had arrived, in Unix
// microseconds; 0 means not known.
func (b *Batch) ReceivedUS(e *Event) int64 {
	if e.ReceivedUS != 0 || b.Received.IsZero() {
		return e.ReceivedUS
	}
	return b.Received.UnixMicro()
}

// AddReject appends a Reject. head is a view into the batch or memory that the
// caller does not change; size and sum describe the whole frame.
func (b *Batch) AddReject(reason, detail string, head []byte, size, timeUS int64, sum [sha256.Size]byte) {
	id := b.CopyString(RejectID(sum))
	*b.Add() = Event{Route: Reject, Kind: reason, Detail: detail, Value: head[:min(len(head), MaxHead)],
		Size: size, ID: id, Key: id, TimeUS: timeUS}
}

// RejectFrame appends a Reject for a frame that is held whole.
func (b *Batch) RejectFrame(reason, detail string, frame []byte, timeUS int64) {
	b.AddReject(reason, detail, frame, int64(len(frame)), timeUS, sha256.Sum256(frame))
}
