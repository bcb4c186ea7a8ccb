package groups

import (
	"cmp"
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

// group is a group of one protocol while it runs.
type group struct {
	used    Protocol // what its members use
	name    string
	kafka   kafka.Config
	now     func() float64
	broken  string         // how the lab is broken on purpose
	burials sync.WaitGroup // of killed members

	caughtUp bool // almost nothing was unread at some time

	mu           sync.Mutex // guards the rest, and of each member what is below its end
	protocolSeen            // what the members noted
	members      []*member  // that live, in the order in which they joined
	joined       int
	newest       map[int32]int64 // one beyond the newest record read, by partition
}

// member is one client and one loop that reads, notes and commits.
type member struct {
	g      *group
	number int // from 1
	cl     *kgo.Client
	net    *kit.Network
	stop   context.CancelFunc
	ended  chan struct{}

	parts    map[int32]*part // its partitions; of a killed member those that it had
	answered time.Time       // when the client last reported the result of a commit
}

// part is a partition of a member.
type part struct {
	// done, acked and tried are up to where it has read, where the broker has confirmed a
	// commit, and where the member has asked for one. They are known once it has read.
	done, acked, tried int64
	read               bool
	skip               bool // the next record is left out, on purpose
}

// join adds a member. It returns at once.
func (g *group) join(ctx context.Context) error {
	g.mu.Lock()
	g.joined++
	m := &member{g: g, number: g.joined, net: kit.NewNetwork(), ended: make(chan struct{}), parts: map[int32]*part{}}
	g.mu.Unlock()
	cfg := g.kafka
	cfg.ClientID = fmt.Sprintf("%s-%d", g.name, m.number)
	cl, err := cfg.NewClient(append(g.used.options(), m.net.Option(),
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat), kgo.RebalanceTimeout(20*time.Second), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(commitEvery), kgo.BlockRebalanceOnPoll(), kgo.AutoCommitCallback(m.committed),
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
		p := cmp.Or(m.parts[r.Partition], &part{})
		if !p.read { // it goes on where the group had committed
			p.acked, p.tried, p.read = r.Offset, r.Offset, true
		}
		p.done = r.Offset + 1
		m.g.newest[r.Partition] = max(m.g.newest[r.Partition], p.done)
		if p.skip {
			p.skip = false
			return
		}
		m.g.reads = append(m.g.reads, readEvent{at, r.Partition, r.Offset, m.number})
	})
	m.g.mu.Unlock()
	m.cl.MarkCommitRecords(fetches.Records()...)
}

// committed notes the brokers' answer to a commit.
func (m *member) committed(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.answered = time.Now()
	for _, t := range req.Topics {
		for _, x := range t.Partitions {
			if p := m.parts[x.Partition]; p != nil {
				p.tried = max(p.tried, x.Offset)
			}
		}
	}
	if err != nil {
		return
	}
	for _, t := range resp.Topics {
		for _, x := range t.Partitions {
			if p := m.parts[x.Partition]; p != nil && x.ErrorCode == 0 {
				p.acked = p.tried
			}
		}
	}
}

func (m *member) given(ids []int32) {
	at := m.g.now()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, id := range ids {
		m.parts[id] = &part{skip: m.g.broken == BreakSkip && m.number > 1}
		m.g.moves = append(m.g.moves, handover{at, id, m.number, true})
	}
}

// revoked commits and lets go. No record is in hand: rebalances wait until a poll's records
// are noted.
func (m *member) revoked(ctx context.Context, ids []int32) {
	if len(ids) > 0 && m.g.broken != BreakForget {
		ctx, cancel := context.WithTimeout(ctx, session)
		err := m.cl.CommitMarkedOffsets(ctx)
		cancel()
		if err != nil {
			m.disturbed("member %d could not commit its revoked partitions: %v", m.number, err)
		}
	}
	m.lost(ids)
}

// expelled is called where the brokers have removed a member from the group.
func (m *member) expelled(ids []int32) {
	m.g.mu.Lock()
	owns := len(m.parts) > 0
	m.g.mu.Unlock()
	if owns {
		m.disturbed("the session of member %d expired: the machine was too busy to send heartbeats", m.number)
	}
	m.lost(ids)
}

// disturbed notes why no claim about the group can be checked, unless the lab itself has
// killed the member.
func (m *member) disturbed(format string, args ...any) {
	if m.net.State().Cut {
		return
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.g.void = cmp.Or(m.g.void, fmt.Sprintf(format, args...))
}

func (m *member) lost(ids []int32) {
	at := m.g.now()
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, id := range ids {
		if m.parts[id] != nil && !m.net.State().Cut { // what the client of a killed member reports does not count
			delete(m.parts, id)
			m.g.moves = append(m.g.moves, handover{at, id, m.number, false})
		}
	}
}

// leave lets a member leave the group cleanly.
func (g *group) leave(m *member) {
	m.stopReading()
	m.leaveGroup(session)
	m.cl.CloseAllowingRebalance()
	g.remove(m)
	g.mu.Lock()
	g.left += m.net.State().Leaves
	g.mu.Unlock()
}

func (m *member) stopReading() {
	m.stop()
	<-m.ended
}

// leaveGroup leaves the group. The network has seen whether the request was written.
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
	if g.broken == kit.BreakIdle {
		m.stopReading()
		m.leaveGroup(session)
	}
	m.net.Cut()
	at := g.now()
	g.remove(m)
	m.stopReading()
	// A client takes its time to give up on brokers that it cannot reach.
	g.burials.Go(func() { g.bury(m, at) })
}

// bury notes what there is to know of a member that was cut off.
func (g *group) bury(m *member, at float64) {
	m.leaveGroup(10 * time.Millisecond) // which it cannot
	m.cl.CloseAllowingRebalance()
	net := m.net.State()
	g.mu.Lock()
	defer g.mu.Unlock()
	d := deathSeen{member: m.number, at: at, beat: g.now() - time.Since(net.Beat).Seconds(), leaves: net.Leaves, parts: map[int32]part{}}
	// A client that is closed does not report the commit that it waits for.
	doubtful := net.Commit.After(m.answered)
	for id, p := range m.parts {
		if doubtful {
			p.tried = p.done
		}
		if p.read {
			d.parts[id] = *p
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
		for id := range m.parts {
			if _, shared := out[id]; shared {
				out[id] = 0
				continue
			}
			out[id] = m.number
		}
	}
	maps.DeleteFunc(out, func(_ int32, m int) bool { return m == 0 })
	return out
}

// settled reports whether every partition has an owner, members have as many as each other,
// give or take one, and each owner has read something of its partitions.
func (g *group) settled() bool {
	if len(g.owners()) < partitions {
		return false
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
		least, most = min(least, len(m.parts)), max(most, len(m.parts))
		for _, p := range m.parts {
			if !p.read {
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
		for _, p := range m.parts {
			if p.done > max(p.acked, p.tried) {
				n++
			}
		}
		if n > most {
			most, victim = n, m
		}
	}
	return victim
}

// unread is how many records no member has read yet.
func (g *group) unread(ends map[int32]int64) (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, end := range ends {
		n += max(0, end-g.newest[id])
	}
	return n
}
