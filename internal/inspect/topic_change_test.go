package inspect_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// config returns the settings that a topic has itself, as the broker describes them.
func (b *bench) config(topic string) map[string]string {
	b.t.Helper()
	all, err := b.admin.DescribeTopicConfigs(b.t.Context(), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := all.On(topic, nil)
	if err != nil || c.Err != nil {
		b.t.Fatal(err, c.Err)
	}
	out := map[string]string{}
	for _, s := range c.Configs {
		if s.Source == kmsg.ConfigSourceDynamicTopicConfig {
			out[s.Key] = s.MaybeValue()
		}
	}
	return out
}

func (b *bench) create(topic string, partitions int32, config map[string]string) {
	b.t.Helper()
	if _, err := b.CreateTopic(b.t.Context(), inspect.NewTopic{Name: topic, Partitions: partitions, Replicas: 3, Config: config}); err != nil {
		b.t.Fatal(err)
	}
}

// reserved is an inspector of the same cluster that protects a topic.
func (b *bench) reserved(topic string) *inspect.Inspector {
	b.t.Helper()
	i, err := inspect.New(inspect.Config{Client: b.cl, Reserved: []string{topic}})
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

func TestCreateTopic(t *testing.T) {
	b := newBench(t)
	c, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: "new.topic_1", Partitions: 5, Replicas: 2, Config: map[string]string{"retention.ms": "60000"}})
	if err != nil || c.Name != "new.topic_1" || c.Partitions != 5 || c.Replicas != 2 || len(c.ID) != 36 {
		t.Fatalf("%+v %v", c, err)
	}
	if got := b.config("new.topic_1"); got["retention.ms"] != "60000" {
		t.Errorf("the broker has the settings %v", got)
	}
	for p := range int32(5) { // all of them can be written at once
		b.write(&kgo.Record{Topic: "new.topic_1", Partition: p, Value: []byte("v")})
	}
	if d, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: "default"}); err != nil || d.Partitions < 1 || d.Replicas < 1 {
		t.Errorf("the cluster's defaults: %+v %v", d, err)
	}
	if _, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: "new.topic_1"}); !errors.Is(err, inspect.ErrTopicExists) || !strings.Contains(err.Error(), "new.topic_1") {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a b", "grüße", "a\x1b[2J", strings.Repeat("x", 250)} {
		_, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: name})
		if _, ok := errors.AsType[*inspect.PlanError](err); !ok || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	if err := inspect.CheckTopicName(strings.Repeat("x", 249)); err != nil {
		t.Error(err)
	}
	_, err = b.CreateTopic(t.Context(), inspect.NewTopic{Name: "many", Replicas: 9})
	if r, ok := errors.AsType[*inspect.RejectedError](err); !ok || !errors.Is(r, kerr.InvalidReplicationFactor) || !strings.Contains(err.Error(), "INVALID_REPLICATION_FACTOR") {
		t.Errorf("more replicas than brokers: %v", err)
	}
	if _, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: "few", Partitions: -2}); err == nil {
		t.Error("a topic has less than no partitions")
	}
}

// TestRejectedInTheBrokersWords: what a broker says about a rejected change reaches the user.
func TestRejectedInTheBrokersWords(t *testing.T) {
	b := newBench(t)
	b.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		st := kmsg.NewCreateTopicsResponseTopic()
		st.Topic, st.ErrorCode, st.ErrorMessage = "odd", kerr.InvalidConfig.Code, kmsg.StringPtr("Unknown topic config name: retention.m.")
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
	_, err := b.CreateTopic(t.Context(), inspect.NewTopic{Name: "odd"})
	if want := `create topic "odd": the broker rejects it: Unknown topic config name: retention.m (INVALID_CONFIG)`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAlterTopic(t *testing.T) {
	b := newBench(t)
	b.create("settings", 1, map[string]string{"retention.ms": "60000", "max.message.bytes": "2000", "cleanup.policy": "compact"})
	var sent []string
	b.cluster.KeepControl()
	b.cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		for _, r := range req.(*kmsg.IncrementalAlterConfigsRequest).Resources {
			for _, c := range r.Configs {
				sent = append(sent, c.Name)
			}
		}
		return nil, nil, false
	})
	changes, err := b.AlterTopic(t.Context(), "settings",
		map[string]string{"retention.ms": "120000", "max.message.bytes": "2000", "min.insync.replicas": "2"}, []string{"cleanup.policy", "segment.ms", "cleanup.policy"})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(sent)
	if want := []string{"cleanup.policy", "min.insync.replicas", "retention.ms"}; !slices.Equal(sent, want) {
		t.Errorf("weir has sent %q, want only what changes: %q", sent, want)
	}
	got := map[string]inspect.SettingChange{}
	for _, c := range changes {
		got[c.Name] = c
	}
	if c := got["retention.ms"]; len(got) != 3 || c.Before != "60000" || c.After != "120000" || c.BeforeSource != "topic" || c.AfterSource != "topic" {
		t.Errorf("%+v", changes)
	}
	if c := got["cleanup.policy"]; c.Before != "compact" || c.After != "delete" || c.AfterSource != "default" {
		t.Errorf("%+v", c)
	}
	if c := b.config("settings"); len(c) != 3 || c["retention.ms"] != "120000" || c["max.message.bytes"] != "2000" || c["min.insync.replicas"] != "2" {
		t.Errorf("the broker has the settings %v", c)
	}
	sent = nil
	if changes, err := b.AlterTopic(t.Context(), "settings", map[string]string{"retention.ms": "120000"}, []string{"segment.bytes"}); err != nil || len(changes) != 0 || changes == nil || len(sent) > 0 {
		t.Errorf("nothing changes: %v %v, sent %q", changes, err, sent)
	}
	for name, test := range map[string]struct {
		set   map[string]string
		unset []string
	}{
		"nothing":  {},
		"both":     {map[string]string{"retention.ms": "1"}, []string{"retention.ms"}},
		"mistyped": {nil, []string{"retention.m"}},
	} {
		_, err := b.AlterTopic(t.Context(), "settings", test.set, test.unset)
		if _, ok := errors.AsType[*inspect.PlanError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.AlterTopic(t.Context(), "nope", map[string]string{"retention.ms": "1"}, nil); !errors.Is(err, inspect.ErrNoTopic) || strings.Count(err.Error(), "nope") != 1 {
		t.Errorf("an unknown topic: %v", err)
	}
}

func TestAddPartitions(t *testing.T) {
	b := newBench(t)
	plan, err := b.PlanPartitions(t.Context(), topic, 5)
	if err != nil || plan.From != 3 || plan.To != 5 || plan.KeysMove {
		t.Errorf("an empty topic: %+v %v", plan, err)
	}
	b.write(at(1, 0))
	b.trim(1, 1) // keys have been written, even if nothing is left of them
	if plan, err = b.PlanPartitions(t.Context(), topic, 5); err != nil || !plan.KeysMove {
		t.Errorf("a topic with a record: %+v %v", plan, err)
	}
	if d, _ := b.TopicAlone(t.Context(), topic); d.Partitions != 3 {
		t.Errorf("planning has added partitions: %d", d.Partitions)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.cl = b.client() // which does not know how many there were
	for p := range int32(5) {
		b.write(at(p, 1))
	}
	for _, to := range []int{5, 4, 0, -1} {
		_, err := b.PlanPartitions(t.Context(), topic, to)
		if _, ok := errors.AsType[*inspect.PlanError](err); !ok {
			t.Errorf("%d instead of 5: %v", to, err)
		}
	}
	if _, err := b.reserved(topic).PlanPartitions(t.Context(), topic, 9); !errors.Is(err, inspect.ErrProtected) {
		t.Errorf("a topic of weir: %v", err)
	}
}

func TestTruncatePlan(t *testing.T) {
	b := newBench(t)
	for ms := range 30 {
		b.write(at(int32(ms%2), ms)) // 15 in partitions 0 and 1, none in 2
	}
	b.trim(0, 3)
	for name, test := range map[string]struct {
		before     inspect.Target
		partitions []int32
		to         []int64 // the first offsets that are left
		deleted    int64
	}{
		"end":           {inspect.End(), nil, []int64{15, 15, 0}, 27},
		"one partition": {inspect.End(), []int32{1}, []int64{15}, 15},
		"offset":        {inspect.AtOffset(7), nil, []int64{7, 7, 0}, 11},
		"deleted":       {inspect.AtOffset(2), nil, []int64{3, 2, 0}, 2},
		"all but two":   {inspect.AtOffset(-2), nil, []int64{13, 13, 0}, 23},
		"too large":     {inspect.AtOffset(99), nil, []int64{15, 15, 0}, 27},
		"time":          {inspect.AtTime(epoch.Add(20 * time.Millisecond)), nil, []int64{10, 10, 0}, 17},
		"later":         {inspect.AtTime(epoch.Add(time.Hour)), nil, []int64{15, 15, 0}, 27},
	} {
		plan, err := b.PlanTruncate(t.Context(), inspect.TruncateQuery{Topic: topic, Before: test.before, Partitions: test.partitions})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var to []int64
		for _, p := range plan.Partitions {
			to = append(to, p.To)
			if p.Deleted != p.To-p.Low {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(to, test.to) || plan.Messages != test.deleted {
			t.Errorf("%s: first offsets %v, %d deleted, want %v and %d", name, to, plan.Messages, test.to, test.deleted)
		}
	}
	if got, _ := b.read(inspect.Query{}); len(got) != 27 {
		t.Errorf("planning has deleted messages: %d are left", len(got))
	}
	b.create("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	b.create("both", 1, map[string]string{"cleanup.policy": "compact,delete"})
	b.create("__transaction_state", 1, nil)
	for name, test := range map[string]struct {
		q    inspect.TruncateQuery
		want string
	}{
		"oldest":    {inspect.TruncateQuery{Topic: topic, Before: inspect.Oldest()}, "say before what"},
		"nowhere":   {inspect.TruncateQuery{Topic: topic}, "say before what"},
		"by":        {inspect.TruncateQuery{Topic: topic, Before: inspect.By(3)}, "say before what"},
		"compacted": {inspect.TruncateQuery{Topic: "compacted", Before: inspect.End()}, "set it to compact,delete"},
		"partition": {inspect.TruncateQuery{Topic: topic, Before: inspect.End(), Partitions: []int32{7}}, "7"},
		"internal":  {inspect.TruncateQuery{Topic: "__transaction_state", Before: inspect.End()}, "their own state"},
		"unknown":   {inspect.TruncateQuery{Topic: "nope", Before: inspect.End()}, "no such topic"},
	} {
		if _, err := b.PlanTruncate(t.Context(), test.q); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.PlanTruncate(t.Context(), inspect.TruncateQuery{Topic: "both", Before: inspect.End()}); err != nil {
		t.Error(err)
	}
	if _, err := b.reserved(topic).PlanTruncate(t.Context(), inspect.TruncateQuery{Topic: topic, Before: inspect.End()}); !errors.Is(err, inspect.ErrProtected) {
		t.Errorf("a topic of weir: %v", err)
	}
}

func TestParseBefore(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]string{"end": "latest", "latest": "latest", "7": "7", "-2": "-2", "+2": "2", "2h": "2026-01-02T01:04:05Z", "2025-12-31T00:00:00Z": "2025-12-31T00:00:00Z"} {
		if got, err := inspect.ParseBefore(text, now); err != nil || got.String() != want {
			t.Errorf("%s is %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "sideways", "-2h", "1.5"} {
		if got, err := inspect.ParseBefore(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestTruncateApply(t *testing.T) {
	b := newBench(t)
	for ms := range 30 {
		b.write(at(int32(ms%2), ms))
	}
	plan, err := b.PlanTruncate(t.Context(), inspect.TruncateQuery{Topic: topic, Before: inspect.AtTime(epoch.Add(26 * time.Millisecond))})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context()); err != nil || plan.Messages != 26 {
		t.Fatalf("%+v %v", plan, err)
	}
	if got, _ := b.read(inspect.Query{}); !slices.Equal(got, []string{"26", "27", "28", "29"}) {
		t.Errorf("left are %q", got)
	}
	b.write(at(0, 30))
	if m := b.last(0); m.Offset != 15 || string(m.Value) != "30" {
		t.Errorf("the next message is at offset %d", m.Offset)
	}
	// A broker that deletes less, or nothing, is believed.
	b.cluster.ControlKey(int16(kmsg.DeleteRecords), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
		for _, rt := range req.(*kmsg.DeleteRecordsRequest).Topics {
			st := kmsg.NewDeleteRecordsResponseTopic()
			st.Topic = rt.Topic
			for _, p := range rt.Partitions {
				sp := kmsg.NewDeleteRecordsResponseTopicPartition()
				sp.Partition, sp.ErrorCode = p.Partition, kerr.PolicyViolation.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	plan, err = b.PlanTruncate(t.Context(), inspect.TruncateQuery{Topic: topic, Before: inspect.End(), Partitions: []int32{0}})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context()); !errors.Is(err, kerr.PolicyViolation) || !strings.Contains(err.Error(), "partition 0") || plan.Messages != 0 {
		t.Errorf("%+v %v", plan, err)
	}
}

// last returns the newest message of a partition.
func (b *bench) last(partition int32) (m inspect.Message) {
	b.t.Helper()
	_, err := b.Read(b.t.Context(), inspect.Query{Topic: topic, Partitions: []int32{partition}, From: inspect.Newest(1)}, func(got inspect.Message) error {
		m = got
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func TestDeleteTopic(t *testing.T) {
	b := newBench(t)
	for ms := range 6 {
		b.write(at(0, ms))
	}
	b.trim(0, 2)
	b.commit("stopped", 0, 3)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b.join(ctx, "running")
	plan, err := b.PlanDelete(t.Context(), topic)
	if err != nil || plan.Messages != 4 || len(plan.Groups) != 2 || len(plan.Warnings) > 0 {
		t.Fatalf("%+v %v", plan, err)
	}
	if r, s := plan.Groups[0], plan.Groups[1]; r.Name != "running" || r.Members != 1 || s.Name != "stopped" || s.Members != 0 || s.State != "Empty" {
		t.Errorf("the groups are %+v", plan.Groups)
	}
	if err := b.Exists(t.Context(), topic); err != nil {
		t.Errorf("planning has deleted the topic: %v", err)
	}
	if _, err := b.reserved(topic).PlanDelete(t.Context(), topic); !errors.Is(err, inspect.ErrProtected) || strings.Count(err.Error(), topic+`"`) != 1 {
		t.Errorf("a topic of weir: %v", err)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := b.Metadata(t.Context())
	if err != nil || !slices.Equal(left.Topics.Names(), []string{"other"}) {
		t.Errorf("the cluster has %q %v", left.Topics.Names(), err)
	}
	if _, err := b.PlanDelete(t.Context(), topic); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("once more: %v", err)
	}
	if err := plan.Apply(t.Context()); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("somebody was faster: %v", err)
	}
}
