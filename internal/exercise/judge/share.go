package judge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/visible"
)

const (
	shareRate = 150
	// moveTime is how long a group may take to move partitions. It is more than the session
	// timeout of 45 s, so a member that ended without leaving is seen, too.
	moveTime = 60 * time.Second
	// leaveTime is how long the group may keep a member that has ended.
	leaveTime = 5 * time.Second
)

// share is the trial of the same name: a second copy starts and leaves.
func share(ctx context.Context, b *Bench) error {
	if _, err := b.counting(ctx); err != nil {
		return err
	}
	one, err := b.Look(ctx)
	if err != nil {
		return err
	}
	if len(one.Members) == 0 {
		return &Finding{Headline: fmt.Sprintf("the program is not a member of a consumer group on the topic %s", b.Topic),
			Evidence: []exercise.Evidence{},
			Why:      "Without a group, every copy of the program reads every partition, so two copies count every event twice.",
			Hint:     "Set group.id to GROUP from the environment, and subscribe to the topic instead of assigning partitions."}
	}
	second, err := b.join(ctx)
	if err != nil {
		return err
	}
	return b.leave(ctx, second)
}

// join starts a second copy while events are written.
func (b *Bench) join(ctx context.Context) (second *Copy, err error) {
	var before, after *Sample
	err = b.feeding(ctx, shareRate, always, func() (err error) {
		if second, err = b.Start(); err != nil {
			return err
		}
		before, after, err = b.moves(ctx, func(s *Sample) bool { return divided(s, 2) }, func(s *Sample) bool { return len(s.Others) > 0 })
		if err != nil {
			return err
		}
		if f := b.notShared(after); f != nil {
			return f
		}
		b.Check(true, "the group divides the partitions between two copies", "each has some", memberText(after))
		b.Mark("rebalance", "the second copy has partitions: %s", memberText(after))
		return b.Pause(ctx, 3*time.Second)
	})
	if err != nil {
		return nil, err
	}
	return second, b.once(ctx, "the second copy joined", before, after)
}

// leave stops the second copy while events are written.
func (b *Bench) leave(ctx context.Context, second *Copy) error {
	var before, after *Sample
	err := b.feeding(ctx, shareRate, always, func() (err error) {
		before, after, err = b.left(ctx, second)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.once(ctx, "the second copy left", before, after); err != nil {
		return err
	}
	b.Pass("all %d events are counted once, by one copy or the other", b.Truth.Total().Sum())
	return nil
}

// left stops the second copy, and wants its partitions to move to the first one.
func (b *Bench) left(ctx context.Context, second *Copy) (before, after *Sample, err error) {
	if err := b.Pause(ctx, time.Second); err != nil {
		return nil, nil, err
	}
	both, err := b.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := b.mustStop(second, "the second copy"); err != nil {
		return nil, nil, err
	}
	ended := time.Now()
	before, after, err = b.moves(ctx, func(s *Sample) bool { return divided(s, 1) },
		func(s *Sample) bool { return len(s.Members) > 1 && s.At.Sub(ended) > leaveTime })
	if err != nil {
		return nil, nil, err
	}
	if !b.Check(divided(after, 1), "the first copy gets the partitions of the second", "one member with all partitions", memberText(after)) {
		return nil, nil, &Finding{Headline: "the second copy ended, but did not leave its group",
			Evidence: []exercise.Evidence{Observed("end of the second copy", ended)},
			Why: "The group gives the partitions of a member that only disappears to others when its session timeout is over, by default 45 " +
				"s. Until then nobody reads them.",
			Hint: "Handle SIGTERM, and close the consumer before the program ends: closing sends LeaveGroup."}
	}
	b.Mark("rebalance", "the first copy has all partitions again")
	return cmp.Or(before, both), after, b.Pause(ctx, 2*time.Second)
}

// moves waits until the members of the group are as done says, or until failed says that they will
// not be. before is the last sample before the members changed; nil where they had changed already.
func (b *Bench) moves(ctx context.Context, done, failed func(*Sample) bool) (before, after *Sample, err error) {
	var first *Sample
	_, err = b.Until(ctx, moveTime, func(s *Sample) bool {
		if first == nil {
			first = s
		}
		if memberText(s) == memberText(first) {
			before = s
		}
		after = s
		return done(s) || failed(s)
	})
	return before, after, err
}

// owned reports whether every partition has one owner.
func owned(s *Sample) bool {
	var all []int32
	for _, parts := range s.Members {
		all = append(all, parts...)
	}
	slices.Sort(all)
	return slices.Equal(all, []int32{0, 1, 2, 3, 4, 5})
}

// divided reports whether n members own all partitions, and each of them some.
func divided(s *Sample, n int) bool {
	for _, parts := range s.Members {
		if len(parts) == 0 {
			return false
		}
	}
	return len(s.Members) == n && owned(s)
}

// memberText says which partitions the members have.
func memberText(s *Sample) string {
	var words []string
	for _, parts := range s.Members {
		words = append(words, strings.Trim(fmt.Sprint(parts), "[]"))
	}
	slices.Sort(words)
	return strings.Join(words, " | ")
}

// notShared says why two copies do not share the partitions, nil where they do.
func (b *Bench) notShared(s *Sample) *Finding {
	if divided(s, 2) && len(s.Others) == 0 {
		return nil
	}
	b.Check(false, "the group divides the partitions between two copies", "each has some", memberText(s))
	f := &Finding{Headline: fmt.Sprintf("the second copy got no partitions within %v: the members have %s", moveTime, memberText(s)),
		Evidence: []exercise.Evidence{Observed("the members of group "+visible.Text(s.Group), s.At)},
		Why: "A group divides the partitions of the topics that its members subscribe to. A member that does not poll, or assigns " +
			"partitions to itself, gets none.",
		Hint: "Subscribe to the topic in the group GROUP, and poll all the time: a rebalance waits for every member."}
	if len(s.Others) > 0 {
		f.Headline = fmt.Sprintf("the two copies are in different groups: %s and %s", visible.Text(s.Group),
			visible.Text(strings.Join(s.Others, ", ")))
		f.Why = "Every group gets every event. Copies that shall divide the work must have the same group.id."
		f.Hint = "Take the name of the group from GROUP, and add nothing to it."
	}
	return f
}

// once waits until every event is counted once.
func (b *Bench) once(ctx context.Context, what string, before, after *Sample) error {
	s, err := b.Settle(ctx, b.cfg.Limit, func(s *Sample) bool { return s.Counts.Equal(b.Truth.Total()) })
	if err != nil {
		return err
	}
	diff := s.Counts.Minus(b.Truth.Total())
	if b.Check(s.Counts.Equal(b.Truth.Total()), "every event is counted once after "+what, b.Truth.Total().String(), s.Counts.String()) {
		return nil
	}
	f := &Finding{Evidence: b.movedEvidence(before, after)}
	if diff.Sum() > 0 {
		f.Headline = fmt.Sprintf("%s counted twice when %s", many(diff.Sum(), "event"), what)
		f.Why = "A partition that moves is read from its committed offset on. Its old owner had counted more events than it had committed, " +
			"so the new owner counted them again."
		f.Hint = "Commit what is counted when partitions are revoked, and before the consumer closes. Close the consumer when SIGTERM arrives."
		if before != nil && len(before.Committed) == 0 {
			f.Why = "A partition that moves is read from its committed offset on. The group had committed nothing, so the new owner began with " +
				"the first record."
			f.Hint = "Commit offsets, each after the events before it are counted."
		}
		return f
	}
	f.Headline = fmt.Sprintf("%s lost when %s", many(-diff.Sum(), "event"), what)
	f.Why = "A partition that moves is read from its committed offset on. Its old owner had committed events that it had not counted."
	f.Hint = "Commit an offset only when every event below it is counted."
	return f
}

// movedEvidence has the partitions that changed their owner.
func (b *Bench) movedEvidence(before, after *Sample) []exercise.Evidence {
	out := []exercise.Evidence{}
	if before == nil {
		return out
	}
	owner := map[int32]string{}
	for m, parts := range before.Members {
		for _, p := range parts {
			owner[p] = m
		}
	}
	for m, parts := range after.Members {
		for _, p := range parts {
			if owner[p] != m {
				what := "partition that moved, with its committed offset shortly before"
				if _, ok := before.Committed[p]; !ok {
					what = "partition that moved; no offset was committed shortly before, so its new owner began here"
				}
				e := b.Evidence(what, p, before.Committed[p])
				e.At = Moment(before.At)
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(x, y exercise.Evidence) int { return int(x.Partition - y.Partition) })
	return out
}
