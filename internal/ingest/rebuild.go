package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// rebuild fills the duplicate filter from the topics, with everything that
// upstream may deliver again after the cursor's position less a margin.
func (s *session) rebuild(ctx context.Context) error {
	if len(s.rec.Counts) == 0 { // nothing was ever written
		return nil
	}
	began := time.Now()
	since := s.rec.Cursor.TimeUS/1000 - s.cfg.Source.Window().Milliseconds()
	// Each record can have a transaction's marker behind it.
	least := max(s.memory.tail, 2*int64(s.repeats()))
	bounds, err := kafka.TailBounds(ctx, s.cl, since, least, s.cfg.eventTopics()...)
	if err != nil {
		return fmt.Errorf("rebuild the duplicate filter: %w", err)
	}
	s.filter.advance(s.rec.Cursor.TimeUS)
	r := rebuilder{s: s, batch: event.NewBatch()}
	if err := kafka.Scan(ctx, s.cfg.Kafka, s.ranges(bounds), r.record); err != nil {
		return fmt.Errorf("rebuild the duplicate filter: %w", err)
	}
	r.batch.Release()
	s.cfg.Log.Debug("duplicate filter rebuilt", "records", r.records, "identities", s.filter.n, "took", time.Since(began))
	return nil
}

// ranges are the stretches to read, bounded by what the filter can hold.
func (s *session) ranges(bounds map[kafka.TopicPartition]kafka.Bound) []kafka.Range {
	most := int64(2 * s.filter.limit / max(1, len(bounds)))
	var out []kafka.Range
	for tp, b := range bounds {
		if !s.writes(tp) {
			continue
		}
		from := b.Start
		if from < b.End-most {
			from = b.End - most
			s.cfg.Log.Warn("the duplicate filter cannot hold the whole window", "topic", tp.Topic, "partition", tp.Partition, "records", most)
		}
		out = append(out, kafka.Range{TopicPartition: tp, From: from, To: b.End})
	}
	return out
}

// rebuilder takes stored records into the filter.
type rebuilder struct {
	s       *session
	batch   *event.Batch
	records int
}

func (r *rebuilder) record(rec *kgo.Record) error {
	if r.records++; r.records%1000 == 0 {
		crash.Here("ingest: filter half rebuilt")
		r.batch.Release()
		r.batch = event.NewBatch()
	}
	if header(rec, kafka.HeaderSeq) == nil {
		return nil // another program's: its record is no reason to drop ours
	}
	if rec.Topic == r.s.cfg.Topics.DeadLetter {
		if sum := header(rec, kafka.HeaderSHA256); sum != nil {
			r.s.filter.fresh(append([]byte(rejectPrefix), sum...))
		}
		return nil
	}
	if id, _, ok := r.s.cfg.Source.Identify(rec.Value, r.batch); ok {
		r.s.filter.fresh(id)
	}
	return nil
}

// header returns a header's value, nil if there is none.
func header(r *kgo.Record, key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

// repeats is how many events the source can deliver again whatever their age.
func (s *session) repeats() int {
	if r, ok := s.cfg.Source.(Repeater); ok {
		return r.Repeats()
	}
	return 0
}
