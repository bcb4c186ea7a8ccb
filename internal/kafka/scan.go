package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Bound is the offsets that a partition held at one moment: Start is the first,
// End the high watermark, one beyond the last written record, whether its
// transaction is committed or not.
type Bound struct{ Start, End int64 }

// Range is a stretch of a partition, from From up to but not including To.
type Range struct {
	TopicPartition
	From, To int64
}

// Bounds returns the bounds of every partition of topics that exist.
func Bounds(ctx context.Context, cl *kgo.Client, topics ...string) (map[TopicPartition]Bound, error) {
	return listBounds(ctx, cl, (*kadm.Client).ListEndOffsets, topics)
}

// stableBounds is Bounds with the last stable offset for an end.
func stableBounds(ctx context.Context, cl *kgo.Client, topics ...string) (map[TopicPartition]Bound, error) {
	return listBounds(ctx, cl, (*kadm.Client).ListCommittedOffsets, topics)
}

func listBounds(ctx context.Context, cl *kgo.Client,
	list func(*kadm.Client, context.Context, ...string) (kadm.ListedOffsets, error), topics []string,
) (map[TopicPartition]Bound, error) {
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := list(adm, ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	out := map[TopicPartition]Bound{}
	for _, ps := range ends {
		for _, end := range ps {
			start, _ := starts.Lookup(end.Topic, end.Partition)
			if err := errors.Join(start.Err, end.Err); err != nil {
				if errors.Is(err, kerr.UnknownTopicOrPartition) && end.Partition < 0 { // the topic is not there
					continue
				}
				return nil, fmt.Errorf("list offsets of %s/%d: %w", end.Topic, end.Partition, err)
			}
			out[TopicPartition{end.Topic, end.Partition}] = Bound{start.Offset, end.Offset}
		}
	}
	return out, nil
}

// TailBounds is Bounds with, for a start, the first record of a timestamp of at
// least milli, in Unix milliseconds, or one that leaves least records, whichever
// is earlier.
func TailBounds(ctx context.Context, cl *kgo.Client, milli, least int64, topics ...string) (map[TopicPartition]Bound, error) {
	out, err := Bounds(ctx, cl, topics...)
	if err != nil {
		return nil, err
	}
	after, err := kadm.NewClient(cl).ListOffsetsAfterMilli(ctx, max(milli, 0), topics...)
	if err != nil {
		return nil, fmt.Errorf("list offsets by time: %w", err)
	}
	for tp, b := range out {
		l, ok := after.Lookup(tp.Topic, tp.Partition)
		if !ok {
			l.Err = errors.New("the partition is missing in the answer")
		}
		if l.Err != nil {
			return nil, fmt.Errorf("list offsets of %s/%d by time: %w", tp.Topic, tp.Partition, l.Err)
		}
		out[tp] = Bound{max(b.Start, min(l.Offset, b.End-least)), b.End}
	}
	return out, nil
}

// Scan calls fn with every committed record of the ranges, in order within a
// partition. A transaction that is open inside a range is waited for until it is
// committed or aborted; a wait that takes long is logged, and one of a minute is
// an error. The record is fn's to keep. Offsets that the log no longer holds are an
// error.
func Scan(ctx context.Context, c Config, ranges []Range, fn func(*kgo.Record) error) error {
	todo := map[TopicPartition]Range{}
	offsets := map[string]map[int32]kgo.Offset{}
	for _, r := range ranges {
		if r.From >= r.To {
			continue
		}
		todo[r.TopicPartition] = r
		if offsets[r.Topic] == nil {
			offsets[r.Topic] = map[int32]kgo.Offset{}
		}
		offsets[r.Topic][r.Partition] = kgo.NewOffset().At(r.From)
	}
	if len(todo) == 0 {
		return nil
	}
	// A client of its own, whose partitions never change: taking a finished one
	// away from a client can leave the others without a fetch.
	cl, err := c.NewClient(
		kgo.ConsumePartitions(offsets),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The markers that end transactions are how a reader learns that it has
		// reached the end: the records of an aborted one are never shown.
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxPartitionBytes(2<<20),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	for progress := time.Now(); len(todo) > 0; {
		n, err := poll(ctx, c.Log, cl, todo, fn)
		switch {
		case err != nil:
			return err
		case n > 0:
			progress = time.Now()
		case time.Since(progress) > stalled:
			return fmt.Errorf("read %d partitions: nothing came for %v; a transaction may be open, or a broker away", len(todo), stalled)
		}
	}
	return nil
}

const (
	// patience is how long a scan waits for an open transaction without a word.
	patience = 5 * time.Second
	// stalled is how long it waits at all: whoever scans can begin again, and
	// nobody should hang for ever on a client that does not notice something.
	stalled = time.Minute
)

// poll takes one fetch, and what is finished out of todo. It returns how many
// records it was.
func poll(ctx context.Context, log *slog.Logger, cl *kgo.Client, todo map[TopicPartition]Range, fn func(*kgo.Record) error) (int, error) {
	pctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fetches := cl.PollFetches(pctx)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("read %d partitions: %w", len(todo), ctx.Err())
	}
	if pctx.Err() != nil && fetches.NumRecords() == 0 {
		if log != nil {
			for tp, r := range todo {
				log.Warn("waiting for an open transaction or an absent broker", "topic", tp.Topic, "partition", tp.Partition, "up_to", r.To)
			}
		}
		return 0, nil
	}
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		if failed == nil && !errors.Is(err, context.DeadlineExceeded) {
			failed = fmt.Errorf("read %s/%d: %w", topic, p, err)
		}
	})
	if failed != nil {
		return 0, failed
	}
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		tp := TopicPartition{rec.Topic, rec.Partition}
		r, ok := todo[tp]
		if !ok {
			continue
		}
		if rec.Offset < r.To && !rec.Attrs.IsControl() {
			if err := fn(rec); err != nil {
				return 0, err
			}
		}
		if rec.Offset >= r.To-1 {
			delete(todo, tp)
		}
	}
	return fetches.NumRecords(), nil
}
