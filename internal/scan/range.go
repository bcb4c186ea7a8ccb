package scan

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Range names the offsets From (included) to To (not included) of a partition.
type Range struct {
	TopicPartition
	From, To int64
}

// lanes is how many partitions ReadAll reads at once.
const lanes = 16

// ReadAll calls fn with every record of the ranges, one call at a time, in order within
// a partition. The record is fn's to keep. Offsets that the log no longer holds are an error.
func (r *Reader) ReadAll(ctx context.Context, ranges []Range, fn func(*kgo.Record) error) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lanes)
	for _, of := range ranges {
		g.Go(func() error {
			return r.Read(ctx, of, func(c Chunk) error {
				mu.Lock()
				defer mu.Unlock()
				if c.Trimmed > 0 {
					return fmt.Errorf("read %s partition %d: the log no longer holds %d offsets before %d", of.Topic, of.Partition, c.Trimmed, c.Next)
				}
				for _, rec := range c.Records {
					if err := fn(rec); err != nil {
						return err
					}
				}
				return ctx.Err()
			})
		})
	}
	return g.Wait()
}
