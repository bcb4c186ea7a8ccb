package main

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
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
	s := sources[0]
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, s.topic, s.account))
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
	p := &pipeline{app: newApp(nil, strings.NewReader(""), newOutput(), newOutput()), target: &target{kafka: cluster.ListenAddrs()}, store: store}
	if err := p.consume(s, s.group); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	produce := func(n int) {
		t.Helper()
		for i := range n {
			r := &kgo.Record{Topic: s.topic, Partition: int32(i % 2), Headers: []kgo.RecordHeader{{Key: kafka.HeaderKind, Value: []byte("create")}}}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	lag := func() int64 {
		t.Helper()
		left, err := p.lag(t.Context(), admin)
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	counter := p.lines[0].counters()[0]
	counters := startGroup(t.Context(), p.counters[0])
	defer counters.stop()
	produce(4)
	eventually(t, "the first events are counted", func() bool { return counter.Stats().Events == 4 })
	if n := lag(); n != 0 {
		t.Errorf("everything is counted, and the lag is %d", n)
	}

	cut.Store(true)
	produce(1) // ends a fetch that was under way, which may still bring it
	eventually(t, "a fetch is refused", func() bool { return refused.Load() > 0 })
	produce(6)
	if n := lag(); n != 6 && n != 7 {
		t.Errorf("6 events were stored that the counter has not fetched, and the lag is %d", n)
	}
	cut.Store(false)
	eventually(t, "the lag is over", func() bool { return lag() == 0 })
	eventually(t, "all are counted", func() bool { return counter.Stats().Events == 11 })
}
