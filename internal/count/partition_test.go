package count

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

// alone is a member without a group, whose partitions the test sets.
func alone(parts ...*partition) *member {
	m := &member{c: &Counter{}, log: slog.New(slog.DiscardHandler), parts: map[int32]*partition{}}
	for _, p := range parts {
		m.parts[p.id] = p
	}
	return m
}

// at is a partition with a stored offset.
func at(next int64) *partition {
	return &partition{topicID: "one", stored: tally.Position{Next: next, TopicID: "one", Found: true}}
}

// TestWhatIsObservedStopsAPartition gives a member answers of Kafka, one after the other. A
// broker that has just started answers wrongly now and then, and that stops nothing.
func TestWhatIsObservedStopsAPartition(t *testing.T) {
	t.Parallel()
	missing := func(n int) observation { return observation{missing: n} }
	// the log of topic id from start to end, asked for when the position was before.
	log := func(id string, start, end, before int64) observation {
		return observation{log: logBounds{id: id, starts: map[int32]int64{0: start}, ends: map[int32]int64{0: end}}, before: map[int32]int64{0: before}}
	}
	whole, short := log("one", 0, 100, 50), log("one", 0, 40, 50)
	for name, tt := range map[string]struct {
		seen  []observation
		stops string // empty: nothing stops
		after int    // so many observations
	}{
		"a whole log":                     {[]observation{whole, whole, whole}, "", 0},
		"exactly at the end":              {[]observation{log("one", 50, 50, 50), log("one", 50, 50, 50), log("one", 50, 50, 50)}, "", 0},
		"missing four times":              {[]observation{missing(1), missing(2), missing(3), missing(4), whole}, "", 0},
		"missing five times":              {[]observation{missing(1), missing(2), missing(3), missing(4), missing(5)}, "was deleted", 5},
		"another topic":                   {[]observation{log("two", 0, 100, 50)}, "created again", 1},
		"a cluster without ids":           {[]observation{log("", 0, 100, 50)}, "", 0},
		"short once and twice":            {[]observation{short, whole, short, short, whole, short}, "", 0},
		"short three times":               {[]observation{short, short, short}, "the log ends at offset 40", 3},
		"an end from before the position": {[]observation{log("one", 0, 40, 30), log("one", 0, 40, 30), log("one", 0, 40, 30)}, "", 0},
		"one record was deleted":          {[]observation{log("one", 51, 100, 50)}, "were deleted from the log", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := at(50)
			m := alone(p)
			for i, o := range tt.seen {
				o.n = i + 1
				m.seen = o
				for range 10 { // one observation counts once, however often it is looked at
					m.stopUnreadable()
				}
				if want := tt.stops != "" && i+1 >= tt.after; (p.stopped != "") != want {
					t.Fatalf("after %d observations: stopped %q", i+1, p.stopped)
				}
			}
			if !strings.Contains(p.stopped, tt.stops) {
				t.Errorf("stopped %q", p.stopped)
			}
		})
	}
}

// fetched is what a fetch returned from an offset on.
func fetched(offsets ...int64) *kgo.FetchPartition {
	fp := &kgo.FetchPartition{HighWatermark: 100}
	for _, o := range offsets {
		fp.Records = append(fp.Records, &kgo.Record{Offset: o, Value: []byte(`{"op":"x"}`)})
	}
	return fp
}

// TestWhatWasFetchedElsewhereIsNotCounted has records in the client's buffer when the
// position changes: counted, they would skip what lies between.
func TestWhatWasFetchedElsewhereIsNotCounted(t *testing.T) {
	t.Parallel()
	counted := func(p *partition) int64 {
		p.add(fetched(20, 21, 22), classify)
		if !p.inHand {
			return 0
		}
		return p.kinds.total
	}
	left := at(10)
	left.reseek = true
	stopped := at(10)
	stopped.stopped = "why"
	for name, p := range map[string]*partition{"the position was left": left, "stopped": stopped} {
		if n := counted(p); n != 0 {
			t.Errorf("%s: %d records are counted", name, n)
		}
	}
	for next, want := range map[int64]int64{10: 3, 20: 3, 21: 2, 22: 1, 23: 0} {
		p := at(next)
		if n := counted(p); n != want || p.batchNext != 23 {
			t.Errorf("from %d on: %d records are counted up to %d, want %d up to 23", next, n, p.batchNext, want)
		}
	}
}

// TestALostPartitionIsLetGo takes a partition away from a member that has a batch of it.
func TestALostPartitionIsLetGo(t *testing.T) {
	t.Parallel()
	p := at(10)
	m := alone(p)
	p.add(fetched(10, 11), classify)
	parts, batches := m.inHand()
	if len(parts) != 1 {
		t.Fatalf("%d batches in hand", len(parts))
	}
	m.forget([]int32{0})
	if again, _ := m.inHand(); len(again) != 0 || len(m.parts) != 0 {
		t.Error("what is lost is still counted")
	}
	for _, r := range []tally.Result{{Stored: tally.Position{Next: 99, Found: true}}, {Stored: tally.Position{Next: 99, Found: true}, Err: tally.ErrStale}} {
		m.moved = false
		m.settle(parts, batches, slices.Repeat([]tally.Result{r}, len(parts)))
		if p.stored.Next != 10 || p.reseek || p.stopped != "" || m.moved {
			t.Errorf("the answer %+v to a late batch moved what is another member's: %+v", r, p)
		}
	}
	// The partition comes back while something of the old assignment is on its way.
	old, again := at(10), at(30)
	m = alone(old)
	m.c.cfg.Topic = topic
	m.adopt(map[string]map[int32]kgo.Offset{topic: {}}, []*partition{again})
	if !old.lost || again.lost || m.parts[0] != again {
		t.Errorf("old %+v, new %+v", old, again)
	}
}

// TestARefusedBatchMovesTheMember: where Redis stands elsewhere, the member goes there at once, and
// reads again from there, unless the client reads on from there anyway.
func TestARefusedBatchMovesTheMember(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stored tally.Position
		seeks  bool
	}{
		"Redis went back":        {tally.Position{Next: 3, Found: true}, true},
		"Redis is ahead":         {tally.Position{Next: 99, Found: true}, true},
		"only the reply is lost": {tally.Position{Next: 12, Found: true}, false},
		"nothing is stored":      {tally.Position{}, true},
	} {
		p := at(10)
		m := alone(p)
		p.add(fetched(10, 11), classify)
		parts, batches := m.inHand()
		m.settle(parts, batches, slices.Repeat([]tally.Result{{Stored: tt.stored, Err: tally.ErrStale}}, len(parts)))
		if p.stored.Next != tt.stored.Next || p.reseek != tt.seeks || p.inHand || p.stopped != "" || !m.moved {
			t.Errorf("%s: it stands at %d, seeks %v, has a batch %v", name, p.stored.Next, p.reseek, p.inHand)
		}
	}
}

// TestBatchesNameTheirTopic: Redis compares the id, so a batch must say it.
func TestBatchesNameTheirTopic(t *testing.T) {
	t.Parallel()
	p := at(10)
	m := alone(p)
	p.add(fetched(12, 13), classify)
	_, batches := m.inHand()
	if len(batches) != 1 || batches[0].TopicID != "one" || batches[0].From != 10 || batches[0].Next != 14 || !maps.Equal(batches[0].Counts, map[string]int64{"x": 2}) {
		t.Errorf("%+v", batches)
	}
}

// TestNothingIsSoughtAfterRebalances has Redis away while a batch is in hand. Rebalances are
// let through then, so a seek behind it could be on a partition that is another
// member's by now: apply says so.
func TestNothingIsSoughtAfterRebalances(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	store := r.store()
	m := alone(at(0))
	m.c = &Counter{cfg: Config{Topic: topic, Group: group, Store: store, Classify: classify}, pace: quick, log: m.log}
	rebalanced := make(chan struct{})
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { close(rebalanced) }))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseAllowingRebalance()
	m.cl = cl
	polled, cancel := context.WithCancel(ctx)
	cancel()
	cl.PollFetches(polled) // from now on no rebalance can happen
	if _, err := store.Begin(ctx, group, topic, 0, "one", 0); err != nil {
		t.Fatal(err)
	}
	m.parts[0].add(fetched(0, 1), classify)
	if !m.apply(ctx) {
		t.Error("rebalances were let through while Redis answered")
	}
	old := r.snapshot()
	addr := r.redis.Addr()
	_ = r.redis.Close()
	m.parts[0].add(fetched(2, 3), classify)
	exclusive := make(chan bool, 1)
	go func() { exclusive <- m.apply(ctx) }()
	select {
	case <-rebalanced: // the fault fired
	case <-time.After(patience):
		t.Error("while Redis was away no rebalance was let through")
	}
	if r.redis, err = redisd.Open(redisd.Config{Addr: addr}); err != nil {
		t.Fatal(err)
	}
	defer r.redis.Close()
	r.restore(old)
	if <-exclusive {
		t.Error("apply reports that no rebalance could happen")
	}
	if got := m.parts[0].stored.Next; got != 4 {
		t.Errorf("stored up to %d, want 4: the batch was not kept", got)
	}
}

// TestAStoppedPartitionCommitsNothing: a tool that reads a committed offset of a partition
// that stopped would take it for counted.
func TestAStoppedPartitionCommitsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fine, stopped, empty := at(5), at(7), at(0)
	stopped.id, stopped.stopped = 1, "why"
	empty.id, empty.stored.Found = 2, false
	m := alone(fine, stopped, empty)
	m.c = &Counter{cfg: Config{Topic: topic, Group: group}, pace: quick, log: m.log}
	cl, err := kafka.Config{Brokers: r.cluster.ListenAddrs()}.NewClient(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	m.cl = cl
	var got []int32
	r.eventually("committed", func() bool {
		m.commit(ctx)
		offsets, err := r.adm.FetchOffsets(ctx, group)
		got = nil
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.At >= 0 {
				got = append(got, o.Partition)
			}
		})
		return err == nil && len(got) > 0
	})
	if !slices.Equal(got, []int32{0}) {
		t.Errorf("offsets of the partitions %v are committed, want 0 alone", got)
	}
}

// TestAResetForAnotherTopicStops: a partition that has stopped goes on after a reset, unless
// the reset is for a topic with another id than the one that is read.
func TestAResetForAnotherTopicStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	store := r.store()
	p := at(5)
	p.stopped = "why"
	m := alone(p)
	m.c = &Counter{cfg: Config{Topic: topic, Group: group, Store: store}, pace: quick, log: m.log}
	for _, tt := range []struct {
		id      string
		stopped bool
	}{{"two", true}, {"one", false}} {
		if err := store.Reset(ctx, group, topic, 0, tt.id, 9); err != nil {
			t.Fatal(err)
		}
		if err := m.check(ctx); err != nil {
			t.Fatal(err)
		}
		if (p.stopped != "") != tt.stopped {
			t.Errorf("after a reset for the topic %s: stopped %q", tt.id, p.stopped)
		}
	}
	if p.stored.Next != 9 || !p.reseek {
		t.Errorf("after the reset: %+v", p.stored)
	}
}

// TestAssignmentStops: a stored offset that cannot be counted from stops its partition when it
// is assigned, before anything is read. The observer would stop it, too, but later.
func TestAssignmentStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(40)
	cl, err := kafka.Config{Brokers: r.cluster.ListenAddrs()}.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	store := r.store()
	m := alone()
	m.c = &Counter{cfg: Config{Topic: topic, Group: group, Store: store}, pace: quick, log: m.log}
	m.c.pace.answer = patience // it asks once
	m.cl = cl
	var o kadm.Offsets
	o.AddOffset(topic, 3, 8, -1)
	if _, err := r.adm.DeleteRecords(ctx, o); err != nil {
		t.Fatal(err)
	}
	for p, id := range map[int32]string{0: "", 1: "", 2: "other", 3: ""} {
		if err := store.Reset(ctx, group, topic, p, id, 5); err != nil {
			t.Fatal(err)
		}
	}
	r.position(0, "many")
	r.position(1, "5000")
	parts, err := m.place(ctx, []int32{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"not a number", "the log ends at offset", "created again", "deleted from the log"} {
		if !strings.Contains(parts[i].stopped, want) {
			t.Errorf("partition %d: stopped %q, want %q", i, parts[i].stopped, want)
		}
	}
}
