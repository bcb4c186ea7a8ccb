package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// lookEvery is how often a followed topic is looked at as a whole: followEvery looks only at the ends
// of the partitions that are known.
const lookEvery = time.Second

// look finds out what happened to the followed topic itself. Partitions that were added are
// followed from their beginning, unless the query names its partitions. A topic that was deleted
// and created again under its name is another one: its offsets begin again, so that to go on would
// leave out its first messages. Where no broker answers, nothing changes.
func (r *reading) look(ctx context.Context) error {
	meta, d, err := r.i.lookUp(ctx, r.q.Topic)
	if errors.Is(err, ErrNoTopic) {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // the brokers are asked again a second later
	}
	was := r.meta.Topics[r.q.Topic]
	if none := [16]byte{}; d.ID != was.ID && d.ID != none && was.ID != none {
		return fmt.Errorf("the topic %q was deleted and created again while it was followed: read it anew to see its messages", r.q.Topic)
	}
	if len(r.q.Partitions) > 0 || len(d.Partitions) <= len(was.Partitions) {
		return nil
	}
	r.meta = meta
	for _, p := range slices.Sorted(maps.Keys(d.Partitions)) {
		if _, known := was.Partitions[p]; !known {
			r.parts = append(r.parts, p)
			r.low[p], r.from[p], r.to[p] = 0, 0, 0
			r.progress.Next[p], r.progress.End[p] = 0, 0
		}
	}
	return nil
}
