package backpressure

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
)

// forgetful is a disk that loses one event in a hundred of those that come while
// something is spilled, and tells nobody: what the lab must find. It stands where events
// leave the queue, before the work.
type forgetful struct {
	spilled    func() bool
	work       func(context.Context, []event.Event) // may be nil
	seen, lost atomic.Int64
}

func (f *forgetful) do(ctx context.Context, events []event.Event) {
	if f.spilled != nil && f.spilled() {
		for i := range events {
			if e := &events[i]; e.Route == event.Data && f.seen.Add(1)%100 == 0 {
				e.Route = event.Skip // it is not stored, and nobody counts it as dropped
				f.lost.Add(1)
			}
		}
	}
	if f.work != nil {
		f.work(ctx, events)
	}
}

// miscount lets Redis forget what a partition has counted, and returns how many events
// that were.
func miscount(ctx context.Context, g *kit.Stack) (int64, error) {
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
