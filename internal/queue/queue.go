// Package queue is the bounded first-in first-out queue between a socket and
// Kafka. It owns how much may wait there, in events and in bytes. When it is full,
// the reader of the socket waits, and upstream becomes the buffer. It knows nothing
// of sockets and Kafka.
package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// ErrClosed is returned by Put on a closed queue, and by Get when nothing is
// left in one.
var ErrClosed = errors.New("queue is closed")

// mergeBytes is how full a waiting batch may become by taking in the next one, in
// bytes. A batch owns its memory in pieces of 128 KiB, so a queue of batches of
// one event each would hold far more memory than it counts; merged, two
// neighbours always fill more than one such piece.
const mergeBytes = 120 << 10

// Queue holds batches in the order in which they were put. It is safe for
// concurrent use; order between several putters is the order of admission.
type Queue struct {
	maxEvents int
	maxBytes  int64

	mu      sync.Mutex
	batches []*event.Batch // batches[head:] wait
	head    int
	events  int
	bytes   int64
	closed  bool
	want    level // what the getter waits for

	blocked time.Duration // finished waits of putters
	waiting int           // putters that wait now
	since   time.Time     // when waiting last became nonzero

	ready chan struct{} // one token: want is reached, or the queue was closed
	space chan struct{} // one token: something was taken, or the queue was closed
}

// level is an amount; it is reached when either part is.
type level struct {
	events int
	bytes  int64
}

// Stats is the state of a queue at one moment.
type Stats struct {
	Events, MaxEvents int
	Bytes, MaxBytes   int64
	// Blocked is how long putters have waited for space since the start,
	// including waits that go on.
	Blocked time.Duration
}

// New returns a queue that holds at most maxEvents events and maxBytes bytes
// (both at least 1). A batch that is larger than that by itself is admitted when
// the queue is empty.
func New(maxEvents int, maxBytes int64) *Queue {
	return &Queue{maxEvents: max(maxEvents, 1), maxBytes: max(maxBytes, 1), want: level{events: 1},
		ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// Put takes ownership of b and blocks until there is space for it. It returns
// ErrClosed, or the context's error, and then b still belongs to the caller.
func (q *Queue) Put(ctx context.Context, b *event.Batch) error {
	q.mu.Lock()
	for !q.admits(b) {
		if err := q.waitForSpace(ctx); err != nil {
			q.mu.Unlock()
			return err
		}
	}
	defer q.mu.Unlock()
	if q.waiting > 0 {
		notify(q.space) // the next putter may fit too, or must learn of the end
	}
	if q.closed {
		return ErrClosed
	}
	q.add(b)
	if q.reached() {
		notify(q.ready)
	}
	return nil
}

// admits reports whether Put need not wait, called with the lock held. A closed queue
// admits so that Put stops waiting.
func (q *Queue) admits(b *event.Batch) bool {
	return q.closed || q.empty() || q.events+len(b.Events) <= q.maxEvents && q.bytes+int64(b.Bytes()) <= q.maxBytes
}

// waitForSpace gives up the lock until something was taken.
func (q *Queue) waitForSpace(ctx context.Context) error {
	if q.waiting++; q.waiting == 1 {
		q.since = time.Now()
	}
	notify(q.ready) // a getter that waits for more waits in vain
	q.mu.Unlock()
	var err error
	select {
	case <-q.space:
	case <-ctx.Done():
		err = ctx.Err()
	}
	q.mu.Lock()
	if q.waiting--; q.waiting == 0 {
		q.blocked += time.Since(q.since)
	}
	return err
}

// add appends b, into the last waiting batch where that has room.
func (q *Queue) add(b *event.Batch) {
	if !q.empty() {
		tail := q.batches[len(q.batches)-1]
		if before := tail.Bytes(); before+b.Bytes() <= mergeBytes && sameUpstream(tail, b) {
			q.events += len(b.Events)
			tail.Append(b)
			b.Release()
			q.bytes += int64(tail.Bytes() - before)
			return
		}
	}
	if len(q.batches) == cap(q.batches) && q.head > 0 { // reuse what was taken before growing
		n := copy(q.batches, q.batches[q.head:])
		clear(q.batches[n:])
		q.batches, q.head = q.batches[:n], 0
	}
	q.batches = append(q.batches, b)
	q.events += len(b.Events)
	q.bytes += int64(b.Bytes())
}

// sameUpstream reports whether what the cursor of b says of where events come
// from is also true of tail's.
func sameUpstream(tail, b *event.Batch) bool {
	return tail.Cursor.Host == b.Cursor.Host && tail.Cursor.Origin == b.Cursor.Origin
}

// empty reports whether no batch waits.
func (q *Queue) empty() bool { return q.head == len(q.batches) }

// reached reports whether what the getter waits for is there. Any batch will do
// for one event: a batch can consist of a cursor.
func (q *Queue) reached() bool {
	return !q.empty() && (q.want.events <= 1 || q.events >= q.want.events || q.bytes >= q.want.bytes)
}

// Get returns the oldest batch, and waits for one if there is none. It returns
// ErrClosed when the queue is closed and empty, or the context's error.
func (q *Queue) Get(ctx context.Context) (*event.Batch, error) {
	for {
		if b, ok := q.TryGet(); ok {
			return b, nil
		}
		if err := q.Wait(ctx, 1, 0, -1); err != nil {
			return nil, err
		}
	}
}

// TryGet returns the oldest batch if there is one.
func (q *Queue) TryGet() (*event.Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.empty() {
		return nil, false
	}
	b := q.batches[q.head]
	q.batches[q.head] = nil
	if q.head++; q.empty() {
		q.batches, q.head = q.batches[:0], 0
	}
	q.events -= len(b.Events)
	q.bytes -= int64(b.Bytes())
	notify(q.space)
	return b, true
}

// Wait returns when at least events events or at least bytes bytes wait, when a
// putter is blocked, when the time is over (a negative limit means none), or when
// the queue is closed. It is for the one goroutine that gets. It returns ErrClosed
// when the queue is closed and empty, or the context's error.
func (q *Queue) Wait(ctx context.Context, events int, bytes int64, limit time.Duration) error {
	q.mu.Lock()
	q.want = level{events, bytes}
	select {
	case <-q.ready: // of an earlier wait
	default:
	}
	empty, closed := q.empty(), q.closed
	enough := q.reached() || q.waiting > 0 || closed
	q.mu.Unlock()
	switch {
	case closed && empty:
		return ErrClosed
	case enough:
		return nil
	}

	var timeout <-chan time.Time
	if limit >= 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-q.ready:
		return nil
	case <-timeout:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the queue: Put fails from now on, Get returns what is left and then
// ErrClosed. It is idempotent.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	notify(q.ready)
	notify(q.space)
}

// Discard gives up the events that still wait, and closes the queue. It is idempotent.
func (q *Queue) Discard() {
	q.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batches, q.head, q.events, q.bytes = nil, 0, 0, 0
}

// Stats returns the state now.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Events: q.events, MaxEvents: q.maxEvents, Bytes: q.bytes, MaxBytes: q.maxBytes, Blocked: q.blocked}
	if q.waiting > 0 {
		s.Blocked += time.Since(q.since)
	}
	return s
}

// notify leaves a token unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
