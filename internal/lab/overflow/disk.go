package overflow

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/weir-project/weir/internal/event"
)

// segmentBytes is how large one file becomes, in bytes. Disk space is given back a file at a time.
const segmentBytes = 8 << 20

// disk holds chunks of a queue. Its files have no name from the moment they are made (where
// the system allows that), so that a crash leaves nothing behind. Nothing has to be kept:
// these events are not committed, and upstream sends them again.
type disk struct {
	dir  string   // empty for none
	last *segment // which is written to; nil where none is
	Spilled
}

// segment is a file.
type segment struct {
	*os.File
	end    int64 // where to write
	chunks int   // that are not read yet
}

// spot is where a chunk lies on disk, in JSON, and what it takes in memory.
type spot struct {
	file   *segment
	at     int64
	size   int
	events int
	memory int64
}

// Spilled is what waits on disk.
type Spilled struct {
	Events int
	// Bytes is what they take there: at most MaxBytes.
	Bytes, MaxBytes int64
	// Total counts the events that were ever spilled.
	Total int64
	// Err says why the disk last failed, whose events were then dropped; empty where it
	// never did.
	Err string
}

// write moves a chunk to the disk and reports whether it could. A part that was written
// before an error is written over.
func (d *disk) write(c *chunk) bool {
	data, err := json.Marshal(c.Events)
	if err == nil && d.Bytes+int64(len(data)) > d.MaxBytes {
		return false
	}
	if err == nil && (d.last == nil || d.last.end >= segmentBytes) {
		err = d.open()
	}
	if err == nil {
		_, err = d.last.WriteAt(data, d.last.end)
	}
	if d.Err = ""; err != nil {
		d.Err = fmt.Sprintf("write spill file: %v", err)
		return false
	}
	events, memory := c.takes()
	c.spot = &spot{d.last, d.last.end, len(data), events, memory}
	light := &event.Batch{Cursor: c.Cursor, Host: c.Host, Received: c.Received}
	c.Release()
	c.Batch = light
	d.last.end += int64(len(data))
	d.last.chunks++
	d.Bytes += int64(len(data))
	d.Events += events
	d.Total += int64(events)
	return true
}

// open makes a file to write to.
func (d *disk) open() error {
	f, err := os.CreateTemp(d.dir, "spill-")
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name()) // Windows refuses while it is open: forget tries again
	d.last = &segment{File: f}
	return nil
}

// read brings a chunk back into memory, where it is not there.
func (d *disk) read(c *chunk) error {
	if c.spot == nil {
		return nil
	}
	data := make([]byte, c.size)
	if _, err := c.file.ReadAt(data, c.at); err != nil {
		return fmt.Errorf("read spill file: %w", err)
	}
	b := &event.Batch{Cursor: c.Cursor}
	if err := json.Unmarshal(data, &b.Events); err != nil {
		return fmt.Errorf("read spilled events: %w", err)
	}
	c.Append(b)
	d.forget(c)
	return nil
}

// forget gives up the place of a chunk on disk. A file whose chunks are all read is closed,
// and deleted where it still has a name.
func (d *disk) forget(c *chunk) {
	s := c.spot
	if s == nil {
		return
	}
	c.spot = nil
	d.Events -= s.events
	d.Bytes -= int64(s.size)
	if s.file.chunks--; s.file.chunks > 0 {
		return
	}
	if d.last == s.file {
		d.last = nil
	}
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}
