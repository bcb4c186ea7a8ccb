// Command window counts events by type in windows of ten seconds of event time, and writes
// each window that has changed to a topic, every second.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const size = 10 // seconds

type window struct {
	Start  int64          `json:"start"` // in Unix seconds
	Counts map[string]int `json:"counts"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...),
		kgo.ConsumeTopics(os.Getenv("TOPIC")), // without a group: each start counts from the beginning
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DefaultProduceTopic(os.Getenv("OUTPUT_TOPIC")),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	windows, changed := map[int64]*window{}, map[int64]bool{}
	for written := time.Now(); ctx.Err() == nil; {
		poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := client.PollFetches(poll)
		cancel()
		for record := range fetches.RecordsAll() {
			var event struct {
				TimeUS int64 `json:"time_us"`
				Commit struct{ Operation string }
			}
			if err := json.Unmarshal(record.Value, &event); err != nil {
				log.Fatal(err)
			}
			start := event.TimeUS / 1e6 / size * size // of the event's time, however late it arrives
			if windows[start] == nil {
				windows[start] = &window{start, map[string]int{}}
			}
			windows[start].Counts[event.Commit.Operation]++
			changed[start] = true
		}
		if time.Since(written) >= time.Second {
			write(client, windows, changed)
			written = time.Now()
		}
	}
	write(client, windows, changed)
}

// write writes the windows that have changed, and waits until they are stored.
func write(client *kgo.Client, windows map[int64]*window, changed map[int64]bool) {
	for start := range changed {
		value, err := json.Marshal(windows[start])
		if err != nil {
			log.Fatal(err)
		}
		client.Produce(context.Background(), &kgo.Record{Key: []byte(strconv.FormatInt(start, 10)), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				log.Fatal(err)
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}
	clear(changed)
}
