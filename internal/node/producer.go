package node

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// producer writes records by hand. The client's default partitioner takes the key's.
type producer struct {
	client *kgo.Client // asks for partitions
	cfg    kafka.Config
}

// anyLarge is a number of partitions of which the chosen one is the hash itself:
// murmur2 without its sign, as Kafka's clients use it.
const anyLarge = 1<<31 - 1

// Produce implements web.Producer.
func (p *producer) Produce(ctx context.Context, r *kgo.Record) error {
	n, err := p.partitions(ctx, r.Topic)
	if err != nil {
		return err
	}
	if int(r.Partition) >= n {
		return fmt.Errorf("%s has no partition %d, but 0 to %d: choose one of them", r.Topic, r.Partition, n-1)
	}
	if r.Partition < 0 {
		r.Partition = partitionOf(r, n)
	}
	cl, err := p.cfg.NewClient(append(impatient(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(kafka.MaxMessageBytes))...)
	if err == nil {
		defer cl.Close()
		err = cl.ProduceSync(ctx, r).FirstErr()
	}
	if err != nil {
		return fmt.Errorf("write a record: %w", err)
	}
	return nil
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
