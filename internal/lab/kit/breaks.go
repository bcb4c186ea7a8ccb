package kit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// Ways to break a lab on purpose that several have.
const (
	// BreakTwice writes some records a second time.
	BreakTwice = "twice"
	// BreakIdle leaves out what the lab is about.
	BreakIdle = "idle"
	// BreakForget loses something without counting it.
	BreakForget = "forget"
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

// noSuch refuses a choice that there is not.
func NoSuch[T ~string](what string, got T, all []T) error {
	return fmt.Errorf("there is no %s called %q: choose one of %s", what, got, Listed(all))
}

// listed names what there is to choose from.
func Listed[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = string(x)
	}
	return strings.Join(names, ", ")
}

// miscount lets Redis forget what a partition has counted, and returns how many events
// that were.
func (g *Stack) miscount(ctx context.Context) (int64, error) {
	all, err := g.Store.Partitions(ctx, kafka.GroupBluesky, kafka.TopicBluesky)
	if err != nil {
		return 0, err
	}
	for p, t := range all {
		if n := Sum(t.Counts); n > 0 {
			return n, g.Store.Reset(ctx, kafka.GroupBluesky, kafka.TopicBluesky, p, t.TopicID, t.Next)
		}
	}
	return 0, errors.New("break: no partition has counted anything")
}

// fetchMeter is a hook of consumers that counts the records they have from brokers.
type fetchMeter struct{ Records atomic.Int64 }

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered.
func (m *fetchMeter) OnFetchRecordBuffered(*kgo.Record) { m.Records.Add(1) }

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (m *fetchMeter) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	if !polled { // thrown away, and fetched again
		m.Records.Add(-1)
	}
}

// groupPartitions is how many partitions batching writes to.
const groupPartitions = 6
