package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// What weir does to topics works on both engines: they are created, altered, grow, are truncated
// and deleted under a consumer, and created again.
func TestTopicChanges(t *testing.T) {
	t.Parallel()
	look, err := inspect.New(inspect.Config{Client: plain, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, n := testCtx(t), name(t)+"._-"
	made, err := look.CreateTopic(ctx, inspect.NewTopic{Name: n, Partitions: 2, Config: map[string]string{"retention.ms": "5000000"}})
	if err != nil || made.Partitions != 2 || made.Replicas != 3 || made.ID == "" {
		t.Fatalf("created %+v: %v", made, err)
	}
	if _, err := look.CreateTopic(ctx, inspect.NewTopic{Name: n}); !errors.Is(err, inspect.ErrTopicExists) {
		t.Errorf("create it again: %v", err)
	}
	altersTopic(t, look, n)

	produce(t, n, 0, "a", "b", "c")
	more, err := look.PlanPartitions(ctx, n, 3)
	if err == nil {
		err = more.Apply(ctx)
	}
	if err != nil || more.From != 2 || !more.KeysMove {
		t.Errorf("%+v: %v", more, err)
	}
	produce(t, n, 2, "d") // no wait: it is ready
	truncatesTopic(t, look, n)

	l, group := newLedger(), name(t)
	l.join(t, "a", group, n, kgo.Balancers(kgo.RangeBalancer()))
	l.rests(t, map[string]int{"a": 3})
	var away inspect.DeletePlan
	eventually(t, func() string {
		if away, err = look.PlanDelete(ctx, n); err != nil || len(away.Groups) != 1 ||
			away.Groups[0].Name != group || away.Groups[0].Members != 1 {
			return fmt.Sprintf("the plan is %+v: %v", away, err)
		}
		return ""
	})
	if err := away.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := look.CreateTopic(ctx, inspect.NewTopic{Name: n, Partitions: 1, Replicas: 2})
	if err != nil || again.ID == made.ID || again.Partitions != 1 || again.Replicas != 2 {
		t.Fatalf("created again as %+v: %v", again, err)
	}
	produce(t, n, 0, "e")
	equal(t, "the new topic", show(read(t, n, 0, uncommitted)), "0=e")
}

func altersTopic(t *testing.T, look *inspect.Inspector, topic string) {
	t.Helper()
	ctx := testCtx(t)
	changes, err := look.AlterTopic(ctx, topic,
		map[string]string{"segment.ms": "600000", "compression.zstd.level": "7"}, []string{"retention.ms", "flush.ms"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%s %s %s", c.Name, c.Before, c.After))
	}
	slices.Sort(got)
	equal(t, "changes", fmt.Sprint(got), "[compression.zstd.level 3 7 retention.ms 5000000 604800000 segment.ms 604800000 600000]")
	for key, value := range map[string]string{"retention.ms": "soon", "compression.gzip.level": "11",
		"remote.storage.enable": "true", "no.such.setting": "1"} {
		_, err := look.AlterTopic(ctx, topic, map[string]string{key: value}, nil)
		no, ok := errors.AsType[*inspect.RejectedError](err)
		if !ok || !errors.Is(err, kerr.InvalidConfig) || no.Reason == "" {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	values := config(t, topic)
	equal(t, "segment.ms", values["segment.ms"], setting{"600000", kmsg.ConfigSourceDynamicTopicConfig})
}

func truncatesTopic(t *testing.T, look *inspect.Inspector, topic string) {
	t.Helper()
	ctx := testCtx(t)
	truncate := func(before inspect.Target, partitions ...int32) inspect.TruncatePlan {
		t.Helper()
		plan, err := look.PlanTruncate(ctx, inspect.TruncateQuery{Topic: topic, Before: before, Partitions: partitions})
		if err == nil {
			err = plan.Apply(ctx)
		}
		if err != nil {
			t.Fatalf("truncate: %v", err)
		}
		return plan
	}
	equal(t, "messages before offset 2", truncate(inspect.AtOffset(2), 0).Messages, 2)
	equal(t, "log", show(read(t, topic, 0, uncommitted)), "2=c")
	left := int64(2) // c and d
	if differs(t, "last-record") {
		left = 0
	}
	equal(t, "messages before the end", truncate(inspect.End()).Messages, left)
	_, end := offsets(t, topic, 0)
	equal(t, "high watermark", end, 3)
	equal(t, "messages before an offset beyond the end", truncate(inspect.AtOffset(100)).Messages, 0)
}
