package scan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Gap is a run of offsets that hold no record for a reader. Each is counted under the
// reason that the log gives.
type Gap struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Markers end transactions, Aborted are records of aborted ones, and Missing
	// offsets hold nothing any more: compaction or the embedded archive left their record or marker out.
	Markers int64 `json:"markers"`
	Aborted int64 `json:"aborted"`
	Missing int64 `json:"missing"`
}

// String explains the gap in one sentence.
func (g Gap) String() string {
	var why []string
	count := func(n int64, one, many string) {
		switch {
		case n == 1:
			why = append(why, "1 "+one)
		case n > 1:
			why = append(why, fmt.Sprintf("%d %s", n, many))
		}
	}
	count(g.Markers, "transaction marker", "transaction markers")
	count(g.Aborted, "record of an aborted transaction", "records of aborted transactions")
	count(g.Missing, "offset whose record or transaction marker is no longer in the log (compacted or archived)",
		"offsets whose records or transaction markers are no longer in the log (compacted or archived)")
	where := fmt.Sprintf("offsets %d-%d hold no messages", g.First, g.Last)
	if g.First == g.Last {
		where = fmt.Sprintf("offset %d holds no message", g.First)
	}
	return where + ": " + strings.Join(why, ", ")
}

// Join returns two adjacent gaps as one. Either may be nil.
func (g *Gap) Join(next *Gap) *Gap {
	switch {
	case g == nil:
		return next
	case next == nil:
		return g
	}
	return &Gap{First: g.First, Last: next.Last, Markers: g.Markers + next.Markers, Aborted: g.Aborted + next.Aborted, Missing: g.Missing + next.Missing}
}

// gapsIn explains the offsets from at to next (not included) that records lack. The
// batches are decoded once more, with everything in them.
func (r *Reader) gapsIn(s Range, at, next int64, part *kmsg.FetchResponseTopicPartition, records []*kgo.Record) (gaps []*Gap) {
	if int64(len(records)) == next-at {
		return nil
	}
	all, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: kgo.ReadUncommitted(), KeepControlRecords: true, Topic: s.Topic, Partition: s.Partition,
	}, part, r.unpack, nil)
	g := &Gap{First: at}
	end := func(to int64) {
		if g.Last = to - 1; g.First < to {
			gaps = append(gaps, g)
		}
		g = &Gap{First: to + 1}
	}
	for _, rec := range all.Records {
		if rec.Offset >= next {
			break
		}
		g.Missing += rec.Offset - at
		at = rec.Offset + 1
		_, read := slices.BinarySearchFunc(records, rec.Offset, func(have *kgo.Record, offset int64) int { return int(have.Offset - offset) })
		switch {
		case read:
			end(rec.Offset)
		case rec.Attrs.IsControl():
			g.Markers++
		default:
			g.Aborted++
		}
	}
	g.Missing += next - at
	end(next)
	return gaps
}
