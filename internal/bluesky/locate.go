package bluesky

import "github.com/weir-project/weir/internal/event"

// Locate returns the position right after a stored event, made of its value and of the
// host that sent it. ok is false for a value that is not one of this source's. A number
// means something on its own host; without one, a resume is by time and with a margin.
func Locate(value []byte, host string) (c event.Cursor, ok bool) {
	b := event.NewBatch()
	defer b.Release()
	pos, err := NewDecoder().Decode(b, value)
	if err != nil || b.Events[0].Route == event.Reject || pos.TimeUS <= 0 {
		return event.Cursor{}, false
	}
	c = event.Cursor{TimeUS: pos.TimeUS, Last: string(b.Events[0].ID)}
	if pos.Seq > 0 {
		c.Host, c.Seq = host, pos.Seq
	}
	return c, true
}
