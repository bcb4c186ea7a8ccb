package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

// learner is a program of a learner: this test binary with LEARNER set. The words say what it
// does wrong.
func learner(words string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := learn(ctx, strings.Fields(words)); err != nil && ctx.Err() == nil {
		fmt.Println("learner:", err)
		return 1
	}
	return 0
}

func learn(ctx context.Context, words []string) error {
	wrong := func(word string) bool { return slices.Contains(words, word) }
	if wrong("crash") {
		return fmt.Errorf("no module named kafka")
	}
	u, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	counts := redis.NewClient(u)
	defer counts.Close()
	topic := os.Getenv("TOPIC")
	opts := []kgo.Opt{kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...)}
	group := os.Getenv("GROUP")
	if wrong("stranger") {
		group = fmt.Sprint("group-", os.Getpid())
	}
	if !wrong("one-partition") {
		opts = append(opts, kgo.DisableAutoCommit(), kgo.ConsumerGroup(group), kgo.BlockRebalanceOnPoll())
	}
	switch {
	case wrong("one-partition"):
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {2: kgo.NewOffset().AtStart()}}))
	case wrong("latest"):
		opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	default:
		opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		got := cl.PollRecords(ctx, 20)
		records := got.Records()
		if wrong("commit-first") && len(records) > 0 {
			if err := cl.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
				return err
			}
		}
		for _, r := range records {
			var e struct {
				Kind   string
				Commit struct{ Operation string }
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return err
			}
			key := e.Commit.Operation
			if wrong("kind") {
				key = e.Kind
			}
			if err := counts.Incr(context.WithoutCancel(ctx), key).Err(); err != nil {
				return err
			}
		}
		if !wrong("never-commit") && !wrong("commit-first") && !wrong("one-partition") && len(records) > 0 {
			if err := cl.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
				return err
			}
		}
		cl.AllowRebalance()
	}
	return nil
}
