// Package intake bounds the memory of requests that have arrived only in part.
// It knows no protocol: a listener has one Budget, and each connection counts
// against it what its request occupies until the request is complete.
package intake

import (
	"errors"
	"sync"
	"time"
)

// Free is how many bytes of each request are not counted: a small request is
// always admitted, whatever other clients hold.
const Free = 16 << 10

// Deadline is how long a client may take from the first byte of a request to
// the last. Kafka and Redis clients give up on a request earlier than that.
const Deadline = time.Minute

// ErrClosed ends the request of a connection that the budget closed.
var ErrClosed = errors.New("closed: too much memory is held by requests that are not complete")

// Budget bounds the bytes of all requests of one listener that are not complete.
// When a request would exceed the bound, the budget closes the connections whose
// requests began first. A client that sends without a pause therefore outlives
// every client that stalls. It is safe for concurrent use.
type Budget struct {
	limit int64

	mu     sync.Mutex
	held   int64
	begun  uint64
	open   map[*Request]struct{}
	closed int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, open: map[*Request]struct{}{}}
}

// Held returns the bytes that are counted now.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Closed returns how many connections the budget has closed.
func (b *Budget) Closed() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Request is the request that a connection currently receives, one after another.
type Request struct {
	budget *Budget
	hangUp func()

	size   int64 // used by the owner only
	held   int64 // the rest is guarded by budget.mu
	order  uint64
	closed bool
}

// Request returns the account of one connection. hangUp closes the connection. It
// is called from a goroutine of its own, and at most once.
func (b *Budget) Request(hangUp func()) *Request {
	return &Request{budget: b, hangUp: hangUp}
}

// Add counts n more bytes, before they are allocated or when they have arrived.
func (r *Request) Add(n int) error {
	before := max(r.size, Free)
	r.size += int64(n)
	more := r.size - before
	if more <= 0 {
		return nil
	}
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.held == 0 {
		b.begun++
		r.order = b.begun
		b.open[r] = struct{}{}
	}
	r.held += more
	b.held += more
	for b.held > b.limit {
		b.closeOldest()
	}
	if r.closed {
		return ErrClosed
	}
	return nil
}

// closeOldest closes the connection whose request began first. Its bytes are no
// longer counted: its owner drops them as soon as it reads again.
func (b *Budget) closeOldest() {
	var oldest *Request
	for r := range b.open {
		if oldest == nil || r.order < oldest.order {
			oldest = r
		}
	}
	oldest.closed = true
	b.closed++
	b.drop(oldest)
	go oldest.hangUp()
}

func (b *Budget) drop(r *Request) {
	b.held -= r.held
	r.held = 0
	delete(b.open, r)
}

// Size returns the bytes of the request so far.
func (r *Request) Size() int64 { return r.size }

// Done ends the request: it is complete, or its connection has ended.
func (r *Request) Done() {
	counted := r.size > Free
	r.size = 0
	if !counted {
		return
	}
	r.budget.mu.Lock()
	r.budget.drop(r)
	r.budget.mu.Unlock()
}
