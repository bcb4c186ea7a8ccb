package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupSettings sets configurations of a group, and waits until they hold.
func groupSettings(t *testing.T, group string, configs ...string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	if c := resp.Resources[0]; c.ErrorCode != 0 {
		t.Fatalf("settings of group %s: %v %s", group, kerr.ErrorForCode(c.ErrorCode), *c.ErrorMessage)
	}
	eventually(t, func() string {
		for _, b := range brokers(t) {
			ask := kmsg.NewPtrDescribeConfigsRequest()
			a := kmsg.NewDescribeConfigsRequestResource()
			a.ResourceType, a.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
			ask.Resources = append(ask.Resources, a)
			told, err := ask.RequestWith(testCtx(t), plain.Broker(int(b)))
			if err != nil {
				return err.Error()
			}
			for i := 0; i < len(configs); i += 2 {
				if !slices.ContainsFunc(told.Resources[0].Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
					return c.Name == configs[i] && c.Value != nil && *c.Value == configs[i+1]
				}) {
					return fmt.Sprintf("broker %d does not know that %s is %s", b, configs[i], configs[i+1])
				}
			}
		}
		return ""
	})
}

// ledger is who has which partitions, by what the members were told, and how often
// each record was consumed.
type ledger struct {
	mu     sync.Mutex
	owner  map[int32]string
	taken  int                // partitions that were given away while somebody had them
	lost   map[string][]int32 // partitions that were taken from a member, in their order
	counts map[string]int
}

func newLedger() *ledger {
	return &ledger{owner: make(map[int32]string), lost: make(map[string][]int32), counts: make(map[string]int)}
}

func (l *ledger) assigned(who string, parts []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parts {
		if other := l.owner[p]; other != "" && other != who {
			l.taken++
		}
		l.owner[p] = who
	}
}

func (l *ledger) revoked(who string, parts []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parts {
		if l.owner[p] == who {
			delete(l.owner, p)
		}
		l.lost[who] = append(l.lost[who], p)
	}
}

// shares returns how many partitions each member has.
func (l *ledger) shares() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int)
	for _, who := range l.owner {
		n[who]++
	}
	return n
}

func (l *ledger) lostBy(who string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lost[who])
}

func (l *ledger) consumed() (records, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.counts {
		if n > 1 {
			twice++
		}
	}
	return len(l.counts), twice
}

// member is a consumer that commits what it has read before it gives anything back.
type member struct {
	cl   *kgo.Client
	stop func() // leaves the group in order
}

// join starts a member of a group that notes in l what it is told.
func (l *ledger) join(t *testing.T, who, group, topic string, opts ...kgo.Opt) *member {
	t.Helper()
	flat := func(m map[string][]int32) []int32 { return m[topic] }
	cl := client(t, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(6 * time.Second), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { l.assigned(who, flat(m)) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { l.revoked(who, flat(m)) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { l.revoked(who, flat(m)) }),
	}, opts...)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fs := cl.PollRecords(ctx, 100)
			l.mu.Lock()
			fs.EachRecord(func(r *kgo.Record) { l.counts[fmt.Sprintf("%d/%d", r.Partition, r.Offset)]++ })
			l.mu.Unlock()
			if fs.NumRecords() > 0 {
				_ = cl.CommitUncommittedOffsets(t.Context()) // one that is refused is seen as a record that comes twice
			}
			cl.AllowRebalance()
		}
	}()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			<-done
			cl.LeaveGroup()
		})
	}
	t.Cleanup(stop)
	return &member{cl, stop}
}

// rests waits until the members have so many partitions each, and all have all.
func (l *ledger) rests(t *testing.T, want map[string]int) {
	t.Helper()
	eventually(t, func() string {
		if got := l.shares(); !maps.Equal(got, want) {
			return fmt.Sprintf("partitions are held by %v, want %v", got, want)
		}
		return ""
	})
}

// protocol is one way for consumers to share partitions.
type protocol struct {
	name  string
	opts  []kgo.Opt
	eager bool
	typed string // the group's type
}

func protocols() []protocol {
	return []protocol{
		{name: "range", opts: []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}, eager: true, typed: "classic"},
		{name: "roundrobin", opts: []kgo.Opt{kgo.Balancers(kgo.RoundRobinBalancer())}, eager: true, typed: "classic"},
		{name: "sticky", opts: []kgo.Opt{kgo.Balancers(kgo.StickyBalancer())}, eager: true, typed: "classic"},
		{name: "cooperative-sticky", opts: []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}, typed: "classic"},
		{name: "consumer", opts: []kgo.Opt{kgo.ServerSideBalancer()}, typed: "consumer"},
	}
}

// Members come and go under every protocol; no partition has two owners at any
// moment, none has none at rest, and each record is consumed once. The eager
// protocols take everything back from everybody; the cooperative one and the new
// one only what moves (KIP-429, KIP-848).
func TestRebalances(t *testing.T) {
	t.Parallel()
	for _, p := range protocols() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, group, l := topic(t, 6), name(t), newLedger()
			produced := 0
			more := func() {
				cl := client(t, kgo.DefaultProduceTopic(top), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
				for range 60 {
					produced++
					cl.Produce(testCtx(t), kgo.StringRecord(fmt.Sprint(produced)), nil)
				}
				if err := cl.Flush(testCtx(t)); err != nil {
					t.Fatal(err)
				}
			}
			caughtUp := func() {
				t.Helper()
				eventually(t, func() string {
					if n, _ := l.consumed(); n != produced {
						return fmt.Sprintf("%d of %d records consumed", n, produced)
					}
					return ""
				})
			}
			more()
			l.join(t, "a", group, top, p.opts...)
			l.rests(t, map[string]int{"a": 6})
			caughtUp()
			b := l.join(t, "b", group, top, p.opts...)
			l.rests(t, map[string]int{"a": 3, "b": 3})
			if got := l.lostBy("a"); p.eager && got != 6 || !p.eager && got != 3 {
				t.Errorf("a gave back %d partitions when b came", got)
			}
			more()
			caughtUp()
			l.join(t, "c", group, top, p.opts...)
			l.rests(t, map[string]int{"a": 2, "b": 2, "c": 2})
			more()
			b.stop()
			l.rests(t, map[string]int{"a": 3, "c": 3})
			more()
			caughtUp()
			if _, twice := l.consumed(); twice != 0 || l.taken != 0 {
				t.Errorf("%d records were consumed twice, %d partitions had two owners", twice, l.taken)
			}
			described(t, group, p.typed, 2)
		})
	}
}

// described waits until Kafka tells of a group of so many members with the six
// partitions among them, and at rest.
func described(t *testing.T, group, typed string, members int) {
	t.Helper()
	list, err := adm.ListGroupsByType(testCtx(t), []string{typed})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := list[group]; !ok {
		t.Errorf("not listed among groups of type %s", typed)
	}
	describe := describeClassic
	if typed == "consumer" {
		describe = describeConsumer
	}
	eventually(t, func() string {
		state, n, parts := describe(t, group)
		if state != "Stable" || n != members || parts != 6 {
			return fmt.Sprintf("described as %s, %d members with %d partitions, want Stable, %d and 6", state, n, parts, members)
		}
		return ""
	})
}

func describeClassic(t *testing.T, group string) (state string, members, parts int) {
	t.Helper()
	ds, err := adm.DescribeGroups(testCtx(t), group)
	if err = errors.Join(err, ds[group].Err); err != nil {
		t.Fatal(err)
	}
	for _, m := range ds[group].Members {
		if c, ok := m.Assigned.AsConsumer(); ok {
			for _, tp := range c.Topics {
				parts += len(tp.Partitions)
			}
		}
	}
	return ds[group].State, len(ds[group].Members), parts
}

func describeConsumer(t *testing.T, group string) (state string, members, parts int) {
	t.Helper()
	ds, err := adm.DescribeConsumerGroups(testCtx(t), group)
	if err = errors.Join(err, ds[group].Err); err != nil {
		t.Fatal(err)
	}
	for _, m := range ds[group].Members {
		if ds[group].State == "Stable" {
			equal(t, "epoch of a member of a stable group", m.MemberEpoch, ds[group].Epoch)
		}
		for _, ps := range m.Assignment {
			parts += len(ps)
		}
	}
	return ds[group].State, len(ds[group].Members), parts
}

// With more members than partitions some have none; a member that goes makes room.
func TestMoreMembersThanPartitions(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, group, l := topic(t, 2), name(t), newLedger()
			all := make(map[string]*member)
			for _, who := range []string{"a", "b", "c"} {
				all[who] = l.join(t, who, group, top, p.opts...)
			}
			two := func(n int) string {
				s := l.shares()
				if len(s) != n {
					return fmt.Sprintf("partitions are held by %v", s)
				}
				return ""
			}
			eventually(t, func() string { return two(2) })
			for who := range l.shares() {
				all[who].stop()
				break
			}
			eventually(t, func() string { return two(2) })
			equal(t, "partitions with two owners", l.taken, 0)
		})
	}
}

// Partitions that are added find an owner without anybody joining (consumer
// config metadata.max.age.ms; KIP-848: the broker notices).
func TestNewPartitionsAreAssigned(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, group, l := topic(t, 1), name(t), newLedger()
			l.join(t, "a", group, top, append(p.opts, kgo.MetadataMaxAge(100*time.Millisecond))...)
			l.rests(t, map[string]int{"a": 1})
			if _, err := adm.UpdatePartitions(testCtx(t), 3, top); err != nil {
				t.Fatal(err)
			}
			l.rests(t, map[string]int{"a": 3})
		})
	}
}

// A member that is not heard of for its session's time loses its partitions
// (consumer config session.timeout.ms).
func TestSilentMember(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	groupSettings(t, group, "consumer.session.timeout.ms", "1500")
	silent := &member848{t: t, group: group, topic: top, id: "silent"}
	silent.until(1)
	heir := &member848{t: t, group: group, topic: top, id: "heir"}
	heir.heartbeat()
	equal(t, "partitions of the second at first", len(heir.owned), 0)
	heir.until(1)
	code(t, "the silent member speaks again", silent.try().ErrorCode, kerr.UnknownMemberID)
}

// member848 speaks the consumer group protocol of KIP-848 one heartbeat at a time.
type member848 struct {
	t                *testing.T
	group, topic, id string
	epoch            int32
	owned            []int32 // acknowledged
	assignor         string
}

func (m *member848) try() *kmsg.ConsumerGroupHeartbeatResponse {
	m.t.Helper()
	var resp *kmsg.ConsumerGroupHeartbeatResponse
	settled(m.t, func() int16 {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = m.group, m.id, m.epoch
		if m.epoch >= 0 {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 60_000, []string{m.topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			if m.assignor != "" {
				req.ServerAssignor = &m.assignor
			}
			if len(m.owned) > 0 {
				list, err := adm.ListTopics(testCtx(m.t), m.topic)
				if err != nil {
					m.t.Fatal(err)
				}
				rt := kmsg.NewConsumerGroupHeartbeatRequestTopic()
				rt.TopicID, rt.Partitions = list[m.topic].ID, m.owned
				req.Topics = append(req.Topics, rt)
			}
		}
		var err error
		if resp, err = req.RequestWith(testCtx(m.t), plain); err != nil {
			m.t.Fatal(err)
		}
		return resp.ErrorCode
	})
	return resp
}

// heartbeat sends one that has to be accepted, and takes over what it assigns.
func (m *member848) heartbeat() {
	m.t.Helper()
	resp := m.try()
	code(m.t, "heartbeat of "+m.id, resp.ErrorCode, nil)
	m.epoch = resp.MemberEpoch
	if resp.Assignment != nil {
		m.owned = nil
		for _, tp := range resp.Assignment.Topics {
			m.owned = append(m.owned, tp.Partitions...)
		}
		slices.Sort(m.owned)
	}
}

// Groups have settings of their own, which win over the brokers' (KIP-848, KIP-932).
func TestGroupSettings(t *testing.T) {
	t.Parallel()
	group := name(t)
	groupSettings(t, group, "consumer.heartbeat.interval.ms", "777")
	m := &member848{t: t, group: group, topic: topic(t, 1), id: "a"}
	want := int32(777)
	if differs(t, "group-settings") {
		want = 200
	}
	equal(t, "heartbeat interval", m.try().HeartbeatIntervalMillis, want)
}

// until sends heartbeats until one assigns n partitions: the coordinator may
// take its time to compute them.
func (m *member848) until(n int) {
	m.t.Helper()
	eventually(m.t, func() string {
		if m.heartbeat(); len(m.owned) != n {
			return fmt.Sprintf("%s has %d partitions, want %d", m.id, len(m.owned), n)
		}
		return ""
	})
}

// The coordinator gives a partition on only when its owner has said that it has
// given it back, and fences who has another epoch (KIP-848).
func TestReconciliation(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 2), name(t)
	a := &member848{t: t, group: group, topic: top, id: "a"}
	a.until(2)
	a.heartbeat() // acknowledges
	b := &member848{t: t, group: group, topic: top, id: "b"}
	b.heartbeat()
	equal(t, "partitions of b while a has all", len(b.owned), 0)
	b.heartbeat()
	equal(t, "partitions of b while a has not answered", len(b.owned), 0)
	a.until(1) // is told to give one back
	b.heartbeat()
	equal(t, "partitions of b before a has given back", len(b.owned), 0)
	a.heartbeat() // has given it back
	b.until(1)
	if slices.Equal(a.owned, b.owned) {
		t.Errorf("both own %v", a.owned)
	}
	stale := *b
	stale.epoch += 7
	code(t, "another epoch", stale.try().ErrorCode, kerr.FencedMemberEpoch)
	nobody := &member848{t: t, group: group, topic: top, id: "nobody", epoch: 3}
	code(t, "a member that there is not", nobody.try().ErrorCode, kerr.UnknownMemberID)
	other := &member848{t: t, group: group, topic: top, id: "c", assignor: "no-such"}
	code(t, "an assignor that there is not", other.try().ErrorCode, kerr.UnsupportedAssignor)
	b.epoch, b.owned = -1, nil
	code(t, "b leaves", b.try().ErrorCode, nil)
	a.until(2)
}

// A static member that comes back within its session finds what it had, and
// nobody else is disturbed; a second one with the same id fences the first (KIP-345).
func TestStaticMembers(t *testing.T) {
	t.Parallel()
	t.Run("range", func(t *testing.T) {
		t.Parallel()
		before, after := staticRejoin(t, kgo.RangeBalancer())
		equal(t, "generation", after, before)
	})
	t.Run("cooperative-sticky", func(t *testing.T) {
		t.Parallel()
		before, after := staticRejoin(t, kgo.CooperativeStickyBalancer())
		if differs(t, "static-rejoin") {
			before++
		}
		equal(t, "generation", after, before)
	})
}

// staticRejoin lets one of two static members go and come back, and returns the
// group's generation before and after.
func staticRejoin(t *testing.T, balancer kgo.GroupBalancer) (before, after int32) {
	t.Helper()
	top, group, l := topic(t, 4), name(t), newLedger()
	static := func(id string) []kgo.Opt {
		return []kgo.Opt{kgo.Balancers(balancer), kgo.InstanceID(id), kgo.SessionTimeout(30 * time.Second)}
	}
	l.join(t, "a", group, top, static("one")...)
	l.rests(t, map[string]int{"a": 4})
	b := l.join(t, "b", group, top, static("two")...)
	l.rests(t, map[string]int{"a": 2, "b": 2})
	atRest(t, group)
	lost := l.lostBy("a")
	_, before = b.cl.GroupMetadata()
	b.stop() // a static member does not leave
	again := l.join(t, "b", group, top, static("two")...)
	l.rests(t, map[string]int{"a": 2, "b": 2})
	eventually(t, func() string {
		if id, _ := again.cl.GroupMetadata(); id == "" {
			return "it has not joined again"
		}
		return ""
	})
	atRest(t, group)
	equal(t, "what a gave back meanwhile", l.lostBy("a"), lost)
	id, after := again.cl.GroupMetadata()

	hb := kmsg.NewPtrHeartbeatRequest()
	instance := "two"
	hb.Group, hb.Generation, hb.MemberID, hb.InstanceID = group, after, "an-older-one", &instance
	resp, err := hb.RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	code(t, "another member with its instance id", resp.ErrorCode, kerr.FencedInstanceID)
	hb.MemberID = id
	if resp, err = hb.RequestWith(testCtx(t), plain); err != nil {
		t.Fatal(err)
	}
	code(t, "the member itself", resp.ErrorCode, nil)
	gone, err := adm.LeaveGroup(testCtx(t), kadm.LeaveGroup(group).InstanceIDs("one", "two"))
	if err != nil || !gone.Ok() {
		t.Fatal(err, gone.Error())
	}
	return before, after
}

// atRest waits until the coordinator, too, has a group of two and their four partitions.
func atRest(t *testing.T, group string) {
	t.Helper()
	eventually(t, func() string {
		if state, n, parts := describeClassic(t, group); state != "Stable" || n != 2 || parts != 4 {
			return fmt.Sprintf("described as %s, %d members with %d partitions", state, n, parts)
		}
		return ""
	})
}

// Static members of the new protocol (KIP-848).
func TestStaticMembersOfTheNewProtocol(t *testing.T) {
	t.Parallel()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	instance := "one"
	req.Group, req.MemberID, req.InstanceID, req.RebalanceTimeoutMillis = name(t), "a", &instance, 60_000
	req.SubscribedTopicNames, req.Topics = []string{topic(t, 1)}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	var want *kerr.Error
	if differs(t, "static-members") {
		want = kerr.InvalidRequest
	}
	code(t, "join", settled(t, func() int16 {
		resp, err := req.RequestWith(testCtx(t), plain)
		if err != nil {
			t.Fatal(err)
		}
		return resp.ErrorCode
	}), want)
}

// The classic protocol's refusals (KIP-62, KIP-394; protocol guide).
func TestClassicRefusals(t *testing.T) {
	t.Parallel()
	top, group, l := topic(t, 1), name(t), newLedger()
	a := l.join(t, "a", group, top, kgo.Balancers(kgo.RangeBalancer()))
	l.rests(t, map[string]int{"a": 1})
	id, generation := a.cl.GroupMetadata()
	hb := func(member string, generation int32) int16 {
		t.Helper()
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = group, member, generation
		resp, err := req.RequestWith(testCtx(t), plain)
		if err != nil {
			t.Fatal(err)
		}
		return resp.ErrorCode
	}
	code(t, "heartbeat", hb(id, generation), nil)
	code(t, "heartbeat of another generation", hb(id, generation+1), kerr.IllegalGeneration)
	code(t, "heartbeat of nobody", hb("nobody", generation), kerr.UnknownMemberID)
	join := func(change func(*kmsg.JoinGroupRequest)) int16 {
		t.Helper()
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = group, 10_000, 10_000, "consumer"
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		req.Protocols = append(req.Protocols, p)
		change(req)
		resp, err := req.RequestWith(testCtx(t), raw)
		if err != nil {
			t.Fatal(err)
		}
		return resp.ErrorCode
	}
	code(t, "a first join without an id", join(func(*kmsg.JoinGroupRequest) {}), kerr.MemberIDRequired)
	code(t, "an unknown protocol", join(func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "other" }), kerr.InconsistentGroupProtocol)
	code(t, "a session of a millisecond", join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 }), kerr.InvalidSessionTimeout)
	code(t, "a session of a day", join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 86_400_000 }), kerr.InvalidSessionTimeout)
	code(t, "a join as a member that there is not", join(func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" }), kerr.UnknownMemberID)
	code(t, "an empty group id", join(func(r *kmsg.JoinGroupRequest) { r.Group = "" }), kerr.InvalidGroupID)
}
