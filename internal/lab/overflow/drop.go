package overflow

import (
	"fmt"

	"github.com/weir-project/weir/internal/event"
)

// apply puts a chunk where the policy says. Nothing may overtake events on disk: a change of
// the policy does not empty it. The cursor behind dropped events is kept in any case, so that
// they are not delivered again.
func (q *Queue) apply(c *chunk) {
	behind := q.onDisk()
	switch q.policy {
	case DropNewest, Sample:
		if share := map[Policy]float64{DropNewest: 1, Sample: 0.5}[q.policy]; behind || !q.fits(c, share) {
			q.filter(c, q.admit(behind))
		}
	case DropOldest:
		n := 0
		q.dropOldest(func() bool {
			n++
			return behind && n > len(c.Events) || !behind && q.fits(c, 1)
		})
		q.refill()
	}
	if q.onDisk() || (behind || q.policy == Spill) && len(q.chunks) > 0 && !q.fits(c, 1) {
		q.spill(c)
	} else {
		q.add(c)
	}
}

// admit returns a function that says which of the new events DropNewest or Sample keep.
// Neither admits any while older ones wait on disk.
func (q *Queue) admit(behind bool) func(*event.Event) bool {
	events, bytes, full := q.events, q.bytes, behind
	return func(e *event.Event) bool {
		fill := max(float64(events+1)/float64(q.maxEvents), float64(bytes+size(e))/float64(q.maxBytes))
		if q.policy == DropNewest {
			full = full || fill > 1 // once one was dropped, so are all that follow: no small one slips by
		}
		if full || fill > 1 {
			return false
		}
		if q.policy == Sample {
			q.credit += min(1, 2*(1-fill))
			if fill > 0.5 && q.credit < 1 {
				return false
			}
			q.credit = max(0, q.credit-1)
		}
		events++
		bytes += size(e)
		return true
	}
}

// filter drops the events of a new chunk that are not admitted, except gaps.
func (q *Queue) filter(c *chunk, admit func(*event.Event) bool) {
	left := c.Events[:0]
	for _, e := range c.Events {
		if e.Route == event.Gap || admit(&e) {
			left = append(left, e)
		} else {
			q.drop(&e)
		}
	}
	clear(c.Events[len(left):])
	c.Events = left
}

// dropOldest drops events from the front of the memory until enough returns true, which is
// asked before each; nothing may be left to drop before.
func (q *Queue) dropOldest(enough func() bool) {
	kept := q.chunks[:0]
	done := false
	for _, c := range q.chunks {
		if !done {
			q.filter(c, func(e *event.Event) bool {
				if done = done || enough(); !done {
					q.events--
					q.bytes -= size(e)
				}
				return done
			})
		}
		if len(c.Events) > 0 {
			kept = append(kept, c)
		}
	}
	clear(q.chunks[len(kept):])
	q.chunks = kept
}

// drop counts an event as dropped. One that is not stored anyway is not a loss.
func (q *Queue) drop(e *event.Event) {
	if e.Route != event.Skip {
		q.dropped[q.policy]++
	}
}

// spill puts a chunk behind the events on disk. Where the disk's share is used up or the disk
// fails, it drops the events and keeps the gaps and the cursor.
func (q *Queue) spill(c *chunk) {
	if len(c.Events) > 0 && q.disk.write(c, false) {
		return
	}
	q.filter(c, func(*event.Event) bool { return false })
	switch n := len(q.disk.entries); {
	case n == 0:
		q.add(c) // gaps are more than fits, but little, and a proof
	case len(c.Events) == 0:
		q.disk.entries[n-1].cursor = c.Cursor
	case !q.disk.write(c, true):
		q.err = fmt.Errorf("%w: a gap cannot be written behind them: %s", ErrSpill, q.disk.Err)
	}
}
