package ingest_test

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/queue"
)

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
				start := func() running {
					cfg := w.config(src)
					cfg.QueueEvents, cfg.MaxEvents, cfg.Policy, cfg.SpillDir = 100, 100, queue.Spill, dir
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
						if s := i.Stats().Queue.Spilled.Events; s > 0 && i.Stats().Commits > int64(death) {
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
				if d := r.Stats().Queue.Dropped.Total(); d != 0 {
					t.Errorf("%d dropped", d)
				}
			})
		})
	}
}
