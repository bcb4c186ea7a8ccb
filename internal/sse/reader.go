// Package sse reads the Server-Sent Events wire format (the WHATWG HTML
// standard, section 9.2.6 "Interpreting an event stream") from a byte stream,
// without allocating for each event and with a bound on what a server can make
// it hold. It opens no connection and knows nothing of what an event means.
package sse

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"
	"time"
)

const (
	bufferSize = 64 << 10
	maxType    = 1 << 10
	maxID      = 64 << 10
	// keepSpill is the capacity in bytes up to which memory for a large event is
	// kept for the next one.
	keepSpill = 1 << 20
	// maxSkip is how long, in bytes, an event over the limit may be before the
	// stream counts as broken: one that never ends would deliver nothing for ever.
	maxSkip = 256 << 20
)

// ErrEndless ends a stream whose event or line does not end within 256 MiB.
var ErrEndless = errors.New("event or line of over 256 MiB")

// Event is one event of a stream. Its byte slices are valid until the next call
// of Next.
type Event struct {
	// Type is the event's name: "message" where the stream names none.
	Type string
	// ID is the stream's last event ID once this event was read, whether or not
	// this event set it.
	ID []byte
	// NewID says that the stream set the ID after the event before this one.
	NewID bool
	// Data is the event's data, its lines joined by LF. Of an event that is
	// TooLarge it is the head, of at most Limits.Head bytes.
	Data []byte
	// TooLarge says that the data was longer than Limits.Data. Size and Sum, its
	// length in bytes and SHA-256, are set only then.
	TooLarge bool
	Size     int64
	Sum      [sha256.Size]byte
}

// Limits bound what is held of one event.
type Limits struct {
	// Data is the largest data in bytes that is delivered whole.
	Data int
	// Head is how many bytes are delivered of larger data. At most Data.
	Head int
}

// Reader reads events. It is for one goroutine.
type Reader struct {
	br     *bufio.Reader
	limits Limits

	ev     Event  // what Next returns
	typ    []byte // the event type buffer
	id     []byte // the last event ID buffer
	newID  bool   // it was set since the last event
	data   []byte // the data buffer: a view into br, or all of own
	own    []byte // memory of the reader for data
	isView bool   // data is a view into br
	lines  int    // data lines of this event so far
	big    digest // of data over the limit

	spill   []byte // the start of a line that br did not hold whole
	skipped int64  // bytes of the line that were not kept
	inData  bool   // the line that is being skipped is data of a large event
	started bool   // the byte order mark has been looked for
	afterCR bool   // a LF that follows belongs to the same line end
	retry   time.Duration
	signs   int64
}

// NewReader returns a reader of r. It calls r.Read only when everything that it
// has read before was delivered, as far as that holds whole events: a reader
// that hooks r knows by it that the stream has run dry.
func NewReader(r io.Reader, limits Limits) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, bufferSize), limits: limits}
}

// Retry returns the reconnection time that the stream asked for, which can be
// years; 0 where it did not.
func (r *Reader) Retry() time.Duration { return r.retry }

// Signs counts the events and comments read so far, and each MiB of data of an event
// that is TooLarge, which a slow network may take minutes to bring. What else a
// server sends, such as bytes that are no event stream, does not show that the
// stream is alive.
func (r *Reader) Signs() int64 { return r.signs }

// Next returns the next event. The error is that of the underlying reader
// (io.EOF at a clean end, where an unfinished event is dropped as the standard
// asks), or ErrEndless.
func (r *Reader) Next() (*Event, error) {
	r.reset()
	for {
		line, whole, err := r.line()
		if err != nil {
			return nil, err
		}
		if !whole { // it was skipped: too long to be held
			continue
		}
		if len(line) > 0 {
			if err := r.field(line); err != nil {
				return nil, err
			}
			continue
		}
		if r.lines == 0 {
			r.typ = r.typ[:0]
			continue
		}
		return r.event(), nil
	}
}

// reset forgets the event that Next returned last.
func (r *Reader) reset() {
	if cap(r.own) > keepSpill {
		r.own = nil
	}
	if cap(r.spill) > keepSpill {
		r.spill = nil
	}
	r.typ, r.data, r.own, r.isView, r.lines = r.typ[:0], nil, r.own[:0], false, 0
	r.big.reset()
}

func (r *Reader) event() *Event {
	r.signs++
	r.ev = Event{Type: eventType(r.typ), ID: r.id, NewID: r.newID, Data: r.data}
	r.newID = false
	if r.big.on {
		r.ev.TooLarge, r.ev.Size = true, r.big.size
		r.big.hash.Sum(r.ev.Sum[:0])
	}
	return &r.ev
}

// eventType returns the type's name; the usual ones take no memory.
func eventType(name []byte) string {
	switch string(name) {
	case "", "message":
		return "message"
	case "error":
		return "error"
	}
	return string(name)
}

// field takes one line that is not empty.
func (r *Reader) field(line []byte) error {
	name, value, _ := bytes.Cut(line, colon)
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "": // a comment
		r.signs++
	case "data":
		return r.addData(value)
	case "event":
		r.typ = append(r.typ[:0], value[:min(len(value), maxType)]...)
	case "id":
		if len(value) <= maxID && bytes.IndexByte(value, 0) < 0 {
			r.id, r.newID = append(r.id[:0], value...), true
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 40); err == nil { // up to 34 years
			r.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

var (
	colon         = []byte{':'}
	newline       = []byte{'\n'}
	byteOrderMark = []byte("\ufeff")
)

// addData appends one data line to the data buffer. The first one stays a view
// into the read buffer until that is read into again.
func (r *Reader) addData(value []byte) error {
	r.lines++
	if r.lines == 1 && len(value) <= r.limits.Data {
		r.data, r.isView = value, true
		return nil
	}
	r.settle()
	if r.lines > 1 {
		r.push(newline)
	}
	r.push(value)
	if r.big.on && r.big.size > maxSkip {
		return ErrEndless
	}
	return nil
}

// push appends to the data buffer, or to the digest of data over the limit.
func (r *Reader) push(p []byte) {
	if !r.big.on && len(r.own)+len(p) > r.limits.Data {
		r.big.start(r.own)
	}
	if r.big.on {
		before := r.big.size >> 20
		r.big.write(p)
		r.signs += r.big.size>>20 - before
		room := max(r.limits.Head-len(r.own), 0)
		r.own = append(r.own[:min(len(r.own), r.limits.Head)], p[:min(len(p), room)]...)
	} else {
		r.own = append(r.own, p...)
	}
	r.data = r.own
}

// settle moves data that is a view into memory of the reader, because the read
// buffer is about to change.
func (r *Reader) settle() {
	if !r.isView {
		return
	}
	r.own = append(r.own[:0], r.data...)
	r.data, r.isView = r.own, false
}
