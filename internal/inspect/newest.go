package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
// hands over the newest of all.
func (r *reading) newest(ctx context.Context) error {
	if r.q.From.n == 0 {
		for _, p := range r.parts {
			r.progress.Next[p] = r.to[p]
		}
		return nil
	}
	var (
		mu    sync.Mutex
		found []candidate
		g, in = errgroup.WithContext(ctx)
	)
	g.SetLimit(newestLanes)
	reader := r.readerFor(newestLanes)
	for _, p := range r.parts {
		g.Go(func() error {
			t := tail{want: r.q.From.n, budget: newestBudget / int64(len(r.parts))}
			err := t.search(in, reader, scan.Stretch{Topic: r.q.Topic, Partition: p, From: r.low[p], To: r.to[p]}, r.match, func(c scan.Chunk) error {
				mu.Lock()
				defer mu.Unlock()
				return r.scanned(int64(len(c.Records)), c.Trimmed)
			})
			mu.Lock()
			defer mu.Unlock()
			found = append(found, t.candidates()...)
			r.progress.Incomplete = r.progress.Incomplete || t.incomplete
			return err
		})
	}
	// At a limit of the scan, what was found is still handed over.
	searched := g.Wait()
	if searched != nil && !errors.Is(searched, errLimit) {
		return searched
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	if n := int64(len(found)); n > r.q.From.n {
		clear(found[:n-r.q.From.n]) // may be large
		found = found[n-r.q.From.n:]
	}
	if searched == nil && !r.progress.Incomplete {
		r.progress.Before = r.before(found)
	}
	for k := range found {
		if err := r.deliver(found[k].Message); err != nil {
			return err
		}
		found[k] = candidate{} // may be large
	}
	for _, p := range r.parts {
		r.progress.Next[p] = r.to[p]
	}
	return searched
}

// before is where older messages than the chosen ones end, nil where there are none.
func (r *reading) before(chosen []candidate) map[int32]int64 {
	all := make(map[int32]int64, len(r.parts))
	for _, p := range r.parts {
		all[p] = r.to[p]
	}
	for _, c := range chosen {
		all[c.Partition] = min(all[c.Partition], c.Offset)
	}
	if int64(len(chosen)) < r.q.From.n { // whatever matches was chosen
		return nil
	}
	for _, p := range r.parts {
		if all[p] > r.low[p] {
			return all
		}
	}
	return nil
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
	messages     []Message // oldest first
	bytes        int64
	incomplete   bool
}

// search steps back from the end of a stretch until it has found what is wanted:
// how many messages lie between two offsets is known only after reading them.
func (t *tail) search(ctx context.Context, reader *scan.Reader, s scan.Stretch, match func(*kgo.Record) bool, saw func(scan.Chunk) error) error {
	step := max(t.want, firstStep)
	for hi := s.To; hi > s.From && t.want > 0 && !t.incomplete; step *= 4 {
		lo := max(s.From, hi-min(step, hi))
		window := tail{want: t.want, budget: t.budget}
		err := reader.Read(ctx, scan.Stretch{Topic: s.Topic, Partition: s.Partition, From: lo, To: hi}, func(c scan.Chunk) error {
			for _, rec := range c.Records {
				if match(rec) {
					window.push(message(rec))
				}
			}
			return saw(c)
		})
		t.prepend(window)
		if err != nil {
			return err
		}
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
		t.messages[0] = Message{}
		t.messages = t.messages[1:]
	}
}

// prepend puts older messages before those that were found.
func (t *tail) prepend(older tail) {
	t.messages = append(older.messages, t.messages...)
	t.want -= int64(len(older.messages))
	t.budget -= older.bytes
	t.incomplete = older.incomplete || t.budget <= 0 && t.want > 0
}
