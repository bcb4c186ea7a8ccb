// Package crashnote has what the station about delivery semantics and its counter agree on: the names
// of the counter's groups, and the note in the data directory that says how often a run did not end
// cleanly. It knows neither Kafka nor Redis.
package crashnote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/disk"
)

// Semantics of a counter.
const (
	AtLeastOnce = "at-least-once"
	ExactlyOnce = "exactly-once"
)

// Semantics are all of them.
var Semantics = []string{AtLeastOnce, ExactlyOnce}

// Known returns an error for semantics that no counter has.
func Known(semantics string) error {
	if !slices.Contains(Semantics, semantics) {
		return fmt.Errorf("semantics %.60q are unknown: choose one of %s", semantics, strings.Join(Semantics, ", "))
	}
	return nil
}

// Group is the consumer group, and the name of the counts in Redis.
func Group(semantics string) string { return "counter-" + semantics }

// CommitEvery is how often offsets are committed to Kafka, as consumers with enable.auto.commit do.
const CommitEvery = 5 * time.Second

// Note is what is kept of the runs of a counter. A process that is killed leaves Running behind.
type Note struct {
	// TopicID is the UUID of the topic: counts of another topic, or another cluster, are others.
	TopicID string `json:"topic_id"`
	Runs    int    `json:"runs"`
	// Crashes is how many runs had not ended cleanly when the next one began.
	Crashes int  `json:"crashes"`
	Running bool `json:"running"`
	// Began is when the last run began, in Unix milliseconds, PID its process.
	Began int64 `json:"began"`
	PID   int   `json:"pid"`
}

func notePath(dir, semantics string) string { return filepath.Join(dir, Group(semantics)+".json") }

// maxNote bounds the file in bytes: a larger one is not a note.
const maxNote = 64 << 10

// ReadNote returns the note in a directory; a zero one where the counter has not run.
func ReadNote(dir, semantics string) (n Note, err error) {
	path := notePath(dir, semantics)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return n, nil
	case err == nil && info.Size() > maxNote:
		return n, fmt.Errorf("read the counter's note: %s has %d bytes; delete it", path, info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return n, fmt.Errorf("read the counter's note %s: %w; delete the file if it is damaged", path, err)
	}
	return n, nil
}

func writeNote(dir, semantics string, n Note) error {
	data, err := json.Marshal(n)
	if err == nil {
		err = atomicfile.Write(notePath(dir, semantics), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the counter's note: %w", err)
	}
	return nil
}

// Begin notes that a run begins, and returns what notes its end. It refuses a second counter on the
// same directory: its start would look like the crash of the first one.
func Begin(dir, semantics, topicID string) (end func(clean bool) error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, Group(semantics)+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the counter: %w", err)
	}
	held, err := disk.Lock(lock)
	if err == nil && held {
		err = fmt.Errorf("a counter %s runs already on %s: stop it first", semantics, dir)
	}
	var n Note
	if err == nil {
		n, err = ReadNote(dir, semantics)
	}
	if err == nil {
		if n.TopicID != topicID {
			n = Note{TopicID: topicID}
		}
		if n.Running {
			n.Crashes++
		}
		n.Runs, n.Running, n.Began, n.PID = n.Runs+1, true, time.Now().UnixMilli(), os.Getpid()
		err = writeNote(dir, semantics, n)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return func(clean bool) error {
		n.Running = !clean
		return errors.Join(writeNote(dir, semantics, n), lock.Close())
	}, nil
}
