// Command share counts the events of a topic by type in Redis. Several copies share the
// partitions: no copy gives up a partition between counting and committing.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	counts := redis.NewClient(options)
	defer counts.Close()
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // until AllowRebalance
	)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.CloseAllowingRebalance() // leaves the group, so that the others take over at once

	for {
		fetches := consumer.PollRecords(ctx, 500)
		if ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		for record := range fetches.RecordsAll() {
			var event struct {
				Commit struct{ Operation string }
			}
			if err := json.Unmarshal(record.Value, &event); err != nil {
				log.Fatal(err)
			}
			if err := counts.Incr(context.Background(), event.Commit.Operation).Err(); err != nil {
				log.Fatal(err)
			}
		}
		if err := consumer.CommitUncommittedOffsets(context.Background()); err != nil {
			log.Fatal(err)
		}
		consumer.AllowRebalance()
	}
}
