package upstream

import (
	"fmt"

	"github.com/weir-project/weir/internal/event"
)

const (
	// strangers is how many events in a row, none of them understood, make a stream
	// one that weir does not understand. A few bad events are normal.
	strangers = 50
	// manyStrangers is the same where a stream that was understood is resumed: the
	// server can have a bad minute there, and each resume would begin in it.
	manyStrangers = 2000
	// maxHeld bounds the memory, in bytes, of events that are held back meanwhile.
	maxHeld = event.MaxValue
)

// Probe keeps a stream that weir does not understand, such as that of another
// service, from becoming dead letters one by one. A connection hands nothing on
// while nothing that it brought is understood. The first event that is releases
// what was held; many in a row without one end the stream.
//
// What a connection holds when it ends is handed on, because a server may end it
// at each bad event: the position must get past that. So the events in a row are
// counted over connections. Call Open first. It is for one goroutine.
type Probe struct {
	row   int  // events that were not understood, since the last one that was, at the starts of connections
	known bool // an event of this connection was understood
	limit int
}

// Open begins a connection. resumed says that it goes on after an event of the
// same stream that was stored.
func (p *Probe) Open(resumed bool) {
	p.known, p.limit = false, strangers
	if resumed {
		p.limit = manyStrangers
	}
}

// Allows counts an event. It returns false when the stream must end; Refusal is the
// reason then.
func (p *Probe) Allows(ev *event.Event) bool {
	switch {
	case ev.Route == event.Data:
		p.row, p.known = 0, true
	case ev.Route != event.Reject || ev.Kind == event.ReasonTooLarge || ev.Kind == event.ReasonError:
		// Every stream can have these.
	case !p.known:
		p.row++
	}
	return p.known || p.row < p.limit
}

// Refusal returns the permanent error of a stream, of which ev is an example, and
// the way out.
func (p *Probe) Refusal(url string, ev *event.Event, wayOut string) error {
	return &event.StreamError{Permanent: true, Err: fmt.Errorf("%s: weir understands none of the last %d events (%s: %s), and stops"+
		" before the whole stream becomes dead letters: %s", url, p.row, ev.Kind, ev.Detail, wayOut)}
}

// Holds reports whether b, the connection's batch, must not be handed on yet.
func (p *Probe) Holds(b *event.Batch) bool { return !p.known && p.row > 0 && b.Bytes() < maxHeld }
