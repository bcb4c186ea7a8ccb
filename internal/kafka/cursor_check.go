package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// firstLook is how many offsets at the end of a partition are read to find its
	// newest sequence number. Each further look is farLook times as long.
	firstLook = 64
	farLook   = 64
	// lastLook is where the looking ends: there is nothing but aborted records,
	// markers and records of other programs in so many offsets.
	lastLook = firstLook * farLook * farLook
)

// Seq returns the sequence number of a record that weir wrote. ok is false for a
// record of another program.
func Seq(r *kgo.Record) (seq int64, ok bool) {
	if len(r.Headers) < 3 || r.Headers[0].Key != HeaderKind || r.Headers[1].Key != HeaderSeq || r.Headers[2].Key != HeaderHost {
		return 0, false
	}
	seq, err := strconv.ParseInt(string(r.Headers[1].Value), 10, 64)
	return seq, err == nil && seq >= 0
}

// CheckCursor compares a source's cursor, the zero one but for its Source where there
// is none, with the ends of the partitions that the source writes to. It returns a
// *CursorError when a committed record there has a sequence number that the cursor has
// not given out yet: an ingester that went on from such a cursor would store events a second
// time. The producer of the source must be fenced: nothing may be written meanwhile.
func CheckCursor(ctx context.Context, c Config, rec CursorRecord, parts map[TopicPartition]Bound) error {
	newest, err := newestSeqs(ctx, c, parts)
	if err != nil {
		return fmt.Errorf("compare the cursor of %s with its topics: %w", rec.Source, err)
	}
	for _, topic := range slices.Sorted(maps.Keys(newest)) {
		n, next := newest[topic], rec.Seqs[topic]
		if n.seq < next {
			continue
		}
		why := fmt.Sprintf("the cursor says that the next one is %d: it is older than the topic", next)
		if rec.Version == 0 {
			why = fmt.Sprintf("topic %s has no cursor of %s", TopicCursors, rec.Source)
		}
		return &CursorError{
			Source: rec.Source,
			Cause: fmt.Sprintf("record %d of %s partition %d has sequence number %d, but %s, and going on would store events twice",
				n.rec.Offset, topic, n.rec.Partition, n.seq, why),
			Out: "rebuild it from the topics with: weir cursor rebuild " + rec.Source +
				" (weir cluster starts the embedded brokers for that); or use another --data directory or cluster",
		}
	}
	return nil
}

// numbered is a record with its sequence number.
type numbered struct {
	rec *kgo.Record
	seq int64
}

// newestSeqs returns the record with the highest sequence number of each topic. Within
// a partition the numbers rise, so that the end of each is enough.
func newestSeqs(ctx context.Context, c Config, parts map[TopicPartition]Bound) (map[string]numbered, error) {
	newest := map[string]numbered{}
	left := maps.Clone(parts) // without what was looked at
	for look := int64(firstLook); look <= lastLook && len(left) > 0; look *= farLook {
		var ranges []Range
		for tp, b := range left {
			from := max(b.Start, b.End-look)
			ranges = append(ranges, Range{TopicPartition: tp, From: from, To: b.End})
			left[tp] = Bound{b.Start, from}
			if from == b.Start {
				delete(left, tp)
			}
		}
		err := Scan(ctx, c, ranges, func(r *kgo.Record) error {
			if seq, ok := Seq(r); ok {
				delete(left, TopicPartition{Topic: r.Topic, Partition: r.Partition})
				if n, ok := newest[r.Topic]; !ok || seq > n.seq {
					newest[r.Topic] = numbered{r, seq}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if c.Log != nil {
		for tp, b := range left {
			c.Log.Warn("no record of weir's in the newest records of a partition: whether the cursor fits was not checked there",
				"topic", tp.Topic, "partition", tp.Partition, "from", b.End)
		}
	}
	return newest, nil
}
