package learn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

func TestOffsets(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open("offsets", "no consumer group of yours")
	b.create(orders, 3)
	b.write(orders, 0, "", 3)
	b.write(orders, 2, "", 2)
	b.answer("offsets", "0", false, "read everything")
	b.answer("offsets", "5", true)

	cl := b.member("forgetful", orders)
	b.read(cl, 5)
	b.open("offsets", "group forgetful has no committed offset")
	cl.Close()

	first := b.member("readers", orders)
	b.read(first, 5)
	b.commit(first)
	b.open("offsets", "group readers", "not seen its lag grow")
	b.write(orders, 1, "", 2)
	b.open("offsets", "lag of group readers grew", "a member was still there")
	b.read(first, 2)
	b.commit(first)
	first.Close()
	b.open("offsets", "not seen its lag grow")
	b.restart() // what a check saw is kept
	b.write(orders, 1, "", 4)
	b.open("offsets", "lag of group readers grew to 4", "now 4")
	b.restart()
	second := b.member("readers", orders)
	b.read(second, 4)
	b.open("offsets", "grew to 4", "now 4") // read, but not committed
	b.commit(second)
	b.done("offsets", "group readers", "grew from 0 to 4")
}

// On an existing cluster, only groups that read a new topic count: others stop and go on for reasons of
// their own.
func TestOffsetsOnAnExistingCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Own = "" })
	b.create("theirs", 1)
	b.open("offsets", "no consumer group of yours")
	b.create("mine", 1)
	pass := func(topic string, words string) {
		t.Helper()
		b.write(topic, 0, "", 2)
		cl := b.member("readers of "+topic, topic)
		b.read(cl, 2)
		b.commit(cl)
		cl.Close()
		b.open("offsets", words)
		b.write(topic, 0, "", 2)
	}
	pass("theirs", "no consumer group of yours")
	b.open("offsets", "no consumer group of yours")
	pass("mine", "group readers of mine")
	b.open("offsets", "lag of group readers of mine grew to 2")
}

// weir's own counters do it all the time, which is nothing that the learner did.
func TestOffsetsOfTheCounter(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.write(stream, 0, "", 3)
	for range 2 {
		cl := b.member(counter, stream)
		b.read(cl, 3)
		b.commit(cl)
		cl.Close()
		b.open("offsets", "no consumer group of yours")
		b.write(stream, 0, "", 3)
		b.open("offsets", "no consumer group of yours")
	}
}

// The observer of a running weir sees the same without a check, in the live state.
func TestOffsetsObserved(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	w, err := watch.New(watch.Config{Inspector: b.insp, Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.State = w.State
	b.restart()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- w.Run(ctx) }()
	go func() { ended <- b.Course.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; <-ended })
	reason := func(words string) {
		t.Helper()
		b.until(words, func() bool { return strings.Contains(b.get("offsets").Check.Reason, words) })
	}
	b.create(orders, 3)
	b.write(orders, 0, "", 3)
	for _, step := range []struct{ more, total int }{{0, 3}, {2, 2}} {
		if step.more > 0 {
			b.write(orders, 1, "", step.more)
			reason("grew to 2")
		}
		cl := b.member("readers", orders)
		b.read(cl, step.total)
		b.commit(cl)
		cl.Close()
		if step.more == 0 {
			reason("not seen its lag grow")
		}
	}
	b.until("done", func() bool { return b.get("offsets").Done })
}

func TestGroups(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open("groups", "no consumer group with members")
	b.answer("groups", "3", false, "never share a partition")
	b.answer("groups", "2", true)
	b.write(stream, 0, "", 1)
	var members []*kgo.Client
	join := func(owners int) {
		t.Helper()
		cl := b.member("team", stream)
		members = append(members, cl)
		b.until("the group is assigned", func() bool {
			for _, m := range members { // a member takes part in a rebalance while it polls
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				m.PollFetches(ctx)
				cancel()
			}
			d, err := b.insp.Group(t.Context(), "team")
			if errors.Is(err, inspect.ErrNoGroup) { // its first member has not joined yet
				return false
			}
			if err != nil {
				t.Fatal(err)
			}
			have := 0
			for _, m := range d.Members {
				if len(m.Assigned[stream]) > 0 {
					have++
				}
			}
			return d.State == "Stable" && len(d.Members) == len(members) && have == owners
		})
	}
	join(1)
	b.open("groups", "group team has 1 member", "add a member")
	join(2)
	b.open("groups", "moved to a new member", "each of its 2 members has at least one", "more members than the 2 partitions")
	if p := b.get("groups").Picture; p.Kind != PictureMembers || p.Group != "team" || len(p.Members) != 2 || p.Partitions[0].Member == "" ||
		p.Partitions[0].Member == p.Partitions[1].Member {
		t.Errorf("%+v", p)
	}
	b.restart()
	join(2)
	b.done("groups", "1 member had partitions before, 2 after", "with 3 members and 2 partitions")
}

func TestIndependent(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	d := b.get("independent")
	if len(d.Question.Choices) != 3 {
		t.Fatalf("%+v", d.Question)
	}
	b.answer("independent", d.Question.Choices[2], false, "Only A falls behind")
	b.answer("independent", "not at all", true)
	b.open("independent", "no consumer group with committed offsets")
	fast, slow := b.member("fast", stream), b.member("slow", stream)
	both := func(n int, readers ...*kgo.Client) {
		t.Helper()
		b.write(stream, 0, "", n)
		for _, cl := range readers {
			b.read(cl, n)
			b.commit(cl)
		}
	}
	both(3, fast, slow)
	b.open("independent", "no group go forward")
	both(3, fast, slow)
	b.open("independent", "go forward; stop all its members")
	b.open("independent", "go forward; stop") // there is nothing to read: this is not a pause
	// Both stand still: neither is paused alone.
	b.write(stream, 0, "", 10)
	b.until("both lags grew", func() bool {
		got, err := b.Check(t.Context(), "independent")
		if err != nil || got.Done {
			t.Fatalf("%+v %v", got, err)
		}
		return strings.Contains(got.Reason, "does not go on either")
	})
	for _, cl := range []*kgo.Client{fast, slow} {
		b.read(cl, 10)
		b.commit(cl)
	}
	b.open("independent", "go forward; stop")
	slow.Close()
	b.open("independent", "go forward; stop")
	both(1, fast)
	b.open("independent", "group slow stands still; weir waits")
	both(19, fast)
	b.until("the pause is seen", func() bool {
		got, err := b.Check(t.Context(), "independent")
		if err != nil {
			t.Fatal(err)
		}
		return got.Done
	})
	b.done("independent", "group slow stood still", "its lag grew by 20", "group fast went on")
}
