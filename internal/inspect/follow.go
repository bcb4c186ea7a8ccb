package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/scan"
)

// lookEvery is how often the followed topics are looked at as a whole: followEvery looks only at the ends
// of the partitions that are known.
const lookEvery = time.Second

// look finds out what happened to the followed topics themselves. Partitions that were added are
// followed from their beginning, unless the query names its partitions. A topic that was deleted
// and created again under its name is another one: its offsets begin again, so that to go on would
// leave out its first messages. Where no broker answers, nothing changes.
func (r *reading) look(ctx context.Context) error {
	meta, err := r.i.Metadata(ctx, r.topics...)
	if err != nil {
		return nil //nolint:nilerr // the brokers are asked again a second later
	}
	for _, topic := range r.topics {
		d, err := found(meta, topic)
		if errors.Is(err, ErrNoTopic) {
			return err
		}
		if err != nil {
			continue
		}
		was := r.meta.Topics[topic]
		if none := [16]byte{}; d.ID != was.ID && d.ID != none && was.ID != none {
			return fmt.Errorf("the topic %q was deleted and created again while it was followed: read it anew to see its messages", topic)
		}
		if len(r.q.Partitions) > 0 || len(d.Partitions) <= len(was.Partitions) {
			continue
		}
		r.meta.Topics[topic] = d
		for _, p := range slices.Sorted(maps.Keys(d.Partitions)) {
			if _, known := was.Partitions[p]; !known {
				tp := scan.TopicPartition{Topic: topic, Partition: p}
				r.parts = append(r.parts, tp)
				r.low[tp], r.from[tp], r.to[tp] = 0, 0, 0
				r.progress[topic].Next[p], r.progress[topic].End[p] = 0, 0
			}
		}
	}
	return nil
}
