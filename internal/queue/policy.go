package queue

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/event"
)

// Policy says what happens to events for which there is no space.
type Policy uint8

// The policies. Block loses nothing; the others never make the putter wait, and
// count what they drop. A Gap is never dropped: it is the proof of a loss.
const (
	// Block makes the putter wait: the socket stops, and upstream is the buffer.
	Block Policy = iota
	// DropNewest drops what arrives while the queue is full.
	DropNewest
	// DropOldest drops what has waited longest, to make space for what arrives.
	DropOldest
	// Sample admits a share of what arrives that falls from everything at half
	// full to nothing at full, so that what is stored is spread over time.
	Sample
	// Spill puts what arrives on disk while the queue is full, and from there behind
	// what waits in memory, in order. It drops what arrives while its share of the
	// disk is used up, too. It needs SpillTo; without, it is Block.
	Spill

	policies
)

var policyNames = [policies]string{"block", "drop-newest", "drop-oldest", "sample", "spill"}

// Policies returns all policies, Block first.
func Policies() []Policy { return []Policy{Block, DropNewest, DropOldest, Sample, Spill} }

// String returns the policy's name as flags and metrics show it.
func (p Policy) String() string {
	if p >= policies {
		return fmt.Sprintf("invalid(%d)", uint8(p))
	}
	return policyNames[p]
}

// ParsePolicy returns the policy of a name. An error lists the names.
func ParsePolicy(name string) (Policy, error) {
	if i := slices.Index(policyNames[:], name); i >= 0 {
		return Policy(i), nil
	}
	return Block, fmt.Errorf("policy %q is unknown: choose one of %s", name, strings.Join(policyNames[:], ", "))
}

// Drops counts dropped events by policy; that of Block stays 0.
type Drops [policies]int64

// Total is the sum over all policies.
func (d Drops) Total() (n int64) {
	for _, v := range d {
		n += v
	}
	return n
}

// SetPolicy changes what happens from now on. A putter that waits is let go on by
// any policy but Block. An invalid policy is Block.
func (q *Queue) SetPolicy(p Policy) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p >= policies || p == Spill && q.spill == nil {
		p = Block
	}
	q.policy = p
	if q.waiting > 0 {
		notify(q.space)
	}
}

// shed makes b fit by the policy, which is not Block, and takes ownership of it.
// The lock is held.
func (q *Queue) shed(b *event.Batch) {
	switch q.policy {
	case DropOldest:
		q.dropOldest(b)
		q.add(b)
		return
	case Spill:
		q.spillAway(b)
	case Sample:
		q.keep(b, q.sampled())
	default:
		q.keep(b, q.fits())
	}
}

// behind puts b behind what is on disk, or drops what the policy says: a change of the
// policy does not empty the disk, and nothing may overtake what waits there. Block
// has waited until nothing is.
func (q *Queue) behind(b *event.Batch) {
	switch q.policy {
	case DropNewest, Sample: // both admit nothing to a full queue
		q.dropBehind(b)
	case DropOldest:
		q.dropFront(len(b.Events))
		q.refill()
		q.after(b)
	default:
		q.spillAway(b)
	}
}

// after puts b where it belongs once something was dropped, which may have emptied
// the disk.
func (q *Queue) after(b *event.Batch) {
	if q.onDisk() || !q.fitsWhole(b) {
		q.spillAway(b)
		return
	}
	q.add(b)
}

// fits returns a function that admits events until the queue is full.
func (q *Queue) fits() func(*event.Event) bool {
	events, bytes := q.maxEvents-q.events, q.maxBytes-q.bytes
	full := false // once one was dropped, so are all that follow: no small one slips by
	return func(e *event.Event) bool {
		events--
		bytes -= size(e)
		full = full || events < 0 || bytes < 0
		return !full
	}
}

// sampled returns a function that admits the share of events that the fill allows,
// evenly spaced.
func (q *Queue) sampled() func(*event.Event) bool {
	events, bytes := q.events, q.bytes
	return func(e *event.Event) bool {
		fill := max(float64(events+1)/float64(q.maxEvents), float64(bytes+size(e))/float64(q.maxBytes))
		if fill > 1 {
			return false
		}
		q.credit += min(1, 2*(1-fill))
		if fill > 0.5 && q.credit < 1 {
			return false
		}
		q.credit = max(0, q.credit-1)
		events++
		bytes += size(e)
		return true
	}
}

// size is how much memory an admitted event takes, in bytes.
func size(e *event.Event) int64 { return int64(len(e.Key) + len(e.Value) + len(e.ID)) }

// keep adds the events of b for which admit says so, and counts the others as
// dropped. The position after b is kept in any case: what was dropped must not be
// delivered again.
func (q *Queue) keep(b *event.Batch, admit func(*event.Event) bool) {
	few := event.NewBatch()
	few.Cursor, few.Received = b.Cursor, b.Received
	for i := range b.Events {
		e := b.Events[i]
		if e.Route != event.Gap && !admit(&e) {
			q.drop(&e)
			continue
		}
		e.Key, e.Value, e.ID = keep(few, e.Key), keep(few, e.Value), keep(few, e.ID)
		*few.Add() = e
	}
	b.Release()
	q.add(few)
}

// dropOldest drops from the front until b fits, or nothing is left to drop.
func (q *Queue) dropOldest(b *event.Batch) {
	q.dropWhile(func() int {
		switch {
		case q.fitsWhole(b):
			return 0
		case q.bytes+int64(b.Bytes()) <= q.maxBytes:
			return q.events + len(b.Events) - q.maxEvents
		}
		return math.MaxInt
	})
}

// dropFront drops the n events that have waited longest, as far as they are in memory.
func (q *Queue) dropFront(n int) {
	least := q.events - n
	q.dropWhile(func() int { return q.events - least })
}

// dropWhile drops from the front as many events as over says, asked before each batch.
func (q *Queue) dropWhile(over func() int) {
	for i := q.head; i < len(q.batches); {
		old, over := q.batches[i], over()
		if over <= 0 {
			break
		}
		left := old.Events[:0]
		for j := range old.Events {
			e := &old.Events[j]
			if j >= over || e.Route == event.Gap {
				left = append(left, *e)
				continue
			}
			q.drop(e)
		}
		q.events -= len(old.Events) - len(left)
		clear(old.Events[len(left):])
		old.Events = left
		if len(left) > 0 || i != q.head {
			i++ // a gap is all that is left, or b fits
			continue
		}
		q.bytes -= int64(old.Bytes())
		q.batches[i] = nil
		q.head++
		i = q.head
		old.Release()
	}
	if q.empty() {
		q.batches, q.head = q.batches[:0], 0
	}
}

// drop counts an event as dropped. One that is not stored anyway is no loss.
func (q *Queue) drop(e *event.Event) {
	if e.Route != event.Skip {
		q.dropped[q.policy]++
	}
}
