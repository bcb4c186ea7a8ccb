package ingest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

const (
	// clocksApart is how far apart the stamps of two servers for one event may be for a
	// look back to find it.
	clocksApart = time.Minute
	// nothingOlder is filter.since when the filter holds its window and nothing beyond.
	nothingOlder = math.MaxInt64
)

// behind returns the upstream time of an event, in Unix microseconds, where the filter
// may have forgotten such an event, and otherwise 0. What was asked for is so old soon
// after the first start of all, or where a server's clock is behind. Servers also send what
// nobody asked for.
func (s *session) behind(e *event.Event) int64 {
	at := cmp.Or(e.AtUS, e.TimeUS)
	if at <= 0 || at >= s.late || e.Route == event.Gap || len(e.ID) == 0 {
		return 0
	}
	return at
}

// tells reports whether the filter can tell if an event was stored that upstream sends so
// late. Where it cannot, the topics are read back as far as the event is old. They do not
// help where that is more than the filter can hold, and where the event's topic no longer has
// all that was stored then: nobody knows in which of its partitions the event would lie, since
// the topic may have had fewer.
func (s *session) tells(ctx context.Context, e *event.Event, at int64) (bool, error) {
	f := s.filter
	if f.has(e.Sum) {
		return true, nil
	}
	if e.TimeUS > 0 {
		at = min(at, e.TimeUS)
	}
	// A record's timestamp is not the event's where that was too far ahead.
	lead := max(0, f.newest-time.Now().UnixMicro())
	since := at - lead - clocksApart.Microseconds()
	if since <= s.beyond {
		return false, nil
	}
	if since < f.since {
		ranges, err := s.since(ctx, since)
		if err == nil && ranges == nil {
			s.beyond = since
			return false, nil
		}
		if err == nil {
			err = s.lookBack(ctx, since, ranges)
		}
		if err != nil {
			return false, fmt.Errorf("look back in the topics: %w", err)
		}
	}
	return !s.trimmed[s.tx.topics[e.Route].name], nil
}

// since returns the ranges that hold what was stored since a time in Unix microseconds, or
// nil where they are too long. It notes the topics of which some of that is deleted.
func (s *session) since(ctx context.Context, us int64) ([]kafka.Range, error) {
	names := s.cfg.eventTopics()
	whole, err := kafka.Bounds(ctx, s.cl, names...)
	if err != nil {
		return nil, err
	}
	tails, err := kafka.TailBounds(ctx, s.cl, us/1000, 0, names...)
	if err != nil {
		return nil, err
	}
	out := []kafka.Range{}
	s.trimmed = map[string]bool{}
	records := int64(s.filter.n + s.memory.spare)
	for tp, tail := range tails {
		if tp.Topic == s.cfg.Topics.DeadLetter && tp.Partition != s.partition {
			continue
		}
		if start := whole[tp].Start; start > 0 && tail.Start <= start {
			s.trimmed[tp.Topic] = true
		}
		records += tail.End - tail.Start
		out = append(out, kafka.Range{TopicPartition: tp, From: tail.Start, To: tail.End})
	}
	if records > int64(s.filter.limit) {
		return nil, nil
	}
	return out, nil
}

// lookBack takes into the filter what the topics hold in ranges, which is all that was
// stored since a time in Unix microseconds.
func (s *session) lookBack(ctx context.Context, since int64, ranges []kafka.Range) error {
	began, f := time.Now(), s.filter
	ring, head, n := f.ring, f.head, f.n
	f.ring, f.table, f.head, f.n = nil, nil, 0, 0
	r := rebuilder{s: s, batch: event.NewBatch()}
	if err := kafka.Scan(ctx, s.cfg.Kafka, ranges, r.record); err != nil {
		return err
	}
	r.batch.Release()
	for i := range n {
		f.put(ring[(head+i)%len(ring)])
	}
	// As many again may come before any of it goes, so that looking back costs no
	// more than storing does.
	f.keep = min(max(f.keep, f.n+max(f.n, s.memory.spare)), f.limit)
	f.since = since
	s.cfg.Log.Info("events came that are older than the duplicate filter: read the topics back", "since", time.UnixMicro(since).UTC(),
		"records", r.records, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// skip counts an event that is so old that nobody can tell any more whether it was stored.
func (s *session) skip(d *delta, at int64) {
	d.tooOld++
	if now := time.Now(); now.Sub(s.toldOld) >= tellEvery {
		s.toldOld = now
		s.cfg.Log.Warn("not stored: upstream sends old events again without being asked, and the topics no longer show which of them are duplicates; "+
			"weir_source_too_old_total counts such events", "event_time", time.UnixMicro(at).UTC(), "position", time.UnixMicro(s.filter.newest).UTC())
	}
}
