package wikipedia

import "time"

const (
	// liveWithin is how far event time may be from this machine's clock for a
	// connection to count as live.
	liveWithin = 30 * time.Second
	// idleAfter is how long a connection must have been live without a break, and
	// a partition silent on it, for that partition to count as empty.
	idleAfter = 2 * time.Minute
	// idleBehind is how far behind the newest event an empty partition's position follows.
	idleBehind = time.Minute
)

// idle takes along the positions of partitions in which nothing happens: the
// data centre that is not in use. Left where it is, such a position would have
// its last events sent again at every reconnect, long after a duplicate filter
// forgot them, and would one day lie before what the server keeps.
//
// That a partition says nothing does not prove that there is nothing to come:
// while history is read one can run ahead of the other. So it is concluded only
// on a connection that is live (the newest events are as old as the clock says,
// give or take half a minute) and has been for minutes: what was waiting in the
// other partition would have come by then. Where that cannot be told, because
// the stream is slow or the clock wrong, positions stay, and events may be sent
// again, but none is lost.
type idle struct {
	since time.Time // the connection has been live since then, without a break
	last  time.Time // of the last call
	heard []time.Time
}

// heardFrom notes that a partition, by its index, has had an event.
func (d *idle) heardFrom(k int, now time.Time) {
	for len(d.heard) <= k {
		d.heard = append(d.heard, time.Time{})
	}
	d.heard[k] = now
}

// follow moves the positions of empty partitions. It is called with every batch.
func (d *idle) follow(p *positions, now time.Time) {
	if len(p.known) == 0 {
		return
	}
	newest := int64(0)
	for _, k := range p.known {
		newest = max(newest, k.TimestampMS)
	}
	behind := now.Sub(time.UnixMilli(newest)).Abs()
	if behind > liveWithin || now.Sub(d.last) > liveWithin {
		d.since = now
	}
	d.last = now
	to := newest - idleBehind.Milliseconds()
	for k := range p.known {
		// One of which nothing was heard on this connection counts from its start.
		quiet := d.since
		if k < len(d.heard) && d.heard[k].After(quiet) {
			quiet = d.heard[k]
		}
		if now.Sub(quiet) >= idleAfter {
			p.trust(k, to)
		}
	}
}
