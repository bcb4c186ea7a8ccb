package inspect_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

func TestDeleteGroup(t *testing.T) {
	for _, name := range []string{"g", "with space / and:colon", ".", "größe-日本"} {
		b := newBench(t)
		b.write(at(0, 1), at(1, 2))
		b.commit(name, 0, 1)
		b.commit(name, 1, 0)
		b.commit("other", 0, 1)
		plan, err := b.PlanDeleteGroup(t.Context(), name, nil)
		if err != nil || plan.Group != name || plan.Type != inspect.TypeClassic || plan.State != "Empty" || plan.Offsets != 2 || len(plan.Active) > 0 {
			t.Errorf("%q: %+v %v", name, plan, err)
		}
		if got := b.stands(name); !maps.Equal(got, map[int32]int64{0: 1, 1: 0}) {
			t.Errorf("%q: the plan changed something: %v", name, got)
		}
		if err := plan.Apply(t.Context()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if names, err := b.GroupNames(t.Context()); err != nil || !slices.Equal(names, []string{"other"}) {
			t.Errorf("%q: the groups are now %q %v", name, names, err)
		}
		if err := plan.Apply(t.Context()); !errors.Is(err, inspect.ErrNoGroup) {
			t.Errorf("%q: deleted again: %v", name, err)
		}
		if _, err := b.PlanDeleteGroup(t.Context(), name, nil); !errors.Is(err, inspect.ErrNoGroup) {
			t.Errorf("%q: planned again: %v", name, err)
		}
	}
}

// TestActiveGroupsKeepTheirOffsets: a group with members loses nothing, also when the member
// came after the plan.
func TestActiveGroupsKeepTheirOffsets(t *testing.T) {
	for typ, opts := range map[string][]kgo.Opt{inspect.TypeClassic: nil, inspect.TypeConsumer: {kgo.ServerSideBalancer()}} {
		t.Run(typ, func(t *testing.T) {
			b := newBench(t)
			b.write(at(0, 1))
			first := b.join(t.Context(), "g", opts...)
			b.commitAs(first, map[int32]int64{0: 1})
			first.Close()
			early, err := b.PlanDeleteGroup(t.Context(), "g", nil)
			if err != nil {
				t.Fatal(err)
			}
			offsets, err := b.PlanDeleteOffsets(t.Context(), "g", topic, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			cl := b.join(t.Context(), "g", append(opts, kgo.ClientID("busy"))...)
			late, err := b.PlanDeleteGroup(t.Context(), "g", nil)
			if err != nil || late.Type != typ || late.State != "Stable" || len(late.Active) != 1 || late.Active[0].ClientID != "busy" {
				t.Errorf("%+v %v", late, err)
			}
			for what, apply := range map[string]func(context.Context) error{"before": early.Apply, "after": late.Apply, "offsets": offsets.Apply} {
				if err := apply(t.Context()); !errors.Is(err, inspect.ErrGroupActive) || !strings.Contains(err.Error(), "busy at 127.0.0.1") {
					t.Errorf("planned %s: %v", what, err)
				}
			}
			if got := b.stands("g"); got[0] != 1 {
				t.Errorf("changed all the same: %v", got)
			}
			cl.Close()
			if err := offsets.Apply(t.Context()); err != nil {
				t.Errorf("offsets, after the member left: %v", err)
			}
			if err := early.Apply(t.Context()); err != nil && !errors.Is(err, inspect.ErrNoGroup) { // an empty group can go by itself
				t.Errorf("after the member left: %v", err)
			}
		})
	}
}

// TestCountedGroupsAreKept: the counts in Redis and the offsets beside them would stay.
func TestCountedGroupsAreKept(t *testing.T) {
	b := newBench(t)
	store := b.store()
	b.write(at(0, 1))
	b.commit("g", 0, 1)
	b.commit("g2", 0, 1)
	b.count(store, "g", "", 0, 0, 1, map[string]int64{"create": 1})
	for what, err := range map[string]error{
		"group":   errOf(b.PlanDeleteGroup(t.Context(), "g", store)),
		"offsets": errOf(b.PlanDeleteOffsets(t.Context(), "g", topic, nil, store)),
	} {
		if _, ok := errors.AsType[*inspect.PlanError](err); !ok || !strings.Contains(err.Error(), "weir groups reset") || !strings.Contains(err.Error(), "Redis") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if plan, err := b.PlanDeleteGroup(t.Context(), "g2", store); err != nil || plan.Apply(t.Context()) != nil {
		t.Errorf("a group without counts: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestDeleteOffsets(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(1, 2), at(2, 3))
	for p := range int32(3) {
		b.commit("g", p, int64(p%2))
	}
	for name, try := range map[string]func() (inspect.DeleteOffsetsPlan, error){
		"no topic": func() (inspect.DeleteOffsetsPlan, error) { return b.PlanDeleteOffsets(t.Context(), "g", "", nil, nil) },
		"another topic": func() (inspect.DeleteOffsetsPlan, error) {
			return b.PlanDeleteOffsets(t.Context(), "g", "other", nil, nil)
		},
		"no such part": func() (inspect.DeleteOffsetsPlan, error) {
			return b.PlanDeleteOffsets(t.Context(), "g", topic, []int32{1, 7}, nil)
		},
		"no such group": func() (inspect.DeleteOffsetsPlan, error) {
			return b.PlanDeleteOffsets(t.Context(), "none", topic, nil, nil)
		},
		"no offsets there": func() (inspect.DeleteOffsetsPlan, error) {
			return b.PlanDeleteOffsets(t.Context(), "g", "none", nil, nil)
		},
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	plan, err := b.PlanDeleteOffsets(t.Context(), "g", topic, []int32{2, 1}, nil)
	if err != nil || !slices.Equal(plan.Offsets, []inspect.CommittedOffset{{Topic: topic, Partition: 1, Committed: 1}, {Topic: topic, Partition: 2, Committed: 0}}) {
		t.Fatalf("%+v %v", plan, err)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.stands("g"); !maps.Equal(got, map[int32]int64{0: 0}) {
		t.Errorf("left are %v", got)
	}
	rest, err := b.PlanDeleteOffsets(t.Context(), "g", topic, nil, nil)
	if err != nil || len(rest.Offsets) != 1 || rest.Apply(t.Context()) != nil {
		t.Errorf("%+v %v", rest, err)
	}
	if got := b.stands("g"); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
}

// shareMember makes a member of a share group and returns it once the group has start offsets.
func (b *bench) shareMember(ctx context.Context, group string) *kgo.Client {
	b.t.Helper()
	cl := b.client(kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.WithContext(ctx))
	for ready := false; !ready; {
		if ctx.Err() != nil {
			b.t.Fatal("the share group does not show its member")
		}
		poll, done := context.WithTimeout(ctx, 50*time.Millisecond)
		cl.PollFetches(poll)
		done()
		d, err := b.Group(ctx, group)
		ready = err == nil && d.MemberCount == 1 && len(d.Partitions) == parts
	}
	return cl
}

// TestShareGroupsLoseWholeTopics: a share group has a start offset in each partition of a
// topic, and Kafka deletes those of a topic together.
func TestShareGroupsLoseWholeTopics(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, second := b.shareMember(ctx, "shared"), b.shareMember(ctx, "second")
	plan, err := b.PlanDeleteGroup(ctx, "second", nil)
	if err != nil || plan.Type != inspect.TypeShare || len(plan.Active) != 1 {
		t.Errorf("%+v %v", plan, err)
	}
	if err := plan.Apply(ctx); !errors.Is(err, inspect.ErrGroupActive) {
		t.Errorf("applied: %v", err)
	}
	first.Close()
	second.Close()
	if err := plan.Apply(ctx); err != nil {
		t.Error(err)
	}
	if _, err := b.Group(ctx, "second"); !errors.Is(err, inspect.ErrNoGroup) {
		t.Errorf("after it was deleted: %v", err)
	}
	if _, err := b.PlanDeleteOffsets(ctx, "shared", topic, []int32{0}, nil); err == nil || !strings.Contains(err.Error(), "share group") {
		t.Errorf("one partition: %v", err)
	}
	if _, err := b.CommittedOffsets(ctx, "shared"); err == nil {
		t.Error("committed offsets of a share group are listed")
	}
	offsets, err := b.PlanDeleteOffsets(ctx, "shared", topic, nil, nil)
	if err != nil || len(offsets.Offsets) != parts {
		t.Fatalf("%+v %v", offsets, err)
	}
	if err := offsets.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	d, err := b.Group(ctx, "shared") // without offsets it can be gone
	if err != nil && !errors.Is(err, inspect.ErrNoGroup) || slices.ContainsFunc(d.Partitions, func(p inspect.GroupPartition) bool { return p.Committed >= 0 }) {
		t.Errorf("%+v %v", d, err)
	}
}
