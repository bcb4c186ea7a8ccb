package kit

import (
	"context"
	"log/slog"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/count"
)

// Counter is a member of a group that counts a topic's Bluesky events, as weir's own do.
type Counter struct {
	// Stop asks it to end, and does not wait.
	Stop  func()
	ended chan struct{}
}

// StartCounter starts one, which ends with ctx, too. Its error is logged.
func StartCounter(ctx context.Context, cfg count.Config, log *slog.Logger) (*Counter, error) {
	cfg.Classify = bluesky.Classify
	c, err := count.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	m := &Counter{Stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		if err := c.Run(ctx); err != nil {
			log.Error("counter ended", "group", cfg.Group, "error", err)
		}
	}()
	return m, nil
}

// Close stops it and waits for its end. It may be called twice.
func (c *Counter) Close() {
	c.Stop()
	<-c.ended
}
