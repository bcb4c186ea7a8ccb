package node

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// TestLagKnowsWhatWasNotFetched stores events while every fetch of the counter
// fails. It has not heard of them, and they are still to be counted.
func TestLagKnowsWhatWasNotFetched(t *testing.T) {
	t.Parallel()
	s := Sources[0]
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, s.Topic, s.Account))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var cut atomic.Bool
	var refused atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !cut.Load() {
			return nil, nil, false
		}
		refused.Add(1)
		return nil, errors.New("cut"), true
	})
	store, err := tally.Open(t.Context(), "redis://"+miniredis.RunT(t).Addr()+"/1")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := testNode(cluster.ListenAddrs()...)
	n.store = store
	if err := n.consume(s); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	produce := func(n int) {
		t.Helper()
		for i := range n {
			r := &kgo.Record{Topic: s.Topic, Partition: int32(i % 2), Headers: []kgo.RecordHeader{{Key: kafka.HeaderKind, Value: []byte("create")}}}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	lag := func() int64 {
		t.Helper()
		left, err := n.lag(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	counter := n.lines[0].counters[0].counter
	counters := supervise(t.Context(), n.lines[0].counters[0].task)
	defer counters.stop()
	produce(4)
	eventually(t, "the first events are counted", func() bool { return counter.Stats().Events == 4 })
	if left := lag(); left != 0 {
		t.Errorf("everything is counted, and the lag is %d", left)
	}

	cut.Store(true)
	produce(1) // ends a fetch that was under way, which may still bring it
	eventually(t, "a fetch is refused", func() bool { return refused.Load() > 0 })
	produce(6)
	if left := lag(); left != 6 && left != 7 {
		t.Errorf("6 events were stored that the counter has not fetched, and the lag is %d", left)
	}
	cut.Store(false)
	eventually(t, "the lag is over", func() bool { return lag() == 0 })
	eventually(t, "all are counted", func() bool { return counter.Stats().Events == 11 })
}

// testNode is a node without anything in it.
func testNode(brokers ...string) *Node {
	log := slog.New(slog.DiscardHandler)
	return &Node{Target: &Target{Kafka: brokers, Mode: Simulated, Log: log}, cfg: Config{Streams: &Streams{Log: log}}}
}

// eventually waits until ok reports true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
