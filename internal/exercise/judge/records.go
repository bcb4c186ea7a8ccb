package judge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/visible"
)

// put writes records to the topic of the check and notes them as events of a kind in the truth.
func (b *Bench) put(ctx context.Context, records []*kgo.Record, kind func(i int) string) error {
	b.Truth.mu.Lock()
	defer b.Truth.mu.Unlock()
	now := time.Now()
	if err := b.Client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	for i, r := range records {
		b.Truth.parts[r.Partition] = append(b.Truth.parts[r.Partition], Event{kind(i), string(r.Key), "", r.Partition, r.Offset, now})
	}
	return nil
}

// pour writes records at a rate per second, in batches of 20 ms. each is called before a batch
// is written.
func (b *Bench) pour(ctx context.Context, rate float64, records []*kgo.Record, kind func(i int) string, each func(from, to int)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begun, n := time.Now(), 0; n < len(records); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		due := min(int(time.Since(begun).Seconds()*rate), len(records))
		if due == n {
			continue
		}
		if each != nil {
			each(n, due)
		}
		from := n
		if err := b.put(ctx, records[n:due], func(i int) string { return kind(from + i) }); err != nil {
			return err
		}
		n = due
	}
	return nil
}

// arrived is a record of the output, and when it could be read.
type arrived struct {
	*kgo.Record
	at time.Time
}

// tail reads a topic while it is written.
type tail struct {
	mu      sync.Mutex
	records []arrived
	stop    func()
}

// follow starts to read a topic from its beginning. stop must be called.
func (b *Bench) follow(ctx context.Context, topic string) (*tail, error) {
	cl, err := b.Kafka.NewClient(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &tail{}
	var ended sync.WaitGroup
	ended.Go(func() {
		defer cl.Close()
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			now := time.Now()
			t.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { t.records = append(t.records, arrived{r, now}) })
			t.mu.Unlock()
		}
	})
	t.stop = func() { cancel(); ended.Wait() }
	return t, nil
}

// len is how many records have been read.
func (t *tail) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.records)
}

// all returns what has been read, in the order of each partition.
func (t *tail) all() []arrived {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.records)
}

// plain returns the records alone.
func (t *tail) plain() []*kgo.Record {
	var out []*kgo.Record
	for _, r := range t.all() {
		out = append(out, r.Record)
	}
	return out
}

// readAll reads every committed record of a topic, in the order of each partition.
func (b *Bench) readAll(ctx context.Context, topic string) ([]*kgo.Record, error) {
	bounds, err := kafka.Bounds(ctx, b.Client, topic)
	if err != nil {
		return nil, err
	}
	var ranges []kafka.Range
	for tp, bound := range bounds {
		if bound.End > bound.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: bound.Start, To: bound.End})
		}
	}
	var out []*kgo.Record
	err = kafka.Scan(ctx, b.Kafka, ranges, func(r *kgo.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	return out, nil
}

// evidenceOf is a record as evidence.
func evidenceOf(what string, r *kgo.Record) exercise.Evidence {
	return exercise.Evidence{What: what, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Key: short(string(r.Key)), At: Moment(r.Timestamp)}
}

// short shortens a text from outside for a sentence.
func short(s string) string {
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return visible.Text(s)
}

// many is a number with its noun.
func many(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
