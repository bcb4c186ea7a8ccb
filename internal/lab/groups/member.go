package groups

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
	"github.com/weir-project/weir/internal/lab/kit"
)

// readEvent is one record that a member received.
type readEvent struct {
	at        float64 // seconds since the run began
	partition int32
	offset    int64
	member    int
}

// handover is a partition that was assigned to a member, or revoked.
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

// group is a group of one protocol while it runs.
type group struct {
	protocol Protocol // what is claimed of it
	used     Protocol // what its members use
	name     string
	kafka    kafka.Config
	now      func() float64
	breakage string

	burials sync.WaitGroup

	mu      sync.Mutex
	reads   []readEvent
	moves   []handover
	deaths  []deathSeen
	members []*member // that live, in the order in which they joined
	born    int
	void    string          // why nothing can be claimed; empty where it can
	newest  map[int32]int64 // one beyond the newest record read, by partition
	// caughtUp says that almost nothing was unread at some time.
	caughtUp bool
	left     int // requests to leave that members wrote when they left
}

// member is one client and one loop that reads, notes and commits.
type member struct {
	g      *group
	number int // from 1
	cl     *kgo.Client
	net    *kit.Network
	stop   context.CancelFunc
	ended  chan struct{}

	// g.mu guards these.
	owned              map[int32]bool
	done, acked, tried map[int32]int64
	answered           time.Time      // when the client last reported the result of a commit
	skip               map[int32]bool // the next record is left out, on purpose
}

// join adds a member. It returns at once.
func (g *group) join(ctx context.Context) error {
	g.mu.Lock()
	g.born++
	m := &member{g: g, number: g.born, net: kit.NewNetwork(), ended: make(chan struct{}), owned: map[int32]bool{},
		done: map[int32]int64{}, acked: map[int32]int64{}, tried: map[int32]int64{}, skip: map[int32]bool{}}
	g.mu.Unlock()
	cfg := g.kafka
	cfg.ClientID = fmt.Sprintf("%s-%d", g.name, m.number)
	cl, err := cfg.NewClient(append(g.used.options(), m.net.Option(),
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat), kgo.RebalanceTimeout(20*time.Second), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(commitEvery), kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitCallback(func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			m.committed(req, resp, err)
		}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) { m.given(given[topic]) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, lost map[string][]int32) { m.revoked(ctx, lost[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { m.expelled(lost[topic]) }))...)
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

// run reads until ctx ends. The client commits marked records by itself, and does not keep
// the loop waiting while the group decides on the assignment.
func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	for ctx.Err() == nil {
		m.note(m.cl.PollRecords(ctx, 500))
		m.cl.AllowRebalance()
	}
}

// note notes what was fetched; that is all the work there is.
func (m *member) note(fetches kgo.Fetches) {
	at := m.g.now()
	m.g.mu.Lock()
	fetches.EachRecord(func(r *kgo.Record) {
		if _, ok := m.done[r.Partition]; !ok { // it goes on where the group had committed
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

// committed notes the brokers' answer to a commit.
func (m *member) committed(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
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

func (m *member) given(ids []int32) {
	at := m.g.now()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, p := range ids {
		m.owned[p] = true
		for _, of := range []map[int32]int64{m.done, m.acked, m.tried} {
			delete(of, p)
		}
		if m.g.breakage == BreakSkip && m.number > 1 {
			m.skip[p] = true
		}
		m.g.moves = append(m.g.moves, handover{at, p, m.number, true})
	}
}

// revoked commits and lets go. No record is in hand: rebalances wait until a poll's records
// are noted.
func (m *member) revoked(ctx context.Context, ids []int32) {
	if len(ids) > 0 && m.g.breakage != BreakForget {
		ctx, cancel := context.WithTimeout(ctx, session)
		err := m.cl.CommitMarkedOffsets(ctx)
		cancel()
		if err != nil && !m.net.IsCut() {
			m.g.disturbed(fmt.Sprintf("member %d could not commit its revoked partitions: %v", m.number, err))
		}
	}
	m.lost(ids)
}

// expelled is called where the brokers have removed a member from the group.
func (m *member) expelled(ids []int32) {
	m.g.mu.Lock()
	owns := len(m.owned) > 0
	m.g.mu.Unlock()
	if owns && !m.net.IsCut() {
		m.g.disturbed(fmt.Sprintf("the session of member %d expired: the machine was too busy to send heartbeats", m.number))
	}
	m.lost(ids)
}

// disturbed notes why no claim about the group can be checked.
func (g *group) disturbed(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.void == "" {
		g.void = why
	}
}

func (m *member) lost(ids []int32) {
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

// leave lets a member leave the group cleanly.
func (g *group) leave(m *member) {
	m.stopReading()
	m.leaveGroup(session)
	m.cl.CloseAllowingRebalance()
	_, leaves := m.net.Seen()
	g.remove(m)
	g.mu.Lock()
	g.left += leaves
	g.mu.Unlock()
}

func (m *member) stopReading() {
	m.stop()
	<-m.ended
}

// leaveGroup leaves the group. Whether the request was written, the network has seen.
func (m *member) leaveGroup(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = m.cl.LeaveGroupContext(ctx)
}

func (g *group) remove(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = slices.DeleteFunc(g.members, func(x *member) bool { return x == m })
}

// kill cuts a member off. It had partitions, and records that it had not committed.
func (g *group) kill(m *member) {
	if g.breakage == kit.BreakIdle {
		m.stopReading()
		m.leaveGroup(session)
	}
	m.net.Cut()
	at := g.now()
	g.remove(m)
	m.stopReading()
	g.mu.Lock()
	owned := m.owned
	m.owned = map[int32]bool{} // what the client reports from now on does not count
	g.mu.Unlock()
	// A client takes its time to give up on brokers that it cannot reach.
	g.burials.Go(func() { g.bury(m, at, owned) })
}

// bury notes what there is to know of a member that was cut off.
func (g *group) bury(m *member, at float64, owned map[int32]bool) {
	m.leaveGroup(10 * time.Millisecond) // which it cannot
	m.cl.CloseAllowingRebalance()
	beat, leaves := m.net.Seen()
	g.mu.Lock()
	defer g.mu.Unlock()
	d := deathSeen{member: m.number, at: at, beat: g.now() - time.Since(beat).Seconds(), leaves: leaves,
		done: map[int32]int64{}, acked: map[int32]int64{}, tried: map[int32]int64{}}
	// A client that is closed does not report the commit that it waits for.
	doubtful := m.net.LastCommit().After(m.answered)
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

// alive returns the members.
func (g *group) alive() []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// close ends all memberships.
func (g *group) close() {
	var wg sync.WaitGroup
	for _, m := range g.alive() {
		wg.Go(func() { g.leave(m) })
	}
	wg.Wait()
	g.burials.Wait()
}

// owners is which member has which partition, where exactly one has.
func (g *group) owners() map[int32]int {
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

// settled reports whether every partition has an owner, members have as many as each other,
// give or take one, and each owner has read something of its partitions.
func (g *group) settled() bool {
	owners := g.owners()
	if len(owners) < partitions {
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
			return false // a member does not know the last change yet
		}
		generation = n
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	least, most := partitions, 0
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

// uncommitted is the member with the most partitions of which it has read something that it
// has not committed; nil where no member has.
func (g *group) uncommitted() (victim *member) {
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

// readAll reports whether members have received the last record of each partition.
func (g *group) readAll(ends map[int32]int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	done := map[int32]int64{}
	for _, m := range g.members {
		for p, n := range m.done {
			done[p] = max(done[p], n)
		}
	}
	for p, end := range ends {
		if done[p] < end {
			return false
		}
	}
	return true
}
