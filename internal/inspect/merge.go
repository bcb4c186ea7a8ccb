package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/scan"
)

const (
	// fetchBudget is how many bytes the fetches of all partitions together ask for at
	// a time; up to three of a partition are held.
	fetchBudget = 16 << 20
	// leastFetch is the least that a fetch asks for, and usualMessage what a message usually takes.
	leastFetch   = 64 << 10
	usualMessage = 4 << 10
	// mergeReads is how many partitions are waited for at once.
	mergeReads = 4
)

// readerFor returns a reader whose fetches stay within the budget for n partitions, and bring
// little where few messages are wanted: what else they bring is decompressed for nothing.
func (r *reading) readerFor(n int) *scan.Reader {
	size := min(scan.DefaultFetchBytes, max(leastFetch, fetchBudget/max(1, n)))
	if few := r.q.MaxMessages; few > 0 && few < scan.DefaultFetchBytes/usualMessage && r.q.Filter == nil && !r.backward {
		size = min(size, max(leastFetch, int(few)*usualMessage))
	}
	return scan.New(r.i.cfg.Client, scan.Options{Uncommitted: r.q.Uncommitted, Gaps: r.gaps(), FetchBytes: int32(size)})
}

// gaps reports whether the offsets that hold no message are explained.
func (r *reading) gaps() bool { return r.q.Gaps && r.q.Filter == nil }

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
func (r *reading) chunks(ctx context.Context, reader *scan.Reader, tp scan.TopicPartition, from, to int64, each func(chunk) error) error {
	var open *Gap // before the next message
	passed := int64(math.MinInt64)
	return reader.Read(ctx, scan.Range{TopicPartition: tp, From: from, To: to}, func(c scan.Chunk) error {
		if c.Trimmed > 0 {
			open = nil
		}
		var found []Message
		gaps := c.Gaps
		for _, rec := range c.Records {
			for ; len(gaps) > 0 && gaps[0].First < rec.Offset; gaps = gaps[1:] {
				open = open.Join(gaps[0])
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
			open = open.Join(g)
		}
		return each(chunk{c, found, passed})
	})
}

// lane is one partition on its way to the merge.
type lane struct {
	scan.TopicPartition
	// read takes the next messages of the partition, of which there may be none.
	read   func(ctx context.Context) error
	found  []Message // not delivered yet
	key    int64     // of the first one, or of the last one that was delivered: it never falls
	passed int64     // the largest key that was looked at
	next   int64     // the offset to read on at
	left   int64     // offsets that may still be looked at
	done   bool      // nothing is left to read
}

func newLane(tp scan.TopicPartition, next, left int64) *lane {
	return &lane{TopicPartition: tp, key: math.MinInt64, passed: math.MinInt64, next: next, left: left}
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
			r.progress[l.Topic].Next[l.Partition] = l.next
		}
		return err
	})
}

const (
	// newestBudget bounds the bytes of the messages that Newest has chosen, and of those
	// that it has read and not chosen yet.
	newestBudget = 128 << 20
	// firstStep is how many offsets more than the messages wanted are stepped back at
	// first, and lastStep bounds a step.
	firstStep = 32
	lastStep  = 1 << 40
)

// newest reads every partition backward, merges them by time, and delivers the newest
// messages of all, the oldest of them first. A limit of the scan is shared out among the
// partitions. Before says where older messages go on: in each partition before the oldest
// one that was chosen, and after the newest one that was not.
func (r *reading) newest(ctx context.Context) error {
	r.backward = true
	defer func() { r.backward = false }()
	reader, share := r.readerFor(mergeReads), int64(math.MaxInt64)
	if r.q.MaxScanned > 0 {
		share = max(1, r.q.MaxScanned/int64(len(r.parts)))
	}
	var lanes []*lane
	for _, p := range slices.Backward(r.parts) { // of equal times, those of the last partition count as the newest
		l := newLane(p, r.to[p], share)
		l.done = l.next <= r.low[p] || r.q.From.n == 0
		step := min(r.q.From.n, lastStep) + firstStep
		l.read = func(ctx context.Context) error {
			defer func() { step = min(4*step, lastStep) }()
			return r.back(ctx, reader, l, step)
		}
		lanes = append(lanes, l)
	}
	var chosen []Message // the newest first
	var size int64
	incomplete := false
	limited := r.merge(ctx, lanes, func(_ *lane, m Message) error {
		chosen = append(chosen, m)
		if size += m.size(); int64(len(chosen)) >= r.q.From.n {
			return ErrStop
		}
		if incomplete = size >= newestBudget; incomplete {
			return errLimit
		}
		return nil
	})
	if limited != nil && !errors.Is(limited, ErrStop) && !errors.Is(limited, errLimit) {
		return limited
	}
	for topic, p := range r.progress {
		before, more := map[int32]int64{}, false
		for _, l := range lanes {
			if l.Topic != topic {
				continue
			}
			if before[l.Partition] = l.next; len(l.found) > 0 {
				before[l.Partition] = l.found[0].Offset + 1
			}
			more = more || before[l.Partition] > r.low[l.TopicPartition]
			p.Next[l.Partition] = r.to[l.TopicPartition]
		}
		if p.Incomplete = incomplete; more {
			p.Before = before
		}
	}
	for _, m := range slices.Backward(chosen) {
		if err := r.deliver(m); err != nil { // also that these are as many as may be delivered
			return err
		}
	}
	if errors.Is(limited, errLimit) {
		return limited
	}
	return nil
}

// back reads a lane one step back from where it is: how many messages lie between two
// offsets is known only after reading them. It keeps the newest of those that match, as
// many as may be wanted and memory allows. The others are read again when they are wanted.
func (r *reading) back(ctx context.Context, reader *scan.Reader, l *lane, step int64) error {
	var found []Message // oldest first
	var size int64
	low := r.low[l.TopicPartition]
	from := max(low, l.next-min(step, l.next, l.left))
	passed, next := l.passed, from
	drop := func() {
		size -= found[0].size()
		next = found[0].Offset + 1
		found[0] = Message{} // may be large
		found = found[1:]
	}
	err := r.chunks(ctx, reader, l.TopicPartition, from, l.next, func(c chunk) error {
		passed = max(passed, c.passed)
		for _, m := range c.found {
			found = append(found, m.clone())
			for size += m.size(); len(found) > 1 && (int64(len(found)) > r.q.From.n || size > newestBudget/int64(len(r.parts))); {
				drop()
			}
		}
		if err := r.scanned(l.TopicPartition, c); !errors.Is(err, errLimit) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.left -= l.next - from
	if r.gaps() && from > low && l.left > 0 && len(found) > 0 {
		drop() // the gap before it may have begun before the step
	}
	if next == from { // what was dropped is not passed
		l.passed = passed
	}
	slices.Reverse(found)
	l.found, l.next, l.done = found, next, next <= low
	return nil
}

// clone returns a copy of its own: a record keeps all that was fetched with it.
func (m Message) clone() Message {
	m.Key, m.Value, m.Headers = bytes.Clone(m.Key), bytes.Clone(m.Value), slices.Clone(m.Headers)
	for i := range m.Headers {
		m.Headers[i].Value = bytes.Clone(m.Headers[i].Value)
	}
	return m
}

// followEvery is how often the ends of a followed topic are looked at.
const followEvery = 100 * time.Millisecond

// follow reads what is written after the bounded part until ctx ends. A partition whose
// leader does not answer is read when it answers again.
func (r *reading) follow(ctx context.Context) error {
	for looked := time.Now(); ; {
		if time.Since(looked) >= lookEvery {
			looked = time.Now()
			if err := r.look(ctx); err != nil {
				return err
			}
		}
		ends := r.i.Offsets(ctx, r.meta, r.end)
		for _, p := range r.parts {
			end, ok := ends.Lookup(p.Topic, p.Partition)
			at := r.progress[p.Topic].Next[p.Partition]
			r.from[p], r.to[p] = at, at
			switch {
			case errors.Is(end.Err, kerr.UnknownTopicOrPartition):
				if err := r.i.Exists(ctx, p.Topic); errors.Is(err, ErrNoTopic) {
					return err
				}
			case !ok || end.Err != nil:
			case end.Offset < at:
				return fmt.Errorf("follow %s: the log ends at offset %d, below %d, where it was read: the broker lost records, or the topic was created again",
					p, end.Offset, at)
			default:
				r.to[p] = end.Offset
			}
		}
		if err := r.forward(ctx); err != nil && !errors.Is(err, scan.ErrStalled) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}
