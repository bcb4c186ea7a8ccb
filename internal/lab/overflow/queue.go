package overflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// ErrClosed is returned by Put on a closed queue, and by Get when a closed one is empty.
var ErrClosed = errors.New("queue is closed")

// ErrSpill is wrapped by the error of Get when events cannot be read back from disk. Events
// are missing from then on: the stream must start again from the last cursor that Get
// returned.
var ErrSpill = errors.New("spilled events cannot be read back from disk")

// batchBytes is how large a batch becomes at most that is put together of several, in bytes.
const batchBytes = 120 << 10

// Queue holds batches in the order in which they were put, in memory and, behind those, on
// disk. It is for one goroutine that puts and one that gets; the rest is safe for any.
type Queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	chunks  []*chunk
	loaded  int // how many of the chunks are ready for Get; of the rest the first one is on disk
	now     Stats
	disk    disk
	err     error // why the disk cannot be read back
	closed  bool

	credit float64   // of Sample: a whole one admits an event
	since  time.Time // when the present wait of the putter began; zero when it does not wait
}

// chunk is a batch that waits. Its events are put together from several small ones, because
// each batch holds 128 KiB, however small it is.
type chunk struct {
	*event.Batch // without events and memory while they are on disk
	*spot        // on disk; nil in memory
}

// size is how many bytes of memory an event takes.
func size(e *event.Event) int64 { return int64(len(e.Key) + len(e.Value) + len(e.ID)) }

// takes is how many events a chunk has, and how many bytes of memory they take.
func (c *chunk) takes() (events int, bytes int64) {
	if c.spot != nil {
		return c.events, c.memory
	}
	for i := range c.Events {
		bytes += size(&c.Events[i])
	}
	return len(c.Events), bytes
}

// roomFor reports whether the events of another chunk can be put behind those of this one.
// Where there are none, only the cursor moves.
func (c *chunk) roomFor(next *chunk) bool {
	events, bytes := next.takes()
	return c.sameUpstream(next) && (events == 0 || c.spot == nil && int64(c.Bytes())+bytes <= batchBytes)
}

// sameUpstream reports whether both chunks come from the same server.
func (c *chunk) sameUpstream(d *chunk) bool {
	return c.Cursor.Host == d.Cursor.Host && c.Cursor.Origin == d.Cursor.Origin && c.Host == d.Host
}

// Stats is the state of a queue at one moment, and what it has done since the start.
type Stats struct {
	// Events and Bytes are those that wait in memory.
	Events, MaxEvents int
	Bytes, MaxBytes   int64
	// Blocked is how long the source has waited for space, including a wait that goes on.
	Blocked time.Duration
	Policy  Policy
	// Dropped counts events by the policy that dropped them.
	Dropped Drops
	// Spilled is what waits on disk, behind Events.
	Spilled Spilled
}

// New returns a queue. A batch that is larger than its bounds by itself is admitted when the
// queue is empty.
func New(cfg Config) *Queue {
	q := &Queue{now: Stats{MaxEvents: max(cfg.Events, 1), MaxBytes: max(cfg.Bytes, 1)},
		disk: disk{dir: cfg.Dir, Spilled: Spilled{MaxBytes: cfg.DiskBytes}}}
	q.changed = sync.NewCond(&q.mu)
	q.SetPolicy(cfg.Policy)
	return q
}

// SetPolicy changes what happens from now on. A source that waits goes on under any policy
// but Block. An invalid policy, and Spill without a directory, are Block.
func (q *Queue) SetPolicy(p Policy) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p >= policies || p == Spill && q.disk.dir == "" {
		p = Block
	}
	q.now.Policy = p
	q.changed.Broadcast()
}

// wait gives up the lock, which is held, until ok returns true or ctx ends.
func (q *Queue) wait(ctx context.Context, ok func() bool) error {
	defer context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})()
	for !ok() {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.changed.Wait()
	}
	return nil
}

// Put takes ownership of b. It waits until there is space for it, or drops what the policy
// says. It returns ErrClosed, or the context's error, and then b still belongs to the caller.
func (q *Queue) Put(ctx context.Context, b *event.Batch) error {
	c := &chunk{Batch: b}
	q.mu.Lock()
	defer q.mu.Unlock()
	admitted := func() bool {
		return q.closed || q.now.Policy != Block || !q.onDisk() && (len(q.chunks) == 0 || q.fits(c, 1))
	}
	if !admitted() {
		q.since = time.Now()
		err := q.wait(ctx, admitted)
		q.now.Blocked += time.Since(q.since)
		q.since = time.Time{}
		if err != nil {
			return err
		}
	}
	if q.closed {
		return ErrClosed
	}
	q.apply(c)
	q.changed.Broadcast()
	return nil
}

// fits reports whether the chunk fits into a share of the memory.
func (q *Queue) fits(c *chunk, share float64) bool {
	events, bytes := c.takes()
	return float64(q.now.Events+events) <= share*float64(q.now.MaxEvents) && float64(q.now.Bytes+bytes) <= share*float64(q.now.MaxBytes)
}

// add puts a chunk behind the others: its events behind those of the last chunk, where that
// has room for them and is in memory, too.
func (q *Queue) add(c *chunk) {
	if c.spot != nil {
		q.chunks = append(q.chunks, c)
		return
	}
	n := len(q.chunks)
	events, bytes := c.takes()
	if n == 0 || !q.chunks[n-1].roomFor(c) {
		last := &chunk{Batch: event.NewBatch()}
		last.Host = c.Host
		if !q.onDisk() {
			q.loaded++
		}
		q.chunks, n = append(q.chunks, last), n+1
	}
	if q.loaded == n {
		q.now.Events += events
		q.now.Bytes += bytes
	}
	q.chunks[n-1].Append(c.Batch)
	c.Release()
}

// Get returns the oldest events, of one server and with the cursor behind them, and waits
// for some if there are none. It returns ErrClosed when the queue is closed and empty, an
// error that wraps ErrSpill, or the context's error.
func (q *Queue) Get(ctx context.Context) (*event.Batch, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.wait(ctx, func() bool { return q.loaded > 0 || q.closed || q.err != nil }); err != nil {
		return nil, err
	}
	switch {
	case q.err != nil:
		return nil, q.err
	case q.loaded == 0:
		return nil, ErrClosed
	}
	c := q.chunks[0]
	q.chunks[0], q.chunks = nil, q.chunks[1:]
	q.loaded--
	events, bytes := c.takes()
	q.now.Events -= events
	q.now.Bytes -= bytes
	q.refill()
	q.changed.Broadcast()
	return c.Batch, nil
}

// onDisk reports whether events wait on disk: then new ones go behind them.
func (q *Queue) onDisk() bool { return q.loaded < len(q.chunks) }

// refill moves chunks from disk into the memory that is free.
func (q *Queue) refill() {
	for q.onDisk() && q.err == nil {
		c := q.chunks[q.loaded]
		if q.loaded > 0 && !q.fits(c, 1) {
			return
		}
		if err := q.disk.read(c); err != nil {
			q.err = fmt.Errorf("%w: %w", ErrSpill, err)
			return
		}
		events, bytes := c.takes()
		q.now.Events += events
		q.now.Bytes += bytes
		if q.loaded == 0 || !q.chunks[q.loaded-1].roomFor(c) {
			q.loaded++
			continue
		}
		// A worker that gets a few events at a time waits more than it works.
		q.chunks[q.loaded-1].Append(c.Batch)
		c.Release()
		copy(q.chunks[1:], q.chunks[:q.loaded]) // what is loaded closes up behind
		q.chunks[0], q.chunks = nil, q.chunks[1:]
	}
}

// Close ends the queue: Put fails from now on, Get returns what is left and then ErrClosed.
// It is idempotent.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}

// Discard gives up the events that wait, also on disk, and closes the queue. It is idempotent.
func (q *Queue) Discard() {
	q.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.chunks {
		q.disk.forget(c)
	}
	q.chunks, q.loaded, q.now.Events, q.now.Bytes = nil, 0, 0, 0
}

// open makes an empty queue of a closed one. Its counts go on.
func (q *Queue) open() {
	q.Discard()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.err = false, nil
}

// Stats returns the state now.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.now
	s.Spilled = q.disk.Spilled
	if !q.since.IsZero() {
		s.Blocked += time.Since(q.since)
	}
	return s
}
