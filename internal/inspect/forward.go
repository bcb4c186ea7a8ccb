package inspect

import (
	"context"
	"math"
	"sync"

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

// offsets is a range of offsets of a partition.
func offsets(topic string, partition int32, from, to int64) scan.Range {
	return scan.Range{TopicPartition: scan.TopicPartition{Topic: topic, Partition: partition}, From: from, To: to}
}

// chunk is what one fetch brought, and the messages in it that match.
type chunk struct {
	scan.Chunk
	found  []Message
	passed int64 // the largest timestamp of the range so far, in ms
}

// chunks reads a range of offsets. It returns the gap at its end.
func (r *reading) chunks(ctx context.Context, reader *scan.Reader, p int32, from, to int64, each func(chunk) error) (open *Gap, err error) {
	passed := int64(math.MinInt64)
	err = reader.Read(ctx, offsets(r.q.Topic, p, from, to), func(c scan.Chunk) error {
		if c.Trimmed > 0 {
			open = nil
		}
		var found []Message
		gaps := c.Gaps
		for _, rec := range c.Records {
			for ; len(gaps) > 0 && gaps[0].From < rec.Offset; gaps = gaps[1:] {
				open = open.join(gapOf(gaps[0]))
			}
			if r.match(rec) {
				m := message(rec)
				m.Gap = open
				found = append(found, m)
			}
			open = nil
			passed = max(passed, rec.Timestamp.UnixMilli())
		}
		for _, g := range gaps {
			open = open.join(gapOf(g))
		}
		return each(chunk{c, found, passed})
	})
	return open, err
}

// lane is one partition on its way to the merge.
type lane struct {
	partition int32
	chunks    chan chunk
	err       error // valid once chunks is closed
	done      bool
	chunk     // the newest; found is not delivered yet
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
		l := &lane{partition: p, chunks: make(chan chunk), chunk: chunk{passed: math.MinInt64}}
		lanes = append(lanes, l)
		wg.Go(func() {
			defer close(l.chunks)
			_, l.err = r.chunks(ctx, reader, p, r.from[p], r.to[p], func(c chunk) error {
				select {
				case l.chunks <- c:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
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
			m := best.found[0]
			best.found = best.found[1:]
			if err := r.deliver(m); err != nil {
				return err
			}
			if len(best.found) == 0 {
				r.progress.Next[best.partition] = best.Next
			}
		}
	}
}

// pick returns the lane whose head is the oldest, or the lane that must be read on
// before that is known.
func pick(lanes []*lane) (best, wait *lane) {
	var oldest int64
	for _, l := range lanes {
		if len(l.found) > 0 {
			if t := l.found[0].Timestamp.UnixMilli(); best == nil || t < oldest {
				best, oldest = l, t
			}
		}
	}
	for _, l := range lanes {
		if !l.done && len(l.found) == 0 && (best == nil || l.passed < oldest) && (wait == nil || l.passed < wait.passed) {
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
	l.chunk = c
	r.progress.Next[l.partition] = c.Next
	if len(c.found) > 0 {
		r.progress.Next[l.partition] = c.found[0].Offset
	}
	return r.scanned(c)
}
