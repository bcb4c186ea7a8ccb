// Package intake bounds what clients can take of a server: the connections of a
// listener, and the memory of requests that were not answered yet. It knows no
// protocol. A listener has one Places and one Budget.
package intake

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Free is how many bytes of each request are not counted: a small request is
// always admitted, whatever other clients hold.
const Free = 16 << 10

// Deadline is how long a client may take from the first byte of a request to
// the last. Kafka and Redis clients give up on a request earlier than that.
const Deadline = time.Minute

// A client stalls when nothing of its request has arrived for stalled, or when the
// request has taken longer than slow without the server working on it. The time for
// which it had to wait is not counted.
const (
	stalled = time.Second
	slow    = 10 * time.Second
)

// errClosed ends the request of a connection that the budget closed.
var errClosed = errors.New("closed: the client stalls while requests hold too much memory")

// Budget bounds the bytes of all requests of one listener that were not answered.
// A request that would exceed the bound waits: the server reads no more of it until
// others are answered. That is backpressure, not an error. Requests of clients
// that stall are closed meanwhile, oldest first. The request that began first may
// exceed the bound, so that there is always one that goes on. It is safe for
// concurrent use.
type Budget struct {
	limit int64

	mu      sync.Mutex
	done    sync.Cond // signalled when somebody who waits should look again
	held    int64     // by all requests
	working int64     // by those that the server works on
	begun   uint64
	open    map[*Request]struct{} // those that the server does not work on
	closed  atomic.Int64
	waits   atomic.Int64
}

// NewBudget returns a budget of limit bytes and one request.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit, open: map[*Request]struct{}{}}
	b.done.L = &b.mu
	return b
}

// Held returns the bytes that are counted now.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Closed returns how many connections the budget has closed.
func (b *Budget) Closed() int64 { return b.closed.Load() }

// Waits returns how often a request had to wait for others.
func (b *Budget) Waits() int64 { return b.waits.Load() }

// Request is the account of one request from its first byte to its answer. After
// Done it can be used for the next one. Its methods are called by one goroutine
// at a time. Work and Done do nothing on nil.
type Request struct {
	budget *Budget // nil: it takes nothing from a budget, and only its size is known
	hangUp func()

	size    int64 // used by the owner only
	held    int64 // the rest is guarded by budget.mu
	order   uint64
	began   time.Time
	last    time.Time // when something arrived
	waiting bool
	arrived bool
	working bool
	closed  bool
}

// Request returns an account. hangUp closes the connection. It is called from a
// goroutine of its own, and at most once.
func (b *Budget) Request(hangUp func()) *Request {
	return &Request{budget: b, hangUp: hangUp}
}

// Add counts n more bytes, before they are allocated or when they have arrived.
// It may wait for other requests.
func (r *Request) Add(n int) error {
	before := max(r.size, Free)
	r.size += int64(n)
	more := r.size - before
	if more <= 0 || r.budget == nil {
		return nil
	}
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.closed {
		return errClosed
	}
	r.last = time.Now()
	if r.held == 0 {
		b.begun++
		r.order, r.began = b.begun, r.last
		b.open[r] = struct{}{}
	}
	if b.held+more > b.limit && !b.wait(r, more) {
		return errClosed
	}
	r.held += more
	b.held += more
	return nil
}

// wait waits until r may hold more bytes; false if its connection is closed.
func (b *Budget) wait(r *Request, more int64) bool {
	b.waits.Add(1)
	r.waiting = true
	for !r.closed && b.held+more > b.limit {
		oldest, closed := b.closeStalled()
		if closed {
			continue
		}
		if oldest == r && b.working == 0 {
			break
		}
		wake := time.AfterFunc(stalled, b.done.Broadcast)
		b.done.Wait()
		wake.Stop()
	}
	now := time.Now()
	r.waiting, r.began, r.last = false, r.began.Add(now.Sub(r.last)), now
	return !r.closed
}

// closeStalled closes one connection whose client stalls, the oldest one, and
// returns the oldest request of the other clients.
func (b *Budget) closeStalled() (oldest *Request, closed bool) {
	now := time.Now()
	var stalls *Request
	for r := range b.open {
		if !r.waiting && (!r.arrived && now.Sub(r.last) >= stalled || now.Sub(r.began) >= slow) {
			if stalls == nil || r.order < stalls.order {
				stalls = r
			}
		} else if oldest == nil || r.order < oldest.order {
			oldest = r
		}
	}
	if stalls != nil {
		stalls.closed = true
		b.closed.Add(1)
		b.drop(stalls) // its owner drops the bytes as soon as it reads again
		go stalls.hangUp()
	}
	return oldest, stalls != nil
}

func (b *Budget) drop(r *Request) {
	if r.working {
		b.working -= r.held
	}
	b.held -= r.held
	r.held, r.arrived, r.working = 0, false, false
	delete(b.open, r)
	b.done.Broadcast()
}

// Size returns the bytes of the request so far.
func (r *Request) Size() int64 { return r.size }

// Counted reports whether the request takes anything from the budget.
func (r *Request) Counted() bool { return r != nil && r.budget != nil && r.size > Free }

// Arrived notes that the request is complete.
func (r *Request) Arrived() {
	if r.Counted() {
		r.budget.mu.Lock()
		r.arrived = true
		r.budget.mu.Unlock()
	}
}

// Work notes that the server works on the request, and needs nothing from any
// client for that. From now on others wait for it, and it is not closed.
func (r *Request) Work() {
	if !r.Counted() {
		return
	}
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.working || r.closed {
		return
	}
	r.working = true
	b.working += r.held
	delete(b.open, r)
}

// Done ends the request: it was answered, or its connection has ended.
func (r *Request) Done() {
	if r == nil {
		return
	}
	counted := r.Counted()
	r.size = 0
	if !counted {
		return
	}
	r.budget.mu.Lock()
	r.budget.drop(r)
	r.budget.mu.Unlock()
}
