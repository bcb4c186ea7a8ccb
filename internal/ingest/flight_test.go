package ingest_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/ingest"
)

// TestGathersWhileCommitting holds a transaction up after its records are written. What
// comes from the source then is more than the queue takes, so that the next transaction
// has some of it; and it is not written before the one that is held up.
func TestGathersWhileCommitting(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n, size, queue = 2000, 50, 100
		var made atomic.Int64 // by the source
		src := &script{n: n, size: size, item: func(i int) item {
			made.Store(max(made.Load(), int64(i+1)))
			return plain(i)
		}}
		cfg := w.config(src)
		cfg.QueueEvents = queue
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		var begun, held atomic.Int64
		hook(t, func(point string) {
			switch {
			case point == "ingest: begun":
				begun.Add(1)
			case point == "ingest: produced" && begun.Load() == 2: // the claim is the first
				<-gate
			case point == "ingest: accounted" && begun.Load() == 2:
				held.Store(i.Stats().Cursor.Seq)
			}
		})
		r := w.run(i)
		time.Sleep(5 * time.Second) // a transaction has 15
		before := made.Load()
		if c := r.Stats().Cursor.Seq; c != 0 || begun.Load() != 2 {
			t.Fatalf("cursor %d, %d transactions begun: none is held up", c, begun.Load())
		}
		close(gate)
		until(t, "the transaction is committed", func() bool { return held.Load() > 0 })
		if waiting := before - held.Load(); waiting < 2*queue {
			t.Errorf("%d events came behind the %d of the transaction that was held up, and the queue takes %d of them: nothing was gathered",
				waiting, held.Load(), queue)
		}
		crash.SetHook(nil)
		r.drain(t, n)
		src.item = nil
		w.verify(src, n)
	})
}
