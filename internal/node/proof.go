package node

import (
	"context"
	"errors"
	"fmt"
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
		// A source identifies for one goroutine at a time, so each gets one of its own.
		identify := func() verify.Identify {
			one, err := (&Streams{Log: t.Log}).New(s.Name)
			if err != nil {
				return nil // without URLs and a dictionary there is nothing to refuse
			}
			return one.Identify
		}
		v := verify.Source{Name: s.Name}
		for _, topic := range s.Topics() {
			v.Topics = append(v.Topics, verify.Topic{Name: topic, Group: s.GroupOf(topic, s.Group), Classify: s.Classify, NewIdentify: identify})
		}
		cfg.Sources = append(cfg.Sources, v)
	}
	return verify.Run(ctx, cfg, progress)
}

// Replay counts a plan that has begun to its end, and compares.
func (t *Target) Replay(ctx context.Context, store *tally.Store, plan inspect.ReplayPlan, progress func(left int64)) (inspect.Comparison, error) {
	classify := Sources[0].Classify // of a topic that is not weir's
	for _, s := range Sources {
		if plan.Topic == s.Topic || plan.Topic == s.Account {
			classify = s.Classify
		}
	}
	c, err := count.New(count.Config{Kafka: t.KafkaConfig("weir-replay"), Store: store, Topic: plan.Topic, Group: plan.Into, Classify: classify, Log: t.Log})
	if err != nil {
		return inspect.Comparison{}, err
	}
	if err := replayUntilDone(ctx, plan, c, progress); err != nil {
		return inspect.Comparison{}, err
	}
	return plan.Compare(ctx, classify)
}

// replayUntilDone counts until the replay has come where the log ended.
func replayUntilDone(ctx context.Context, plan inspect.ReplayPlan, c *count.Counter, progress func(left int64)) error {
	counting := supervise(ctx, &task{name: "replay", run: c.Run})
	defer counting.stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := plan.Remaining(ctx)
		if err != nil {
			return err
		}
		progress(left)
		if left == 0 {
			return nil
		}
		for _, p := range c.Stats().Partitions {
			if p.Stopped != "" {
				return fmt.Errorf("partition %d: %s", p.Partition, p.Stopped)
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the replay was stopped before its end; start it again to compare")
		case <-counting.ends:
			return counting.err()
		case <-tick.C:
		}
	}
}
