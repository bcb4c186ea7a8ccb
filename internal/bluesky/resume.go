package bluesky

import (
	"fmt"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

const (
	// rewind is how many sequence numbers a v2 server is asked to repeat: one
	// that crashed hard can hand out that many again (inferred from its source).
	rewind = 4096
	// margin is how much event time another server is asked to repeat, whose
	// stamps are its own.
	margin = 10 * time.Second
	// patience is how far past the last event, in event time, another server may
	// get before that event counts as missing.
	patience = 15 * time.Second
	// jumble is the same for the same v1 server, whose stamps are unique and
	// increase, but which can mix up 100 ms where it goes over to live events.
	jumble = time.Second
	// A position moves with the events that are stored. Rejects move it only when
	// they run this far ahead, because the last stored event is then out of reach.
	rejectsSeq  = rewind / 2
	rejectsTime = 5 * time.Second
	// minSplit is the cursor from which on a v2 server reads microseconds.
	minSplit = 1_000_000_000_000_000
)

// mode is how a connection is resumed, which is also how it is known whether
// the last stored event must have come past by now.
type mode uint8

const (
	live   mode = iota // no position: from now on
	bySeq              // same v2 server, by sequence number
	exact              // same v1 server, by its own stamp
	byTime             // another server, by time and with a margin
)

// start returns how to resume from a position at a host, and the value of the
// `cursor` parameter. Cursors are inclusive: the event there is sent again, and
// nothing is ever added to one.
func start(from *event.Cursor, h *host) (mode, int64) {
	switch {
	case from.IsZero():
		return live, 0
	case from.Host == h.addr && from.Seq > 0 && from.Seq < minSplit && h.numbers != unnumbered:
		return bySeq, max(from.Seq-rewind, 1)
	case from.Host == h.addr && from.Seq == 0 && h.numbers != numbered:
		return exact, from.TimeUS
	}
	return byTime, max(from.TimeUS-margin.Microseconds(), 1)
}

// verdict is what is known of the overlap witness, the last event stored.
type verdict uint8

const (
	waiting verdict = iota // it may still come
	found                  // it came: nothing is missing
	absent                 // it can no longer come: note a gap
	unasked                // there is none to be expected; the position is reached
)

// track follows one connection's position, and looks out for the witness.
// Until there is a verdict the position stays where the resume began: a crash in
// between must find the same witness still missing.
type track struct {
	from   event.Cursor
	mode   mode
	asked  int64 // the cursor that was sent
	expect bool  // the witness is expected

	verdict verdict
	cur     event.Cursor // where this connection has got to
	last    int          // index in the batch of its last stored event; -1 = none
	afterUS int64        // the first event time past the old position; 0 = none yet
	reason  string       // of a missing witness
}

func newTrack(from event.Cursor, h *host, s scope, origin string) *track {
	t := &track{from: from, last: -1, cur: event.Cursor{Host: h.addr, Scope: s.String(), Origin: origin}}
	t.mode, t.asked = start(&from, h)
	t.expect = from.Last != "" && s.covers(from.Last)
	if t.mode == live {
		t.verdict = unasked
	}
	return t
}

// mismatch reports whether a frame shows that the server numbers its frames
// otherwise than the cursor that was sent takes for granted.
func (t *track) mismatch(pos Pos) bool {
	return t.mode == bySeq && pos.Seq == 0 || t.mode == exact && pos.Seq != 0
}

// add takes the event with the given index, the last one of b, which came with
// pos. It returns true when the event shows that there is a gap before it.
func (t *track) add(b *event.Batch, index int, pos Pos) (gap bool) {
	ev := &b.Events[index]
	if t.verdict == waiting {
		t.verdict = t.judge(ev.ID, pos)
		gap = t.verdict == absent
	}
	stored := ev.Route == event.Data || ev.Route == event.Account
	t.move(stored, pos)
	if stored {
		t.last = index
	}
	return gap
}

// judge says what an event tells about the witness.
func (t *track) judge(id []byte, pos Pos) verdict {
	if t.expect && string(id) == t.from.Last {
		return found
	}
	if t.afterUS == 0 && pos.TimeUS > t.from.TimeUS {
		t.afterUS = pos.TimeUS
	}
	var reached, passed bool
	t.reason = "the last event stored did not come again: the server no longer has it, or never had it"
	switch t.mode {
	case bySeq:
		if pos.Seq == 0 { // malformed: it says nothing of where it stands
			return waiting
		}
		if pos.Seq < t.asked {
			t.reason = fmt.Sprintf("the server's sequence numbers went back: %d after %d", pos.Seq, t.from.Seq)
			reached, passed = true, true
			break
		}
		reached, passed = pos.Seq >= t.from.Seq, pos.Seq > t.from.Seq+rewind
	case exact:
		reached, passed = pos.TimeUS >= t.from.TimeUS, pos.TimeUS > t.from.TimeUS+jumble.Microseconds()
	default:
		reached, passed = pos.TimeUS >= t.from.TimeUS, pos.TimeUS > t.from.TimeUS+patience.Microseconds()
	}
	switch {
	case t.expect && passed:
		return absent
	case !t.expect && reached:
		return unasked
	}
	return waiting
}

// move takes the position along.
func (t *track) move(stored bool, pos Pos) {
	if !stored {
		runaway := pos.Seq > t.cur.Seq+rejectsSeq || pos.TimeUS > t.cur.TimeUS+rejectsTime.Microseconds()
		if !runaway {
			return
		}
		t.cur.Last, t.last = "", -1
	}
	t.cur.Seq = max(t.cur.Seq, pos.Seq)
	t.cur.TimeUS = max(t.cur.TimeUS, pos.TimeUS)
}

// gap describes the gap that add found.
func (t *track) gap() upstream.Gap {
	return upstream.Gap{Source: Name, Host: t.cur.Host, Previous: t.from.Host, FromUS: t.from.TimeUS, ToUS: t.afterUS, Last: t.from.Last, Reason: t.reason}
}

// cursor returns the position after the events of b, which ends here.
func (t *track) cursor(b *event.Batch) event.Cursor {
	if t.last >= 0 {
		t.cur.Last, t.last = string(b.Events[t.last].ID), -1
	}
	if t.verdict == waiting {
		return t.from
	}
	return t.cur
}

// String returns the mode's name as logs show it.
func (m mode) String() string {
	switch m {
	case bySeq:
		return "sequence number"
	case exact:
		return "exact time"
	case byTime:
		return "time with a margin"
	default:
		return "live"
	}
}
