// Command resume writes Bluesky's posts to a topic. When the connection is cut, it connects
// again and asks for everything since the last event; it drops what it has written already.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	DID    string
	TimeUS int64 `json:"time_us"`
	Kind   string
	Commit struct{ Collection, RKey, Operation, Rev string }
}

// identity is equal for two deliveries of one event, and different for two events.
func (e *event) identity() string {
	return strings.Join([]string{e.DID, e.Commit.Collection, e.Commit.RKey, e.Commit.Operation, e.Commit.Rev}, "/")
}

type writer struct {
	producer *kgo.Client
	cursor   int64           // time_us of the last event, 0 at first
	seen     map[string]bool // identities of what is written
}

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
	w := &writer{producer: producer, seen: map[string]bool{}}
	for ctx.Err() == nil {
		err := w.read(ctx)
		if ctx.Err() == nil {
			log.Printf("%v; connecting again", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	if err := producer.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// read writes the events of one connection, until it ends.
func (w *writer) read(ctx context.Context) error {
	address, err := url.Parse(os.Getenv("STREAM_URL"))
	if err != nil {
		return err
	}
	if w.cursor > 0 {
		query := address.Query()
		query.Set("cursor", strconv.FormatInt(w.cursor, 10))
		address.RawQuery = query.Encode()
	}
	stream, _, err := websocket.DefaultDialer.DialContext(ctx, address.String(), nil)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	for {
		_, frame, err := stream.ReadMessage()
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(frame, &e); err != nil {
			return err
		}
		w.cursor = max(w.cursor, e.TimeUS)
		if e.Kind != "commit" || w.seen[e.identity()] {
			continue
		}
		w.seen[e.identity()] = true
		w.producer.Produce(context.Background(), &kgo.Record{Key: []byte(e.DID), Value: frame}, func(_ *kgo.Record, err error) {
			if err != nil {
				log.Fatal(err)
			}
		})
	}
}
