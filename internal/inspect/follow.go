package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/scan"
)

// followEvery is how often the ends of a followed topic are looked at.
const followEvery = 100 * time.Millisecond

// follow reads what is written after the bounded part until ctx ends. A partition whose
// leader does not answer is read when it answers again.
func (r *reading) follow(ctx context.Context) error {
	for {
		ends := r.i.Offsets(ctx, r.meta, r.end)
		for _, p := range r.parts {
			end, ok := ends.Lookup(r.q.Topic, p)
			at := r.progress.Next[p]
			r.from[p], r.to[p] = at, at
			switch {
			case errors.Is(end.Err, kerr.UnknownTopicOrPartition):
				if err := r.i.Exists(ctx, r.q.Topic); errors.Is(err, ErrNoTopic) {
					return err
				}
			case !ok || end.Err != nil:
			case end.Offset < at:
				return fmt.Errorf("follow partition %d: the log ends at offset %d, below %d, where it was read: the broker lost records, or the topic was created again", p, end.Offset, at)
			default:
				r.to[p] = end.Offset
			}
		}
		if err := r.forward(ctx); err != nil && !errors.Is(err, scan.ErrStalled) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}
