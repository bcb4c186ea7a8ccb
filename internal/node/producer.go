package node

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/send"
)

// producer writes records by hand.
type producer struct {
	client *kgo.Client // asks for partitions
	cfg    kafka.Config
}

// producePatience is how long a person waits for brokers that confirm nothing.
const producePatience = 10 * time.Second

// anyLarge is a number of partitions of which the chosen one is the hash itself:
// murmur2 without its sign, as Kafka's clients use it.
const anyLarge = 1<<31 - 1

// Produce implements web.Producer.
func (p *producer) Produce(ctx context.Context, topic string, in send.Input, placed bool, written func(*kgo.Record)) (send.Result, error) {
	if err := kafka.Writable(topic); err != nil {
		return send.Result{}, &inspect.PlanError{Reason: err.Error()}
	}
	w, err := openWriter(ctx, p.client, topic, send.Options{Placed: placed}, func(opts ...kgo.Opt) (*kgo.Client, error) {
		return p.cfg.NewClient(append(impatient(), opts...)...)
	})
	if err != nil {
		return send.Result{}, err
	}
	defer w.Client.Close()
	w.Patience, w.Written = producePatience, func(_ int64, r *kgo.Record) error { written(r); return nil }
	return w.Write(ctx, in)
}

// PartitionOf implements web.Producer.
func (p *producer) PartitionOf(ctx context.Context, topic string, key []byte) (uint32, int32, error) {
	n, err := p.partitions(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	rec := &kgo.Record{Topic: topic, Key: key}
	return uint32(partitionOf(rec, anyLarge)), partitionOf(rec, n), nil
}

// partitionOf is the partition of n that a record's key chooses.
func partitionOf(r *kgo.Record, n int) int32 {
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(r, n))
}

func (p *producer) partitions(ctx context.Context, topic string) (int, error) {
	found, err := kadm.NewClient(p.client).ListTopics(ctx, topic)
	if err == nil {
		err = found[topic].Err
	}
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", topic, err)
	}
	return len(found[topic].Partitions), nil
}
