package ingest_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/lab/overflow"
)

// TestSlowWorkBlocksOrDrops has work that is slower than the source.
func TestSlowWorkBlocksOrDrops(t *testing.T) {
	const n, size = 3000, 10
	for _, p := range []overflow.Policy{overflow.Block, overflow.DropNewest, overflow.DropOldest, overflow.Sample, overflow.Spill} {
		t.Run(p.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				var worked atomic.Int64
				script := &script{n: n, size: size, pause: 10 * time.Millisecond, item: func(n int) item {
					it := plain(n)
					it.route, it.kind = event.Data, "create"
					return it
				}}
				work := func(ctx context.Context, events []event.Event) {
					select {
					case <-time.After(time.Duration(len(events)) * 2 * time.Millisecond): // half as fast
						worked.Add(int64(len(events)))
					case <-ctx.Done():
					}
				}
				src := overflow.NewSource(repeater{script}, overflow.Config{Events: 200, Bytes: 1 << 20, Policy: p, Dir: t.TempDir(), DiskBytes: 10_000, Work: work})
				i, err := ingest.New(w.config(src))
				if err != nil {
					t.Fatal(err)
				}
				r := w.run(i)
				until(t, "everything is stored or dropped", func() bool {
					return r.Stats().Events+src.Stats().Dropped.Total() >= n
				})
				r.stop(t)
				s, q := r.Stats(), src.Stats()
				dropped := q.Dropped[p]
				if s.Events+dropped != n || s.Restarts != 0 || q.Dropped.Total() != dropped || worked.Load() != s.Events || q.Policy != p {
					t.Errorf("%d stored, %d worked on, %v dropped of %d (%v), %d duplicates, %d restarts (%s)", s.Events, worked.Load(), q.Dropped, n, q.Policy, s.Duplicates, s.Restarts, s.LastError)
				}
				if p == overflow.Block && (dropped != 0 || q.Blocked == 0) || p != overflow.Block && dropped < n/3 {
					t.Errorf("%d dropped, blocked for %v", dropped, q.Blocked)
				}
			})
		})
	}
}

// TestAPolicyIsChosenWhileItRuns begins with block and ends with drops.
func TestAPolicyIsChosenWhileItRuns(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		work := func(ctx context.Context, events []event.Event) {
			select {
			case <-time.After(time.Duration(len(events)) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		script := &script{n: 100_000, size: 10, pause: time.Millisecond}
		src := overflow.NewSource(repeater{script}, overflow.Config{Events: 200, Bytes: 1 << 20, Work: work})
		i, err := ingest.New(w.config(src))
		if err != nil {
			t.Fatal(err)
		}
		r := w.run(i)
		until(t, "the reader waits", func() bool { return src.Stats().Blocked > time.Second })
		if d := src.Stats().Dropped.Total(); d != 0 {
			t.Errorf("%d dropped while blocking", d)
		}
		src.SetPolicy(overflow.DropOldest)
		until(t, "something is dropped", func() bool { return src.Stats().Dropped[overflow.DropOldest] > 0 })
		r.stop(t)
		if q := src.Stats(); q.Policy != overflow.DropOldest || q.Dropped[overflow.DropOldest] == 0 {
			t.Errorf("after the end: %v, %v dropped", q.Policy, q.Dropped)
		}
	})
}

// TestDeathWithASpill lets an ingester die again and again while events wait on its
// disk. The disk keeps nothing of it, the cursor lies before what was spilled, and so
// the next one is sent it again: each event is stored once.
func TestDeathWithASpill(t *testing.T) {
	const n = 4000
	for _, point := range []string{"ingest: gathered", "ingest: half produced", "ingest: flushed", "ingest: committed"} {
		t.Run(point, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				hook(t, nil)
				dir := t.TempDir()
				src := &script{n: n, size: 10, margin: 50}
				var behind atomic.Pointer[overflow.Source]
				start := func() running {
					behind.Store(overflow.NewSource(repeater{src}, overflow.Config{Events: 100, Bytes: 1 << 20, Policy: overflow.Spill, Dir: dir, DiskBytes: 1 << 30}))
					cfg := w.config(behind.Load())
					cfg.QueueEvents, cfg.MaxEvents = 100, 100
					i, err := ingest.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					return w.run(i)
				}
				for death := range 3 {
					var now atomic.Pointer[ingest.Ingester]
					var waiting atomic.Int64
					crash.SetHook(func(at string) {
						i := now.Load()
						if at != point || i == nil || waiting.Load() > 0 {
							return
						}
						if s := behind.Load().Stats().Spilled.Events; s > 0 && i.Stats().Commits > int64(death) {
							waiting.Store(int64(s))
							panic(died{at})
						}
					})
					r := start()
					now.Store(r.Ingester)
					if err := r.end(t); err != errDied || waiting.Load() == 0 {
						t.Fatalf("death %d: %v, with %d events on disk", death, err, waiting.Load())
					}
					if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
						t.Errorf("death %d leaves %v on disk (%v)", death, left, err)
					}
				}
				crash.SetHook(nil)
				r := start()
				r.drain(t, n)
				w.verify(src, n)
				if d := behind.Load().Stats().Dropped.Total(); d != 0 {
					t.Errorf("%d dropped", d)
				}
			})
		})
	}
}
