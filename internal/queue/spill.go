package queue

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// segmentBytes is how large one file of a spill becomes, in bytes. What was read
// gives its disk space back a file at a time.
const segmentBytes = 8 << 20

// spill is the part of a queue that waits on disk: batches behind those in memory, in
// their order. Its files have no name from the moment they are made, so that nothing
// is left however the process ends; and nothing needs to be, because what waits in
// them is not committed, and upstream sends it again.
type spill struct {
	dir      string
	maxBytes int64

	segments []*os.File // the first is read from, the last written to
	from, to int64      // where to read in the first and to write in the last
	batches  int
	events   int
	bytes    int64 // of all batches, as they lie there
	total    int64 // events that were ever spilled
	// after is the cursor behind the last batch, where events were dropped that came
	// after it.
	after *event.Cursor
	next  *header // of the first batch, once it was looked at
	err   error   // the last one of writing
	buf   bytes.Buffer
}

// header precedes a batch on disk.
type header struct {
	size   uint32 // in bytes, of what follows
	events uint32
	memory uint32 // bytes that its events take in memory
}

const headerBytes = 12

// Spilled is what waits on disk.
type Spilled struct {
	Events int
	// Bytes is what they take there; at most MaxBytes, and one batch.
	Bytes, MaxBytes int64
	// Total counts the events that were ever spilled.
	Total int64
	// Err says why the disk last refused a batch, whose events were then dropped;
	// empty where it never did.
	Err string
}

// SpillTo lets the policy Spill use at most maxBytes of disk in a directory, which must
// exist. It must be called before the queue is used.
func (q *Queue) SpillTo(dir string, maxBytes int64) { q.spill = &spill{dir: dir, maxBytes: maxBytes} }

// ErrSpill is wrapped by the error of Get and Wait when what was spilled cannot be read
// back: events are missing from then on, and whoever gets must begin again from the
// last position that is safe.
var ErrSpill = errors.New("what was spilled to disk cannot be read back")

// onDisk reports whether batches wait on disk: then whatever comes goes behind them.
func (q *Queue) onDisk() bool { return q.spill != nil && q.spill.batches > 0 }

// spillAway takes ownership of b and puts it behind what is on disk, or drops its
// events where the disk's share is used up.
func (q *Queue) spillAway(b *event.Batch) {
	s := q.spill
	if q.empty() { // larger than the queue by itself; then nothing is on disk either
		q.add(b)
		return
	}
	if s.bytes < s.maxBytes {
		if s.err = s.write(b); s.err == nil {
			b.Release()
			return
		}
	}
	q.dropBehind(b)
}

// dropBehind drops the events of b, which would go behind what is on disk, but for gaps.
func (q *Queue) dropBehind(b *event.Batch) {
	s := q.spill
	gaps := event.NewBatch()
	for i := range b.Events {
		e := b.Events[i]
		if e.Route != event.Gap {
			q.drop(&e)
			continue
		}
		e.Key, e.Value, e.ID = keep(gaps, e.Key), keep(gaps, e.Value), keep(gaps, e.ID)
		*gaps.Add() = e
	}
	gaps.Cursor, gaps.Received = b.Cursor, b.Received
	b.Release()
	if s.batches == 0 {
		q.add(gaps) // gaps are more than fits, but little, and a proof
		return
	}
	if len(gaps.Events) > 0 {
		if err := s.write(gaps); err != nil { // nothing else may be dropped in its stead
			q.err = fmt.Errorf("%w: a gap cannot be put behind it: %w", ErrSpill, err)
			notify(q.ready)
		}
	} else { // the position behind it must not be forgotten
		c := gaps.Cursor.Clone()
		s.after = &c
	}
	gaps.Release()
}

// refill moves batches from disk into the memory that is free.
func (q *Queue) refill() {
	for q.onDisk() && q.err == nil {
		h, err := q.spill.peek()
		if err == nil && !q.empty() && (q.events+int(h.events) > q.maxEvents || q.bytes+int64(h.memory) > q.maxBytes) {
			return
		}
		var b *event.Batch
		if err == nil {
			b, err = q.spill.read(h)
		}
		if err != nil {
			q.err = fmt.Errorf("%w: %w", ErrSpill, err)
			return
		}
		q.add(b)
	}
}

// write appends a batch. What was half written when it fails is written over.
func (s *spill) write(b *event.Batch) error {
	s.buf.Reset()
	s.buf.Write(make([]byte, headerBytes))
	if err := encode(&s.buf, b); err != nil {
		return err
	}
	p := s.buf.Bytes()
	if len(p) > math.MaxUint32 {
		return errors.New("the batch is too large")
	}
	binary.LittleEndian.PutUint32(p, uint32(len(p)-headerBytes))
	binary.LittleEndian.PutUint32(p[4:], uint32(len(b.Events)))
	binary.LittleEndian.PutUint32(p[8:], uint32(b.Bytes()))
	if len(s.segments) == 0 || s.to >= segmentBytes {
		f, err := os.CreateTemp(s.dir, "spill-")
		if err != nil {
			return fmt.Errorf("make spill file: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			return errors.Join(fmt.Errorf("unlink spill file: %w", err), f.Close())
		}
		if len(s.segments) == 0 {
			s.from = 0
		}
		s.segments, s.to = append(s.segments, f), 0
	}
	if _, err := s.segments[len(s.segments)-1].WriteAt(p, s.to); err != nil {
		return fmt.Errorf("write spill file: %w", err)
	}
	s.to += int64(len(p))
	s.batches++
	s.events += len(b.Events)
	s.bytes += int64(len(p))
	s.total += int64(len(b.Events))
	s.after = nil // b's is behind it
	return nil
}

// peek looks at the first batch.
func (s *spill) peek() (header, error) {
	if s.next != nil {
		return *s.next, nil
	}
	if len(s.segments) > 1 { // only the last may grow
		info, err := s.segments[0].Stat()
		if err != nil {
			return header{}, err
		}
		if s.from >= info.Size() {
			_ = s.segments[0].Close() // it was only read
			s.segments, s.from = s.segments[1:], 0
		}
	}
	var p [headerBytes]byte
	if _, err := s.segments[0].ReadAt(p[:], s.from); err != nil {
		return header{}, fmt.Errorf("read spill file: %w", err)
	}
	s.next = &header{binary.LittleEndian.Uint32(p[:]), binary.LittleEndian.Uint32(p[4:]), binary.LittleEndian.Uint32(p[8:])}
	return *s.next, nil
}

// read takes the first batch, which peek has looked at, and frees what is empty.
func (s *spill) read(h header) (*event.Batch, error) {
	p := make([]byte, h.size)
	if _, err := s.segments[0].ReadAt(p, s.from+headerBytes); err != nil {
		return nil, fmt.Errorf("read spill file: %w", err)
	}
	b, err := decode(p, int(h.events))
	if err != nil {
		return nil, err
	}
	s.next = nil
	s.from += headerBytes + int64(h.size)
	s.batches--
	s.events -= int(h.events)
	s.bytes -= headerBytes + int64(h.size)
	if s.batches == 0 {
		if s.after != nil {
			b.Cursor = *s.after
		}
		s.discard()
	}
	return b, nil
}

// discard gives up everything on disk.
func (s *spill) discard() {
	for _, f := range s.segments {
		_ = f.Close() // nobody reads it any more
	}
	s.segments, s.next, s.after = nil, nil, nil
	s.from, s.to, s.batches, s.events, s.bytes = 0, 0, 0, 0, 0
}

func (s *spill) stats() Spilled {
	out := Spilled{Events: s.events, Bytes: s.bytes, MaxBytes: s.maxBytes, Total: s.total}
	if s.err != nil {
		out.Err = s.err.Error()
	}
	return out
}

// encode writes a batch: its cursor as JSON, its time, then each event's fields.
func encode(w *bytes.Buffer, b *event.Batch) error {
	cursor, err := json.Marshal(&b.Cursor)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	var n [binary.MaxVarintLen64]byte
	number := func(v int64) { w.Write(binary.AppendVarint(n[:0], v)) }
	field := func(p []byte) { // nil is not the same as empty
		if p == nil {
			number(-1)
			return
		}
		number(int64(len(p)))
		w.Write(p)
	}
	field(cursor)
	received := int64(0)
	if !b.Received.IsZero() {
		received = b.Received.UnixNano()
	}
	number(received)
	for i := range b.Events {
		e := &b.Events[i]
		number(int64(e.Route))
		number(e.TimeUS)
		number(e.Size)
		field([]byte(e.Kind))
		field([]byte(e.Detail))
		field(e.Key)
		field(e.Value)
		field(e.ID)
	}
	return nil
}

// decode reads what encode has written.
func decode(p []byte, events int) (*event.Batch, error) {
	d := decoder{r: bytes.NewReader(p)}
	b := event.NewBatch()
	if err := json.Unmarshal(d.field(), &b.Cursor); err != nil && d.err == nil {
		d.err = fmt.Errorf("decode cursor: %w", err)
	}
	if ns := d.number(); ns != 0 {
		b.Received = time.Unix(0, ns)
	}
	for range events {
		e := event.Event{Route: event.Route(d.number()), TimeUS: d.number(), Size: d.number(), Kind: string(d.field()), Detail: string(d.field())}
		e.Key, e.Value, e.ID = keep(b, d.field()), keep(b, d.field()), keep(b, d.field())
		if d.err != nil {
			break
		}
		*b.Add() = e
	}
	if d.err == nil && d.r.Len() > 0 {
		d.err = fmt.Errorf("decode spilled batch: %d bytes are left over", d.r.Len())
	}
	if d.err != nil {
		b.Release()
		return nil, d.err
	}
	return b, nil
}

type decoder struct {
	r   *bytes.Reader
	err error
}

func (d *decoder) number() int64 {
	v, err := binary.ReadVarint(d.r)
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("decode spilled batch: %w", err)
	}
	return v
}

func (d *decoder) field() []byte {
	n := d.number()
	if d.err != nil || n < 0 {
		return nil
	}
	if n > int64(d.r.Len()) {
		d.err = fmt.Errorf("decode spilled batch: %w", io.ErrUnexpectedEOF)
		return nil
	}
	p := make([]byte, n)
	_, _ = io.ReadFull(d.r, p) // so many are left
	return p
}
