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

// times returns how often a record was consumed.
func (l *ledger) times(partition, offset int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[fmt.Sprintf("%d/%d", partition, offset)]
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
		kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(45 * time.Second), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
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
