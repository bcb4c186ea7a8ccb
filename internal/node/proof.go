package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/verify"
)

// Verify runs the proof over the target's topics and counts.
func (t *Target) Verify(ctx context.Context, store *tally.Store, progress func(verify.Progress)) (verify.Report, error) {
	cfg := verify.Config{Kafka: t.KafkaConfig("weir-verify"), Tallies: store, Log: t.Log}
	for _, s := range Sources {
		v := verify.Source{Name: s.Name}
		for _, topic := range s.Topics() {
			v.Topics = append(v.Topics, verify.Topic{Name: topic, Group: s.GroupOf(topic, s.Group), Classify: s.Classify, NewExamine: s.NewExamine})
		}
		cfg.Sources = append(cfg.Sources, v)
	}
	return verify.Run(ctx, cfg, progress)
}

// replays returns what counts a plan that has begun to its end, and compares.
func (t *Target) replays(store *tally.Store) func(context.Context, inspect.ReplayPlan, func(left int64)) (inspect.Comparison, error) {
	return func(ctx context.Context, plan inspect.ReplayPlan, progress func(left int64)) (none inspect.Comparison, err error) {
		classify := Sources[0].Classify // of a topic that is not weir's
		for _, s := range Sources {
			if slices.Contains(s.Topics(), plan.Topic) {
				classify = s.Classify
			}
		}
		c, err := count.New(count.Config{Kafka: t.KafkaConfig("weir-replay"), Store: store, Topic: plan.Topic, Group: plan.Into, Classify: classify, Log: t.Log})
		if err != nil {
			return none, err
		}
		if err := replayUntilDone(ctx, plan, c, progress); err != nil {
			return none, err
		}
		return plan.Compare(ctx, classify)
	}
}

// replayUntilDone counts until the replay has come where the log ended.
func replayUntilDone(ctx context.Context, plan inspect.ReplayPlan, c *count.Counter, progress func(left int64)) error {
	counting := supervise(ctx, newTask("replay", c.Run))
	defer counting.stop()
	var left int64
	var err error
	Every(ctx, 100*time.Millisecond, func(time.Time) bool {
		if left, err = plan.Remaining(ctx); err != nil {
			return false
		}
		progress(left)
		if left == 0 {
			return false
		}
		err = counting.err()
		for _, p := range c.Stats().Partitions {
			if p.Stopped != "" {
				err = fmt.Errorf("partition %d: %s", p.Partition, p.Stopped)
			}
		}
		return err == nil
	})
	if ctx.Err() != nil && left > 0 {
		return errors.New("the replay was stopped before its end; start it again to compare")
	}
	return err
}
