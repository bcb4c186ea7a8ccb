package inspect

import (
	"context"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// fetchBudget is how many bytes the fetches of all partitions together ask for at
// a time; up to three of a partition are held.
const fetchBudget = 16 << 20

// readerFor returns a reader whose fetches stay within the budget for n partitions.
func (r *reading) readerFor(n int) *scan.Reader {
	size := min(scan.DefaultFetchBytes, max(64<<10, fetchBudget/max(1, n)))
	return scan.New(r.i.cfg.Client, scan.Options{Uncommitted: r.q.Uncommitted, Gaps: r.q.Gaps && r.q.Filter == nil, FetchBytes: int32(size)})
}

// lane is one partition on its way to the merge.
type lane struct {
	partition int32
	chunks    chan laneChunk
	err       error // valid once chunks is closed
	done      bool

	matched []*kgo.Record // not delivered yet
	gaps    map[int64]*Gap
	next    int64 // offset after the chunk that matched came with
	passed  int64 // the largest timestamp seen, in ms
}

type laneChunk struct {
	matched          []*kgo.Record
	gaps             map[int64]*Gap // before some of them
	scanned, trimmed int64
	next, passed     int64
}

// forward reads every partition from its beginning to its end and merges them by
// time: the message that is handed over next is the oldest of those at the head
// of their partition. A partition whose filter lets nothing through takes part
// with how far it has come, so that it holds up nobody.
func (r *reading) forward(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	reader := r.readerFor(len(r.parts))
	lanes := make([]*lane, 0, len(r.parts))
	for _, p := range r.parts {
		if r.from[p] >= r.to[p] {
			continue
		}
		l := &lane{partition: p, chunks: make(chan laneChunk), passed: math.MinInt64, next: r.from[p]}
		lanes = append(lanes, l)
		wg.Go(func() { r.feed(ctx, reader, l) })
	}
	for {
		best, wait := pick(lanes)
		switch {
		case wait != nil:
			if err := r.receive(wait); err != nil {
				return err
			}
		case best == nil:
			return nil
		default:
			record := best.matched[0]
			best.matched = best.matched[1:]
			m := message(record)
			m.Gap = best.gaps[m.Offset]
			if err := r.deliver(m); err != nil {
				return err
			}
			if len(best.matched) == 0 {
				r.progress.Next[best.partition] = best.next
			}
		}
	}
}

// feed fills a lane.
func (r *reading) feed(ctx context.Context, reader *scan.Reader, l *lane) {
	defer close(l.chunks)
	passed := int64(math.MinInt64)
	var g gaps
	stretch := scan.Range{TopicPartition: scan.TopicPartition{Topic: r.q.Topic, Partition: l.partition}, From: r.from[l.partition], To: r.to[l.partition]}
	l.err = reader.Read(ctx, stretch, func(c scan.Chunk) error {
		out := laneChunk{scanned: int64(len(c.Records)), trimmed: c.Trimmed, next: c.Next, gaps: g.before(c)}
		for _, rec := range c.Records {
			passed = max(passed, rec.Timestamp.UnixMilli())
			if r.match(rec) {
				out.matched = append(out.matched, rec)
			}
		}
		out.passed = passed
		select {
		case l.chunks <- out:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// pick returns the lane whose head is the oldest, or the lane that must say more
// before that is known.
func pick(lanes []*lane) (best, wait *lane) {
	var oldest int64
	for _, l := range lanes {
		if len(l.matched) > 0 {
			if t := l.matched[0].Timestamp.UnixMilli(); best == nil || t < oldest {
				best, oldest = l, t
			}
		}
	}
	for _, l := range lanes {
		if !l.done && len(l.matched) == 0 && (best == nil || l.passed < oldest) && (wait == nil || l.passed < wait.passed) {
			wait = l
		}
	}
	return best, wait
}

// receive takes a lane's next chunk.
func (r *reading) receive(l *lane) error {
	c, ok := <-l.chunks
	if !ok {
		l.done = true
		return l.err
	}
	l.matched, l.gaps, l.next, l.passed = c.matched, c.gaps, c.next, c.passed
	if r.progress.Next[l.partition] = l.next; len(l.matched) > 0 {
		r.progress.Next[l.partition] = l.matched[0].Offset
	}
	return r.scanned(c.scanned, c.trimmed)
}
