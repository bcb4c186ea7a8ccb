package ingest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/queue"
)

// TestSlowWorkBlocksOrDrops has work that is slower than the source.
func TestSlowWorkBlocksOrDrops(t *testing.T) {
	const n, size = 3000, 10
	for _, p := range []queue.Policy{queue.Block, queue.DropNewest, queue.DropOldest, queue.Sample, queue.Spill} {
		t.Run(p.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				var worked atomic.Int64
				cfg := w.config(&script{n: n, size: size, pause: 10 * time.Millisecond, item: func(n int) item {
					it := plain(n)
					it.route, it.kind = event.Data, "create"
					return it
				}})
				cfg.QueueEvents, cfg.Policy, cfg.SpillDir, cfg.SpillBytes = 200, p, t.TempDir(), 10_000
				cfg.Work = func(ctx context.Context, events []event.Event) {
					select {
					case <-time.After(time.Duration(len(events)) * 2 * time.Millisecond): // half as fast
						worked.Add(int64(len(events)))
					case <-ctx.Done():
					}
				}
				i, err := ingest.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				r := w.run(i)
				until(t, "everything is stored or dropped", func() bool {
					s := r.Stats()
					return s.Events+s.Queue.Dropped.Total() >= n
				})
				r.stop(t)
				s := r.Stats()
				dropped := s.Queue.Dropped[p]
				if s.Events+dropped != n || s.Restarts != 0 || s.Queue.Dropped.Total() != dropped || worked.Load() != s.Events || s.Queue.Policy != p {
					t.Errorf("%d stored, %d worked on, %v dropped of %d (%v), %d duplicates, %d restarts (%s)", s.Events, worked.Load(), s.Queue.Dropped, n, s.Queue.Policy, s.Duplicates, s.Restarts, s.LastError)
				}
				if p == queue.Block && (dropped != 0 || s.Queue.Blocked == 0) || p != queue.Block && dropped < n/3 {
					t.Errorf("%d dropped, blocked for %v", dropped, s.Queue.Blocked)
				}
			})
		})
	}
}

// TestAPolicyIsChosenWhileItRuns begins with block and ends with drops.
func TestAPolicyIsChosenWhileItRuns(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cfg := w.config(&script{n: 100_000, size: 10, pause: time.Millisecond})
		cfg.QueueEvents = 200
		cfg.Work = func(ctx context.Context, events []event.Event) {
			select {
			case <-time.After(time.Duration(len(events)) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := w.run(i)
		until(t, "the reader waits", func() bool { return r.Stats().Queue.Blocked > time.Second })
		if d := r.Stats().Queue.Dropped.Total(); d != 0 {
			t.Errorf("%d dropped while blocking", d)
		}
		i.SetPolicy(queue.DropOldest)
		until(t, "something is dropped", func() bool { return r.Stats().Queue.Dropped[queue.DropOldest] > 0 })
		r.stop(t)
		if s := r.Stats(); s.Queue.Policy != queue.DropOldest || s.Queue.Dropped[queue.DropOldest] == 0 {
			t.Errorf("after the end: %v, %v dropped", s.Queue.Policy, s.Queue.Dropped)
		}
	})
}
