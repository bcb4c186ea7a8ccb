package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/scan"
)

const (
	// newestBudget bounds the bytes that Newest holds, over all partitions.
	newestBudget = 256 << 20
	// newestLanes is how many partitions are searched at once.
	newestLanes = 4
	// firstStep is the least number of offsets that is stepped back at first.
	firstStep = 32
)

// newest finds the newest messages of each partition, merges them by time and
// hands over the newest of all. A limit of the scan is shared out among the
// partitions, so that each is searched back to a known offset.
func (r *reading) newest(ctx context.Context) error {
	tails := make(map[int32]*tail, len(r.parts))
	g, in := errgroup.WithContext(ctx)
	g.SetLimit(newestLanes)
	reader := r.readerFor(newestLanes)
	for _, p := range r.parts {
		t := &tail{want: r.q.From.n, budget: newestBudget / int64(len(r.parts)), reached: r.to[p], left: math.MaxInt64}
		if r.q.MaxScanned > 0 {
			t.left = max(1, r.q.MaxScanned/int64(len(r.parts)))
		}
		tails[p] = t
		g.Go(func() error { return t.search(in, r, reader, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	found := r.choose(tails)
	for k := range found {
		if err := r.deliver(found[k].Message); err != nil {
			return err
		}
		found[k] = candidate{} // may be large
	}
	limited := false
	for p, t := range tails {
		r.progress.Next[p] = r.to[p]
		limited = limited || t.ended() && t.reached > r.low[p]
	}
	if limited {
		return errLimit
	}
	return nil
}

// choose merges what the partitions' ends hold, leaves the newest, and notes where
// older messages go on: in each partition before the oldest one that was chosen,
// and after the newest one that was not.
func (r *reading) choose(tails map[int32]*tail) []candidate {
	var found []candidate
	horizon := time.UnixMilli(math.MinInt64) // what a search that was ended early has not seen is older
	for p, t := range tails {
		found = append(found, t.candidates()...)
		r.progress.Incomplete = r.progress.Incomplete || t.incomplete
		if t.ended() && t.reached > r.low[p] && t.oldest.After(horizon) {
			horizon = t.oldest
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	first, _ := slices.BinarySearchFunc(found, horizon, func(c candidate, h time.Time) int { return c.time.Compare(h) })
	first = max(first, len(found)-int(min(r.q.From.n, int64(len(found)))))
	before, more := make(map[int32]int64, len(tails)), false
	for p, t := range tails {
		before[p] = t.reached
	}
	for _, c := range found[:first] {
		before[c.Partition] = max(before[c.Partition], c.Offset+1)
	}
	for p, at := range before {
		more = more || at > r.low[p]
	}
	if more {
		r.progress.Before = before
	}
	clear(found[:first]) // may be large
	return found[first:]
}

// candidate is a message with the time it is merged by.
type candidate struct {
	Message
	time time.Time
}

// candidates gives each message the earliest timestamp of itself and those after
// it: times that never fall along a partition, so that what is chosen of it is
// always its end, and a page of older messages can go on before that.
func (t *tail) candidates() []candidate {
	out := make([]candidate, len(t.messages))
	for k := len(t.messages) - 1; k >= 0; k-- {
		out[k] = candidate{t.messages[k], t.messages[k].Timestamp}
		if k+1 < len(out) && out[k+1].time.Before(out[k].time) {
			out[k].time = out[k+1].time
		}
	}
	return out
}

// tail collects the last messages of a partition that match.
type tail struct {
	want, budget int64
	left         int64     // offsets that may still be looked at
	messages     []Message // oldest first
	bytes        int64
	incomplete   bool
	// reached is down to where everything that matches was found, and oldest the
	// earliest timestamp that was seen on the way.
	reached int64
	oldest  time.Time
}

// ended reports whether a limit, rather than having found enough, ended the search.
func (t *tail) ended() bool { return t.want > 0 && (t.left <= 0 || t.incomplete) }

// search steps back from the end of a partition until it has found what is wanted:
// how many messages lie between two offsets is known only after reading them.
func (t *tail) search(ctx context.Context, r *reading, reader *scan.Reader, p int32) error {
	step := max(t.want, firstStep)
	for hi := r.to[p]; hi > r.low[p] && t.want > 0 && t.left > 0 && !t.incomplete; step *= 4 {
		lo := max(r.low[p], hi-min(step, hi, t.left))
		window := tail{want: t.want, budget: t.budget, reached: lo}
		open, err := r.chunks(ctx, reader, p, lo, hi, func(c chunk) error {
			for _, rec := range c.Records {
				if t.oldest.IsZero() || rec.Timestamp.Before(t.oldest) {
					t.oldest = rec.Timestamp
				}
			}
			for _, m := range c.found {
				window.push(m)
			}
			if err := r.scanned(c); !errors.Is(err, errLimit) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(t.messages) > 0 { // a gap may lie across the border of two windows
			t.messages[0].Gap = open.join(t.messages[0].Gap)
		}
		t.prepend(window)
		t.left -= hi - lo
		hi = lo
	}
	return nil
}

// push appends a message and drops the oldest that are too many.
func (t *tail) push(m Message) {
	// A copy of its own: the record would keep all that was fetched with it.
	m.Key, m.Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
	m.Headers = slices.Clone(m.Headers)
	for i := range m.Headers {
		m.Headers[i].Value = bytes.Clone(m.Headers[i].Value)
	}
	t.messages = append(t.messages, m)
	t.bytes += m.size()
	for len(t.messages) > 1 && (int64(len(t.messages)) > t.want || t.bytes > t.budget) {
		if int64(len(t.messages)) <= t.want {
			t.incomplete = true
		}
		t.bytes -= t.messages[0].size()
		t.reached = t.messages[0].Offset + 1
		t.messages[0] = Message{}
		t.messages = t.messages[1:]
	}
}

// prepend puts older messages before those that were found.
func (t *tail) prepend(older tail) {
	t.messages = append(older.messages, t.messages...)
	t.want -= int64(len(older.messages))
	t.budget -= older.bytes
	t.reached = older.reached
	t.incomplete = older.incomplete || t.budget <= 0 && t.want > 0
}
