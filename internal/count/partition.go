package count

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

// partition is one assignment of a partition to this member. A new assignment is
// a new partition value, so that what is left of an old one can be told apart.
type partition struct {
	id int32
	// topicID is the id of the topic that the client reads, empty where the
	// cluster has none.
	topicID string
	// stored is what Redis holds as far as is known. stored.Next is the
	// position; it is not Found while Redis holds no counts yet.
	stored tally.Position
	// confirmed is when Redis last said so.
	confirmed time.Time
	// lost is set once the assignment has ended.
	lost bool
	// reseek asks to fetch from the position; what is buffered is dropped.
	reseek bool
	// notBefore delays a reseek after an error, so that it cannot spin.
	notBefore time.Time
	// stopped says why nothing is counted any more; empty otherwise. stored is
	// then what was stored at that time: another value means a reset.
	stopped string
	// renew is set where only a new client can go on after a reset.
	renew  bool
	paused bool // the client was told to pause

	highWatermark int64 // -1 until known
	truncated     int   // observations in a row with an end below the position

	// The batch in hand: counted, not yet applied. It ends at batchNext.
	inHand    bool
	batchNext int64
	newest    time.Time // timestamp of its newest record
	kinds     kinds
	arrivals  arrivals
}

// add counts fetched records into the batch in hand.
func (p *partition) add(fp *kgo.FetchPartition, classify func([]byte) string) {
	if len(fp.Records) == 0 || p.stopped != "" || p.reseek {
		return // empty, or read at a position that was left
	}
	p.highWatermark = fp.HighWatermark
	if !p.inHand {
		p.inHand, p.batchNext = true, p.stored.Next
	}
	for _, r := range fp.Records {
		if r.Offset < p.batchNext {
			continue
		}
		p.batchNext = r.Offset + 1
		if r.Attrs.IsControl() {
			continue
		}
		p.kinds.record(r, classify)
		p.arrivals.record(r)
		p.newest = r.Timestamp
	}
}

// drop forgets the batch in hand.
func (p *partition) drop() {
	p.inHand = false
	p.kinds.reset()
	p.arrivals.reset()
}

// fetchFailed deals with an error that the client does not retry by itself. The
// position is fetched again a second later; whether the log still has it is for
// the observer to say. The caller holds m.mu.
func (m *member) fetchFailed(p *partition, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	if errors.As(err, new(*kgo.ErrGroupSession)) {
		m.session, m.sessionAt = err, time.Now()
		return
	}
	if p == nil {
		m.c.meter.kafka.note(err) // the observer finds the cause and reports it
		return
	}
	if p.stopped != "" {
		return
	}
	var big *kgo.ErrDecompressTooLarge
	if errors.As(err, &big) {
		m.stop(p, p.stored, fmt.Sprintf("the record batch at offset %d decompresses to more than %d MiB; resetting the group on this partition to offset %d skips it",
			big.Offset, scan.MaxBatch>>20, big.NextOffset))
		return
	}
	m.log.Warn("fetch failed", "partition", p.id, "position", p.stored.Next, "error", err)
	p.reseek, p.notBefore = true, time.Now().Add(m.c.pace.check)
}

// stop ends counting on a partition until its tally is reset. The batch in hand,
// which was read before, is dropped: it is read again if counting goes on.
func (m *member) stop(p *partition, stored tally.Position, why string) {
	p.drop()
	p.stopped, p.stored, p.reseek = why, stored, false
	m.log.Error("partition stopped", "partition", p.id, "position", stored.Next, "reason", why)
}

const resetHint = "; `weir groups leave`, `reset` and `join`, in this order, set a new offset"

func recreated(counted, now string) string {
	return fmt.Sprintf("the topic was deleted and created again (counted was id %s, now it is %s)%s", counted, now, resetHint)
}

// outOfLog says why a position cannot be read, or nothing.
func outOfLog(next, start, end int64) string {
	switch {
	case start > next:
		return fmt.Sprintf("offsets %d to %d were deleted from the log before they were counted (by retention, or on request)%s", next, start-1, resetHint)
	case end < next:
		return fmt.Sprintf("the log ends at offset %d, below the stored offset %d: it was truncated, or the topic created again%s", end, next, resetHint)
	}
	return ""
}

// changed reports whether two states of a hash of counts differ.
func changed(a, b tally.Position) bool {
	return a.Next != b.Next || a.Start != b.Start || a.TopicID != b.TopicID || a.Found != b.Found || (a.Err == nil) != (b.Err == nil)
}
