package count

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/latency"
)

// Stats is what a Counter can say about itself at one moment.
type Stats struct {
	Topic, Group string
	// Events and Batches count what was applied since the process started; a rate
	// is the difference of two readings. The totals are in Redis.
	Events, Batches int64
	// Refusals counts how often the stored offset was not the expected one:
	// another member, a lost reply, an older Redis.
	Refusals int64
	// Rebalances counts assignments, the first one included.
	Rebalances int64
	// Lag is the number of offsets between the positions and the ends of the
	// assigned partitions' logs, markers included.
	Lag int64
	// Partitions are those that are assigned now, in order.
	Partitions []PartitionStats
	// LastBatch is when a batch was last applied; zero before the first.
	LastBatch time.Time
	// Latency is how long after its timestamp, which is the event's own time, the
	// newest record of the last batch was counted.
	Latency time.Duration
	// EndToEnd is from the arrival of an event at the socket (the record's received
	// header, by the ingester's clock) to the answer of the Redis that counted it.
	// Records without the header, which others wrote, are not in it.
	EndToEnd latency.Histogram
	// Sink is how long Redis took for each call that counts.
	Sink latency.Histogram
	// KafkaError and RedisError say why Kafka or Redis cannot be used at present;
	// empty when they can.
	KafkaError, RedisError string
	// Since is since when, for the one of them that is longer; zero for neither.
	Since time.Time
}

// PartitionStats is about one assigned partition.
type PartitionStats struct {
	Partition int32
	// Next is the position, HighWatermark the end of the log, -1 until known; Lag
	// is the difference.
	Next, HighWatermark, Lag int64
	// Stopped says why the partition is not counted any more; empty when it is.
	Stopped string
}

// Stats returns the state now. It is safe for concurrent use.
func (c *Counter) Stats() Stats {
	m := &c.meter
	s := Stats{
		Topic: c.cfg.Topic, Group: c.cfg.Group,
		Refusals: m.refusals.Load(), Rebalances: m.rebalances.Load(),
	}
	var since time.Time // zero where Redis can be used, as s.Since is for Kafka
	s.KafkaError, s.Since = m.kafka.current()
	s.RedisError, since = m.redis.current()
	if s.KafkaError == "" || s.RedisError != "" && since.Before(s.Since) {
		s.Since = since
	}
	m.mu.Lock()
	s.Events, s.Batches, s.LastBatch, s.Latency = m.events, m.batches, m.last, m.latency
	s.EndToEnd, s.Sink = m.endToEnd, m.sink
	m.mu.Unlock()
	if mb := c.member.Load(); mb != nil {
		s.Partitions = mb.partitionStats()
	}
	for i := range s.Partitions {
		s.Lag += s.Partitions[i].Lag
	}
	return s
}

func (m *member) partitionStats() []PartitionStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]PartitionStats, 0, len(m.parts))
	for id, p := range m.parts {
		ps := PartitionStats{Partition: id, Next: p.stored.Next, HighWatermark: p.highWatermark, Stopped: p.stopped}
		if p.highWatermark >= 0 {
			ps.Lag = max(0, p.highWatermark-p.stored.Next)
		}
		out = append(out, ps)
	}
	slices.SortFunc(out, func(a, b PartitionStats) int { return cmp.Compare(a.Partition, b.Partition) })
	return out
}

// meter keeps the numbers over the lives of several clients.
type meter struct {
	refusals, rebalances atomic.Int64
	kafka, redis         trouble

	mu              sync.Mutex
	events, batches int64
	last            time.Time
	latency         time.Duration
	endToEnd, sink  latency.Histogram
}

// applied notes that the batch in hand of a partition was counted.
func (m *meter) applied(p *partition, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events += p.kinds.total
	m.batches++
	m.last = now
	if p.kinds.total > 0 {
		m.latency = max(0, now.Sub(p.newest))
	}
	p.arrivals.addTo(&m.endToEnd, now)
}

// took notes how long Redis took to count.
func (m *meter) took(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sink.Add(d, 1)
}

// trouble remembers that a server cannot be used, and says so at once and then
// every complainEvery, and when it is over.
type trouble struct {
	mu           sync.Mutex
	waiting      string // what a line of the log says
	name         string
	err          string
	explained    bool // err is what the cluster says of itself: what a client meets does not replace it
	since, spoke time.Time
}

// failed notes and tells an error.
func (t *trouble) failed(log *slog.Logger, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.set(err, now)
	t.explained = errors.As(err, new(*kafka.UnavailableError))
	if now.Sub(t.spoke) >= complainEvery {
		t.spoke = now
		log.Warn(t.waiting, "error", t.err, "server", t.name, "for", now.Sub(t.since).Round(time.Second))
	}
}

// note notes an error that is told once its cause is known.
func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == "" || !t.explained {
		t.set(err, time.Now())
	}
}

// set sets the error. The caller holds t.mu.
func (t *trouble) set(err error, now time.Time) {
	if t.err == "" {
		t.since, t.spoke, t.explained = now, time.Time{}, false
	}
	t.err = err.Error()
}

func (t *trouble) ok(log *slog.Logger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == "" {
		return
	}
	if !t.spoke.IsZero() {
		log.Info("counting goes on", "server", t.name, "after", time.Since(t.since).Round(time.Millisecond))
	}
	t.err = ""
}

// explainIn is how long the words of a client wait for those of the cluster.
const explainIn = 3 * time.Second

// current is why the server cannot be used, and since when.
func (t *trouble) current() (string, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == "" || t.spoke.IsZero() && time.Since(t.since) < explainIn {
		return "", time.Time{}
	}
	return t.err, t.since
}
