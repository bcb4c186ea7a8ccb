package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Run applies retention every Config.CheckEvery until ctx ends or the cluster is
// closed, then returns nil. A pass that fails is logged and tried again.
func (c *Cluster) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.CheckEvery)
	defer tick.Stop()
	for {
		if err := c.Enforce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errClosed) {
			c.log.Warn("retention", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return nil
		case <-tick.C:
		}
	}
}

// Enforce deletes what is over: records older than a topic's retention.ms, whole
// segments beyond its retention.bytes, superseded records at the head of a
// compacted topic, and the oldest segments of all others beyond the limits of the
// whole log. Every partition keeps its last record, because one with none would
// start again at offset 0 after a restart; no open transaction is cut.
func (c *Cluster) Enforce(ctx context.Context) error {
	c.trim.mu.Lock()
	defer c.trim.mu.Unlock()
	c.archive.untouched()
	parts, err := c.retained(ctx)
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	now := time.Now()
	third := c.cfg.maxBatches / 3 / int64(max(len(parts), 1))
	hot := cmp.Or(c.cfg.HotBatches, min(max(third, leastHot), mostHot))
	shared, err := c.sharedFrom(ctx)
	if err != nil && kerr.IsRetriable(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	maxBatches := c.cfg.maxBatches
	var errs []error
	for i := range parts {
		p := &parts[i]
		// What share groups wait for stays while there is memory for it.
		if from, ok := shared[p.partition]; ok && p.batches() <= hot+2*third {
			p.held = from
		}
		err := c.archiveOld(ctx, p, hot)
		err = errors.Join(err, c.expire(ctx, p, now))
		if p.policy.compact {
			err = errors.Join(err, c.trim.compact(ctx, c, p))
		}
		switch {
		case err == nil:
		case kerr.IsRetriable(err): // a leader moved meanwhile: the next pass archives what would be deleted now
			maxBatches = math.MaxInt64
		default:
			errs = append(errs, fmt.Errorf("apply retention to %s/%d: %w", p.topic, p.id, err))
		}
		if p.policy.delete {
			p.shrink()
		}
	}
	c.trim.forget(parts)
	if ctx.Err() == nil { // nothing is deleted because there was no time to archive it
		fit(parts, c.cfg.LogSize, maxBatches)
		for i := range parts {
			errs = append(errs, c.deleteTo(&parts[i]))
		}
	}
	c.archivePassed()
	return errors.Join(errs...)
}

func (c *Cluster) deleteTo(p *retained) error {
	if p.to <= p.start || c.archive.isTouched(p.topic, p.topicID) {
		return nil
	}
	if err := c.archive.deleteTo(p.partition, p.to); err != nil {
		c.archive.trouble.note(err)
		return nil
	}
	if p.to <= p.hot {
		return nil
	}
	err := c.module(func(k *kfake.Cluster) error { return k.DeleteRecords(p.topic, p.id, p.to) })
	if deleted(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete records of %s/%d: %w", p.topic, p.id, err)
	}
	c.log.Debug("records deleted", "topic", p.topic, "partition", p.id, "from", p.start, "to", p.to)
	return nil
}

// deleted reports whether an error says that a client deleted records, or the topic, meanwhile.
func deleted(err error) bool {
	return errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicOrPartition)
}

// forgetTopics deletes what is archived of topics that are gone.
func (c *Cluster) forgetTopics(all []placed) error {
	ids := make(map[string]uuid)
	for _, p := range all {
		ids[p.topic] = p.topicID
	}
	return c.archive.keep(ids)
}

// policy is what the configuration of a topic says about keeping records.
type policy struct {
	compact, delete bool
	ms, bytes       int64 // negative: for ever
}

// retained is a partition and how far its head is to be deleted.
type retained struct {
	partition
	topicID    uuid
	leader     int32
	policy     policy
	segments   []segment // the archive's first
	start, end int64     // first offset, and the one after the last
	hot        int64     // the first offset that the module has
	limit      int64     // what must stay: the last record, open transactions
	held       int64     // what must not be archived begins here
	to         int64     // result: delete what is below
}

// retained describes every partition.
func (c *Cluster) retained(ctx context.Context) ([]retained, error) {
	all, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.forgetTopics(all); err != nil {
		c.log.Warn("delete what is archived of deleted topics", "error", err)
	}
	var topics []string
	for _, p := range all {
		topics = append(topics, p.topic)
	}
	configs, err := c.topicConfigs(ctx, 0, slices.Compact(topics))
	if err != nil {
		return nil, err
	}
	files := make(map[partition][]segment)
	if c.dir != nil {
		log, err := scanLog(c.dir.file(logName))
		if err != nil {
			return nil, err
		}
		for _, f := range log {
			files[f.partition] = f.segments
		}
	}
	var parts []retained
	for _, p := range all {
		info := c.partitionInfo(p.partition)
		if info == nil || info.HighWatermark == 0 {
			continue
		}
		start := info.LogStartOffset
		if archived, _, ok := c.archive.bounds(p.partition); ok {
			start = archived
		}
		parts = append(parts, retained{
			partition: p.partition, topicID: p.topicID, leader: p.leader, policy: policyOf(configs[p.topic]),
			segments: append(c.archive.segments(p.partition), files[p.partition]...),
			start:    start, end: info.HighWatermark, hot: info.LogStartOffset, to: start,
			limit: min(info.LastStableOffset, info.HighWatermark-1), held: math.MaxInt64,
		})
	}
	return parts, nil
}

func policyOf(values map[string]string) policy {
	number := func(topicKey, brokerKey string) int64 {
		v := values[topicKey]
		// A broker's dynamic value is listed under its own name, beside the default.
		if b := values[brokerKey]; b != "" && (v == "" || v == defaultRetention[topicKey]) {
			v = b
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	cleanup := values["cleanup.policy"]
	p := policy{
		compact: strings.Contains(cleanup, "compact"),
		ms:      number("retention.ms", "log.retention.ms"),
		bytes:   number("retention.bytes", "log.retention.bytes"),
	}
	p.delete = !p.compact || strings.Contains(cleanup, "delete")
	return p
}

// defaultRetention are the module's defaults, which are Kafka's.
var defaultRetention = map[string]string{"retention.ms": "604800000", "retention.bytes": "-1"}

// raise moves the deletion point up, never beyond the limit.
func (p *retained) raise(to int64) { p.to = max(p.to, min(to, p.limit)) }

// expire applies retention.ms: everything before the first record that is young
// enough goes.
func (c *Cluster) expire(ctx context.Context, p *retained, now time.Time) error {
	if !p.policy.delete || p.policy.ms < 0 || p.limit <= p.start {
		return nil
	}
	oldest := max(now.UnixMilli()-p.policy.ms, 0)
	for _, s := range p.segments {
		if s.archived && s.latest >= oldest {
			return nil // whole files go, as in Kafka
		}
		if s.archived {
			p.raise(s.next)
		}
	}
	resp, err := rpc[*kmsg.ListOffsetsResponse](ctx, c, 0, &kmsg.ListOffsetsRequest{
		Version: 7, ReplicaID: -2, // any broker may answer
		Topics: []kmsg.ListOffsetsRequestTopic{{Topic: p.topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{
			{Partition: p.id, CurrentLeaderEpoch: -1, Timestamp: oldest},
		}}},
	})
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, r := range t.Partitions {
			switch err := kerr.ErrorForCode(r.ErrorCode); {
			case errors.Is(err, kerr.UnknownTopicOrPartition):
			case err != nil:
				return err
			case r.Offset < 0: // none is young enough
				p.raise(p.limit)
			default:
				p.raise(r.Offset)
			}
		}
	}
	return nil
}

// shrink applies retention.bytes as Kafka does: a whole segment goes when what
// follows it is enough.
func (p *retained) shrink() {
	if p.policy.bytes < 0 {
		return
	}
	var total int64
	for _, s := range p.segments {
		total += s.data
	}
	for _, s := range p.segments {
		if total -= s.data; s.next < 0 || total < p.policy.bytes {
			return
		}
		p.raise(s.next)
	}
}

// kept returns the bytes and batches that stay with the present deletion point.
func (p *retained) kept() (bytes, batches int64) {
	for _, s := range p.segments {
		if s.next < 0 || s.next > p.to {
			bytes += s.bytes
			batches += p.live(s)
		}
	}
	return bytes, batches
}

// batches estimates how many the module has.
func (p *retained) batches() (n int64) {
	for _, s := range p.segments {
		n += p.live(s)
	}
	return n
}

// live estimates the batches of a segment that are not below the deletion point: the
// module forgets the others, the index file does not.
func (p *retained) live(s segment) int64 {
	end := s.next
	if end < 0 {
		end = p.end
	}
	from := max(p.to, p.hot)
	if from <= s.base || end <= s.base {
		return s.batches
	}
	return s.batches * max(end-from, 0) / (end - s.base)
}

// fit raises the deletion points until everything together is within the limits:
// oldest segments first, whatever partition they belong to. When no whole segment
// is left to delete, batches still count against memory, so the partition with
// the most of them loses the older half of its current segment.
func fit(parts []retained, maxBytes, maxBatches int64) {
	var bytes, batches int64
	type old struct {
		p *retained
		segment
	}
	var olds []old
	for i := range parts {
		p := &parts[i]
		b, n := p.kept()
		bytes, batches = bytes+b, batches+n
		for _, s := range p.segments {
			if p.policy.delete && s.next > p.to && s.next <= p.limit {
				olds = append(olds, old{p, s})
			}
		}
	}
	slices.SortStableFunc(olds, func(a, b old) int { return a.modified.Compare(b.modified) })
	for _, o := range olds {
		if bytes <= maxBytes && batches <= maxBatches {
			return
		}
		if o.next > o.p.to {
			batches -= o.p.live(o.segment)
			bytes -= o.bytes
			o.p.raise(o.next)
		}
	}
	thin(parts, batches-maxBatches)
}

// thin deletes inside of current segments until excess batches are gone.
func thin(parts []retained, excess int64) {
	for range 64 {
		var p *retained
		most := int64(99) // compacted topics and open transactions hold the rest
		for i := range parts {
			q := &parts[i]
			if _, n := q.kept(); n > most && q.policy.delete && q.limit > q.to {
				p, most = q, n
			}
		}
		if excess <= 0 || p == nil {
			return
		}
		from := max(p.to, p.hot)
		p.raise(from + (p.end-from+1)/2)
		_, after := p.kept()
		excess -= most - after
	}
}
