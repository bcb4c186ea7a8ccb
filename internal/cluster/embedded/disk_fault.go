package embedded

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/atomicfile"
)

// The module logs a write that failed and goes on: a transaction's marker is then
// missing in one partition, and aborted records become visible. So a failed write
// is handled as a crash. From that moment no response reaches a client, so nothing
// is acknowledged that is not on the disk. The module is closed, the log is
// repaired as after a crash, and the brokers start again on their ports as soon
// as the disk has room.

// DiskError reports that the brokers are down because a write failed, that they
// reject Produce requests because the disk is almost full, or that the archive fails.
type DiskError struct {
	Dir  string
	Free int64 // bytes; -1 when unknown
	Err  error // of the write; nil when there is only too little room
	// Archive is what cannot be done with the archive; empty where the error is not the
	// archive's alone. The brokers then go on.
	Archive string
}

func (e *DiskError) Error() string {
	free := ""
	if e.Free >= 0 {
		free = fmt.Sprintf(" (%s free)", megabytes(e.Free))
	}
	switch {
	case e.Err != nil && containsAny(e.Err.Error(), syscall.EMFILE.Error()): // whatever weir did with the file
		return atomicfile.NoDescriptors(e.Dir, e.Err).Error()
	case e.Archive != "":
		advice := "check the disk"
		if e.Full() {
			advice = "free some space, or enlarge the disk"
		}
		return fmt.Sprintf("weir cannot %s the archive of older records in %s%s: %s (%v)", e.Archive, e.Dir, free, advice, e.Err)
	case e.Err == nil:
		return fmt.Sprintf("the disk of %s is almost full%s: producers have to wait; free some space, enlarge the disk, or lower the retention of topics", e.Dir, free)
	case e.Full():
		return fmt.Sprintf("the disk of %s is full%s: free some space, or enlarge the disk (%v)", e.Dir, free, e.Err)
	}
	return fmt.Sprintf("a write to the disk of %s failed%s: check the disk (%v)", e.Dir, free, e.Err)
}

func (e *DiskError) Unwrap() error { return e.Err }

// Full reports whether room is all that is missing.
func (e *DiskError) Full() bool { return e.Err == nil || isFull(e.Err) }

// isFull also looks at the text, because the module logs errors instead of
// returning them.
func isFull(err error) bool {
	return atomicfile.Full(err) || containsAny(err.Error(), syscall.ENOSPC.Error(), syscall.EDQUOT.Error())
}

// Fault returns why the brokers do not accept records at the moment, as a
// *DiskError, or nil.
func (c *Cluster) Fault() error {
	if e := c.failed.Load(); e != nil {
		return e
	}
	if e := c.outage.Load(); e != nil { // the log is being repaired
		return e
	}
	if c.room.lacking() {
		return c.diskError(nil)
	}
	if c.archive != nil {
		return c.archive.fault()
	}
	return nil
}

// diskError describes the disk of the data directory now. err is nil where there is
// only too little room.
func (c *Cluster) diskError(err error) *DiskError {
	_, free, e := c.cfg.space(c.dir.path)
	if e != nil {
		free = -1
	}
	return &DiskError{Dir: c.dir.path, Free: free, Err: err}
}

// fail reports a failed write. It does not block, because the module's own
// goroutine calls it, and only the first call counts until the brokers restart.
func (c *Cluster) fail(err error) {
	if c.dir == nil {
		return
	}
	failure := c.diskError(err)
	if !c.failed.CompareAndSwap(nil, failure) {
		return
	}
	c.outage.Store(failure)
	c.faults.Add(1)
	select {
	case c.broken <- struct{}{}:
	default:
	}
}

const (
	minPause = 100 * time.Millisecond
	maxPause = 15 * time.Second
)

// mend restarts the brokers after failed writes until ctx ends.
func (c *Cluster) mend(ctx context.Context) {
	pause, opened := minPause, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.broken:
		}
		if time.Since(opened) > time.Minute {
			pause = minPause
		}
		alive := c.halt()
		c.log.Error("a write to the disk failed: the brokers stop, and start again when the disk has room",
			"dir", c.dir.path, "error", c.failed.Load())
		for again := true; again; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
			if !c.room.regained() {
				pause = minPause // there is nothing to try yet
				continue
			}
			err := c.reopen(ctx, alive)
			if again = err != nil; again && ctx.Err() == nil {
				c.log.Error("the brokers cannot start again yet", "dir", c.dir.path, "error", err)
			}
		}
		opened = time.Now()
		c.log.Info("the disk is writable again: the log is repaired, the brokers accept clients", "dir", c.dir.path)
	}
}

// halt ends every connection and the module, and returns the brokers that were up.
func (c *Cluster) halt() (alive []*broker) {
	k := c.detach() // first, so that no restart succeeds meanwhile
	for _, b := range c.brokers {
		if b.alive() {
			alive = append(alive, b)
		}
		b.cut()
	}
	_ = c.unload(k)
	return alive
}

// reopen repairs the log and starts the brokers again.
func (c *Cluster) reopen(ctx context.Context, alive []*broker) (err error) {
	failure := c.failed.Load()
	defer func() {
		if err == nil {
			return
		}
		c.failed.CompareAndSwap(nil, failure)
		_ = c.unload(c.detach())
		select { // this attempt has ended, whatever failed in it
		case <-c.broken:
		default:
		}
	}()
	for _, b := range alive {
		if err := b.listen(); err != nil {
			return err
		}
	}
	c.failed.Store(nil)
	c.dir.unclean = true
	report := newProgress(func(line string) { c.log.Info("restarting the brokers", "state", line) })
	defer report.stop()
	if err := c.load(ctx, report); err != nil {
		return err
	}
	if e := c.failed.Load(); e != nil {
		return e
	}
	for _, b := range alive {
		b.serve()
	}
	c.outage.Store(nil)
	return nil
}

// room keeps a part of the disk free, with which open transactions can still be
// ended and positions be committed.
type room struct {
	mu       sync.Mutex
	dir      string
	space    func(dir string) (total, free int64, err error)
	measured time.Time
	total    int64
	free     int64 // when measured, less what was accepted since
	// refused is the size of the largest request that was rejected and for which
	// there has been no room since, in bytes; 0: none.
	refused int64
}

const (
	maxReserve   = 16 << 20
	measureEvery = 100 * time.Millisecond
)

// reserve is at most a sixteenth of a small disk.
func (r *room) reserve() int64 { return min(maxReserve, r.total/16) }

// take reports whether a request of n bytes may be written.
func (r *room) take(n int64) bool {
	if r.space == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.measured) > measureEvery || r.free-n < r.reserve() {
		r.measure()
	}
	if r.free-n < r.reserve() {
		r.refused = max(r.refused, n, 1)
		return false
	}
	r.free -= n
	return true
}

func (r *room) measure() {
	total, free, err := r.space(r.dir)
	if err != nil { // not known on this system: a failed write is noticed anyway
		total, free = 0, 1<<62
	}
	r.total, r.free, r.measured = total, free, time.Now()
}

// regained reports whether there is room to start again.
func (r *room) regained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	return r.free >= r.reserve()
}

// lacking reports whether Produce requests are rejected now.
func (r *room) lacking() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == 0 {
		return false
	}
	// Smaller requests may still fit. A client whose request does not has to wait.
	r.measure()
	if r.free-r.refused >= r.reserve() {
		r.refused = 0
	}
	return r.refused > 0
}

// rejectProduce returns why a Produce request is rejected, and logs it now and then.
func (c *Cluster) rejectProduce() error {
	e := c.diskError(nil)
	now := time.Now().Unix()
	if last := c.logged.Load(); now-last >= 10 && c.logged.CompareAndSwap(last, now) {
		c.log.Error("the disk is almost full: producers have to wait", "dir", e.Dir, "error", e)
	}
	return e
}

// produceRefusal rejects every batch of req with an error on which clients try again.
func produceRefusal(req *kmsg.ProduceRequest, err error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		st := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode = p.Partition, kerr.KafkaStorageError.Code
			sp.BaseOffset, sp.LogAppendTime, sp.LogStartOffset = -1, -1, -1
			sp.ErrorMessage = kmsg.StringPtr(err.Error())
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}
