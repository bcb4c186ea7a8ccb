package inspect_test

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
)

func TestResetPlan(t *testing.T) {
	b := newBench(t)
	for ms := range 30 {
		b.write(at(int32(ms%2), ms)) // 15 in partitions 0 and 1, none in 2
	}
	b.trim(0, 3)
	b.commit("g", 0, 10)
	b.commit("g", 1, 5)
	type row struct{ from, to, delta int64 }
	for name, test := range map[string]struct {
		to   inspect.Target
		want [3]row
	}{
		"earliest":  {inspect.Oldest(), [3]row{{10, 3, -7}, {5, 0, -5}, {-1, 0, 0}}},
		"latest":    {inspect.End(), [3]row{{10, 15, 5}, {5, 15, 10}, {-1, 0, 0}}},
		"time":      {inspect.AtTime(epoch.Add(20 * time.Millisecond)), [3]row{{10, 10, 0}, {5, 10, 5}, {-1, 0, 0}}},
		"too late":  {inspect.AtTime(epoch.Add(time.Hour)), [3]row{{10, 15, 5}, {5, 15, 10}, {-1, 0, 0}}},
		"offset":    {inspect.AtOffset(7), [3]row{{10, 7, -3}, {5, 7, 2}, {-1, 0, 0}}},
		"too small": {inspect.AtOffset(1), [3]row{{10, 3, -7}, {5, 1, -4}, {-1, 0, 0}}},
		"too large": {inspect.AtOffset(99), [3]row{{10, 15, 5}, {5, 15, 10}, {-1, 0, 0}}},
	} {
		plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: test.to})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, c := range plan.Changes {
			if got := (row{c.From, c.To, c.Delta}); got != test.want[i] || c.Partition != int32(i) || c.Tally != nil {
				t.Errorf("%s, partition %d: %+v, want %+v", name, i, got, test.want[i])
			}
		}
	}
	by, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.By(-4), Partitions: []int32{0, 1}})
	if err != nil || by.Changes[0].To != 6 || by.Changes[1].To != 1 || by.Changes[0].Delta != -4 {
		t.Errorf("%+v %v", by, err)
	}
	// Partition 2 has no commit to count from: it stays as it is, and the plan says so.
	if some, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.By(-4)}); err != nil || len(some.Changes) != 2 || len(some.Skipped) != 1 || !strings.Contains(some.Skipped[0], "partition 2") {
		t.Errorf("%+v %v", some, err)
	}
	// -1 ms is a time before 1970, not Kafka's name for the end of the log.
	for ms := int64(-5); ms < 0; ms++ {
		plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.AtTime(time.UnixMilli(ms))})
		if err != nil || plan.Changes[0].To != 3 || plan.Changes[1].To != 0 {
			t.Errorf("%d ms: %+v %v", ms, plan, err)
		}
		if got, _ := b.read(inspect.Query{From: inspect.AtTime(time.UnixMilli(ms))}); len(got) != 27 {
			t.Errorf("from %d ms: %d messages, want 27", ms, len(got))
		}
		if got, _ := b.read(inspect.Query{Until: inspect.AtTime(time.UnixMilli(ms))}); len(got) != 0 {
			t.Errorf("until %d ms: %d messages, want none", ms, len(got))
		}
	}
	for name, q := range map[string]inspect.ResetQuery{
		"no target":   {Group: "g"},
		"no position": {Group: "g", To: inspect.By(1), Partitions: []int32{2}},
		"no topics":   {Group: "nope", To: inspect.Oldest()},
		"no topic":    {Group: "g", Topics: []string{"nope"}, To: inspect.Oldest()},
	} {
		if _, err := b.PlanReset(t.Context(), q); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func (b *bench) stands(group string) map[int32]int64 {
	b.t.Helper()
	offsets, err := b.admin.FetchOffsets(b.t.Context(), group)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[int32]int64{}
	for p, o := range offsets[topic] {
		out[p] = o.At
	}
	return out
}

func TestResetApply(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 30 {
		b.write(at(int32(ms%3), ms))
	}
	b.commit("g", 0, 4)
	b.count(store, "g", "", 0, 0, 8, map[string]int64{"create": 8}) // Redis is ahead of Kafka: it is the truth
	b.count(store, "untouched", "", 0, 0, 8, map[string]int64{"create": 8})
	plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.AtOffset(2), Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	c := plan.Changes[0]
	if c.From != 4 || c.To != 2 || c.Delta != -6 || c.Tally == nil || c.Tally.From != 8 || c.Tally.Dropped != 8 || plan.Changes[1].Tally.From != inspect.Unknown {
		t.Errorf("%+v %+v", c, c.Tally)
	}
	if got := b.stands("g"); got[0] != 4 {
		t.Errorf("the plan changed something: %v", got)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.stands("g"); !maps.Equal(got, map[int32]int64{0: 2, 1: 2, 2: 2}) {
		t.Errorf("Kafka: %v", got)
	}
	all, err := store.Partitions(t.Context(), "g", topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		if got := all[p]; got.Next != 2 || got.Start != 2 || got.Sum() != 0 || len(got.TopicID) != 36 {
			t.Errorf("tally %+v", got)
		}
	}
	if other, _ := store.Partitions(t.Context(), "untouched", topic); other[0].Counts["create"] != 8 {
		t.Errorf("%+v", other)
	}
}

// Where counts are ahead of Kafka's offset, a move by a number of offsets goes from them.
func TestResetByANumber(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 20 {
		b.write(at(0, ms))
	}
	b.commit("g", 0, 4)
	b.count(store, "g", "", 0, 0, 8, map[string]int64{"create": 8})
	plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.By(-3), Partitions: []int32{0}, Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	if c := plan.Changes[0]; c.From != 4 || c.To != 5 || c.Delta != -3 || c.Tally == nil || c.Tally.From != 8 {
		t.Errorf("%+v %+v", c, c.Tally)
	}
}

// The counts of another group are not this one's, and stay what they are.
func TestResetLeavesOtherGroups(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 20 {
		b.write(at(0, ms))
	}
	b.commit("plain", 0, 4)
	b.count(store, "other", "", 0, 0, 8, map[string]int64{"create": 8})
	plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "plain", To: inspect.AtOffset(2), Partitions: []int32{0}, Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	if c := plan.Changes[0]; c.Tally != nil || c.Delta != -2 {
		t.Errorf("%+v %+v", c, c.Tally)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]int64{"plain": 0, "other": 8} {
		all, err := store.Partitions(t.Context(), group, topic)
		if got := all[0]; err != nil || got.Sum() != want {
			t.Errorf("%s has counted %d, want %d; %v", group, got.Sum(), want, err)
		}
	}
}

func TestResetWhileActive(t *testing.T) {
	b := newBench(t)
	store := b.store()
	b.write(at(0, 1))
	b.commit("g", 0, 1)
	b.count(store, "g", "", 0, 0, 1, map[string]int64{"create": 1})
	early, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.Oldest(), Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	cl := b.join(t.Context(), "g", kgo.ClientID("busy"))
	plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", To: inspect.Oldest(), Tallies: store})
	if err != nil || len(plan.Active) != 1 {
		t.Fatalf("%+v %v", plan, err)
	}
	for _, p := range []inspect.ResetPlan{plan, early} {
		if err := p.Apply(t.Context()); !errors.Is(err, inspect.ErrGroupActive) || !strings.Contains(err.Error(), "busy at 127.0.0.1") {
			t.Errorf("applied: %v", err)
		}
	}
	all, err := store.Partitions(t.Context(), "g", topic)
	if err != nil || all[0].Counts["create"] != 1 || b.stands("g")[0] != 1 {
		t.Errorf("changed all the same: %+v %v %v", all, err, b.stands("g"))
	}
	cl.Close()
	if err := plan.Apply(t.Context()); err != nil {
		t.Errorf("after the member left: %v", err)
	}
}

// count makes a tally.
func (b *bench) count(store *tally.Store, group, id string, partition int32, from, next int64, counts map[string]int64) {
	b.t.Helper()
	if err := store.Reset(b.t.Context(), group, topic, partition, id, from); err != nil {
		b.t.Fatal(err)
	}
	b.add(store, group, id, partition, from, next, counts)
}

func (b *bench) add(store *tally.Store, group, id string, partition int32, from, next int64, counts map[string]int64) {
	b.t.Helper()
	results, err := store.Apply(b.t.Context(), []tally.Batch{{Group: group, Topic: topic, Partition: partition, TopicID: id, From: from, Next: next, Counts: counts}})
	if err != nil || results[0].Err != nil {
		b.t.Fatalf("%v %+v", err, results)
	}
}

// odd and even are the kinds of the records that at makes.
func parity(v []byte) string {
	if n, _ := strconv.Atoi(string(v)); n%2 == 1 {
		return "odd"
	}
	return "even"
}

func TestReplay(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 20 { // all in partition 0, offset is ms
		b.write(at(0, ms))
	}
	b.transaction(true, at(1, 0), at(1, 1), at(1, 2)) // and a marker
	b.count(store, "g", "", 0, 4, 16, map[string]int64{"odd": 6, "even": 6})
	b.count(store, "g", "", 1, 0, 3, map[string]int64{"odd": 1, "even": 2})
	b.count(store, "g.replay", "", 0, 0, 5, map[string]int64{"odd": 5})

	plan, err := b.PlanReplay(t.Context(), inspect.ReplayQuery{Group: "g", Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	want := []inspect.ReplayPartition{{Partition: 0, Start: 4, Next: 16, From: 4, Until: 20}, {Partition: 1, Start: 0, Next: 3, From: 0, Until: 3}}
	if plan.Into != "g.replay" || plan.Topic != topic || plan.Drops != 5 || !slices.Equal(plan.Partitions, want) {
		t.Errorf("%+v", plan)
	}
	if err := plan.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := plan.Remaining(t.Context()); left != 19 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	id := b.topicIDOf(store)
	b.add(store, "g.replay", id, 0, 4, 20, map[string]int64{"odd": 8, "even": 8}) // further than the original
	b.add(store, "g.replay", id, 1, 0, 2, map[string]int64{"odd": 1, "even": 1})  // and less far
	if left, err := plan.Remaining(t.Context()); left != 1 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	// The replay is ahead in one partition and behind in the other.
	same := func(name string, equal bool, trimmed int64, rows ...inspect.KindRow) {
		t.Helper()
		c, err := plan.Compare(t.Context(), parity)
		if err != nil {
			t.Fatal(err)
		}
		if c.Equal != equal || c.Trimmed != trimmed || !slices.Equal(c.Kinds, rows) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	same("replay ahead", true, 0, inspect.KindRow{Kind: "even", Original: 8, Replay: 8}, inspect.KindRow{Kind: "odd", Original: 7, Replay: 7})
	// While it ran, new messages came and the original went on.
	b.write(at(0, 20), at(0, 21))
	b.add(store, "g", "", 0, 16, 22, map[string]int64{"odd": 3, "even": 3})
	same("equal", true, 0, inspect.KindRow{Kind: "even", Original: 11, Replay: 11}, inspect.KindRow{Kind: "odd", Original: 10, Replay: 10})
	b.add(store, "g", "", 0, 22, 22, map[string]int64{"odd": 1})
	same("one too many", false, 0, inspect.KindRow{Kind: "even", Original: 11, Replay: 11}, inspect.KindRow{Kind: "odd", Original: 11, Replay: 10, Difference: 1})

	// A counter of the user's that began before the original did.
	b.count(store, "g", "", 0, 4, 16, map[string]int64{"odd": 6, "even": 6})
	b.count(store, "g.replay", id, 0, 0, 22, map[string]int64{"odd": 11, "even": 11})
	same("replay from an earlier offset", true, 0, inspect.KindRow{Kind: "even", Original: 8, Replay: 8}, inspect.KindRow{Kind: "odd", Original: 7, Replay: 7})
	b.count(store, "g.replay", id, 0, 18, 20, map[string]int64{"odd": 1, "even": 1}) // beside it
	same("replay of another stretch", true, 0, inspect.KindRow{Kind: "even", Original: 8, Replay: 8}, inspect.KindRow{Kind: "odd", Original: 7, Replay: 7})

	if _, err := b.PlanReplay(t.Context(), inspect.ReplayQuery{Group: "g", Into: "g", Tallies: store}); err == nil {
		t.Error("replays a group into itself")
	}
	if _, err := b.PlanReplay(t.Context(), inspect.ReplayQuery{Group: "nope", Tallies: store}); !errors.Is(err, inspect.ErrNoGroup) {
		t.Error(err)
	}
	if _, err := b.PlanReplay(t.Context(), inspect.ReplayQuery{Group: "g", Topic: "other", Tallies: store}); err == nil {
		t.Error("replays a topic that the group does not count")
	}
}

func (b *bench) topicIDOf(store *tally.Store) string {
	b.t.Helper()
	all, err := store.Partitions(b.t.Context(), "g.replay", topic)
	if err != nil || len(all[0].TopicID) != 36 {
		b.t.Fatalf("%+v %v", all, err)
	}
	return all[0].TopicID
}

// TestReplayOfTrimmedLog: what is no longer in the log explains as many
// differences as there were offsets, and no other.
func TestReplayOfTrimmedLog(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 20 {
		b.write(at(0, ms))
	}
	b.count(store, "g", "", 0, 0, 20, map[string]int64{"odd": 10, "even": 10})
	b.trim(0, 6)
	plan, err := b.PlanReplay(t.Context(), inspect.ReplayQuery{Group: "g", Into: "again", Tallies: store})
	if err != nil {
		t.Fatal(err)
	}
	if p := plan.Partitions[0]; p.From != 6 || p.Trimmed != 6 || p.Until != 20 {
		t.Errorf("%+v", p)
	}
	if err := plan.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := store.Partitions(t.Context(), "again", topic)
	if err != nil {
		t.Fatal(err)
	}
	b.add(store, "again", all[0].TopicID, 0, 6, 20, map[string]int64{"odd": 7, "even": 7})
	c, err := plan.Compare(t.Context(), parity)
	if err != nil || !c.Equal || c.Trimmed != 6 || c.Kinds[0].Difference != 3 {
		t.Errorf("%+v %v", c, err)
	}
	b.add(store, "g", "", 0, 20, 20, map[string]int64{"odd": 1})
	if c, err := plan.Compare(t.Context(), parity); err != nil || c.Equal {
		t.Errorf("one too many: %+v %v", c, err)
	}
}
