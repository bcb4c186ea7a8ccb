// Command poison counts the events of a topic by type in Redis. It writes records that it
// cannot count to a dead-letter topic, with the reason, and goes on.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DefaultProduceTopic(os.Getenv("OUTPUT_TOPIC")),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		for record := range fetches.RecordsAll() {
			operation, err := parse(record.Value)
			if err == nil {
				err = counts.Incr(context.Background(), operation).Err()
			} else {
				err = client.ProduceSync(context.Background(), &kgo.Record{
					Key: record.Key, Value: record.Value,
					Headers: []kgo.RecordHeader{{Key: "reason", Value: []byte(err.Error())}},
				}).FirstErr()
			}
			if err != nil {
				log.Fatal(err)
			}
		}
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
}

// parse returns the operation of an event, or the reason why it cannot be counted.
func parse(value []byte) (string, error) {
	if len(bytes.TrimSpace(value)) == 0 {
		return "", errors.New("the value is empty")
	}
	var event struct {
		Commit struct{ Operation string }
	}
	if err := json.Unmarshal(value, &event); err != nil {
		return "", fmt.Errorf("the value is not an event: %w", err)
	}
	switch event.Commit.Operation {
	case "create", "update", "delete":
		return event.Commit.Operation, nil
	}
	return "", fmt.Errorf("the operation is %q", event.Commit.Operation)
}
