package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// Receiver receives a stream, counts its events and discards them.
type Receiver struct {
	Upstream Upstream
	events   atomic.Int64
}

// Events is how many events have arrived.
func (r *Receiver) Events() int64 { return r.events.Load() }

// Run connects again whenever a connection ends, until ctx ends or that is pointless. It begins
// at the live end each time: what was missed is not counted.
func (r *Receiver) Run(ctx context.Context) error {
	var backoff event.Backoff
	for {
		before := r.Events()
		err := r.Upstream.Stream(ctx, event.Cursor{}, func(b *event.Batch) error {
			r.events.Add(int64(len(b.Events)))
			b.Release()
			return nil
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stream's error only echoes that it was stopped
		}
		wait, permanent := backoff.Next(err, r.Events() > before)
		if permanent {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
