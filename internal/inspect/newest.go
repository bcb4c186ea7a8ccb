package inspect

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/weir-project/weir/internal/scan"
)

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
	limited := r.merge(ctx, lanes, func(_ *lane, m Message) error {
		chosen = append(chosen, m)
		if size += m.size(); int64(len(chosen)) >= r.q.From.n {
			return ErrStop
		}
		if r.progress.Incomplete = size >= newestBudget; r.progress.Incomplete {
			return errLimit
		}
		return nil
	})
	if limited != nil && !errors.Is(limited, ErrStop) && !errors.Is(limited, errLimit) {
		return limited
	}
	for _, m := range slices.Backward(chosen) {
		if err := r.deliver(m); err != nil {
			return err
		}
	}
	before, more := make(map[int32]int64, len(lanes)), false
	for _, l := range lanes {
		p := l.partition
		if before[p] = l.next; len(l.found) > 0 {
			before[p] = l.found[0].Offset + 1
		}
		more = more || before[p] > r.low[p]
		r.progress.Next[p] = r.to[p]
	}
	if more {
		r.progress.Before = before
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
	low := r.low[l.partition]
	from := max(low, l.next-min(step, l.next, l.left))
	passed, next := l.passed, from
	drop := func() {
		size -= found[0].size()
		next = found[0].Offset + 1
		found[0] = Message{} // may be large
		found = found[1:]
	}
	err := r.chunks(ctx, reader, l.partition, from, l.next, func(c chunk) error {
		passed = max(passed, c.passed)
		for _, m := range c.found {
			found = append(found, m.clone())
			for size += m.size(); len(found) > 1 && (int64(len(found)) > r.q.From.n || size > newestBudget/int64(len(r.parts))); {
				drop()
			}
		}
		if err := r.scanned(l.partition, c); !errors.Is(err, errLimit) {
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
