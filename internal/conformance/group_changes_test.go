package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// streamsMember is a member of a streams group that runs no application.
type streamsMember struct {
	group, id string
	epoch     int32
	owned     []kmsg.TaskIDs
	topology  *kmsg.StreamsGroupHeartbeatRequestTopology
}

// heartbeat joins the group at first, then takes over the tasks that it is given.
func (m *streamsMember) heartbeat(ctx context.Context) error {
	process := "process-of-" + m.id
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.ProcessID = m.group, m.id, m.epoch, &process
	if m.epoch >= 0 {
		req.RebalanceTimeoutMillis = 10_000
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = append([]kmsg.TaskIDs{}, m.owned...), []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	}
	if m.epoch == 0 {
		req.Topology = m.topology
	}
	found := adm.FindGroupCoordinators(ctx, m.group)[m.group]
	if found.Err != nil {
		return found.Err
	}
	answer, err := plain.Broker(int(found.NodeID)).Request(ctx, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.StreamsGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	m.epoch = resp.MemberEpoch
	if resp.ActiveTasks != nil {
		m.owned = resp.ActiveTasks
	}
	return nil
}

// A streams group is listed and described as what it is: with the topology of the application
// and the tasks of its members (KIP-1071). Its offsets and the group itself can be deleted when
// its members have left.
func TestStreamsGroup(t *testing.T) {
	t.Parallel()
	if differs(t, "streams-groups") {
		t.Skip("the embedded brokers offer no streams groups: WEIR_TEST_KAFKA=apache go test ./internal/conformance -run TestStreamsGroup")
	}
	ctx, top, group := testCtx(t), topic(t, 2), name(t)
	produce(t, top, 0, "first", "second")
	look, err := inspect.New(inspect.Config{Client: plain, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	changelog := group + "-counts-changelog"
	sub := kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{SubtopologyID: "0", SourceTopics: []string{top}, StateChangelogTopics: []kmsg.TopicInfo{{Topic: changelog}}}
	m := &streamsMember{group: group, id: group + "-member", topology: &kmsg.StreamsGroupHeartbeatRequestTopology{
		Epoch: 0, Subtopologies: []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{sub}}}
	var d inspect.GroupDetail
	eventually(t, func() string {
		if err := m.heartbeat(ctx); err != nil {
			return "heartbeat: " + err.Error()
		}
		if d, err = look.Group(ctx, group); err != nil {
			return err.Error()
		}
		if d.State != "Stable" || len(d.Members) != 1 || !slices.Equal(d.Members[0].Tasks.Active["0"], []int32{0, 1}) {
			return fmt.Sprintf("the group is %+v", d)
		}
		return ""
	})
	equal(t, "type", d.Type, inspect.TypeStreams)
	equal(t, "process", d.Members[0].ProcessID, "process-of-"+m.id)
	equal(t, "partitions", fmt.Sprint(d.Members[0].Assigned), fmt.Sprintf("map[%s:[0 1]]", top))
	equal(t, "lag", d.Lag, 2)
	equal(t, "topology", fmt.Sprint(d.Streams.Subtopologies), fmt.Sprintf("[{0 [%s] [] [] [%s]}]", top, changelog))
	list, err := look.Groups(ctx)
	at := slices.IndexFunc(list.Groups, func(g inspect.Group) bool { return g.Name == group })
	if err != nil || at < 0 || list.Groups[at].Type != inspect.TypeStreams || list.Groups[at].MemberCount != 1 || list.Groups[at].Error != "" {
		t.Errorf("listed at %d of %+v: %v", at, list, err)
	}
	deletion, err := look.PlanDeleteGroup(ctx, group, nil)
	if err != nil || len(deletion.Active) != 1 || deletion.Type != inspect.TypeStreams {
		t.Errorf("%+v %v", deletion, err)
	}
	if err := deletion.Apply(ctx); !errors.Is(err, inspect.ErrGroupActive) {
		t.Errorf("a group with a member: %v", err)
	}
	m.epoch = -1
	if err := m.heartbeat(ctx); err != nil {
		t.Fatalf("leave: %v", err)
	}
	committed := kadm.Offsets{}
	committed.AddOffset(top, 0, 1, -1)
	committed.AddOffset(top, 1, 0, -1)
	internal := topic(t, 1) // such as a repartition topic
	committed.AddOffset(internal, 0, 0, -1)
	if err := adm.CommitAllOffsets(ctx, group, committed); err != nil {
		t.Fatal(err)
	}
	reset, err := look.PlanReset(ctx, inspect.ResetQuery{Group: group, To: inspect.End()})
	if err != nil || len(reset.Changes) != 2 || slices.ContainsFunc(reset.Changes, func(c inspect.Change) bool { return c.Topic != top }) {
		t.Errorf("a reset of the application's input: %+v %v", reset, err)
	}
	rest, err := look.PlanDeleteOffsets(ctx, group, internal, nil, nil)
	if err != nil || rest.Apply(ctx) != nil {
		t.Errorf("%+v %v", rest, err)
	}
	plan, err := look.PlanDeleteOffsets(ctx, group, top, []int32{1}, nil)
	if err != nil || plan.Apply(ctx) != nil {
		t.Errorf("%+v %v", plan, err)
	}
	left, err := look.CommittedOffsets(ctx, group)
	equal(t, "offsets that are left", fmt.Sprint(left, err), fmt.Sprintf("[{%s %s 0 1}] <nil>", group, top))
	if err := deletion.Apply(ctx); err != nil {
		t.Error(err)
	}
	if _, err := look.Group(ctx, group); !errors.Is(err, inspect.ErrNoGroup) {
		t.Errorf("after it was deleted: %v", err)
	}
}

// What weir does to groups works whatever the type and the name of the group.
func TestGroupChanges(t *testing.T) {
	t.Parallel()
	look, err := inspect.New(inspect.Config{Client: plain, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	for typ, opts := range map[string][]kgo.Opt{inspect.TypeClassic: nil, inspect.TypeConsumer: {kgo.ServerSideBalancer()}} {
		for i, suffix := range []string{"", ". a/b:c?*", "größe-日本"} {
			t.Run(fmt.Sprint(typ, i), func(t *testing.T) {
				t.Parallel()
				changeGroup(t, look, typ, name(t)+suffix, opts)
			})
		}
	}
}

func changeGroup(t *testing.T, look *inspect.Inspector, typ, group string, opts []kgo.Opt) {
	t.Helper()
	ctx, top := testCtx(t), topic(t, 2)
	produce(t, top, 0, "first", "second", "third")
	cl := client(t, append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics(top), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	next(t, cl, 3)
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	deletion, err := look.PlanDeleteGroup(ctx, group, nil)
	if err != nil || deletion.Type != typ || len(deletion.Active) != 1 {
		t.Errorf("%+v %v", deletion, err)
	}
	offsets, err := look.PlanDeleteOffsets(ctx, group, top, []int32{0}, nil)
	equal(t, "offsets to delete", fmt.Sprint(offsets.Offsets, err), fmt.Sprintf("[{%s 0 3}] <nil>", top))
	move, err := look.PlanReset(ctx, inspect.ResetQuery{Group: group, Offsets: map[string]map[int32]int64{top: {0: 1, 1: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	for what, apply := range map[string]func(context.Context) error{"delete": deletion.Apply, "delete offsets": offsets.Apply, "import": move.Apply} {
		if err := apply(ctx); !errors.Is(err, inspect.ErrGroupActive) {
			t.Errorf("%s while a member is there: %v", what, err)
		}
	}
	cl.Close()
	eventually(t, func() string {
		if err := move.Apply(ctx); err != nil {
			return err.Error()
		}
		return ""
	})
	left := func(want string) {
		t.Helper()
		list, err := look.CommittedOffsets(ctx, group)
		equal(t, "committed offsets", fmt.Sprint(list, err), want)
	}
	left(fmt.Sprintf("[{%s %s 0 1} {%s %s 1 0}] <nil>", group, top, group, top))
	if err := offsets.Apply(ctx); err != nil {
		t.Error(err)
	}
	left(fmt.Sprintf("[{%s %s 1 0}] <nil>", group, top))
	if err := deletion.Apply(ctx); err != nil {
		t.Error(err)
	}
	if _, err := look.Group(ctx, group); !errors.Is(err, inspect.ErrNoGroup) {
		t.Errorf("after it was deleted: %v", err)
	}
}

// The start offsets of a share group in a topic, and the group itself, can be deleted when its
// members have left.
func TestShareGroupChanges(t *testing.T) {
	t.Parallel()
	look, err := inspect.New(inspect.Config{Client: plain, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, top := testCtx(t), topic(t, 1)
	produce(t, top, 0, "first")
	for _, delete := range []string{"offsets", "group"} {
		group := shareGroup(t)
		cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
		next(t, cl, 1)
		flushAcks(t, cl)
		deletion, err := look.PlanDeleteGroup(ctx, group, nil)
		if err != nil || deletion.Type != inspect.TypeShare || len(deletion.Active) != 1 {
			t.Errorf("%+v %v", deletion, err)
		}
		if err := deletion.Apply(ctx); !errors.Is(err, inspect.ErrGroupActive) {
			t.Errorf("while a member is there: %v", err)
		}
		apply := deletion.Apply
		if delete == "offsets" {
			eventually(t, func() string { // Apache Kafka stores the first start offset after a while
				plan, err := look.PlanDeleteOffsets(ctx, group, top, nil, nil)
				if err != nil || len(plan.Offsets) != 1 {
					return fmt.Sprintf("%+v %v", plan, err)
				}
				apply = plan.Apply
				return ""
			})
		}
		cl.Close()
		eventually(t, func() string {
			if err := apply(ctx); err != nil {
				return err.Error()
			}
			return ""
		})
		d, err := look.Group(ctx, group)
		gone := errors.Is(err, inspect.ErrNoGroup)
		if err != nil && !gone || delete == "group" && !gone || slices.ContainsFunc(d.Partitions, func(p inspect.GroupPartition) bool { return p.Committed >= 0 }) {
			t.Errorf("%s: %+v %v", delete, d, err)
		}
	}
}
