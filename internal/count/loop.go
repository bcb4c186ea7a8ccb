package count

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/tally"
)

// loop polls, counts and applies. Between a poll and AllowRebalance no partition
// can be taken away, which is when seeking is safe; a batch that Redis does not
// take is kept, and rebalances are let through while waiting.
func (m *member) loop(ctx context.Context) error {
	nextCheck := time.Now().Add(m.c.pace.check)
	for {
		fetches := m.poll(ctx, nextCheck)
		m.gather(fetches)
		exclusive := m.apply(ctx)
		if ctx.Err() != nil { // Run was asked to stop
			m.commit(context.WithoutCancel(ctx))
			return nil //nolint:nilerr // so it ends without an error
		}
		if exclusive {
			if now := time.Now(); !now.Before(nextCheck) {
				if err := m.check(ctx); err != nil {
					return err
				}
				nextCheck = now.Add(m.c.pace.check)
			}
			m.seek(ctx)
		}
		m.cl.AllowRebalance()
	}
}

// poll returns what has arrived, or nothing at the time of the next check or of
// the next seek, whichever is first.
func (m *member) poll(ctx context.Context, until time.Time) kgo.Fetches {
	if at, ok := m.nextSeek(); ok && at.Before(until) {
		until = at
	}
	pctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return m.cl.PollFetches(pctx)
}

// nextSeek is when the first seek is due.
func (m *member) nextSeek() (at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.parts {
		if p.reseek && p.stopped == "" && (!ok || p.notBefore.Before(at)) {
			at, ok = p.notBefore, true
		}
	}
	return at, ok
}

// gather counts what was fetched into the batches in hand.
func (m *member) gather(fetches kgo.Fetches) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
		var p *partition
		if fp.Topic == m.c.cfg.Topic {
			p = m.parts[fp.Partition]
		}
		if p != nil {
			p.add(&fp.FetchPartition, m.c.cfg.Classify)
		}
		if fp.Err != nil {
			m.fetchFailed(p, fp.Err)
		}
	})
}

// apply writes the batches in hand to Redis, and tries until Redis took them or
// the partitions are lost. It reports whether rebalances were kept out all the
// while. Once ctx has ended it tries for pace.answer longer: what is not applied
// by then is read again by whoever comes next.
func (m *member) apply(ctx context.Context) (exclusive bool) {
	var giveUp time.Time
	retry := event.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for exclusive = true; ; {
		parts, batches := m.inHand()
		if len(batches) == 0 {
			return exclusive
		}
		if ctx.Err() != nil {
			if giveUp.IsZero() {
				giveUp = time.Now().Add(m.c.pace.answer)
			}
			if time.Now().After(giveUp) {
				return false
			}
		}
		// A cancelled call leaves open whether it was applied; better to wait for it.
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.c.pace.answer)
		start := time.Now()
		results, err := m.c.cfg.Store.Apply(actx, batches)
		cancel()
		if err == nil {
			m.c.meter.took(time.Since(start))
			m.c.meter.redis.ok(m.log)
			m.settle(parts, batches, results)
			return exclusive
		}
		m.c.meter.redis.failed(m.log, err)
		exclusive = false
		m.cl.AllowRebalance()
		wait, _ := retry.Next(nil, false)
		var stop <-chan struct{} // nil, and never ready, once it is known
		if ctx.Err() == nil {
			stop = ctx.Done()
		}
		select {
		case <-stop:
		case <-time.After(wait):
		}
	}
}

// inHand returns the batches that wait for Redis.
func (m *member) inHand() (parts []*partition, batches []tally.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.parts {
		if !p.inHand {
			continue
		}
		parts = append(parts, p)
		batches = append(batches, tally.Batch{
			Group: m.c.cfg.Group, Topic: m.c.cfg.Topic, Partition: p.id, TopicID: p.topicID,
			From: p.stored.Next, Next: p.batchNext, Counts: p.kinds.counts(),
		})
	}
	return parts, batches
}

// settle takes note of what became of the batches.
func (m *member) settle(parts []*partition, batches []tally.Batch, results []tally.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for i, p := range parts {
		r := &results[i]
		if r.Err == nil {
			m.c.meter.applied(p, now)
			if m.c.cfg.Counted != nil {
				m.c.cfg.Counted(p.id, batches[i].Next)
			}
		}
		p.drop()
		if p.lost {
			continue // another member's by now; what is stored is its own affair
		}
		switch {
		case r.Err == nil:
			p.stored, p.confirmed = r.Stored, now
			m.moved = true
		case errors.Is(r.Err, tally.ErrOtherTopic):
			m.stop(p, r.Stored, recreated(r.Stored.TopicID, p.topicID))
		case r.Stored.Err != nil:
			m.stop(p, r.Stored, r.Stored.Err.Error())
		default:
			m.c.meter.refusals.Add(1)
			m.log.Warn("refused: what is stored is not what this batch began with", "partition", p.id,
				"from", batches[i].From, "next", batches[i].Next, "stored", r.Stored.Next, "found", r.Stored.Found)
			m.goTo(p, r.Stored, batches[i].Next)
		}
	}
}

// goTo takes over a stored offset. fetched is where the client reads on from:
// a seek there is needless. The caller holds m.mu.
func (m *member) goTo(p *partition, stored tally.Position, fetched int64) {
	p.drop()
	p.stored, p.reseek, p.notBefore = stored, !stored.Found || stored.Next != fetched, time.Time{}
	m.moved = true
}

// seek makes the client fetch from the positions that were set, and pauses what
// has stopped. Only while no rebalance can happen.
func (m *member) seek(ctx context.Context) {
	m.begin(ctx)
	now := time.Now()
	to := map[int32]kgo.EpochOffset{}
	var pause, resume []int32
	m.mu.Lock()
	for id, p := range m.parts {
		if stopped := p.stopped != ""; stopped != p.paused {
			p.paused = stopped
			if stopped {
				pause = append(pause, id)
			} else {
				resume = append(resume, id)
			}
		}
		if p.reseek && p.stopped == "" && p.stored.Found && !now.Before(p.notBefore) {
			p.reseek = false
			to[id] = kgo.EpochOffset{Epoch: -1, Offset: p.stored.Next}
		}
	}
	m.mu.Unlock()
	m.pauseFetching(pause)
	m.resumeFetching(resume)
	if len(to) > 0 {
		m.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{m.c.cfg.Topic: to})
	}
}

func (m *member) pauseFetching(ids []int32) {
	if len(ids) > 0 {
		m.cl.PauseFetchPartitions(map[string][]int32{m.c.cfg.Topic: ids})
	}
}

func (m *member) resumeFetching(ids []int32) {
	if len(ids) > 0 {
		m.cl.ResumeFetchPartitions(map[string][]int32{m.c.cfg.Topic: ids})
	}
}
