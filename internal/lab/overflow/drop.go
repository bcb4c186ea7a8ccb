package overflow

import "github.com/weir-project/weir/internal/event"

// apply puts a chunk where the policy says. Nothing may overtake events on disk: a change of
// the policy does not empty it. The cursor behind dropped events is kept in any case, so that
// they are not delivered again.
func (q *Queue) apply(c *chunk) {
	behind, policy := q.onDisk(), q.now.Policy
	switch policy {
	case DropNewest, Sample:
		if share := map[Policy]float64{DropNewest: 1, Sample: 0.5}[policy]; behind || !q.fits(c, share) {
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
	spill := q.onDisk() || (behind || policy == Spill) && len(q.chunks) > 0 && !q.fits(c, 1)
	if spill && (len(c.Events) == 0 || !q.disk.write(c)) {
		// The disk's share is used up, or the disk fails: the gaps and the cursor stay in memory.
		// Gaps may be more than fits, but they are little, and a proof.
		q.filter(c, func(*event.Event) bool { return false })
	}
	q.add(c)
}

// admit returns a function that says which of the new events DropNewest or Sample keep.
// Neither admits any while older ones wait on disk.
func (q *Queue) admit(behind bool) func(*event.Event) bool {
	events, bytes, full := q.now.Events, q.now.Bytes, behind
	return func(e *event.Event) bool {
		fill := max(float64(events+1)/float64(q.now.MaxEvents), float64(bytes+size(e))/float64(q.now.MaxBytes))
		if q.now.Policy == DropNewest {
			full = full || fill > 1 // once one was dropped, so are all that follow: no small one slips by
		}
		if full || fill > 1 {
			return false
		}
		if q.now.Policy == Sample {
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

// filter drops the events of a chunk that are not admitted, except gaps. An event that is not
// stored anyway is not a loss.
func (q *Queue) filter(c *chunk, admit func(*event.Event) bool) {
	left := c.Events[:0]
	for _, e := range c.Events {
		if e.Route == event.Gap || admit(&e) {
			left = append(left, e)
		} else if e.Route != event.Skip {
			q.now.Dropped[q.now.Policy]++
		}
	}
	clear(c.Events[len(left):])
	c.Events = left
}

// dropOldest drops events from the front of the memory until enough returns true, which is
// asked before each; nothing may be left to drop before.
func (q *Queue) dropOldest(enough func() bool) {
	done := false
	kept := q.chunks[:0]
	for i, c := range q.chunks {
		if i < q.loaded && !done {
			q.filter(c, func(e *event.Event) bool {
				if done = done || enough(); !done {
					q.now.Events--
					q.now.Bytes -= size(e)
				}
				return done
			})
		}
		if i >= q.loaded || len(c.Events) > 0 {
			kept = append(kept, c)
		}
	}
	q.loaded -= len(q.chunks) - len(kept)
	clear(q.chunks[len(kept):])
	q.chunks = kept
}
