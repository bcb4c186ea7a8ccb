package count

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/tally"
)

// assigned gives newly assigned partitions their positions. It is called by the
// client, in its own goroutine, before anything is fetched; it returns an error
// only when ctx, the group session, ends.
func (m *member) assigned(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ids := slices.Sorted(maps.Keys(offsets[m.c.cfg.Topic]))
	if len(ids) == 0 {
		return offsets, nil
	}
	retry := event.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	for {
		parts, err := m.place(ctx, ids)
		if err == nil {
			return m.adopt(offsets, parts), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m.trouble(err)
		wait, _ := retry.Next(nil, false)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// joined notes that the group has this member.
func (m *member) joined() {
	m.c.meter.rebalances.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = nil
}

// trouble notes an error with the one of the two servers that it is of.
func (m *member) trouble(err error) {
	var ke *kafkaError
	if errors.As(err, &ke) {
		m.c.meter.kafka.note(ke.err) // the observer finds the cause and reports it
		return
	}
	m.c.meter.redis.failed(m.log, err)
}

// kafkaError marks an error of Kafka, in contrast to one of Redis.
type kafkaError struct{ err error }

func (e *kafkaError) Error() string { return e.err.Error() }
func (e *kafkaError) Unwrap() error { return e.err }

// place finds where each partition goes on: at what is stored, or at the start of
// the log, which is stored first.
func (m *member) place(ctx context.Context, ids []int32) ([]*partition, error) {
	cfg := &m.c.cfg
	log, err := m.bounds(ctx)
	if err != nil {
		return nil, &kafkaError{err}
	}
	stored, err := cfg.Store.Load(ctx, cfg.Group, cfg.Topic, ids)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	parts := make([]*partition, 0, len(ids))
	for _, id := range ids {
		p := &partition{id: id, topicID: log.id, stored: stored[id], confirmed: now, highWatermark: -1}
		parts = append(parts, p)
		start, known := log.starts[id]
		end, knownEnd := log.ends[id]
		if knownEnd {
			p.highWatermark = end
		}
		if p.stored.Err == nil && !p.stored.Found {
			if !known {
				return nil, &kafkaError{fmt.Errorf("the start of partition %d is not known yet", id)}
			}
			r, err := cfg.Store.Begin(ctx, cfg.Group, cfg.Topic, id, log.id, start)
			if err != nil {
				return nil, err
			}
			p.stored = r.Stored
		}
		m.mu.Lock()
		switch {
		case p.stored.Err != nil:
			m.stop(p, p.stored, p.stored.Err.Error())
		case p.stored.TopicID != "" && log.id != "" && p.stored.TopicID != log.id:
			m.stop(p, p.stored, recreated(p.stored.TopicID, log.id))
		case known && knownEnd:
			if why := outOfLog(p.stored.Next, start, end); why != "" {
				m.stop(p, p.stored, why)
			}
		}
		m.mu.Unlock()
	}
	m.c.meter.redis.ok(m.log)
	return parts, nil
}

// adopt makes the partitions this member's and tells the client where to fetch.
func (m *member) adopt(offsets map[string]map[int32]kgo.Offset, parts []*partition) map[string]map[int32]kgo.Offset {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := make(map[int32]kgo.Offset, len(parts))
	var pause []int32
	for _, p := range parts {
		if old := m.parts[p.id]; old != nil {
			old.lost = true
		}
		m.parts[p.id] = p
		at[p.id] = kgo.NewOffset().At(max(p.stored.Next, 0)).WithEpoch(-1)
		if p.stopped != "" {
			p.paused = true
			pause = append(pause, p.id)
			continue
		}
		m.log.Info("counting partition", "partition", p.id, "position", p.stored.Next)
	}
	m.pauseFetching(pause)
	m.moved = true
	offsets[m.c.cfg.Topic] = at
	return offsets
}

// begin stores a position for the partitions whose tally is gone: the start of
// the log, from where everything that Kafka has is counted again.
func (m *member) begin(ctx context.Context) {
	var missing []*partition
	var ids []int32
	m.mu.Lock()
	now := time.Now()
	for _, p := range m.parts {
		if p.reseek && p.stopped == "" && !p.stored.Found && !now.Before(p.notBefore) {
			missing, ids = append(missing, p), append(ids, p.id)
		}
	}
	m.mu.Unlock()
	if len(missing) == 0 {
		return
	}
	bctx, cancel := context.WithTimeout(ctx, m.c.pace.answer)
	placed, err := m.place(bctx, ids)
	cancel()
	if err != nil && ctx.Err() == nil {
		m.trouble(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range missing {
		switch {
		case err != nil:
			p.notBefore = time.Now().Add(m.c.pace.check)
		case placed[i].stopped != "":
			p.stopped, p.stored, p.reseek = placed[i].stopped, placed[i].stored, false
		default:
			m.log.Warn("the counts in Redis were gone; counting again from the offset that is stored now", "partition", p.id, "position", placed[i].stored.Next)
			p.stored, p.confirmed = placed[i].stored, placed[i].confirmed
		}
	}
}

// revoked commits where the partitions stand, for the tools, and lets go of them.
// Nothing is in hand then: the client calls it only between two turns of the
// loop, and after a turn that Redis did not take the batch is simply dropped.
func (m *member) revoked(ctx context.Context, ids []int32) {
	if len(ids) > 0 {
		m.commit(ctx)
		m.forget(ids)
	}
}

// forget lets go of partitions.
func (m *member) forget(ids []int32) {
	var paused []int32
	m.mu.Lock()
	for _, id := range ids {
		if p := m.parts[id]; p != nil {
			p.lost = true
			if p.paused {
				paused = append(paused, id)
			}
			delete(m.parts, id)
			m.log.Info("partition revoked", "partition", id, "position", p.stored.Next)
		}
	}
	m.mu.Unlock()
	if len(paused) > 0 {
		<-m.ready
		m.resumeFetching(paused)
	}
}

// logBounds is what Kafka says of the topic.
type logBounds struct {
	id           string // empty where the cluster has no ids
	starts, ends map[int32]int64
}

// bounds asks Kafka for the topic's id and the offsets that it has.
func (m *member) bounds(ctx context.Context) (logBounds, error) {
	ctx, cancel := context.WithTimeout(ctx, m.c.pace.answer)
	defer cancel()
	topic := m.c.cfg.Topic
	b := logBounds{starts: map[int32]int64{}, ends: map[int32]int64{}}
	adm := kadm.NewClient(m.cl)
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return b, m.why(err)
	}
	detail := topics[topic]
	if detail.Err != nil {
		return b, fmt.Errorf("topic %s: %w", topic, detail.Err)
	}
	b.id = tally.TopicUUID(detail.ID)
	known := func(into map[int32]int64, list func(context.Context, ...string) (kadm.ListedOffsets, error)) error {
		offsets, err := list(ctx, topic)
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil && o.Offset >= 0 {
				into[o.Partition] = o.Offset
			}
		})
		return err
	}
	err = known(b.starts, adm.ListStartOffsets)
	if err == nil {
		err = known(b.ends, adm.ListEndOffsets)
	}
	if err != nil {
		return b, m.why(err)
	}
	return b, nil
}

// why replaces a mere timeout by the reason why no broker answers.
func (m *member) why(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if perr := m.cl.Ping(ctx); perr != nil && !errors.Is(perr, context.DeadlineExceeded) {
		return perr
	}
	return err
}
