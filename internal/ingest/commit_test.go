package ingest

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// quiet is a source without events.
type quiet struct{}

func (quiet) Name() string                                                         { return "bluesky" }
func (quiet) Stream(context.Context, event.Cursor, func(*event.Batch) error) error { return nil }
func (quiet) Window() time.Duration                                                { return time.Minute }
func (quiet) Identify([]byte, *event.Batch) (id []byte, timeUS int64, ok bool)     { return nil, 0, false }
func (quiet) Status() event.SourceStatus                                           { return event.SourceStatus{} }

// TestCommitWaitsForTheTopics commits a transaction that wrote into a topic which the client
// does not list. Committed at once, it would look empty, be aborted, and count as stored.
func TestCommitWaitsForTheTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(kfake.VirtualNetwork)
		cluster, err := kfake.NewCluster(kfake.Ports(9001), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, kafka.TopicCursors, "events"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		i, err := New(Config{Kafka: kafka.Config{Brokers: []string{"127.0.0.1:9001"}, Opts: []kgo.Opt{kgo.Dialer(network.DialContext)}},
			Source: quiet{}, Topics: Topics{Data: "events", DeadLetter: "letters"}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := &session{Ingester: i}
		if s.cl, err = i.cfg.Kafka.NewClient(s.producerOpts(map[string]int{})...); err != nil {
			t.Fatal(err)
		}
		defer s.close()
		tx := &transaction{s: s, kinds: []*kindState{{topic: "events", kind: "create"}},
			cursor: kgo.Record{Topic: kafka.TopicCursors, Key: []byte("bluesky"), Value: []byte("{}")}}
		began := time.Now()
		err = tx.commit(t.Context())
		if err == nil || !strings.Contains(err.Error(), "wait for the partitions of events") {
			t.Errorf("committed: %v", err)
		}
		if took := time.Since(began); took != transactionTimeout {
			t.Errorf("it waited for %v, want all of the %v that a transaction has", took, transactionTimeout)
		}
		if n := i.Stats().Commits; n != 0 {
			t.Errorf("%d transactions count as committed", n)
		}
	})
}
