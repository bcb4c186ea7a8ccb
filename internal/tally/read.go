package tally

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Tally is everything that is stored of one group, topic and partition.
type Tally struct {
	Group, Topic string
	Partition    int32
	// Next is the offset to count next, Start the one at which the counts began.
	Next, Start int64
	// TopicID is the UUID of the topic that was counted, or empty.
	TopicID string
	// Counts are the events by type.
	Counts map[string]int64
}

// Sum is the number of events of all types.
func (t *Tally) Sum() int64 {
	var n int64
	for _, c := range t.Counts {
		n += c
	}
	return n
}

// Totals returns the events by event type of a group and topic, summed over the
// partitions; empty where nothing was counted. A key that is not a hash of counts is an
// error (ErrGarbage), not a smaller sum.
func (s *Store) Totals(ctx context.Context, group, topic string) (map[string]int64, error) {
	parts, err := s.Partitions(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	sums := map[string]int64{}
	for _, t := range parts {
		for k, n := range t.Counts {
			sums[k] += n
		}
	}
	return sums, nil
}

// Partitions returns the counts of a group and topic by partition.
func (s *Store) Partitions(ctx context.Context, group, topic string) (map[int32]Tally, error) {
	all, err := s.scan(ctx, prefix+escapeGlob(group)+":"+escapeGlob(topic)+":*")
	if err != nil {
		return nil, err
	}
	out := map[int32]Tally{}
	for _, t := range all {
		if t.Group == group && t.Topic == topic {
			out[t.Partition] = t
		}
	}
	return out, nil
}

// All returns the counts of every partition, ordered by group, topic and partition.
func (s *Store) All(ctx context.Context) ([]Tally, error) { return s.scan(ctx, prefix+"*") }

// scan reads the counts whose keys match. SCAN may name a key twice, and a key
// can be gone when it is read.
func (s *Store) scan(ctx context.Context, match string) ([]Tally, error) {
	found := map[string]struct{}{}
	err := s.eachPrimary(ctx, func(ctx context.Context, c *redis.Client) error {
		for cursor := uint64(0); ; {
			keys, next, err := c.Scan(ctx, cursor, match, 1000).Result()
			if err != nil {
				return err
			}
			for _, k := range keys {
				if _, _, _, ok := parseKey(k); ok {
					found[k] = struct{}{}
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list counts: %w", s.explain(err))
	}
	var out []Tally
	for keys := range slices.Chunk(slices.Collect(maps.Keys(found)), 256) {
		part, err := s.read(ctx, keys)
		if err != nil {
			return nil, fmt.Errorf("read counts: %w", err)
		}
		out = append(out, part...)
	}
	slices.SortFunc(out, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out, nil
}

func (s *Store) read(ctx context.Context, keys []string) ([]Tally, error) {
	pipe := s.client.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.HGetAll(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return nil, s.explain(err)
	}
	out := make([]Tally, 0, len(keys))
	for i, k := range keys {
		fields, err := cmds[i].Result()
		if err != nil {
			if redis.HasErrorPrefix(err, "WRONGTYPE") {
				return nil, garbageType(k, "value of another type")
			}
			return nil, s.explain(err)
		}
		if len(fields) == 0 {
			continue
		}
		t, err := parseTally(k, fields)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTally(k string, fields map[string]string) (Tally, error) {
	group, topic, partition, _ := parseKey(k)
	p := stored(k, fields[fieldNext], fields[fieldStart], fields[fieldTopicID])
	t := Tally{Group: group, Topic: topic, Partition: partition, Next: p.Next, Start: p.Start, TopicID: p.TopicID, Counts: make(map[string]int64, len(fields))}
	if p.Err != nil {
		return t, p.Err
	}
	for f, v := range fields {
		kind, isCount := strings.CutPrefix(f, kindPrefix)
		if !isCount {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return t, garbageField(k, f, v)
		}
		t.Counts[kind] = n
	}
	return t, nil
}

// escapeGlob makes a name match only itself in a SCAN pattern.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// TopicUUID is a topic's ID as the counts hold it: 8-4-4-4-12 hexadecimal digits, empty for none.
func TopicUUID(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
