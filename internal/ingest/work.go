package ingest

import (
	"context"
	"errors"

	"github.com/weir-project/weir/internal/queue"
)

// workedEvents and workedBytes bound what waits between Config.Work and a
// transaction: little, because the queue before it is what is bounded on purpose.
const (
	workedEvents = 512
	workedBytes  = 1 << 20
)

// work puts Config.Work behind the queue q, and returns the queue to take events
// from, which is q itself where there is no work. q must be closed before wait is
// called, which returns when nothing of the work goes on.
func (s *session) work(ctx context.Context, q *queue.Queue) (_ *queue.Queue, wait func()) {
	if s.cfg.Work == nil {
		return q, func() {}
	}
	out := queue.New(workedEvents, workedBytes)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer out.Close()
		for {
			b, err := q.Get(ctx)
			if err != nil {
				if errors.Is(err, queue.ErrSpill) {
					s.workErr = err
				}
				return
			}
			s.cfg.Work(ctx, b.Events)
			if err := out.Put(ctx, b); err != nil {
				return
			}
		}
	}()
	return out, func() {
		cancel()
		<-done
	}
}
