package overflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/weir-project/weir/internal/event"
)

// segmentBytes is how large one file becomes, in bytes. Disk space is given back a file at a time.
const segmentBytes = 8 << 20

// disk is the part of a queue on disk, in order. Its files have no name from the moment they
// are made (where the system allows that), so that a crash leaves nothing behind. Nothing has
// to be kept: these events are not committed, and upstream sends them again.
type disk struct {
	dir      string
	maxBytes int64

	entries []entry
	file    *os.File // the last one, which is written to
	to      int64    // where to write in it
	events  int
	bytes   int64
	total   int64 // events that were ever written
	// after is the cursor behind the last entry, where later events were dropped.
	after *event.Cursor
	err   error // the last one of writing
}

// entry is a chunk on disk: a description in JSON, then the bytes of its events.
type entry struct {
	file       *os.File
	at         int64
	head, size int // bytes of the JSON, and of everything
	events     int
	memory     int64 // bytes that its events take in memory
}

// Spilled is what waits on disk.
type Spilled struct {
	Events int
	// Bytes is what they take there: at most MaxBytes, and the gaps.
	Bytes, MaxBytes int64
	// Total counts the events that were ever spilled.
	Total int64
	// Err says why the disk last failed, whose events were then dropped; empty where it
	// never did.
	Err string
}

// described is what the JSON of an entry holds: the chunk without the bytes of its events,
// and how long the keys, values and identities are, in turn; -1 for nil.
type described struct {
	chunk
	Lengths []int
}

// write appends a chunk and reports whether it could. A part that was written before an error
// is written over. Only a must may exceed the disk's share.
func (d *disk) write(c *chunk, must bool) bool {
	plain := described{chunk: *c}
	plain.Events = make([]event.Event, len(c.Events))
	var data []byte
	for i, e := range c.Events {
		for _, p := range [][]byte{e.Key, e.Value, e.ID} {
			n := len(p)
			if p == nil {
				n = -1
			}
			plain.Lengths, data = append(plain.Lengths, n), append(data, p...)
		}
		e.Key, e.Value, e.ID = nil, nil, nil
		plain.Events[i] = e
	}
	head, err := json.Marshal(plain)
	if err != nil {
		d.err = fmt.Errorf("describe spilled events: %w", err)
		return false
	}
	data = append(head, data...)
	if !must && d.bytes+int64(len(data)) > d.maxBytes {
		return false
	}
	if d.err = d.open(); d.err != nil {
		return false
	}
	if _, err := d.file.WriteAt(data, d.to); err != nil {
		d.err = fmt.Errorf("write spill file: %w", err)
		return false
	}
	d.entries = append(d.entries, entry{d.file, d.to, len(head), len(data), len(c.Events), c.bytes()})
	d.to += int64(len(data))
	d.events += len(c.Events)
	d.bytes += int64(len(data))
	d.total += int64(len(c.Events))
	d.after = nil // the chunk's own is behind it
	return true
}

// open makes the file to write to, where there is none with room.
func (d *disk) open() error {
	if d.file != nil && d.to < segmentBytes {
		return nil
	}
	f, err := os.CreateTemp(d.dir, "spill-")
	if err != nil {
		return fmt.Errorf("make spill file: %w", err)
	}
	_ = os.Remove(f.Name()) // Windows refuses while it is open: close tries again
	d.file, d.to = f, 0
	return nil
}

// read takes the first chunk.
func (d *disk) read() (*chunk, error) {
	e := d.entries[0]
	data := make([]byte, e.size)
	if _, err := e.file.ReadAt(data, e.at); err != nil {
		return nil, fmt.Errorf("read spill file: %w", err)
	}
	var got described
	if err := json.Unmarshal(data[:e.head], &got); err != nil {
		return nil, fmt.Errorf("read spilled events: %w", err)
	}
	data = data[e.head:]
	if len(got.Lengths) != 3*len(got.Events) {
		return nil, errors.New("read spilled events: the lengths do not fit the events")
	}
	for i := range got.Events {
		v := &got.Events[i]
		for j, field := range []*[]byte{&v.Key, &v.Value, &v.ID} {
			n := got.Lengths[3*i+j]
			if n > len(data) {
				return nil, errors.New("read spilled events: the file is cut short")
			}
			if n >= 0 {
				*field, data = data[:n:n], data[n:]
			}
		}
	}
	d.entries = d.entries[1:]
	d.events -= e.events
	d.bytes -= int64(e.size)
	if len(d.entries) == 0 {
		if d.after != nil {
			got.Cursor = *d.after
		}
		d.discard()
	} else if d.entries[0].file != e.file {
		remove(e.file)
	}
	return &got.chunk, nil
}

// discard gives up everything on disk.
func (d *disk) discard() {
	var last *os.File
	for _, e := range d.entries {
		if e.file != last && e.file != d.file {
			remove(e.file)
		}
		last = e.file
	}
	if d.file != nil {
		remove(d.file)
	}
	d.entries, d.file, d.after = nil, nil, nil
	d.to, d.events, d.bytes = 0, 0, 0
}

// remove closes a file that nothing reads any more, and deletes it where it still has a name.
func remove(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

func (d *disk) stats() Spilled {
	out := Spilled{Events: d.events, Bytes: d.bytes, MaxBytes: d.maxBytes, Total: d.total}
	if d.err != nil {
		out.Err = d.err.Error()
	}
	return out
}
