package wikipedia

import "github.com/weir-project/weir/internal/event"

// Locate returns a position from which nothing after a stored event is missed, made of
// its value. ok is false for a value that is not one of this source's. It is earlier than
// the event by as much as one upstream partition can run ahead of another.
func Locate(value []byte, host string) (c event.Cursor, ok bool) {
	b := event.NewBatch()
	defer b.Release()
	_, timeUS, ok := NewDecoder().Identify(b, value)
	if !ok || timeUS <= patienceMS*1000 {
		return event.Cursor{}, false
	}
	return event.Cursor{Host: host, TimeUS: timeUS - patienceMS*1000}, true
}
