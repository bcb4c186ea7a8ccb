package bluesky

import (
	"fmt"
	"slices"
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
	// stepSeq and stepTime are how far one event may take the position ahead: less than
	// what a resume asks to be sent again, so that a wrong one does no harm. Rejects take
	// it along only beyond that, because the last stored event is then out of reach.
	stepSeq  = rewind / 2
	stepTime = 5 * time.Second
	// lead is how far ahead of this machine's clock a position may be. Beyond, one
	// of the two is wrong, and the witness cannot be waited for.
	lead = time.Minute
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
	from    event.Cursor
	mode    mode
	asked   int64 // the cursor that was sent
	expect  bool  // the witness is expected
	tooFar  bool  // from is ahead of this machine's clock
	verdict verdict
	reason  string // of a missing witness
	afterUS int64  // the earliest event time past the old position; 0 = none yet

	// Where this connection has got to. cur has everything else of the position.
	seq, us upstream.Steady
	cur     event.Cursor
	last    int // index in the batch of its last stored event that can be a witness; -1 = none
	lastPos Pos // of that event, or else of cur.Last
	ahead   []witness
}

// witness is a stored event that stands further ahead than one event may take
// the position: it becomes the last one when others confirm where it stands.
type witness struct {
	id  string
	pos Pos
}

// maxAhead bounds how many such events are remembered.
const maxAhead = 8

func newTrack(from event.Cursor, h *host, s scope, origin string) *track {
	t := &track{from: from, last: -1, cur: event.Cursor{Host: h.addr, Scope: s.String(), Origin: origin},
		seq: upstream.NewSteady(stepSeq), us: upstream.NewSteady(stepTime.Microseconds())}
	t.mode, t.asked = start(&from, h)
	t.expect = from.Last != "" && s.covers(from.Last)
	t.tooFar = from.TimeUS > time.Now().Add(lead).UnixMicro()
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
	if t.verdict == waiting && t.expect && string(ev.ID) == t.from.Last {
		t.verdict = found
		if d := pos.TimeUS - t.from.TimeUS; max(d, -d) <= patience.Microseconds() {
			t.seq.Trust(pos.Seq) // another delivery has confirmed them
			t.us.Trust(pos.TimeUS)
		}
	}
	t.move(ev, index, pos)
	if t.verdict == waiting {
		t.verdict = t.checkWitness(pos)
		gap = t.verdict == absent
	}
	return gap
}

// move takes the position along.
func (t *track) move(ev *event.Event, index int, pos Pos) {
	stored := ev.Route == event.Data || ev.Route == event.Account
	if !stored && t.us.Sure() && !t.far(pos) {
		return
	}
	bySeq, byTime := t.seq.Follow(pos.Seq), t.us.Follow(pos.TimeUS)
	if bySeq || byTime {
		t.confirm()
	}
	switch {
	case !stored:
	case t.near(pos):
		t.last, t.lastPos = index, pos
	case t.far(pos):
		if len(t.ahead) == maxAhead {
			t.ahead = slices.Delete(t.ahead, 0, 1)
		}
		t.ahead = append(t.ahead, witness{string(ev.ID), pos})
	}
}

// near reports whether an event can be the witness of the position: one that a resume brings again.
func (t *track) near(pos Pos) bool {
	// A server that hands out numbers again stays behind the position for as long as a rewind.
	return t.seq.Behind(pos.Seq, rewind) && t.us.Near(pos.TimeUS)
}

// far reports whether an event stands so far ahead that others must confirm it.
func (t *track) far(pos Pos) bool { return t.seq.Ahead(pos.Seq) || t.us.Ahead(pos.TimeUS) }

// confirm takes the last of those events that stood too far ahead and no longer do.
func (t *track) confirm() {
	if len(t.ahead) == 0 {
		return
	}
	rest := t.ahead[:0]
	for _, w := range t.ahead {
		switch {
		case t.near(w.pos):
			t.cur.Last, t.lastPos, t.last = w.id, w.pos, -1
		case t.far(w.pos):
			rest = append(rest, w)
		}
	}
	t.ahead = rest
}

// checkWitness returns what an event that is not the witness shows about it. One event is not
// believed: it takes a position that others confirm.
func (t *track) checkWitness(pos Pos) verdict {
	if pos.TimeUS > t.from.TimeUS && (t.afterUS == 0 || pos.TimeUS < t.afterUS) {
		t.afterUS = pos.TimeUS
	}
	if !t.us.Sure() {
		return waiting
	}
	t.reason = "the last event stored did not come again: the server no longer has it, or never had it"
	seq, us, was := t.seq.At(), t.us.At(), t.from.TimeUS
	late := us > was+patience.Microseconds()
	reached, passed := us >= was, late
	switch t.mode {
	case bySeq:
		reached, passed = seq >= t.from.Seq, t.seq.Sure() && seq > t.from.Seq+rewind
		if t.seq.Sure() && seq < t.asked && late {
			t.reason = fmt.Sprintf("the server's sequence numbers went back: %d after %d", seq, t.from.Seq)
			reached, passed = true, true
		}
	case exact:
		passed = us > was+jumble.Microseconds()
	}
	if t.tooFar && us < was-patience.Microseconds() && t.mode != bySeq {
		t.reason = fmt.Sprintf("the last position (%s) is ahead of this machine's clock: a server's clock, or this machine's, is wrong",
			time.UnixMicro(was).UTC().Format(time.RFC3339))
		reached, passed = true, true
	}
	switch {
	case t.expect && passed:
		return absent
	case !t.expect && reached:
		return unasked
	}
	return waiting
}

// gap describes the gap that add found.
func (t *track) gap() upstream.Gap {
	return upstream.Gap{Source: Name, Host: t.cur.Host, Previous: t.from.Host, FromUS: t.from.TimeUS, ToUS: t.afterUS,
		Last: t.from.Last, Reason: t.reason}
}

// cursor returns the position after the events of b, which ends here.
func (t *track) cursor(b *event.Batch) event.Cursor {
	if t.last >= 0 {
		t.cur.Last, t.last = string(b.Events[t.last].ID), -1
	}
	if t.verdict == waiting {
		return t.from
	}
	if !t.near(t.lastPos) { // a resume would not bring it again, so no connection may wait for it
		t.cur.Last = ""
	}
	t.cur.Seq, t.cur.TimeUS = t.seq.At(), t.us.At()
	return t.cur
}

// String returns the mode's name as logs show it.
func (m mode) String() string {
	return [...]string{live: "live", bySeq: "sequence number", exact: "exact time", byTime: "time with a margin"}[m]
}
