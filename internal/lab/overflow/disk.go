package overflow

import (
	"encoding/json"
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
	dir     string
	entries []entry
	file    *os.File // the last one, which is written to
	to      int64    // where to write in it
	Spilled
}

// entry is a chunk on disk, in JSON.
type entry struct {
	file   *os.File
	at     int64
	size   int
	events int
	memory int64 // bytes that its events take in memory
	// cursor is the chunk's, or a later one, where the events after it were dropped.
	cursor event.Cursor
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

// write appends a chunk and reports whether it could. A part that was written before an error
// is written over. Only a must may exceed the disk's share.
func (d *disk) write(c *chunk, must bool) bool {
	data, err := json.Marshal(c)
	if err == nil && !must && d.Bytes+int64(len(data)) > d.MaxBytes {
		return false
	}
	if err == nil && (d.file == nil || d.to >= segmentBytes) {
		err = d.open()
	}
	if err == nil {
		_, err = d.file.WriteAt(data, d.to)
	}
	if d.Err = ""; err != nil {
		d.Err = fmt.Sprintf("write spill file: %v", err)
		return false
	}
	d.entries = append(d.entries, entry{d.file, d.to, len(data), len(c.Events), c.bytes(), c.Cursor})
	d.to += int64(len(data))
	d.Bytes += int64(len(data))
	d.Events += len(c.Events)
	d.Total += int64(len(c.Events))
	return true
}

// open makes a file to write to.
func (d *disk) open() error {
	f, err := os.CreateTemp(d.dir, "spill-")
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name()) // Windows refuses while it is open: remove tries again
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
	c := &chunk{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("read spilled events: %w", err)
	}
	c.Cursor = e.cursor
	d.entries = d.entries[1:]
	d.Events -= e.events
	d.Bytes -= int64(e.size)
	if len(d.entries) == 0 {
		d.discard()
	} else if d.entries[0].file != e.file {
		remove(e.file)
	}
	return c, nil
}

// discard gives up everything on disk.
func (d *disk) discard() {
	last := d.file
	for _, e := range d.entries {
		if e.file != last && e.file != d.file {
			remove(e.file)
		}
		last = e.file
	}
	if d.file != nil {
		remove(d.file)
	}
	d.entries, d.file, d.to = nil, nil, 0
	d.Events, d.Bytes = 0, 0
}

// remove closes a file that nothing reads any more, and deletes it where it still has a name.
func remove(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}
