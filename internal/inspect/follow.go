package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// followBatch is how many records are taken from the client at a time.
const followBatch = 2000

// follow reads on from where the bounded part ended, until ctx ends.
func (r *reading) follow(ctx context.Context) error {
	for _, p := range r.parts {
		r.progress.Next[p] = max(r.to[p], r.from[p])
	}
	for {
		err := r.followOnce(ctx)
		if !errors.Is(err, kerr.OffsetOutOfRange) {
			return err
		}
		// The reader was paused for longer than the log is kept (output piped into
		// a pager): go on with what there is, and say how much is missing.
		if err := r.skipTrimmed(ctx); err != nil {
			return err
		}
	}
}

func (r *reading) followOnce(ctx context.Context) error {
	at := map[int32]kgo.Offset{}
	for _, p := range r.parts {
		at[p] = kgo.NewOffset().At(r.progress.Next[p])
	}
	isolation := kgo.ReadCommitted()
	if r.q.Uncommitted {
		isolation = kgo.ReadUncommitted()
	}
	cl, err := r.i.cfg.NewConsumer(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.q.Topic: at}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(isolation),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(fetchBudget),
		kgo.FetchMaxPartitionBytes(1<<20),
	)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer cl.Close()
	for {
		fetches := cl.PollRecords(ctx, followBatch)
		if err := ctx.Err(); err != nil {
			return err
		}
		r.exactTimes(ctx, fetches)
		records := merge(fetches)
		for _, rec := range records {
			if !r.match(rec) {
				r.progress.Next[rec.Partition] = rec.Offset + 1
				continue
			}
			if err := r.deliver(message(rec)); err != nil {
				return err
			}
		}
		if err := r.scanned(int64(len(records)), 0); err != nil {
			return err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("follow partition %d: %w", errs[0].Partition, errs[0].Err)
		}
	}
}

// exactTimes reads what has just been written a second time where its timestamps
// are not of these days. The client overflows with times after the year 2262,
// which gives any time at all, and does not show what the batch holds; scan does.
func (r *reading) exactTimes(ctx context.Context, fetches kgo.Fetches) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		strange := func(rec *kgo.Record) bool { return time.Since(rec.Timestamp).Abs() > 24*time.Hour }
		if !slices.ContainsFunc(p.Records, strange) {
			return
		}
		at := make(map[int64]*kgo.Record, len(p.Records))
		for _, rec := range p.Records {
			at[rec.Offset] = rec
		}
		s := scan.Range{TopicPartition: scan.TopicPartition{Topic: p.Topic, Partition: p.Partition}, From: p.Records[0].Offset, To: p.Records[len(p.Records)-1].Offset + 1}
		// Where this fails, the records are shown with the time that the client gave them.
		_ = r.readerFor(1).Read(ctx, s, func(c scan.Chunk) error {
			for _, exact := range c.Records {
				if rec := at[exact.Offset]; rec != nil {
					rec.Timestamp = exact.Timestamp
				}
			}
			return nil
		})
	})
}

// merge orders records by time as far as the order within each partition allows:
// a record that is older than one before it in its partition stays behind that.
func merge(fetches kgo.Fetches) []*kgo.Record {
	type item struct {
		rec *kgo.Record
		key int64
	}
	var items []item
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		key := int64(math.MinInt64)
		for _, rec := range p.Records {
			key = max(key, rec.Timestamp.UnixMilli())
			items = append(items, item{rec, key})
		}
	})
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.key, b.key) })
	records := make([]*kgo.Record, len(items))
	for i := range items {
		records[i] = items[i].rec
	}
	return records
}

// skipTrimmed moves positions below the log's start there.
func (r *reading) skipTrimmed(ctx context.Context) error {
	bounds, err := r.i.boundsOf(ctx, r.q.Topic, LogStarts, LogEnds)
	if err != nil {
		return err
	}
	moved := false
	for _, p := range r.parts {
		lo, hi, err := bounds.of(r.q.Topic, p)
		if err != nil {
			return err
		}
		if at := r.progress.Next[p]; at < lo {
			r.progress.Trimmed += lo - at
			r.progress.Next[p], moved = lo, true
		} else if at > hi {
			return fmt.Errorf("follow partition %d: the log ends at offset %d, below %d, where it was read: the broker lost records, or the topic was created again", p, hi, at)
		}
	}
	if !moved { // asking again at the same offset would go round in circles
		return fmt.Errorf("follow: %w", kerr.OffsetOutOfRange)
	}
	return nil
}
