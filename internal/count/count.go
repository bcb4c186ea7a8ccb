// Package count consumes one topic as a member of a consumer group and keeps the
// number of events by type, exactly once: the position that counts is stored in
// the same Redis hash as the counts (see Store) and moves with them in one
// step. The offsets that are committed to Kafka follow behind, so that every
// Kafka tool shows the group's lag; nothing is ever read from them.
//
// It owns the consumer, what is counted as which event type, and when a partition must
// stop rather than go on from a guess. It does not own the topic, nor the scripts.
//
// Invariants:
//   - a partition's position comes from the counts in Redis and from nowhere else: not from
//     Kafka's committed offsets, not from a reset policy;
//   - a batch begins where the batch before ended, whatever the first record's
//     offset is: transaction markers and compaction leave gaps;
//   - a batch is counted by one compare-and-set, so two members that both believe
//     to own a partition cannot both count a record, and an older state of Redis
//     is noticed and Kafka is read again from there;
//   - where the position is not in the log, or the log is not the one that was
//     counted, the partition stops and says so. The others go on.
package count

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// Limits on what a broker can make this process hold, in bytes.
const (
	fetchMaxBytes = 8 << 20
	// fetchMaxPartitionBytes is exceeded for a single larger batch (KIP-74).
	fetchMaxPartitionBytes = 2 << 20
)

// Times of the group protocol. The session's is the shortest that brokers allow
// by default: a killed member's partitions are handed on after it. Members hear of
// a rebalance with their next heartbeat, and a cooperative one takes two of them.
const (
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = 500 * time.Millisecond
	rebalanceTimeout  = 20 * time.Second
	// complainEvery is how often a lasting problem is logged again.
	complainEvery = 10 * time.Second
)

// pace is how often and how long; tests are in more of a hurry.
type pace struct {
	// check is how often stored offsets are read again where nothing was
	// counted, and how often the log's bounds and the topic's id are looked at.
	check time.Duration
	// commit is how often offsets are committed to Kafka at most.
	commit time.Duration
	// answer bounds each wait for a server, and each step of a shutdown.
	answer time.Duration
}

var defaultPace = pace{check: time.Second, commit: 200 * time.Millisecond, answer: 3 * time.Second}

// Config is what a Counter needs. Kafka, Store, Topic, Group and Classify are required.
type Config struct {
	Kafka kafka.Config
	Store *tally.Store
	// Topic is counted as Group.
	Topic, Group string
	// Classify says what to count a record without a `kind` header as. It must
	// accept any bytes.
	Classify func(value []byte) string
	// Counted, where it is not nil, is called when Redis has taken a batch: the records of a
	// partition with an offset below next are counted. It must be quick.
	Counted func(partition int32, next int64)
	// Log gets what happens to partitions; nil discards it.
	Log *slog.Logger
}

// Counter counts one topic. Create it with New, run it with Run.
type Counter struct {
	cfg    Config
	pace   pace
	log    *slog.Logger
	meter  meter
	member atomic.Pointer[member]
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Counter, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("count: no store")
	case cfg.Topic == "" || cfg.Group == "":
		return nil, errors.New("count: topic and group are required")
	case cfg.Classify == nil:
		return nil, errors.New("count: no classifier")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Counter{cfg: cfg, pace: defaultPace, log: cfg.Log.With("topic", cfg.Topic, "group", cfg.Group)}
	c.meter.kafka.name, c.meter.redis.name = "kafka", "redis"
	c.meter.kafka.waiting, c.meter.redis.waiting = kafka.LogWaiting, "waiting for Redis; nothing is lost, it goes on by itself"
	return c, nil
}

// MemberID is the id that the group's coordinator knows this counter by; empty
// before it has one.
func (c *Counter) MemberID() string {
	m := c.member.Load()
	if m == nil {
		return ""
	}
	id, _ := m.cl.GroupMetadata()
	return id
}

// errAnew makes Run begin again with a new client.
var errAnew = errors.New("the group was reset on a topic that was created again")

// Run counts until ctx ends; then it applies what it has read, commits, leaves
// the group and returns nil. Kafka or Redis being away is not an error: it is
// logged, shown by Stats, and tried again. An error means that the Kafka client
// cannot be made as configured.
func (c *Counter) Run(ctx context.Context) error {
	for {
		err := c.join(ctx)
		if !errors.Is(err, errAnew) {
			return err
		}
		c.log.Info("joining the group anew", "reason", err)
	}
}

// join is the life of one Kafka client.
func (c *Counter) join(ctx context.Context) error {
	m := &member{c: c, log: c.log, parts: map[int32]*partition{}, ready: make(chan struct{})}
	cl, err := c.cfg.Kafka.NewClient(m.options()...)
	if err != nil {
		return fmt.Errorf("count %s: %w", c.cfg.Topic, err)
	}
	m.cl = cl
	close(m.ready)
	c.member.Store(m)

	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { every(side, c.pace.check, m.observe) })
	wg.Go(func() { every(side, c.pace.commit, m.commitMoved) })
	err = m.loop(ctx)
	stop()
	wg.Wait()
	m.leave()
	return err
}

// member is one membership of the group: one client and what it is assigned.
type member struct {
	c     *Counter
	cl    *kgo.Client
	log   *slog.Logger
	ready chan struct{} // closed once cl is set: callbacks can come before

	mu    sync.Mutex // guards what follows
	parts map[int32]*partition
	seen  observation
	// unexplained counts observations in a row that failed although the cluster looks
	// well. It is the observer's own.
	unexplained int
	// session is why the group could last not be joined or stayed in, at sessionAt.
	session   error
	sessionAt time.Time
	acted     int  // the number of the last observation that was acted on
	moved     bool // positions moved since the last commit to Kafka
}

// options are those of the client on top of the connection's.
func (m *member) options() []kgo.Opt {
	topic := m.c.cfg.Topic
	return []kgo.Opt{
		kgo.ConsumerGroup(m.c.cfg.Group),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Positions come from the counts in Redis; a position that the log does not have is
		// an error to show, never a reason to jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Markers at the end of the log must move the position too, or an idle
		// topic has a lag of 1 for good.
		kgo.KeepControlRecords(),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(m.assigned),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { m.joined() }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, lost map[string][]int32) { m.revoked(ctx, lost[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { m.forget(lost[topic]) }),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchMaxBytes(fetchMaxBytes),
		kgo.FetchMaxPartitionBytes(fetchMaxPartitionBytes),
	}
}

// leave ends the membership, so that others take over at once.
func (m *member) leave() {
	m.cl.AllowRebalance()
	ctx, cancel := context.WithTimeout(context.Background(), m.c.pace.answer)
	defer cancel()
	if err := m.cl.LeaveGroupContext(ctx); err != nil && !errors.Is(err, kgo.ErrClientClosed) {
		m.log.Warn("left the group without LeaveGroup; other members take over after the session timeout", "error", err)
	}
	m.cl.CloseAllowingRebalance()
	// Closing left the group once more, in a goroutine that nobody waits for, and then polled: one that
	// is late would wait for that poll for ever.
	m.cl.AllowRebalance()
}
