//go:build unix

package count

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCount counts a topic of Bluesky-sized records, and reads the same
// topic with the client library alone: what is over is weir's. Broker and Redis
// are in the process, so the processor time is everybody's.
//
//	go test -run '^$' -bench Count -benchtime 1x -count 3 ./internal/count
func BenchmarkCount(b *testing.B) {
	const records = 600_000
	r := newRig(b)
	value := make([]byte, 600)
	for i := range value {
		value[i] = "abcdefghijklmnop{}\":,0123456789"[(i*7+i/13)%31]
	}
	fill(b, r, records, value)
	b.Run("kgo", func(b *testing.B) {
		for b.Loop() {
			measure(b, records, func() { pollAlone(b, r, records) })
		}
	})
	round := 0
	b.Run("weir", func(b *testing.B) {
		for b.Loop() {
			round++
			measure(b, records, func() { countAll(b, r, int64(records), fmt.Sprintf("bench-%d", round)) })
		}
	})
}

func fill(b *testing.B, r *rig, n int, value []byte) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(20*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(256<<10))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		cl.Produce(ctx, &kgo.Record{Partition: int32(i % parts), Key: []byte("did:plc:abcdefghijklmnopqrstuvwx"), Value: value, Headers: []kgo.RecordHeader{
			{Key: "kind", Value: []byte(kindOf(i))}, {Key: "seq", Value: fmt.Appendf(nil, "%d", i)}, {Key: "host", Value: []byte("jetstream.example:443")},
		}}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

func measure(b *testing.B, n int, f func()) {
	begun, used := time.Now(), cpu()
	f()
	b.ReportMetric(float64(time.Since(begun).Nanoseconds())/float64(n), "wall-ns/event")
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/float64(n), "cpu-ns/event")
}

// pollAlone reads the topic with the options that matter for speed.
func pollAlone(b *testing.B, r *rig, n int) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchMaxBytes), kgo.FetchMaxPartitionBytes(fetchMaxPartitionBytes))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for n > 0 {
		n -= cl.PollFetches(ctx).NumRecords()
	}
}

func countAll(b *testing.B, r *rig, n int64, group string) {
	store, err := tally.Open(ctx, r.redis.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	c, err := New(Config{Kafka: kafka.Config{Brokers: r.cluster.ListenAddrs()}, Store: store, Topic: topic, Group: group, Classify: classify})
	if err != nil {
		b.Fatal(err)
	}
	rctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(rctx) }()
	for c.Stats().Events < n {
		<-time.After(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	got, err := store.Totals(ctx, group, topic)
	if err != nil || got["create"] != n/2 {
		b.Fatalf("%v, %v", got, err)
	}
}

// BenchmarkKinds is what is done for each record besides the poll.
func BenchmarkKinds(b *testing.B) {
	var k kinds
	recs := make([]*kgo.Record, 1024)
	for i := range recs {
		recs[i] = &kgo.Record{Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte(kindOf(i))}}}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k.record(recs[i%len(recs)], classify)
	}
}

// BenchmarkLatency is the time from the end of a transaction to the count in
// Redis, one event at a time.
func BenchmarkLatency(b *testing.B) {
	r := newRig(b)
	m := r.start("")
	r.produce(4)
	r.counted("first")
	var n int64 = 4
	for b.Loop() {
		r.produce(1)
		for n++; m.Stats().Events < n; {
			<-time.After(100 * time.Microsecond)
		}
	}
}
