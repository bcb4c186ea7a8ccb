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
	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/visible"
)

// put writes records to the topic of the check and notes them in the truth, each as an event of
// the type in its header.
func (b *Bench) put(ctx context.Context, records []*kgo.Record) error {
	b.Truth.mu.Lock()
	defer b.Truth.mu.Unlock()
	now := time.Now()
	if err := b.Client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	for _, r := range records {
		b.Truth.parts[r.Partition] = append(b.Truth.parts[r.Partition], Event{scan.Kind(r, nil), string(r.Key), r.Partition, r.Offset, now})
	}
	return nil
}

// pour writes records at a rate per second.
func (b *Bench) pour(ctx context.Context, rate float64, records []*kgo.Record) error {
	return paced(ctx, pourTick, rate, len(records), func(from, to int) error { return b.put(ctx, records[from:to]) })
}

// pourTick and feedTick are between two batches of events. A program that commits after each batch
// that it reads keeps up with the events of feedTick on a busy machine, too.
const (
	pourTick = 20 * time.Millisecond
	feedTick = 50 * time.Millisecond
)

// paced calls write with those of n items that are due at a rate per second, in one batch a tick,
// until all were written or ctx ends.
func paced(ctx context.Context, tick time.Duration, rate float64, n int, write func(from, to int) error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for begun, written := time.Now(), 0; written < n; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if due := min(int(time.Since(begun).Seconds()*rate), n); due > written {
			if err := write(written, due); err != nil {
				return err
			}
			written = due
		}
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
}

// follow reads every committed record of a topic, from the first on, until the check ends.
func (b *Bench) follow(ctx context.Context, topic string) (*tail, error) {
	cl, err := b.Kafka.NewClient(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &tail{}
	var ended sync.WaitGroup
	ended.Go(func() {
		for following.Err() == nil {
			fetches := cl.PollFetches(following)
			now := time.Now()
			t.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { t.records = append(t.records, arrived{r, now}) })
			t.mu.Unlock()
		}
	})
	b.closing(func() error {
		stop()
		ended.Wait()
		cl.Close()
		return nil
	})
	return t, nil
}

// begin starts a copy of the program, and follows the topic that it writes to.
func (b *Bench) begin(ctx context.Context) (*Copy, *tail, error) {
	c, err := b.Start()
	if err != nil {
		return nil, nil, err
	}
	output, err := b.follow(ctx, b.Output)
	return c, output, err
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
func (t *tail) plain() []*kgo.Record { return plain(t.all()) }

func plain(all []arrived) []*kgo.Record {
	out := make([]*kgo.Record, 0, len(all))
	for _, r := range all {
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

// maxShort bounds what is shown of a text from outside.
const maxShort = 60

// short is a text from outside in a sentence. Some programs take the whole event for the key.
func short(s string) string {
	if runes := []rune(visible.Text(s)); len(runes) > maxShort {
		return string(runes[:maxShort]) + "…"
	}
	return visible.Text(s)
}

// where is the place of a record in a sentence.
func where(r *kgo.Record) string {
	return fmt.Sprintf("offset %d of partition %d", r.Offset, r.Partition)
}

// many is a number with its noun.
func many(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
