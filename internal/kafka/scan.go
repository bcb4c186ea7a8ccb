package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// TopicPartition names a partition of a topic.
type TopicPartition = scan.TopicPartition

// Range names offsets of a partition.
type Range = scan.Range

// Bound is the offsets that a partition held at one moment: Start is the first,
// End the high watermark, one beyond the last written record, whether its
// transaction is committed or not.
type Bound struct{ Start, End int64 }

// Bounds returns the bounds of every partition of topics that exist.
func Bounds(ctx context.Context, cl *kgo.Client, topics ...string) (map[TopicPartition]Bound, error) {
	return listBounds(ctx, cl, (*kadm.Client).ListEndOffsets, topics)
}

// StableBounds is Bounds with the last stable offset for an end.
func StableBounds(ctx context.Context, cl *kgo.Client, topics ...string) (map[TopicPartition]Bound, error) {
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
	for until := time.Now().Add(electionPatience); err == nil && justElected(ends) && time.Now().Before(until); ends, err = list(adm, ctx, topics...) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list end offsets: %w", ctx.Err())
		case <-time.After(electionPause):
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	out := map[TopicPartition]Bound{}
	for _, ps := range ends {
		for _, end := range ps {
			tp := TopicPartition{Topic: end.Topic, Partition: end.Partition}
			start, _ := starts.Lookup(end.Topic, end.Partition)
			if err := errors.Join(start.Err, end.Err); err != nil {
				if errors.Is(err, kerr.UnknownTopicOrPartition) && end.Partition < 0 { // the topic is not there
					continue
				}
				return nil, fmt.Errorf("list offsets of %s: %w", tp, err)
			}
			out[tp] = Bound{start.Offset, end.Offset}
		}
	}
	return out, nil
}

// A leader that was just elected does not know its high watermark until its followers have
// fetched from it, and asks clients to try again (KIP-207).
const (
	electionPatience = 20 * time.Second
	electionPause    = 50 * time.Millisecond
)

func justElected(list kadm.ListedOffsets) (found bool) {
	list.Each(func(o kadm.ListedOffset) { found = found || errors.Is(o.Err, kerr.OffsetNotAvailable) })
	return found
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
			return nil, fmt.Errorf("list offsets of %s by time: %w", tp, l.Err)
		}
		out[tp] = Bound{max(b.Start, min(l.Offset, b.End-least)), b.End}
	}
	return out, nil
}

// scanPatience is how long Scan waits for an open transaction or an absent broker.
const scanPatience = time.Minute

// Scan calls fn with every committed record of the ranges, one call at a time, in order
// within a partition. A transaction that is open inside a range is waited for until it is
// committed or aborted; a wait that takes long is logged, and one of a minute is an
// error. The record is fn's to keep. Offsets that the log no longer holds are an error.
func Scan(ctx context.Context, c Config, ranges []Range, fn func(*kgo.Record) error) error {
	cl, err := c.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	return c.scan(ctx, cl, ranges, fn)
}

// scan is Scan through a client.
func (c Config) scan(ctx context.Context, cl *kgo.Client, ranges []Range, fn func(*kgo.Record) error) error {
	opts := scan.Options{Patience: scanPatience}
	if c.Log != nil {
		opts.Waiting = func(r Range) {
			c.Log.Warn("waiting for an open transaction or an absent broker", "topic", r.Topic, "partition", r.Partition, "up_to", r.To)
		}
	}
	return scan.New(cl, opts).ReadAll(ctx, ranges, fn)
}
