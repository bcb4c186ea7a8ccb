package inspect_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

func TestBrokers(t *testing.T) {
	b := newBench(t)
	list, err := b.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Brokers) != 3 || len(list.Warnings) > 0 || list.Cluster == "" {
		t.Fatalf("%+v", list)
	}
	leads, controllers := 0, 0
	for i, br := range list.Brokers {
		leads += br.Leads
		if br.Controller {
			controllers++
		}
		if br.ID != int32(i) || br.Address != b.cluster.ListenAddrs()[i] || !br.Alive || br.Bytes < 0 {
			t.Errorf("%+v", br)
		}
	}
	if leads != parts+1 || controllers != 1 {
		t.Errorf("%d partitions led, %d controllers", leads, controllers)
	}
	settings, err := b.BrokerConfig(t.Context(), 1)
	if err != nil || len(settings) == 0 {
		t.Errorf("configuration: %v %v", settings, err)
	}
}

// TestOverlay: what the embedded cluster knows better replaces what the protocol says.
func TestOverlay(t *testing.T) {
	b := newBench(t)
	in, err := inspect.New(inspect.Config{Client: b.cl, Overlay: func(context.Context) (inspect.Overlay, error) {
		return inspect.Overlay{Alive: map[int32]bool{1: false}, Note: "one copy"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := in.Brokers(t.Context())
	if err != nil || !list.Brokers[0].Alive || list.Brokers[1].Alive || list.Note != "one copy" {
		t.Errorf("%+v %v", list, err)
	}
	topics, err := in.Topics(t.Context())
	if err != nil || len(topics.Topics) != 2 || topics.Note != "one copy" {
		t.Errorf("%+v %v", topics, err)
	}
	failing, err := inspect.New(inspect.Config{Client: b.cl, Overlay: func(context.Context) (inspect.Overlay, error) {
		return inspect.Overlay{}, errors.New("no control socket")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := failing.Brokers(t.Context()); err != nil || len(list.Brokers) != 3 || len(list.Warnings) != 1 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestTopics(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 2), at(1, 3), at(2, 4))
	b.transaction(true, at(2, 9))
	b.trim(0, 1)
	b.commit("readers", 0, 1)
	b.commit("readers", 2, 0)
	list, err := b.Topics(t.Context())
	if err != nil || len(list.Topics) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	got := list.Topics[1]
	if got.Name != topic || got.Partitions != parts || got.Replicas < 1 || got.UnderReplicated != 0 || got.Offline != 0 || got.Messages != 5 || got.Error != "" || len(got.ID) != 36 || got.Internal {
		t.Errorf("%+v", got) // 4 messages and a marker are retained
	}
	d, err := b.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Warnings) > 0 || d.Messages != 5 || d.FirstRecord.IsZero() || d.FirstRecord.After(d.LastRecord) || !d.LastRecord.Equal(epoch.Add(9*time.Millisecond)) || d.Limit.By != inspect.ByTime {
		t.Errorf("%+v", d)
	}
	low, high := []int64{1, 0, 0}, []int64{2, 1, 3}
	for i, p := range d.Parts {
		if p.ID != int32(i) || p.Low != low[i] || p.High != high[i] || p.Stable != high[i] || p.Leader < 0 || len(p.ISR) != len(p.Replicas) || p.Error != "" {
			t.Errorf("%+v", p)
		}
	}
	// One message of partition 0, one and one in a transaction of partition 2.
	if len(d.Groups) != 1 || d.Groups[0].Name != "readers" || d.Groups[0].Lag != 3 || d.Groups[0].State != "Empty" {
		t.Errorf("%+v", d.Groups)
	}
	i := slices.IndexFunc(d.Config, func(s inspect.Setting) bool { return s.Name == "retention.ms" })
	if i < 0 || d.Config[i].Value == "" || d.Config[i].Source != "default" {
		t.Errorf("configuration %+v", d.Config)
	}
	if _, err := b.Topic(t.Context(), "nope"); !errors.Is(err, inspect.ErrNoTopic) {
		t.Error(err)
	}
}

func TestGroups(t *testing.T) {
	for _, typ := range []string{inspect.TypeClassic, inspect.TypeConsumer} {
		t.Run(typ, func(t *testing.T) {
			b := newBench(t)
			b.write(at(0, 1), at(0, 2), at(1, 3))
			b.transaction(true, at(2, 4))
			opts := []kgo.Opt{kgo.ClientID("me")}
			if typ == inspect.TypeConsumer {
				opts = append(opts, kgo.ServerSideBalancer())
			}
			cl := b.join(t.Context(), "g", opts...)
			b.commitAs(cl, map[int32]int64{0: 1, 2: 1})
			d, err := b.Group(t.Context(), "g")
			if err != nil {
				t.Fatal(err)
			}
			if d.Type != typ || d.State != "Stable" || d.MemberCount != 1 || d.Lag != 2 || d.Protocol == "" || !slices.Equal(d.Topics, []string{topic}) {
				t.Errorf("%+v", d)
			}
			m := d.Members[0]
			if m.ClientID != "me" || !strings.HasPrefix(m.Host, "127.0.0.1") || !slices.Equal(m.Assigned[topic], []int32{0, 1, 2}) {
				t.Errorf("%+v", m)
			}
			want := []inspect.GroupPartition{ // partition 2 ends with a marker, which is no message
				{Topic: topic, Partition: 0, Committed: 1, End: 2, Lag: 1, Member: m.ID},
				{Topic: topic, Partition: 1, Committed: -1, End: 1, Lag: 1, Member: m.ID},
				{Topic: topic, Partition: 2, Committed: 1, End: 2, Lag: 0, Member: m.ID},
			}
			for i, p := range d.Partitions {
				if behind := time.Since(epoch); (p.Lag > 0) != (p.LagTime > behind-time.Minute) || p.LagTime > behind {
					t.Errorf("lag of partition %d in time: %v", i, p.LagTime)
				}
				p.LagTime = 0
				if p != want[i] {
					t.Errorf("%+v, want %+v", p, want[i])
				}
			}
			list, err := b.Groups(t.Context())
			if err != nil || len(list.Groups) != 1 || list.Groups[0].Lag != 2 || list.Groups[0].MemberCount != 1 || list.Groups[0].Type != typ {
				t.Errorf("%+v %v", list, err)
			}
			if _, err := b.Group(t.Context(), "nope"); !errors.Is(err, inspect.ErrNoGroup) {
				t.Error(err)
			}
		})
	}
}

// commitAs commits as the member that cl is.
func (b *bench) commitAs(cl *kgo.Client, offsets map[int32]int64) {
	b.t.Helper()
	set := map[int32]kgo.EpochOffset{}
	for p, o := range offsets {
		set[p] = kgo.EpochOffset{Epoch: -1, Offset: o}
	}
	cl.CommitOffsetsSync(b.t.Context(), map[string]map[int32]kgo.EpochOffset{topic: set}, nil)
}

// TestDeletedTopic: a group that has a position in a topic that is gone is listed,
// with a lag that nobody knows.
func TestDeletedTopic(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1))
	b.commit("g", 0, 0)
	b.commit("h", 1, 0)
	if _, err := b.admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	list, err := b.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list.Groups {
		if g.Lag > 0 {
			t.Errorf("%+v", g)
		}
	}
}

func TestShareGroup(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1))
	cl := b.client(kgo.ShareGroup("shared"), kgo.ConsumeTopics(topic), kgo.WithContext(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		d, err := b.Group(ctx, "shared")
		if ctx.Err() != nil {
			t.Fatalf("the group does not show: %+v %v", d, err)
		}
		if err == nil && d.MemberCount == 1 && len(d.Members[0].Assigned[topic]) == parts {
			if d.Type != inspect.TypeShare {
				t.Errorf("%+v", d)
			}
			for _, p := range d.Partitions {
				if p.Lag == 0 && p.LagTime != 0 || p.Lag > 0 && p.LagTime < 0 || p.Member != "" {
					t.Errorf("%+v", p)
				}
			}
			break
		}
		pollCtx, done := context.WithTimeout(ctx, 50*time.Millisecond)
		cl.PollFetches(pollCtx)
		done()
	}
	if _, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "shared", Topics: []string{topic}, To: inspect.Oldest()}); err == nil {
		t.Error("planned to reset a share group")
	}
}

// TestDeadBroker: a broker that does not answer is a warning, and the others'
// answers come at once.
func TestDeadBroker(t *testing.T) {
	b := newBench(t)
	b.commit("g", 0, 0)
	dead := int32(-1)
	for _, br := range []int32{0, 1, 2} {
		if br != b.cluster.LeaderFor(topic, 0) && br != b.cluster.CoordinatorFor("g") {
			dead = br
		}
	}
	var fired atomic.Int32
	b.cluster.ControlKey(16, func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if b.cluster.CurrentNode() != dead {
			return nil, nil, false
		}
		fired.Add(1)
		return nil, errors.New("dead"), true
	})
	begun := time.Now()
	list, err := b.Groups(t.Context())
	if err != nil || len(list.Groups) != 1 || len(list.Warnings) != 1 || fired.Load() == 0 {
		t.Errorf("%+v %v, fired %d", list, err, fired.Load())
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
