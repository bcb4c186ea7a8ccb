package count

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

// observation is what Kafka said about the topic at one time.
type observation struct {
	n       int // counts observations; 0 is none
	missing int // answers in a row that the topic does not exist
	log     logBounds
	// before are the positions from before the question was asked: a position
	// from after it can rightly lie beyond the end.
	before map[int32]int64
}

// Observations in a row before a partition is stopped for it: a broker that has
// just started can answer wrongly for a moment.
const (
	missingTimes   = 5
	truncatedTimes = 3
	// unexplainedTimes is how often an error of a cluster that looks well may come in
	// a row before it is told: what a client meets right after a failover.
	unexplainedTimes = 3
)

// sessionErrorLasts is how long an error of the group stands: the client tries anew,
// and meets it again, within a few seconds.
const sessionErrorLasts = 10 * time.Second

// every calls do at once, and then again each time d has passed, until ctx ends.
func every(ctx context.Context, d time.Duration, do func(context.Context)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// observe asks Kafka, apart from the loop, so that a Kafka that does not answer stalls nothing.
func (m *member) observe(ctx context.Context) {
	before := map[int32]int64{}
	m.mu.Lock()
	for id, p := range m.parts {
		before[id] = p.stored.Next
	}
	m.mu.Unlock()
	log, err := m.bounds(ctx)
	if err == nil {
		err = m.outsideGroup()
	}
	cause := err
	if err != nil {
		// What a client meets is only how it shows.
		m.unexplained++
		if why := kafka.Explain(ctx, m.c.cfg.Kafka, m.c.cfg.Topic); why != nil {
			cause, m.unexplained = why, 0
		}
	}
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.unexplained = 0
		m.c.meter.kafka.ok(m.log)
		m.seen = observation{n: m.seen.n + 1, log: log, before: before}
		for id, p := range m.parts {
			if end, ok := log.ends[id]; ok {
				p.highWatermark = max(p.highWatermark, end)
			}
		}
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		m.unexplained = 0
		m.c.meter.kafka.failed(m.log, cause)
		m.seen = observation{n: m.seen.n + 1, missing: m.seen.missing + 1}
	case m.unexplained > 0 && m.unexplained < unexplainedTimes:
		m.c.meter.kafka.note(err)
	default:
		m.c.meter.kafka.failed(m.log, cause)
	}
}

// outsideGroup says why this member is not in the group, which a topic that can be
// asked for everything says nothing about; nil where it is.
func (m *member) outsideGroup() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.session == nil || time.Since(m.sessionAt) > sessionErrorLasts:
		return nil
	case errors.Is(m.session, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("group %s: %w: `weir preflight` names the permission to add", m.c.cfg.Group, m.session)
	}
	return fmt.Errorf("group %s: %w", m.c.cfg.Group, m.session)
}

// check acts on the last observation, and compares the stored offsets of
// partitions for which nothing was counted lately with the ones in memory: a
// Redis that lost its tail is noticed within a second, also when nothing arrives.
// It returns errAnew where only a new client can go on.
func (m *member) check(ctx context.Context) error {
	var ask []int32
	m.mu.Lock()
	m.stopUnreadable()
	now := time.Now()
	for id, p := range m.parts {
		if p.stopped != "" || (!p.reseek && now.Sub(p.confirmed) >= m.c.pace.check/2) {
			ask = append(ask, id)
		}
	}
	m.mu.Unlock()
	if len(ask) == 0 {
		return nil
	}
	lctx, cancel := context.WithTimeout(ctx, m.c.pace.answer)
	defer cancel()
	stored, err := m.c.cfg.Store.Load(lctx, m.c.cfg.Group, m.c.cfg.Topic, ask)
	if err != nil {
		if ctx.Err() == nil {
			m.c.meter.redis.failed(m.log, err)
		}
		return nil
	}
	m.c.meter.redis.ok(m.log)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ask {
		p := m.parts[id]
		if p == nil {
			continue
		}
		s := stored[id]
		p.confirmed = now
		switch {
		case p.stopped != "" && !changed(p.stored, s):
		case p.stopped != "" && p.renew:
			return errAnew
		case s.Err != nil:
			m.stop(p, s, s.Err.Error())
		case p.stopped != "" && s.Found && s.TopicID != "" && p.topicID != "" && s.TopicID != p.topicID:
			m.stop(p, s, recreated(s.TopicID, p.topicID))
		case p.stopped != "":
			m.log.Info("going on after a reset", "partition", id, "position", s.Next)
			p.stopped, p.truncated = "", 0
			m.goTo(p, s, -1)
		case s.Next != p.stored.Next || s.Found != p.stored.Found:
			m.c.meter.refusals.Add(1)
			m.log.Warn("the stored offset changed; going on from there", "partition", id, "position", p.stored.Next, "stored", s.Next, "found", s.Found)
			m.goTo(p, s, p.stored.Next)
		default:
			p.stored = s
		}
	}
	return nil
}

// stopUnreadable stops the partitions whose position or topic is gone from Kafka. The
// caller holds m.mu.
func (m *member) stopUnreadable() {
	seen := &m.seen
	if seen.n == m.acted {
		return
	}
	m.acted = seen.n
	for id, p := range m.parts {
		if p.stopped != "" || !p.stored.Found {
			continue
		}
		switch {
		case seen.missing >= missingTimes:
			p.renew = true
			m.stop(p, p.stored, "the topic was deleted"+resetHint+" after it is created again")
			continue
		case seen.missing > 0:
			continue
		case seen.log.id != "" && p.topicID != "" && seen.log.id != p.topicID:
			p.renew = true
			m.stop(p, p.stored, recreated(p.topicID, seen.log.id))
			continue
		}
		start, ok := seen.log.starts[id]
		end, ok2 := seen.log.ends[id]
		before, ok3 := seen.before[id]
		if !ok || !ok2 || !ok3 {
			continue
		}
		// An end that was beyond the position when it was asked for says nothing
		// against a position that has moved on since.
		if end >= before {
			p.truncated, end = 0, math.MaxInt64
		} else if p.truncated++; p.truncated < truncatedTimes {
			end = math.MaxInt64
		}
		if why := outOfLog(p.stored.Next, start, end); why != "" {
			m.stop(p, p.stored, why)
		}
	}
}

// commitMoved commits the positions to Kafka where they have moved.
func (m *member) commitMoved(ctx context.Context) {
	m.mu.Lock()
	moved := m.moved
	m.mu.Unlock()
	if moved {
		m.commit(ctx)
	}
}

// commit tells Kafka the positions. Only tools read them, so an error changes
// nothing: the next commit carries the same.
func (m *member) commit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.c.pace.answer)
	defer cancel()
	at := map[int32]kgo.EpochOffset{}
	m.mu.Lock()
	m.moved = false
	for id, p := range m.parts {
		if p.stopped == "" && p.stored.Found {
			at[id] = kgo.EpochOffset{Epoch: -1, Offset: p.stored.Next}
		}
	}
	m.mu.Unlock()
	if len(at) == 0 {
		return
	}
	var failed error
	m.cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.c.cfg.Topic: at},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			failed = err
			if resp == nil {
				return
			}
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					if perr := kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode); perr != nil {
						failed = perr
					}
				}
			}
		})
	if failed != nil {
		m.mu.Lock()
		m.moved = true
		m.mu.Unlock()
		m.log.Debug("commit to Kafka failed; the next one repeats it", "error", failed)
	}
}
