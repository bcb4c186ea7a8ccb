package backpressure

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
)

// Ways to break the pipeline on purpose, so that the lab has something to find. There is also
// idle, with which the slow stage is not slow.
const (
	// BreakLose makes one event in a hundred vanish between socket and queue,
	// uncounted.
	BreakLose = "lose"
	// BreakSlow makes the workers take half as long again as they should.
	BreakSlow = "slow"
	// BreakForget makes one event in a hundred vanish that leaves the queue while events are
	// on disk, uncounted.
	BreakForget = "forget"
	// BreakMiscount lets Redis forget what one partition has counted.
	BreakMiscount = "miscount"
)

// fault makes events vanish.
type fault struct {
	queue      atomic.Pointer[overflow.Source] // with BreakForget, once it is open
	seen, lost atomic.Int64
}

// lose makes one data event in a hundred vanish: it is not stored, and nothing counts it as
// dropped.
func (f *fault) lose(events []event.Event) {
	for i := range events {
		if e := &events[i]; e.Route == event.Data && f.seen.Add(1)%100 == 0 {
			e.Route = event.Skip
			f.lost.Add(1)
		}
	}
}

// sabotage breaks what runs under a policy.
func (s *Settings) sabotage(p overflow.Policy, w *kit.Workers, cfg *kit.StackConfig) *fault {
	f := &fault{}
	switch s.Break {
	case BreakLose:
		cfg.Tap = func(_ context.Context, b *event.Batch) { f.lose(b.Events) }
	case BreakSlow:
		w.Work.Store(int64(s.Work * 3 / 2))
	case kit.BreakIdle:
		w.Work.Store(0)
		cfg.PerSecond, cfg.Delay = 1<<30, func() time.Duration { return 0 }
	case BreakForget:
		if work := cfg.Overflow.Work; p == overflow.Spill {
			cfg.Overflow.Work = func(ctx context.Context, events []event.Event) {
				if q := f.queue.Load(); q != nil && q.Stats().Spilled.Events > 0 {
					f.lose(events)
				}
				if work != nil {
					work(ctx, events)
				}
			}
		}
	}
	return f
}

// fired returns how often a fault has fired. It lets Redis forget only now, when all is counted.
func (s *Settings) fired(ctx context.Context, f *fault, g *kit.Stack, w *kit.Workers) (int64, error) {
	switch s.Break {
	case BreakSlow:
		return w.Done.Load(), nil
	case kit.BreakIdle:
		return 1, nil
	case BreakMiscount:
		all, err := g.Store.Partitions(ctx, kafka.GroupBluesky, kafka.TopicBluesky)
		if err != nil {
			return 0, err
		}
		for p, t := range all {
			if n := kit.Sum(t.Counts); n > 0 {
				return n, g.Store.Reset(ctx, kafka.GroupBluesky, kafka.TopicBluesky, p, t.TopicID, t.Next)
			}
		}
		return 0, errors.New("break: no partition has counted anything")
	}
	return f.lost.Load(), nil
}
