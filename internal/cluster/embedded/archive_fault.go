package embedded

import (
	"errors"
	"sync"
	"time"
)

// Where the archive cannot be written, the brokers keep what would be archived, and weir tries
// again. Where it cannot be read, clients get KAFKA_STORAGE_ERROR and ask again: what follows
// would look to them like the next record.

const (
	minRest = 10 * time.Second
	maxRest = time.Minute
	// readAgain is how long after the last failed read the archive counts as readable.
	readAgain = time.Minute
)

// trouble is what failed of the archive. Each cause is logged once.
type trouble struct {
	// of the goroutine that archives
	failed error // in this pass
	rest   time.Duration
	until  time.Time

	mu       sync.Mutex
	write    *DiskError
	read     *DiskError
	lastRead time.Time
}

// note keeps an error of this pass.
func (t *trouble) note(err error) { t.failed = errors.Join(t.failed, err) }

// rests reports whether nothing is to be archived now: merging what cannot be written
// costs processor time.
func (t *trouble) rests() bool { return t.failed != nil || time.Now().Before(t.until) }

// archivePassed ends a pass of Enforce.
func (c *Cluster) archivePassed() {
	if c.archive == nil {
		return
	}
	t := &c.archive.trouble
	err := t.failed
	t.failed = nil
	if err == nil && t.rests() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.rest = min(max(2*t.rest, minRest), maxRest)
		t.until = time.Now().Add(t.rest)
		e := c.diskError(err)
		e.Archive = "write to"
		if t.write == nil {
			c.log.Error("the brokers keep older records until weir can archive them", "error", e)
		}
		t.write = e
	case t.write != nil:
		t.rest, t.write = 0, nil
		c.log.Info("weir can write to the archive again", "dir", c.archive.dir)
	}
}

// unread reports a failed read.
func (a *archive) unread(p partition, err error) {
	t := &a.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &DiskError{Dir: a.dir, Free: -1, Err: err, Archive: "read"}
	if t.read == nil || time.Since(t.lastRead) > readAgain {
		a.log.Error("consumers of older records wait", "topic", p.topic, "partition", p.id, "error", e)
	}
	t.read, t.lastRead = e, time.Now()
}

// fault returns what fails of the archive now, as a *DiskError, or nil.
func (a *archive) fault() error {
	t := &a.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.write != nil {
		return t.write
	}
	if t.read != nil && time.Since(t.lastRead) < readAgain {
		return t.read
	}
	return nil
}
