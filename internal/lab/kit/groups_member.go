package kit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

// readEvent is one record that a member was given.
type readEvent struct {
	at        float64 // seconds since the run began
	partition int32
	offset    int64
	member    int
}

// handover is a partition that a member was given, or told to give up.
type handover struct {
	at        float64
	partition int32
	member    int
	given     bool
}

// deathSeen is a member whose network was cut.
type deathSeen struct {
	member int
	at     float64
	// beat is when its last heartbeat was written, leaves how many requests to leave.
	beat   float64
	leaves int
	// done, acked and tried are by partition, of those that it had: up to where it had
	// read, where the broker had confirmed a commit, and where it had asked for one.
	done, acked, tried map[int32]int64
}

// groupRun is a group of one protocol while it runs.
type groupRun struct {
	protocol Protocol // what is claimed of it
	used     Protocol // what its members use
	name     string   // of the group
	kafka    kafka.Config
	now      func() float64
	breakage string

	burials sync.WaitGroup

	mu      sync.Mutex
	reads   []readEvent
	moves   []handover
	deaths  []deathSeen
	members []*groupMember // that live, in the order of their coming
	born    int
	void    string          // why nothing can be claimed; empty where it can
	newest  map[int32]int64 // of what was read, and one more, by partition
	// caughtUp says that nothing much was unread at a time.
	caughtUp bool
	left     int // requests to leave that members wrote who left
}

// groupMember is one member: one client and one loop that reads, notes and commits.
type groupMember struct {
	g      *groupRun
	number int // from 1
	cl     *kgo.Client
	net    *mortal
	stop   context.CancelFunc
	ended  chan struct{}

	// g.mu guards these.
	owned              map[int32]bool
	done, acked, tried map[int32]int64
	answered           time.Time      // when the client last told what became of a commit
	skip               map[int32]bool // the next record is left out, on purpose
}

// join adds a member. It returns at once.
func (g *groupRun) join(ctx context.Context) error {
	g.mu.Lock()
	g.born++
	m := &groupMember{g: g, number: g.born, net: newMortal(), ended: make(chan struct{}), owned: map[int32]bool{},
		done: map[int32]int64{}, acked: map[int32]int64{}, tried: map[int32]int64{}, skip: map[int32]bool{}}
	g.mu.Unlock()
	opts := append(g.used.options(), m.net.option(),
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(groupsTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(groupSession), kgo.HeartbeatInterval(groupHeartbeat), kgo.RebalanceTimeout(20*time.Second),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(groupCommit), kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitCallback(func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			m.committed(req, resp, err)
		}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) { m.given(given[groupsTopic]) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, lost map[string][]int32) { m.revoked(ctx, lost[groupsTopic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { m.expelled(lost[groupsTopic]) }))
	cfg := g.kafka
	cfg.ClientID = fmt.Sprintf("%s-%d", g.name, m.number)
	cl, err := cfg.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("join %s: %w", g.name, err)
	}
	g.mu.Lock()
	m.cl = cl
	g.members = append(g.members, m)
	g.mu.Unlock()
	ctx, m.stop = context.WithCancel(ctx)
	go m.run(ctx)
	return nil
}

// run reads until ctx ends. The client commits by itself what is marked as done, and
// does not keep the loop waiting while the group decides who has what.
func (m *groupMember) run(ctx context.Context) {
	defer close(m.ended)
	for ctx.Err() == nil {
		m.take(m.cl.PollRecords(ctx, 500))
		m.cl.AllowRebalance()
	}
}

// take notes what was fetched; noting is all the work there is.
func (m *groupMember) take(fetches kgo.Fetches) {
	at := m.g.now()
	m.g.mu.Lock()
	fetches.EachRecord(func(r *kgo.Record) {
		if _, ok := m.done[r.Partition]; !ok { // where it goes on is where the group had committed
			m.acked[r.Partition], m.tried[r.Partition] = r.Offset, r.Offset
		}
		m.done[r.Partition] = r.Offset + 1
		if m.skip[r.Partition] {
			delete(m.skip, r.Partition)
			return
		}
		m.g.reads = append(m.g.reads, readEvent{at, r.Partition, r.Offset, m.number})
		m.g.newest[r.Partition] = max(m.g.newest[r.Partition], r.Offset+1)
	})
	m.g.mu.Unlock()
	m.cl.MarkCommitRecords(fetches.Records()...)
}

// committed notes what the brokers said of a commit.
func (m *groupMember) committed(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.answered = time.Now()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			m.tried[p.Partition] = max(m.tried[p.Partition], p.Offset)
		}
	}
	if err != nil {
		return
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				m.acked[p.Partition] = m.tried[p.Partition]
			}
		}
	}
}

func (m *groupMember) given(ids []int32) {
	at := m.g.now()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, p := range ids {
		m.owned[p] = true
		delete(m.done, p)
		delete(m.acked, p)
		delete(m.tried, p)
		if m.g.breakage == BreakSkip && m.number > 1 {
			m.skip[p] = true
		}
		m.g.moves = append(m.g.moves, handover{at, p, m.number, true})
	}
}

// revoked commits what is done and lets go. Nothing is in hand: rebalances are kept
// out between a poll and the end of what is done with it.
func (m *groupMember) revoked(ctx context.Context, ids []int32) {
	if len(ids) > 0 && m.g.breakage != BreakForget {
		ctx, cancel := context.WithTimeout(ctx, groupSession)
		err := m.cl.CommitMarkedOffsets(ctx)
		cancel()
		if err != nil && !m.net.cut() {
			m.g.trouble(fmt.Sprintf("member %d could not commit what it gave up: %v", m.number, err))
		}
	}
	m.lost(ids)
}

// expelled is called where the brokers took a member for dead.
func (m *groupMember) expelled(ids []int32) {
	m.g.mu.Lock()
	owns := len(m.owned) > 0
	m.g.mu.Unlock()
	if owns && !m.net.cut() {
		m.g.trouble(fmt.Sprintf("member %d was taken for dead: the machine was too busy to send heartbeats", m.number))
	}
	m.lost(ids)
}

// trouble notes what makes every claim about the group void.
func (g *groupRun) trouble(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.void == "" {
		g.void = why
	}
}

func (m *groupMember) lost(ids []int32) {
	at := m.g.now()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, p := range ids {
		if m.owned[p] {
			delete(m.owned, p)
			m.g.moves = append(m.g.moves, handover{at, p, m.number, false})
		}
	}
}

// leave ends a membership in order.
func (g *groupRun) leave(m *groupMember) {
	m.stop()
	<-m.ended
	m.goodbye(groupSession)
	m.cl.CloseAllowingRebalance()
	_, leaves := m.net.saw()
	g.remove(m)
	g.mu.Lock()
	g.left += leaves
	g.mu.Unlock()
}

func (g *groupRun) remove(m *groupMember) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = slices.DeleteFunc(g.members, func(x *groupMember) bool { return x == m })
}

// kill cuts a member off. It had partitions and records that it had not committed.
func (g *groupRun) kill(m *groupMember) {
	if g.breakage == BreakIdle {
		m.stop()
		<-m.ended
		m.goodbye(groupSession)
	}
	m.net.kill()
	at := g.now()
	g.remove(m)
	m.stop()
	<-m.ended
	g.mu.Lock()
	owned := m.owned
	m.owned = map[int32]bool{} // what the client says from now on is of no interest
	g.mu.Unlock()
	// A client takes its time to give up on brokers that it cannot reach.
	g.burials.Go(func() { g.bury(m, at, owned) })
}

// bury notes what there is to know of a member that was cut off.
func (g *groupRun) bury(m *groupMember, at float64, owned map[int32]bool) {
	m.goodbye(10 * time.Millisecond) // which it cannot say
	m.cl.CloseAllowingRebalance()
	beat, leaves := m.net.saw()
	g.mu.Lock()
	defer g.mu.Unlock()
	d := deathSeen{member: m.number, at: at, beat: g.now() - time.Since(beat).Seconds(), leaves: leaves,
		done: map[int32]int64{}, acked: map[int32]int64{}, tried: map[int32]int64{}}
	// A client that is closed tells nothing of the commit that it waits for.
	doubtful := m.net.committed().After(m.answered)
	for p := range owned {
		if n, ok := m.done[p]; ok {
			d.done[p], d.acked[p], d.tried[p] = n, m.acked[p], m.tried[p]
			if doubtful {
				d.tried[p] = n
			}
		}
	}
	g.deaths = append(g.deaths, d)
}

// goodbye leaves the group. Whether that was said is seen by what was written.
func (m *groupMember) goodbye(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = m.cl.LeaveGroupContext(ctx)
}

// alive returns the members.
func (g *groupRun) alive() []*groupMember {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// close ends all memberships.
func (g *groupRun) close() {
	var wg sync.WaitGroup
	for _, m := range g.alive() {
		wg.Go(func() { g.leave(m) })
	}
	wg.Wait()
	g.burials.Wait()
}

// owners is who has which partition, where exactly one has.
func (g *groupRun) owners() map[int32]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[int32]int{}
	for _, m := range g.members {
		for p := range m.owned {
			if _, twice := out[p]; twice {
				out[p] = 0
				continue
			}
			out[p] = m.number
		}
	}
	maps.DeleteFunc(out, func(_ int32, m int) bool { return m == 0 })
	return out
}

// settled reports whether every partition has an owner, members have as many as each
// other, give or take one, and each owner has read something since it was given it.
func (g *groupRun) settled() bool {
	owners := g.owners()
	if len(owners) < groupPartitions {
		return false
	}
	load := map[int]int{}
	for _, m := range owners {
		load[m]++
	}
	generation := int32(-1)
	for _, m := range g.alive() {
		id, n := m.cl.GroupMetadata()
		if id == "" || n <= 0 || generation > 0 && n != generation {
			return false // somebody has not heard of the last change yet
		}
		generation = n
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	least, most := groupPartitions, 0
	for _, m := range g.members {
		least, most = min(least, load[m.number]), max(most, load[m.number])
		for p := range m.owned {
			if _, ok := m.done[p]; !ok {
				return false
			}
		}
	}
	return most-least <= 1
}

// uncommitted is the member that has most partitions of which it has read something
// that it has not committed; nil where nobody has.
func (g *groupRun) uncommitted() (victim *groupMember) {
	g.mu.Lock()
	defer g.mu.Unlock()
	most := 0
	for _, m := range g.members {
		n := 0
		for p := range m.owned {
			if m.done[p] > max(m.acked[p], m.tried[p]) {
				n++
			}
		}
		if n > most {
			most, victim = n, m
		}
	}
	return victim
}
