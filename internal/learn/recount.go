package learn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/weir-project/weir/internal/inspect"
)

// maxRecount is how many records one recount reads at most; the next one goes on there.
const maxRecount = 500_000

// recounted is what counts in Redis are compared with.
type recounted struct {
	// counted is the sum of the counts in Redis, records how many records the log holds in the
	// offset ranges that they are about.
	counted, records int64
	partitions       int
	left             int64 // offsets that are not read yet
	trimmed          bool  // retention deleted records of the range
}

// recountCache has how many records were read of offset ranges. Logs do not change, so a range
// that was read is never read again.
type recountCache struct {
	mu    sync.Mutex
	known map[string]*readRange
}

type readRange struct{ until, records int64 }

const maxKnown = 1_000 // ranges

// recount reads the offset ranges that a group has counted in a topic.
func (l *look) recount(ctx context.Context, group, topic string) (r recounted, err error) {
	parts, err := l.c.cfg.Tallies.Partitions(ctx, group, topic)
	if err != nil {
		return r, err
	}
	cache := &l.c.recounts
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.known == nil || len(cache.known) > maxKnown {
		cache.known = map[string]*readRange{}
	}
	budget := int64(maxRecount)
	for _, id := range slices.Sorted(maps.Keys(parts)) {
		t := parts[id]
		r.partitions++
		r.counted += t.Sum()
		key := fmt.Sprintf("%s %s %s %d %d", l.cluster, t.TopicID, topic, id, t.Start)
		known := cache.known[key]
		if known == nil || known.until > t.Next { // counts that began anew
			known = &readRange{until: t.Start}
			cache.known[key] = known
		}
		if known.until < t.Next && budget > 0 {
			n, trimmed, err := l.readOn(ctx, topic, id, known, t.Next, budget)
			if err != nil {
				return r, err
			}
			budget -= n
			r.trimmed = r.trimmed || trimmed
		}
		r.records += known.records
		r.left += max(0, t.Next-known.until)
	}
	return r, nil
}

// readOn counts the records of a partition from where known ends to an offset, at most so many.
func (l *look) readOn(ctx context.Context, topic string, partition int32, known *readRange, until, most int64) (
	n int64, trimmed bool, err error) {
	start, err := l.offsets(ctx, topic, inspect.LogStarts)
	if err != nil {
		return 0, false, err
	}
	if first, err := start(partition); err == nil && first > known.until {
		known.until = min(first, until)
		trimmed = true
	}
	if known.until >= until {
		return 0, trimmed, nil
	}
	progress, err := l.inspector().Read(ctx, inspect.Query{Topic: topic, Partitions: []int32{partition}, From: inspect.AtOffset(known.until),
		Until: inspect.AtOffset(until), MaxScanned: most}, func(inspect.Message) error { n++; return nil })
	if err != nil {
		return n, trimmed, err
	}
	known.records += n
	switch progress.Stopped {
	case inspect.StoppedEnd:
		known.until = until
	case inspect.StoppedLimit:
		known.until = progress.Next[partition]
	default:
		known.records -= n
		return n, trimmed, ctx.Err()
	}
	return n, trimmed || progress.Trimmed > 0, nil
}
