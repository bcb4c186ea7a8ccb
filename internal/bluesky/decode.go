package bluesky

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan"
)

// maxName is the longest DID, revision, collection, record key or operation in
// bytes. The AT Protocol allows 2 KiB for a DID and less for the others; what is
// longer could make a record's key, or the cursor, larger than Kafka accepts.
const maxName = 2 << 10

// Pos is where upstream a frame was, as far as the frame says so.
type Pos struct {
	// Seq is the server's own sequence number (`cursor`), 0 where the frame has none.
	Seq int64
	// TimeUS is the frame's `time_us` in Unix microseconds, 0 where it has none.
	TimeUS int64
}

// Decoder turns Jetstream's JSON frames (its v1 wire format, `/subscribe`) into
// events. It is not safe for concurrent use.
type Decoder struct {
	scan    jsonscan.Scanner
	frame   frame
	scratch []byte // where identities are put together
}

// NewDecoder returns a decoder.
func NewDecoder() *Decoder { return new(Decoder) }

// frame is what a frame says of the few things that weir looks at. Of members
// that occur twice the last one counts, as in encoding/json.
type frame struct {
	kind, did         jsonscan.Text
	timeUS, seq       integer
	commit            commit
	account, identity inner
	isError           bool
}

type commit struct{ rev, operation, collection, rkey jsonscan.Text }

// inner is what the firehose itself said of an account: its sequence number
// there and its time are the same on every Jetstream server.
type inner struct {
	seq  integer
	time jsonscan.Text
}

// integer is a member that has to be an integer from 0 to MaxInt64.
type integer struct {
	n      int64
	absent bool // not there, or null
	bad    bool // something else
}

// Decode appends the one event that frame holds to b; frame is memory of b and
// becomes the event's Value, unchanged. A commit becomes Data (whatever its
// operation is called, since consumers count what it is called), an account or
// identity event Account, an error frame and an unknown type a Reject.
//
// With an error nothing is appended: the frame is malformed, and the error says
// why without quoting it. Pos then holds what the frame does say, and is zero
// where the frame is not a JSON object.
func (d *Decoder) Decode(b *event.Batch, frame []byte) (Pos, error) {
	if err := d.read(frame); err != nil {
		return Pos{}, err
	}
	pos := Pos{Seq: d.frame.seq.n, TimeUS: d.frame.timeUS.n}
	ev, err := d.event(b, frame)
	switch {
	case err != nil:
	case ev.Route == event.Reject:
		b.RejectFrame(ev.Kind, ev.Detail, frame, pos.TimeUS)
	default:
		*b.Add() = ev
	}
	return pos, err
}

// Identify returns the identity and the time, in Unix microseconds, of a value
// that a topic holds; ok is false where it is not a commit, account or identity
// event. The identity is memory of b, to which no event is added.
func (d *Decoder) Identify(b *event.Batch, value []byte) (id []byte, timeUS int64, ok bool) {
	if d.read(value) != nil {
		return nil, 0, false
	}
	ev, err := d.event(b, value)
	if err != nil || ev.Route == event.Reject {
		return nil, 0, false
	}
	return ev.ID, ev.TimeUS, true
}

// read fills d.frame from data and validates all of it.
func (d *Decoder) read(data []byte) error {
	s, f := &d.scan, &d.frame
	s.Reset(data)
	*f = frame{timeUS: integer{absent: true}, seq: integer{absent: true}}
	object := s.Enter()
	if object {
		f.members(s)
	}
	return s.EndObject(object)
}

func (f *frame) members(s *jsonscan.Scanner) {
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "did":
			f.did = s.Text()
		case "time_us":
			f.timeUS = readInteger(s)
		case "cursor":
			f.seq = readInteger(s)
		case "kind":
			f.kind = s.Text()
		case "commit":
			f.commit = readCommit(s)
		case "account":
			f.account = readInner(s)
		case "identity":
			f.identity = readInner(s)
		case "error":
			f.isError = s.Next() != jsonscan.Null
			s.Skip()
		default:
			s.Skip()
		}
	}
}

func readCommit(s *jsonscan.Scanner) (c commit) {
	if !s.Enter() {
		return c
	}
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "rev":
			c.rev = s.Text()
		case "operation":
			c.operation = s.Text()
		case "collection":
			c.collection = s.Text()
		case "rkey":
			c.rkey = s.Text()
		default:
			s.Skip()
		}
	}
	return c
}

func readInner(s *jsonscan.Scanner) inner {
	in := inner{seq: integer{absent: true}}
	if !s.Enter() {
		return in
	}
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "seq":
			in.seq = readInteger(s)
		case "time":
			in.time = s.Text()
		default:
			s.Skip()
		}
	}
	return in
}

func readInteger(s *jsonscan.Scanner) integer {
	n, kind, ok := s.Int()
	switch {
	case kind == jsonscan.Null:
		return integer{absent: true}
	case !ok || n < 0:
		return integer{bad: true}
	}
	return integer{n: n}
}

// event returns what the frame that was read is, without adding it to b.
func (d *Decoder) event(b *event.Batch, value []byte) (event.Event, error) {
	f := &d.frame
	if f.kind.Empty() {
		if f.isError { // in an error frame, `error` stands in the place of `kind`
			return event.Event{Route: event.Reject, Kind: event.ReasonError, Detail: "upstream sent an error frame"}, nil
		}
		return event.Event{}, errMissing("kind")
	}
	ev := event.Event{Value: value, TimeUS: f.timeUS.n, Size: int64(len(value))}
	is := func(kind string) bool { return f.kind.Is(kind) }
	var err error
	switch {
	case is("commit"):
		ev.Route = event.Data
		ev.Kind = operation(f.commit.operation)
		ev.ID, err = d.commitID(b)
	case is("account"):
		ev.Route, ev.Kind = event.Account, "account"
		ev.ID, err = d.innerID(b, ev.Kind, &f.account, value)
	case is("identity"):
		ev.Route, ev.Kind = event.Account, "identity"
		ev.ID, err = d.innerID(b, ev.Kind, &f.identity, value)
	default:
		return event.Event{Route: event.Reject, Kind: event.ReasonUnknown, Detail: "unknown event type"}, nil
	}
	switch {
	case err != nil:
		return event.Event{}, err
	case f.timeUS.absent:
		return event.Event{}, errMissing("time_us")
	case f.timeUS.bad:
		return event.Event{}, errInteger("time_us")
	case f.seq.bad:
		return event.Event{}, errInteger("cursor")
	}
	ev.Key = d.keep(b, f.did)
	return ev, nil
}

func errMissing(name string) error {
	return fmt.Errorf("%s is missing, empty or of the wrong type", name)
}

func errInteger(name string) error {
	return fmt.Errorf("%s is not an integer from 0 to 9223372036854775807", name)
}

// commitID joins what identifies a commit: DID, revision, collection, record
// key and operation.
func (d *Decoder) commitID(b *event.Batch) ([]byte, error) {
	did, c := d.frame.did, &d.frame.commit
	if err := cmp.Or(checkPart(did, "did"), checkPart(c.rev, "commit.rev"), checkPart(c.collection, "commit.collection"),
		checkPart(c.rkey, "commit.rkey"), checkPart(c.operation, "commit.operation")); err != nil {
		return nil, err
	}
	id := append(appendPart(d.scratch[:0], did), separator)
	id = append(appendPart(id, c.rev), separator)
	id = append(appendPart(id, c.collection), separator)
	id = append(appendPart(id, c.rkey), separator)
	d.scratch = appendPart(id, c.operation)
	return b.Copy(d.scratch), nil
}

// innerID joins what identifies an account or identity event: DID, kind and
// the firehose's sequence number. Jetstream can send one that was made up for
// a repair and has no number; its time, and without one the frame's digest,
// takes the number's place, so that two such events are never taken for one.
func (d *Decoder) innerID(b *event.Batch, kind string, in *inner, value []byte) ([]byte, error) {
	if err := checkPart(d.frame.did, "did"); err != nil {
		return nil, err
	}
	if in.seq.bad {
		return nil, errInteger(kind + ".seq")
	}
	id := append(appendPart(d.scratch[:0], d.frame.did), separator)
	id = append(append(id, kind...), separator)
	switch {
	case in.seq.n > 0:
		id = strconv.AppendInt(id, in.seq.n, 10)
	case checkPart(in.time, "") == nil:
		id = appendPart(id, in.time)
	default:
		id = append(id, event.RejectID(sha256.Sum256(value))...)
	}
	d.scratch = id
	return b.Copy(id), nil
}

// checkPart returns what makes a part of an identity unusable.
func checkPart(part jsonscan.Text, name string) error {
	switch {
	case part.Empty():
		return errMissing(name)
	case part.Longer(maxName):
		return fmt.Errorf("%s is longer than %d bytes", name, maxName)
	}
	return nil
}

// separator stands between the parts of an identity. A JSON string can hold it,
// and a backslash, only by way of an escape; there both are escaped again, so
// that the parts can be told apart whatever they are.
const separator = '\n'

func appendPart(dst []byte, part jsonscan.Text) []byte {
	if view, ok := part.View(); ok {
		return append(dst, view...)
	}
	from := len(dst)
	dst = part.Append(dst)
	if bytes.ContainsAny(dst[from:], "\\\n") {
		text := bytes.ReplaceAll(bytes.ReplaceAll(dst[from:], []byte(`\`), []byte(`\\`)), []byte("\n"), []byte(`\n`))
		dst = append(dst[:from], text...)
	}
	return dst
}

// keep returns the string's text: a view into the frame where there is one, and
// otherwise memory of b.
func (d *Decoder) keep(b *event.Batch, t jsonscan.Text) []byte {
	if view, ok := t.View(); ok {
		return view
	}
	d.scratch = t.Append(d.scratch[:0])
	return b.Copy(d.scratch)
}

// operation returns what a commit counts as. The usual ones take no memory.
func operation(t jsonscan.Text) string {
	view, ok := t.View()
	if ok {
		switch string(view) {
		case "create":
			return "create"
		case "update":
			return "update"
		case "delete":
			return "delete"
		}
	}
	return t.Short(event.MaxKind, event.OtherKind)
}

// Classify returns what a record of the data topic counts as when nothing but
// its value says so, because another program wrote it: its commit.operation
// (event.OtherKind where that is longer than event.MaxKind); without one,
// `account` or `identity` where that is its type, since other programs store
// those events there too; otherwise, and for anything that is not whole and
// valid JSON, event.MalformedKind. It is safe for concurrent use.
func Classify(value []byte) (kind string) {
	var d Decoder
	if d.read(value) != nil {
		return event.MalformedKind
	}
	return d.frame.counts()
}

// counts returns what Classify does of a frame that was read.
func (f *frame) counts() string {
	switch {
	case !f.commit.operation.Empty():
		return operation(f.commit.operation)
	case f.kind.Is("account"):
		return "account"
	case f.kind.Is("identity"):
		return "identity"
	}
	return event.MalformedKind
}

// Examine returns of a value what Classify does, and the identity that Identify returns, nil
// where it is not ok, and reads it once for both.
func (d *Decoder) Examine(b *event.Batch, value []byte) (kind string, id []byte) {
	if d.read(value) != nil {
		return event.MalformedKind, nil
	}
	if ev, err := d.event(b, value); err == nil && ev.Route != event.Reject {
		id = ev.ID
	}
	return d.frame.counts(), id
}

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
