package scan

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Absence is why an offset holds no record for a reader.
type Absence uint8

const (
	// Missing offsets hold nothing any more, as after compaction.
	Missing Absence = iota
	// Marker offsets hold control records, which end transactions.
	Marker
	// Aborted offsets hold records of aborted transactions, which a read-committed
	// reader skips.
	Aborted
)

// Gap is a run of offsets without a record, all for the same reason.
type Gap struct {
	From, To int64 // To is not included
	Why      Absence
}

// gapsIn explains the offsets from at to next (not included) that records lack. The
// batches are decoded once more, with everything in them.
func (r *Reader) gapsIn(s Range, at, next int64, part *kmsg.FetchResponseTopicPartition, records []*kgo.Record) []Gap {
	if int64(len(records)) == next-at {
		return nil
	}
	all, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: kgo.ReadUncommitted(), KeepControlRecords: true, Topic: s.Topic, Partition: s.Partition,
	}, part, r.unpack, nil)
	var gaps []Gap
	add := func(from, to int64, why Absence) {
		if n := len(gaps); n > 0 && gaps[n-1].To == from && gaps[n-1].Why == why {
			gaps[n-1].To = to
		} else if from < to {
			gaps = append(gaps, Gap{from, to, why})
		}
	}
	for _, rec := range all.Records {
		if rec.Offset >= next {
			break
		}
		add(at, rec.Offset, Missing)
		at = rec.Offset + 1
		if rec.Attrs.IsControl() {
			add(rec.Offset, at, Marker)
		} else if _, ok := slices.BinarySearchFunc(records, rec.Offset, func(have *kgo.Record, offset int64) int { return int(have.Offset - offset) }); !ok {
			add(rec.Offset, at, Aborted)
		}
	}
	add(at, next, Missing)
	return gaps
}
