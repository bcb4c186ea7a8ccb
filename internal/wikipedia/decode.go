package wikipedia

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan"
)

// maxName is the longest event id, wiki and title in bytes. MediaWiki's own
// limit for a title is 255 and a namespace; what is longer could make a record's
// key, or the cursor, larger than Kafka accepts.
const maxName = 2 << 10

// canary is the domain, and the kind, of the artificial events with which
// Wikimedia watches its streams.
const canary = "canary"

// Decoder turns the JSON of recentchange events into events. It is not safe for
// concurrent use.
type Decoder struct {
	scan    jsonscan.Scanner
	change  change
	scratch []byte // where keys are put together
}

// NewDecoder returns a decoder.
func NewDecoder() *Decoder { return new(Decoder) }

// change is what an event says of the few things that weir looks at. Of members
// that occur twice the last one counts, as in encoding/json.
type change struct {
	meta        meta
	kind        jsonscan.Text
	wiki, title jsonscan.Text
	timestamp   int64 // seconds; 0 where there is no usable one
}

type meta struct{ id, domain, dt jsonscan.Text }

// Decode appends the one event that data holds to b; data is memory of b and
// becomes the event's Value, unchanged. A canary event becomes Skip, everything
// else Data.
//
// Only `type` is required. The key is wiki and title; where those are absent,
// meta.domain and nothing take their places. The identity is meta.id, and
// without one the digest of data. The time is meta.dt, and without a valid one
// `timestamp`.
//
// With an error nothing is appended: the data is malformed, and the error says
// why without quoting it. timeUS, the event time in Unix microseconds, is then what the
// data does say; 0 where it has none.
func (d *Decoder) Decode(b *event.Batch, data []byte) (timeUS int64, err error) {
	if err := d.read(data); err != nil {
		return 0, err
	}
	c := &d.change
	timeUS = c.timeUS()
	if err := c.check(); err != nil {
		return timeUS, err
	}
	ev := b.Add()
	*ev = event.Event{Route: event.Data, Value: data, TimeUS: timeUS, Size: int64(len(data)), ID: d.identity(b, data)}
	if c.meta.domain.Is(canary) {
		ev.Route, ev.Kind = event.Skip, canary
		return timeUS, nil
	}
	ev.Kind = kindName(c.kind)
	ev.Key = d.key(b)
	return timeUS, nil
}

// Identify returns the identity and the time, in Unix microseconds, of a value
// that the topic holds; ok is false where it is not an event. The identity is memory
// of b, to which no event is added.
func (d *Decoder) Identify(b *event.Batch, value []byte) (id []byte, timeUS int64, ok bool) {
	if d.read(value) != nil || d.change.check() != nil {
		return nil, 0, false
	}
	return d.identity(b, value), d.change.timeUS(), true
}

// read fills d.change from data and validates all of it.
func (d *Decoder) read(data []byte) error {
	s, c := &d.scan, &d.change
	s.Reset(data)
	*c = change{}
	object := s.Enter()
	if object {
		c.members(s)
	}
	return s.EndObject(object)
}

func (c *change) members(s *jsonscan.Scanner) {
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "meta":
			c.meta = readMeta(s)
		case "type":
			c.kind = readKind(s)
		case "wiki":
			c.wiki = s.Text()
		case "title":
			c.title = s.Text()
		case "timestamp":
			c.timestamp, _, _ = s.Int()
		default:
			s.Skip()
		}
	}
}

func readMeta(s *jsonscan.Scanner) (m meta) {
	if !s.Enter() {
		return m
	}
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "id":
			m.id = s.Text()
		case "domain":
			m.domain = s.Text()
		case "dt":
			m.dt = s.Text()
		default:
			s.Skip()
		}
	}
	return m
}

// readKind reads a `type`. MediaWiki sends the number of a type that it has no
// name for; quoted or not, it counts as the same.
func readKind(s *jsonscan.Scanner) jsonscan.Text {
	if s.Next() == jsonscan.Number {
		return jsonscan.Plain(s.Skip())
	}
	return s.Text()
}

// check returns what makes an event unusable.
func (c *change) check() error {
	switch {
	case c.meta.id.Longer(maxName):
		return errTooLong("meta.id")
	case c.meta.domain.Is(canary):
		return nil
	case c.kind.Empty():
		return errors.New("type is missing, empty or neither a string nor a number")
	case c.place().Longer(maxName):
		return errTooLong("wiki")
	case c.title.Longer(maxName):
		return errTooLong("title")
	}
	return nil
}

func errTooLong(name string) error { return fmt.Errorf("%s is longer than %d bytes", name, maxName) }

// timeUS returns when the change was made, in Unix microseconds; 0 where the
// event has no valid time.
func (c *change) timeUS() int64 {
	dt, ok := c.meta.dt.View()
	if !ok {
		dt = c.meta.dt.Append(nil)
	}
	if us, ok := parseTime(dt); ok && us > 0 {
		return us
	}
	if c.timestamp > 0 && c.timestamp <= math.MaxInt64/1_000_000 {
		return c.timestamp * 1_000_000
	}
	return 0
}

func (d *Decoder) identity(b *event.Batch, data []byte) []byte {
	id := d.change.meta.id
	if id.Empty() {
		return b.CopyString(event.RejectID(sha256.Sum256(data)))
	}
	if view, ok := id.View(); ok {
		return view
	}
	d.scratch = id.Append(d.scratch[:0])
	return b.Copy(d.scratch)
}

// place returns what the first half of the key is.
func (c *change) place() jsonscan.Text {
	if c.wiki.Empty() {
		return c.meta.domain
	}
	return c.wiki
}

func (d *Decoder) key(b *event.Batch) []byte {
	key := append(d.change.place().Append(d.scratch[:0]), '|')
	d.scratch = d.change.title.Append(key)
	return b.Copy(d.scratch)
}

// kindName returns what an event counts as. The usual ones take no memory.
func kindName(t jsonscan.Text) string {
	if view, ok := t.View(); ok {
		switch string(view) {
		case "edit":
			return "edit"
		case "new":
			return "new"
		case "log":
			return "log"
		case "categorize":
			return "categorize"
		case "external":
			return "external"
		}
	}
	return t.Short(event.MaxKind, event.OtherKind)
}

// Classify returns what a record of the data topic counts as when nothing but
// its value says so, because another program wrote it: its type
// (event.OtherKind where that is longer than event.MaxKind); without one, and
// for anything that is not whole and valid JSON, event.MalformedKind. It is safe
// for concurrent use.
func Classify(value []byte) (kind string) {
	var d Decoder
	if d.read(value) != nil {
		return event.MalformedKind
	}
	return d.change.counts()
}

// counts returns what Classify does of a change that was read.
func (c *change) counts() string {
	if c.kind.Empty() {
		return event.MalformedKind
	}
	return kindName(c.kind)
}

// Examine returns of a value what Classify does, and the identity that Identify returns, nil
// where it is not ok, and reads it once for both.
func (d *Decoder) Examine(b *event.Batch, value []byte) (kind string, id []byte) {
	if d.read(value) != nil {
		return event.MalformedKind, nil
	}
	if d.change.check() == nil {
		id = d.identity(b, value)
	}
	return d.change.counts(), id
}

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

// parseTime returns the Unix microseconds of an RFC 3339 time, what is finer than a
// microsecond cut off; false where s is none.
func parseTime(s []byte) (us int64, ok bool) {
	// The time package also takes hours of one digit, a comma, and offsets of 24 hours or 60 minutes.
	if len(s) < len("2006-01-02T15:04:05Z") || s[13] != ':' || bytes.IndexByte(s, ',') >= 0 {
		return 0, false
	}
	if zone := s[len(s)-len("24:60"):]; s[len(s)-1] != 'Z' && (bytes.HasPrefix(zone, []byte("24")) || zone[3] > '5') {
		return 0, false
	}
	var at time.Time
	if at.UnmarshalText(s) != nil {
		return 0, false
	}
	return at.UnixMicro(), true
}
