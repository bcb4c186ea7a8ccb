// Command keep-up does 10 ms of work for each event, many at a time. All events of a key go
// to the same worker, so that their order stays.
package main

import (
	"context"
	"hash/maphash"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	workers = 64
	batch   = 500 // records that are in memory at a time, beside what the client reads ahead
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
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

	seed := maphash.MakeSeed()
	for {
		fetches := client.PollRecords(ctx, batch)
		if ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		var queues [workers][]*kgo.Record
		for record := range fetches.RecordsAll() {
			w := maphash.Bytes(seed, record.Key) % workers
			queues[w] = append(queues[w], record)
		}
		var working sync.WaitGroup
		for _, queue := range queues {
			working.Go(func() {
				for _, record := range queue {
					if ctx.Err() != nil { // not committed, so the next start does the rest
						return
					}
					work(record)
					client.Produce(context.Background(), &kgo.Record{Key: record.Key, Value: record.Value}, func(_ *kgo.Record, err error) {
						if err != nil {
							log.Fatal(err)
						}
					})
				}
			})
		}
		working.Wait()
		if err := client.Flush(context.Background()); err != nil {
			log.Fatal(err)
		}
		if ctx.Err() != nil {
			return
		}
		// Every record up to these offsets is done and written.
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
}

// work stands for a request to another service.
func work(*kgo.Record) { time.Sleep(10 * time.Millisecond) }
