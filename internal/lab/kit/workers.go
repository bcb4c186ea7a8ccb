package kit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// MaxWorkers is how many there can be.
const MaxWorkers = 64

// Workers are the slow stage: each is busy with one event for a fixed time. Two
// events of one key are never worked on at once nor out of order.
type Workers struct {
	Number atomic.Int64          // of workers, 1 to MaxWorkers: from the next batch on
	Work   atomic.Int64          // how long one is busy, a Duration
	Paused atomic.Bool           // nobody begins with another event
	free   [MaxWorkers]time.Time // of each worker: when it was, or will be, done
	fired  [MaxWorkers]time.Time // when the timer of its last work has fired
	Done   atomic.Int64
}

// NewWorkers returns n workers that each take the time work for an event.
func NewWorkers(n int, work time.Duration) *Workers {
	w := &Workers{}
	w.Number.Store(int64(n))
	w.Work.Store(int64(work))
	return w
}

// pauseLook is how often a paused worker looks whether it may go on.
const pauseLook = 20 * time.Millisecond

// Do works through events, which are in order.
func (w *Workers) Do(ctx context.Context, events []event.Event) {
	before := make([]int, len(events)) // the event before with the same key, or -1
	last := make(map[string]int, len(events))
	ended := make([]chan struct{}, len(events))
	for i := range events {
		before[i], ended[i] = -1, make(chan struct{})
		if n, ok := last[string(events[i].Key)]; ok {
			before[i] = n
		}
		last[string(events[i].Key)] = i
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for n := range int(w.Number.Load()) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(events) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if p := before[i]; p >= 0 { // taken before, so somebody is at it
					select {
					case <-ended[p]:
					case <-ctx.Done():
						return
					}
				}
				w.One(ctx, n)
				if ctx.Err() == nil {
					w.Done.Add(1)
				}
				close(ended[i])
			}
		})
	}
	wg.Wait()
}

// lateMost is how late a timer may be for a worker to make up for it, and idleAfter how
// long after the end of its work a worker that has not begun another one was idle.
const (
	lateMost  = 200 * time.Millisecond
	idleAfter = 2 * time.Millisecond
)

// One is the work on one event. A timer that fires late, as on a machine that is busy
// with other things, must not make the worker slower than it claims to be: the next
// work begins when this one should have ended, unless the worker was idle in between.
func (w *Workers) One(ctx context.Context, n int) {
	for w.Paused.Load() && Wait(ctx, pauseLook) == nil {
		continue
	}
	work := time.Duration(w.Work.Load())
	start := time.Now()
	if late := start.Sub(w.free[n]); late > 0 && (late < work/2 || late < lateMost && start.Sub(w.fired[n]) < idleAfter) {
		start = w.free[n]
	}
	w.free[n] = start.Add(work)
	_ = Wait(ctx, time.Until(w.free[n])) // the caller looks at ctx
	w.fired[n] = time.Now()
}

// StartControl starts a worker that has nothing to do with the pipeline: what it does
// less than it should, the machine's clock does to all workers.
func StartControl(ctx context.Context, work time.Duration) (w *Workers, stop func()) {
	w = NewWorkers(1, work)
	return w, Background(ctx, func(ctx context.Context) {
		for ctx.Err() == nil {
			w.One(ctx, 0)
			w.Done.Add(1)
		}
	})
}
