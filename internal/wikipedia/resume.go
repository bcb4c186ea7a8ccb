package wikipedia

import (
	"slices"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

const (
	// jumbleMS is how far past the last event its own partition may get, in
	// milliseconds, before that event counts as missing: records are out of
	// order by a few.
	jumbleMS = 5_000
	// patienceMS is the same for any other partition. Partitions are merged as
	// they arrive, so one can run ahead of another while history is read.
	patienceMS = 5 * 60_000
	// staleMS is how far canaries and rejects may take a partition's position
	// ahead of the last event stored: further, and a resume might not repeat it.
	staleMS = stepMS
)

// track follows one connection's position and looks out for the overlap
// witness, the last event stored. Until that came, or can no longer come, the
// position stays where the resume began: a crash in between must find the same
// witness still missing.
type track struct {
	from    event.Cursor
	pos     positions
	cur     event.Cursor    // Partitions are in pos, TimeUS in clock
	clock   upstream.Steady // the newest event time, in Unix microseconds
	waiting bool            // the witness has not come and still may
	home    int             // index in pos.known of the partition that the last event stored came from; -1 = not known
	homeMS  int64           // that event's timestamp
	last    int             // index in the batch of its last stored event; -1 = none
	afterUS int64           // the first event time past the old position
	idle    idle
}

// newTrack resumes from a position. In its Partitions, the first is the one that
// Last came from.
func newTrack(from event.Cursor, host, scope, origin string) *track {
	t := &track{from: from, last: -1, home: -1}
	t.pos.own = -1
	t.pos.known = slices.Clone(from.Partitions)
	t.clock = upstream.NewSteady(stepMS * 1000)
	t.clock.Trust(from.TimeUS)
	t.cur = event.Cursor{Host: host, Last: from.Last, Scope: scope, Origin: origin}
	if len(from.Partitions) > 0 {
		t.home, t.homeMS = 0, from.Partitions[0].TimestampMS
	}
	t.waiting = t.expect(scope)
	if from.Last != "" && from.Scope != scope {
		t.cur.Last = ""
	}
	return t
}

// expect reports whether the last event stored must be sent again.
func (t *track) expect(scope string) bool {
	return t.from.Last != "" && len(t.from.Partitions) > 0 && t.from.Scope == scope
}

// add takes the event at index in b, its last one, which came from the partition
// own (-1 = not known) and arrived at now. It returns true when the event shows that there is a gap.
func (t *track) add(b *event.Batch, index, own int, now time.Time) (gap bool) {
	ev := &b.Events[index]
	var ms int64
	if own >= 0 {
		t.idle.heardFrom(own, now)
		ms = t.pos.known[own].TimestampMS
	}
	if t.waiting {
		gap = t.witnessMissing(ev, own, ms)
	}
	if ev.Route == event.Data {
		t.clock.Follow(ev.TimeUS)
		if own < 0 || t.pos.steady(own).Near(t.pos.ownMS) { // else a resume may not bring it again
			t.last, t.home, t.homeMS = index, own, ms
		}
	}
	return gap
}

// witnessMissing ends the wait when the event is the witness, or shows that it is missing.
func (t *track) witnessMissing(ev *event.Event, own int, ms int64) (gap bool) {
	if string(ev.ID) == t.from.Last {
		t.waiting = false
		return false
	}
	if t.afterUS == 0 && ev.TimeUS > t.from.TimeUS {
		t.afterUS = ev.TimeUS
	}
	if own < 0 {
		return false
	}
	// The first of from.Partitions is the witness's own, and known begins with
	// from.Partitions. A canary can have moved another one far past the witness.
	limit := t.from.Partitions[0].TimestampMS + jumbleMS
	if own > 0 {
		limit = t.from.Partitions[0].TimestampMS + patienceMS
		if own < len(t.from.Partitions) {
			limit = max(limit, t.from.Partitions[own].TimestampMS+patienceMS)
		}
	}
	if ms <= limit {
		return false
	}
	t.waiting = false
	return true
}

func (t *track) gap() upstream.Gap {
	return upstream.Gap{Source: Name, Host: t.cur.Host, Previous: t.from.Host, FromUS: t.from.TimeUS, ToUS: t.afterUS, Last: t.from.Last,
		Reason: "the last event stored did not come again: the server no longer has it, or never had it"}
}

// cursor returns the position after the events of b, which ends here.
func (t *track) cursor(b *event.Batch, now time.Time) event.Cursor {
	if t.last >= 0 {
		t.cur.Last, t.last = string(b.Events[t.last].ID), -1
	}
	if t.waiting {
		return t.from.Clone()
	}
	t.idle.follow(&t.pos, now)
	if t.home >= 0 && t.pos.known[t.home].TimestampMS > t.homeMS+staleMS {
		t.cur.Last = "" // a resume would not bring it again, so no connection may wait for it
	}
	c := t.cur
	c.TimeUS = t.clock.At()
	c.Partitions = slices.Clone(t.pos.known)
	if t.home > 0 {
		c.Partitions[0], c.Partitions[t.home] = c.Partitions[t.home], c.Partitions[0]
	}
	if t.home < 0 {
		c.Last = "" // it could not be looked for
	}
	return c
}
