package inspect_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// TestHoursOfATopic writes messages around the borders of hours, by time and out of order.
func TestHoursOfATopic(t *testing.T) {
	b := newBench(t)
	now := time.Date(2026, 1, 10, 12, 30, 0, 0, time.UTC)
	when := func(partition int32, at time.Time) *kgo.Record {
		return &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v"), Timestamp: at}
	}
	b.write(
		when(0, now.Add(-200*time.Hour)), when(0, now.Add(-199*time.Hour)), // before the week
		when(0, now.Add(-3*time.Hour)),
		when(0, time.Date(2026, 1, 10, 11, 59, 59, 999e6, time.UTC)), when(0, time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)),
		when(1, now.Add(-90*time.Minute)), when(1, now),
	)
	a, err := b.Activity(t.Context(), topic, now)
	if err != nil || len(a.Warnings) > 0 {
		t.Fatalf("%v, %v", err, a.Warnings)
	}
	if len(a.Hours) != 7*24 || !a.Hours[0].From.Equal(time.Date(2026, 1, 3, 13, 0, 0, 0, time.UTC)) {
		t.Fatalf("%d hours, the first is %v", len(a.Hours), a.Hours[0])
	}
	if a.Earlier != 2 {
		t.Errorf("%d messages are earlier, want 2", a.Earlier)
	}
	got := map[string]int64{}
	for _, h := range a.Hours {
		if h.Offsets != 0 {
			got[h.From.Format("15:04")] = h.Offsets
		}
	}
	if len(got) != 3 || got["09:00"] != 1 || got["11:00"] != 2 || got["12:00"] != 2 {
		t.Errorf("messages by hour: %v", got)
	}
	if len(a.Parts) != parts || a.Parts[0].Bytes <= a.Parts[1].Bytes || a.Parts[2].Bytes != 0 {
		t.Errorf("partitions: %+v", a.Parts)
	}
	if !a.Parts[0].Oldest.Equal(now.Add(-200*time.Hour)) || !a.Parts[1].Oldest.Equal(now.Add(-90*time.Minute)) || !a.Parts[2].Oldest.IsZero() {
		t.Errorf("oldest messages: %+v", a.Parts)
	}
	if empty, err := b.Activity(t.Context(), "other", now); err != nil || len(empty.Hours) != 0 || empty.Earlier != 0 || len(empty.Parts) != 1 {
		t.Errorf("an empty topic: %+v, %v", empty, err)
	}
	if _, err := b.Activity(t.Context(), "nowhere", now); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("an unknown topic: %v", err)
	}
}

// Partitions were empty when the first question was answered, and have messages at the last.
func TestHoursOfATopicThatGrowsMeanwhile(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	message := func(partition int32) *kgo.Record {
		return &kgo.Record{Topic: topic, Partition: partition, Timestamp: now}
	}
	b.write(message(0))
	questions := 0
	b.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
			if p := t.Partitions[0]; p.Timestamp == int64(inspect.LogEnds) {
				if questions++; questions > 3 { // a time is asked for first, then the end of what has no message then
					b.cluster.SleepControl(func() { b.write(message(1), message(2)) })
				}
			}
		}
		return nil, nil, false
	})
	a, err := b.Activity(t.Context(), topic, now)
	if err != nil || len(a.Warnings) > 0 {
		t.Fatalf("%v, %v", err, a.Warnings)
	}
	if questions <= 3 {
		t.Fatalf("%d questions for ends: nothing was written meanwhile", questions)
	}
	if a.Earlier != 0 {
		t.Errorf("%d messages are older than the first hour, want none", a.Earlier)
	}
}

// TestProducersOfATopic has a plain idempotent producer, an open transaction and one that ended.
func TestProducersOfATopic(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 0), at(0, 1))
	b.transaction(true, at(1, 2))
	cl := b.client(kgo.TransactionalID("open"), kgo.TransactionTimeout(90*time.Second))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), at(1, 3), at(2, 4)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	a, err := b.Activity(t.Context(), topic, start)
	if err != nil || len(a.Warnings) > 0 {
		t.Fatalf("%v, %v", err, a.Warnings)
	}
	byPartition := map[int32][]int64{} // first offsets of open transactions
	for _, p := range a.Producers {
		byPartition[p.Partition] = append(byPartition[p.Partition], p.Open)
		slices.Sort(byPartition[p.Partition])
		if p.ID < 0 || p.Epoch < 0 || p.Sequence < 0 {
			t.Errorf("producer %+v", p)
		}
	}
	// In partition 1 the ended transaction has offset 0, and 1 is its marker. Apache Kafka names
	// the other producers, too.
	for p, open := range map[int32]int64{1: 2, 2: 0} {
		if got := byPartition[p]; !slices.Contains(got, open) {
			t.Errorf("partition %d: open transactions begin at %v, want %v", p, got, open)
		}
	}
	if len(a.Transactions) != 1 {
		t.Fatalf("open transactions: %+v", a.Transactions)
	}
	o := a.Transactions[0]
	if o.TransactionalID != "open" || o.State != "Ongoing" || o.TimeoutMS != 90_000 || !slices.Equal(o.Partitions, []int32{1, 2}) {
		t.Errorf("the open transaction: %+v", o)
	}
	if age := start.Sub(o.Started); age < -time.Second || age > time.Minute {
		t.Errorf("it began %v before it was looked at", age)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if a, err := b.Activity(t.Context(), topic, start); err != nil || len(a.Transactions) != 0 {
		t.Errorf("after its end: %+v, %v", a.Transactions, err)
	}
}
