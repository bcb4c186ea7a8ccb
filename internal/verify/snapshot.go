package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// verifier is the state of one Run.
type verifier struct {
	cfg    Config
	client *kgo.Client
	admin  *kadm.Client
	report func(Progress)

	sources []*source
	names   []string // of the topics that exist, each once
	parts   []*partition
	notes   []string

	mu                      sync.Mutex // guards what follows while partitions are read
	scanned, total, records int64      // offsets, all of them, records
	told                    time.Time  // when progress was last reported
}

// source is what is known of a source.
type source struct {
	Source
	streams []*stream // of its data topics
	dead    *stream   // of the dead-letter topic
	found   bool      // there is a cursor
	ids     *identities
	report  SourceReport
}

// stream is what a source wrote to a topic: the sequence numbers from 0 on.
type stream struct {
	source *source
	topic  Topic
	dead   bool

	exists  bool
	topicID string
	// before and after are the cursor's next sequence numbers, read before the
	// topic's end was fixed and after it: the topic holds everything below the
	// first and nothing from the second on.
	before, after int64
	counts        map[string]int64 // the cursor's, as of before
	seqs          *seqSet
	portions      []*portion      // of its partitions, in their order
	committed     map[int32]int64 // offsets of its group in Kafka
}

// part is a partition of a topic, bounded.
type partition struct {
	topic    string
	id       int32
	low      int64 // first offset that is retained
	high     int64 // high watermark
	end      int64 // where the scan ends: high, or lower where a transaction hides the rest
	portions []*portion
}

// readSnapshot fixes what is verified. The order is what makes it true of a system that
// goes on working:
//
//  1. offsets that groups committed to Kafka, then the counts: a counter commits
//     after it has counted, so what is committed was in the counts in Redis;
//  2. the cursors: what they say is in the topics was committed;
//  3. the ends of the topics, which therefore lie after all of that, as soon as
//     no transaction that was open there hides a part (one that ended is not yet
//     visible in every partition at the same moment);
//  4. the cursors again: nothing below those ends can have been committed without
//     them.
func (v *verifier) readSnapshot(ctx context.Context) error {
	v.stage("reading positions")
	if err := v.topics(ctx); err != nil {
		return err
	}
	if err := v.committedOffsets(ctx); err != nil {
		return err
	}
	var tallies []tally.Tally
	if v.cfg.Tallies != nil {
		var err error
		if tallies, err = v.cfg.Tallies.All(ctx); err != nil {
			return err
		}
	}
	if err := v.cursors(ctx, false); err != nil {
		return err
	}
	if err := v.ends(ctx); err != nil {
		return err
	}
	v.assign(tallies)
	return v.cursors(ctx, true)
}

// all returns every stream of the source, that of the dead-letter topic last.
func (s *source) all() []*stream { return append(slices.Clip(s.streams), s.dead) }

// all returns every stream.
func (v *verifier) all() (out []*stream) {
	for _, s := range v.sources {
		out = append(out, s.all()...)
	}
	return out
}

// topics finds out which topics exist.
func (v *verifier) topics(ctx context.Context) error {
	var names []string
	for _, st := range v.all() {
		names = append(names, st.topic.Name)
	}
	meta, err := v.admin.Metadata(ctx, names...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	for _, st := range v.all() {
		d, ok := meta.Topics[st.topic.Name]
		if !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if d.Err != nil {
			return fmt.Errorf("topic %s: %w", st.topic.Name, d.Err)
		}
		st.exists = true
		if !slices.Contains(v.names, st.topic.Name) {
			v.names = append(v.names, st.topic.Name)
		}
		st.topicID = tally.TopicUUID(d.ID)
	}
	return nil
}

// committedOffsets reads where the counting groups stand in Kafka.
func (v *verifier) committedOffsets(ctx context.Context) error {
	for _, st := range v.all() {
		st.committed = map[int32]int64{}
		if st.topic.Group == "" || !st.exists {
			continue
		}
		offsets, err := v.admin.FetchOffsets(ctx, st.topic.Group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("offsets of group %s: %w", st.topic.Group, err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == st.topic.Name && o.Err == nil && o.At >= 0 {
				st.committed[o.Partition] = o.At
			}
		})
	}
	return nil
}

// cursors reads every source's cursor, before or after the ends were fixed.
func (v *verifier) cursors(ctx context.Context, after bool) error {
	meta, err := v.admin.Metadata(ctx, kafka.TopicCursors)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	if d, ok := meta.Topics[kafka.TopicCursors]; !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
		return nil // nobody ever ingested anything
	}
	for _, s := range v.sources {
		v.stage("reading the cursor of " + s.Name)
		rec, found, err := v.cursor(ctx, s.Name)
		if err != nil {
			return err
		}
		s.found = s.found || found
		for _, st := range s.all() {
			if after {
				st.after = rec.Seqs[st.topic.Name]
			} else {
				st.before, st.counts = rec.Seqs[st.topic.Name], rec.Counts[st.topic.Name]
			}
		}
	}
	return nil
}

// cursor reads one cursor. One that an open transaction may be about to replace
// is waited for, within the limit.
func (v *verifier) cursor(ctx context.Context, name string) (kafka.CursorRecord, bool, error) {
	limited, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	rec, found, err := kafka.ReadCursor(limited, v.cfg.Kafka, name)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return rec, false, fmt.Errorf("an open transaction has hidden the cursor of %s for %v: the ingester that began it was killed or hangs; run verify again when Kafka has ended it", name, v.cfg.Patience)
	}
	if err != nil {
		return rec, false, fmt.Errorf("cursor of %s: %w", name, err)
	}
	return rec, found, nil
}

// ends fixes the offset range of every partition, and waits for transactions that are
// open inside of it.
func (v *verifier) ends(ctx context.Context) error {
	if len(v.names) == 0 {
		return nil
	}
	bounds, err := kafka.Bounds(ctx, v.client, v.names...)
	if err != nil {
		return err
	}
	stable, err := v.stable(ctx, bounds)
	if err != nil {
		return err
	}
	for _, tp := range slices.SortedFunc(maps.Keys(bounds), func(a, b kafka.TopicPartition) int { return cmp.Compare(a.Partition, b.Partition) }) {
		b := bounds[tp]
		s, ok := stable[tp]
		if !ok {
			return fmt.Errorf("list offsets of %s: no last stable offset", tp)
		}
		p := &partition{topic: tp.Topic, id: tp.Partition, low: b.Start, high: b.End, end: min(b.End, s.End)}
		v.parts = append(v.parts, p)
		v.total += max(0, p.end-p.low)
		for _, st := range v.all() {
			if st.topic.Name == p.topic {
				l := newPortion(st, p)
				st.portions, p.portions = append(st.portions, l), append(p.portions, l)
			}
		}
	}
	return nil
}

// stable returns the last stable offsets as soon as they have reached high
// everywhere, or when patience is at its end.
func (v *verifier) stable(ctx context.Context, high map[kafka.TopicPartition]kafka.Bound) (map[kafka.TopicPartition]kafka.Bound, error) {
	giveUp := time.Now().Add(v.cfg.Patience)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		stable, err := kafka.StableBounds(ctx, v.client, v.names...)
		if err != nil {
			return nil, err
		}
		behind := 0
		for tp, s := range stable {
			if s.End < high[tp].End {
				behind++
			}
		}
		if behind == 0 || time.Now().After(giveUp) {
			return stable, nil
		}
		if wait > 100*time.Millisecond {
			v.stage(fmt.Sprintf("waiting for open transactions in %d partitions", behind))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// assign gives the counts to the partitions that they are of.
func (v *verifier) assign(tallies []tally.Tally) {
	for _, st := range v.all() {
		if st.dead {
			continue
		}
		byID := map[int32]*portion{}
		for _, l := range st.portions {
			byID[l.p.id] = l
		}
		for k := range tallies {
			t := &tallies[k]
			if t.Topic != st.topic.Name {
				continue
			}
			l := byID[t.Partition]
			if l == nil {
				st.source.fault(t.Topic, t.Partition, "group %s has counted %d events of a partition that does not exist: the topic was deleted, or created again with fewer partitions", t.Group, t.Sum())
				continue
			}
			l.tallies = append(l.tallies, &tallyCheck{Tally: t, in: map[string]int64{}, tail: map[string]int64{}})
		}
	}
}
