package conformance

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member that is not heard of for its session's time loses its partitions
// (consumer config session.timeout.ms).
func TestSilentMember(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	groupSettings(t, group, "consumer.session.timeout.ms", "1500")
	silent := &member848{t: t, group: group, topic: top, id: "silent"}
	silent.until(1)
	heir := &member848{t: t, group: group, topic: top, id: "heir"}
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
	instance         *string // of a static member
}

func (m *member848) try() *kmsg.ConsumerGroupHeartbeatResponse {
	m.t.Helper()
	var resp *kmsg.ConsumerGroupHeartbeatResponse
	settled(m.t, func() int16 {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = m.group, m.id, m.epoch, m.instance
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

// The group's members choose who divides: the uniform assignor makes shares over
// all topics even, the range one gives each topic's first partitions to the first
// member, so that equal keys of topics meet (KIP-848, "Assignors").
func TestServerSideAssignors(t *testing.T) {
	t.Parallel()
	for assignor, want := range map[string][2][]int32{"uniform": {}, "range": {{0, 1}, {2}}} {
		t.Run(assignor, func(t *testing.T) {
			t.Parallel()
			top, group := topic(t, 3), name(t)
			a := &member848{t: t, group: group, topic: top, id: "a", assignor: assignor}
			a.until(3)
			a.heartbeat()
			b := &member848{t: t, group: group, topic: top, id: "b", assignor: assignor}
			eventually(t, func() string {
				a.heartbeat()
				b.heartbeat()
				if len(a.owned)+len(b.owned) != 3 || len(a.owned) > 2 || len(b.owned) > 2 {
					return fmt.Sprintf("a has %v, b %v", a.owned, b.owned)
				}
				return ""
			})
			if want[0] != nil && (!slices.Equal(a.owned, want[0]) || !slices.Equal(b.owned, want[1])) {
				t.Errorf("a has %v, b %v, want %v", a.owned, b.owned, want)
			}
		})
	}
}

// A static member of the new protocol has its instance id for itself until it leaves, or
// its session ends. One that leaves to come back finds what it had (KIP-848, "Static
// membership").
func TestStaticMembersOfTheNewProtocol(t *testing.T) {
	t.Parallel()
	top, group, one := topic(t, 2), name(t), "one"
	member := func(id string, instance *string) *member848 {
		return &member848{t: t, group: group, topic: top, id: id, instance: instance}
	}
	a, b := member("a", &one), member("b", nil)
	share := func(a *member848) {
		t.Helper()
		eventually(t, func() string {
			a.heartbeat()
			b.heartbeat()
			if len(a.owned) != 1 || len(b.owned) != 1 || slices.Equal(a.owned, b.owned) {
				return fmt.Sprintf("%s has %v, b %v", a.id, a.owned, b.owned)
			}
			return ""
		})
	}
	a.until(2)
	share(a)
	again := member("again", &one)
	code(t, "another one joins with its instance id", again.try().ErrorCode, kerr.UnreleasedInstanceID)
	other := *again
	other.epoch = a.epoch
	code(t, "another one speaks for it", other.try().ErrorCode, kerr.FencedInstanceID)
	a.heartbeat() // is still a member

	had := a.owned
	a.epoch, a.owned = -2, nil
	left := a.try()
	code(t, "it leaves for a while", left.ErrorCode, nil)
	equal(t, "epoch", left.MemberEpoch, -2)
	if differs(t, "static-leave") {
		b.until(2)
		share(again)
	} else {
		b.heartbeat()
		again.until(1)
		b.heartbeat()
		equal(t, "partitions of b", len(b.owned), 1)
		equal(t, "the same partition", again.owned[0], had[0])
	}
	again.epoch, again.owned = -1, nil
	code(t, "it leaves for good", again.try().ErrorCode, nil)
	b.until(2)
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
