package embedded

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// minTrim is how many offsets a compacted partition may hold before its head
	// is looked at.
	minTrim = 2000
	// maxCompactKeys bounds the keys that are followed in one partition.
	maxCompactKeys = 100_000
)

// trimmer keeps compacted topics small without compacting. The module's
// compaction rewrites the files in place, which a crash turns into a loss of the
// cursors, and stops the whole cluster meanwhile. What can be done safely is to
// delete the head: everything before the oldest record that is still the newest
// of its key. With a handful of keys that are written all the time, as cursors
// are, that is everything.
type trimmer struct {
	mu    sync.Mutex // held by Enforce
	state map[partition]*compacting
}

// compacting is how far a compacted partition was read.
type compacting struct {
	id     uuid             // of the topic
	next   int64            // offset to read on from
	newest map[string]int64 // offset of the newest committed record by key
	given  bool             // too many keys: given up
}

// forget drops the state of partitions that are gone.
func (t *trimmer) forget(parts []retained) {
	maps.DeleteFunc(t.state, func(p partition, _ *compacting) bool {
		return !slices.ContainsFunc(parts, func(r retained) bool { return r.partition == p && r.policy.compact })
	})
}

// compact raises p's deletion point to what is superseded.
func (t *trimmer) compact(ctx context.Context, c *Cluster, p *retained) error {
	if p.limit-p.hot < minTrim || p.start < p.hot { // keys may be newest in what was archived before the topic was compacted
		return nil
	}
	s := t.state[p.partition]
	if s == nil || s.id != p.topicID { // new, or made anew under the same name
		s = &compacting{id: p.topicID, next: p.start, newest: make(map[string]int64)}
		t.state[p.partition] = s
	}
	if s.given {
		return nil
	}
	if err := s.read(ctx, c, p); err != nil {
		return err
	}
	if len(s.newest) > maxCompactKeys {
		c.log.Warn("compacted topic keeps superseded records: too many keys", "topic", p.topic, "partition", p.id, "keys", len(s.newest))
		s.given, s.newest = true, nil
		return nil
	}
	oldest := s.next
	for _, offset := range s.newest {
		oldest = min(oldest, offset)
	}
	if len(s.newest) > 0 {
		p.raise(oldest)
	}
	return nil
}

// read follows the committed records of the partition up to the last stable offset.
func (s *compacting) read(ctx context.Context, c *Cluster, p *retained) error {
	s.next = max(s.next, p.start)
	opts := kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, IsolationLevel: kgo.ReadCommitted(), Topic: p.topic, Partition: p.id,
	}
	for s.next < p.limit {
		rp, err := fetchOne(ctx, c, p.leader, p.partition, p.topicID, s.next)
		if err != nil {
			return err
		}
		opts.Offset = s.next
		got, next := kgo.ProcessFetchPartition(opts, rp, decompressor, nil)
		if got.Err != nil {
			return got.Err
		}
		for _, r := range got.Records {
			if !r.Attrs.IsControl() && r.Key != nil {
				s.newest[string(r.Key)] = r.Offset
			}
		}
		if next <= s.next {
			return nil
		}
		s.next = next
		if len(s.newest) > maxCompactKeys {
			return nil
		}
	}
	return nil
}

// fetchOne reads committed records of one partition of the topic with an ID, and of no other one of
// the same name.
func fetchOne(ctx context.Context, c *Cluster, leader int32, p partition, id uuid, from int64) (*kmsg.FetchResponseTopicPartition, error) {
	resp, err := rpc[*kmsg.FetchResponse](ctx, c, leader, &kmsg.FetchRequest{
		// Only the partition's limit is a small one: see (*Cluster).fetch.
		Version: 13, ReplicaID: -1, MaxBytes: math.MaxInt32, IsolationLevel: 1, SessionEpoch: -1,
		Topics: []kmsg.FetchRequestTopic{{Topic: p.topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{
			{Partition: p.id, FetchOffset: from, PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1},
		}}},
	})
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, kerr.UnknownTopicOrPartition
	}
	return &resp.Topics[0].Partitions[0], nil
}
