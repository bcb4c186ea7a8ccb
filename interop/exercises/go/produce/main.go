// Command produce writes Bluesky's posts to a topic, with the author as the key.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...),
		kgo.DefaultProduceTopic(os.Getenv("OUTPUT_TOPIC")),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	stream, _, err := websocket.DefaultDialer.DialContext(ctx, os.Getenv("STREAM_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	context.AfterFunc(ctx, func() { stream.Close() }) // ends the read that waits

	for {
		_, frame, err := stream.ReadMessage()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		var event struct {
			DID  string
			Kind string
		}
		if err := json.Unmarshal(frame, &event); err != nil {
			log.Fatal(err)
		}
		if event.Kind != "commit" { // account and identity events have no post
			continue
		}
		// The client writes in the background, and keeps the order within a partition.
		producer.Produce(context.Background(), &kgo.Record{Key: []byte(event.DID), Value: frame}, func(_ *kgo.Record, err error) {
			if err != nil {
				log.Fatal(err)
			}
		})
	}
	if err := producer.Flush(context.Background()); err != nil { // what is still in the buffer
		log.Fatal(err)
	}
}
