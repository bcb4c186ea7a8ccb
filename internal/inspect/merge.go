package inspect

import (
	"context"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/scan"
)

const (
	// fetchBudget is how many bytes the fetches of all partitions together ask for at
	// a time; up to three of a partition are held.
	fetchBudget = 16 << 20
	// mergeReads is how many partitions are waited for at once.
	mergeReads = 4
)

// readerFor returns a reader whose fetches stay within the budget for n partitions.
func (r *reading) readerFor(n int) *scan.Reader {
	size := min(scan.DefaultFetchBytes, max(64<<10, fetchBudget/max(1, n)))
	return scan.New(r.i.cfg.Client, scan.Options{Uncommitted: r.q.Uncommitted, Gaps: r.gaps(), FetchBytes: int32(size)})
}

// gaps reports whether the offsets that hold no message are explained.
func (r *reading) gaps() bool { return r.q.Gaps && r.q.Filter == nil }

// offsets is a range of offsets of a partition.
func offsets(topic string, partition int32, from, to int64) scan.Range {
	return scan.Range{TopicPartition: scan.TopicPartition{Topic: topic, Partition: partition}, From: from, To: to}
}

// key orders messages for the merge: by time, the newest first where reading goes backward.
func (r *reading) key(ms int64) int64 {
	if r.backward {
		return ^ms
	}
	return ms
}

// chunk is what one fetch brought, and the messages in it that match.
type chunk struct {
	scan.Chunk
	found  []Message
	passed int64 // the largest key of the range so far
}

// chunks reads a range of offsets.
func (r *reading) chunks(ctx context.Context, reader *scan.Reader, p int32, from, to int64, each func(chunk) error) error {
	var open *Gap // before the next message
	passed := int64(math.MinInt64)
	return reader.Read(ctx, offsets(r.q.Topic, p, from, to), func(c scan.Chunk) error {
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
			passed = max(passed, r.key(rec.Timestamp.UnixMilli()))
		}
		for _, g := range gaps {
			open = open.join(gapOf(g))
		}
		return each(chunk{c, found, passed})
	})
}

// lane is one partition on its way to the merge.
type lane struct {
	partition int32
	// read takes the next messages of the partition, of which there may be none.
	read   func(ctx context.Context) error
	found  []Message // not delivered yet
	key    int64     // of the first one, or of the last one that was delivered: it never falls
	passed int64     // the largest key that was looked at
	next   int64     // the offset to read on at
	left   int64     // offsets that may still be looked at
	done   bool      // nothing is left to read
}

func newLane(partition int32, next, left int64) *lane {
	return &lane{partition: partition, key: math.MinInt64, passed: math.MinInt64, next: next, left: left}
}

// merge delivers the messages of the lanes by their keys: the next one is that with the
// least key of those at the head of their partition. A partition whose filter lets nothing
// through takes part with how far it has come, so that it holds up nobody. A lane that
// must be read on, but may not, ends the merge with errLimit.
func (r *reading) merge(ctx context.Context, lanes []*lane, deliver func(*lane, Message) error) error {
	wait := make([]*lane, 0, len(lanes))
	for {
		var best *lane
		for _, l := range lanes {
			if len(l.found) > 0 {
				if l.key = max(l.key, r.key(l.found[0].Timestamp.UnixMilli())); best == nil || l.key < best.key {
					best = l
				}
			}
		}
		limited := false
		wait = wait[:0]
		for _, l := range lanes {
			switch {
			case l.done || len(l.found) > 0 || best != nil && l.passed >= best.key:
			case l.left <= 0:
				limited = true
			default:
				wait = append(wait, l)
			}
		}
		switch {
		case len(wait) > 0:
			if err := readAll(ctx, wait); err != nil {
				return err
			}
		case limited:
			return errLimit
		case best == nil:
			return nil
		default:
			m := best.found[0]
			best.found = best.found[1:]
			if err := deliver(best, m); err != nil {
				return err
			}
		}
	}
}

// readAll reads lanes on, several at once.
func readAll(ctx context.Context, lanes []*lane) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(mergeReads)
	for _, l := range lanes {
		g.Go(func() error { return l.read(ctx) })
	}
	return g.Wait()
}

// forward reads every partition from its beginning to its end and merges them by time.
// The partitions are read ahead of the merge.
func (r *reading) forward(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	reader := r.readerFor(len(r.parts))
	var lanes []*lane
	for _, p := range r.parts {
		if r.from[p] >= r.to[p] {
			continue
		}
		l := newLane(p, r.from[p], math.MaxInt64)
		lanes = append(lanes, l)
		chunks := make(chan chunk)
		var failed error // valid once chunks is closed
		wg.Go(func() {
			defer close(chunks)
			failed = r.chunks(ctx, reader, p, r.from[p], r.to[p], func(c chunk) error {
				select {
				case chunks <- c:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		l.read = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case c, ok := <-chunks:
				if !ok {
					l.done = true
					return failed
				}
				l.found, l.next, l.passed = c.found, c.Next, c.passed
				return r.scanned(p, c)
			}
		}
	}
	return r.merge(ctx, lanes, func(l *lane, m Message) error {
		err := r.deliver(m)
		if err == nil && len(l.found) == 0 {
			r.progress.Next[l.partition] = l.next
		}
		return err
	})
}
