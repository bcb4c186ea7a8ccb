// Package tally keeps the counts of one consumer group in Redis: for each topic
// and partition one hash that holds the number of events by type AND the offset
// that is counted next, so that whatever happens to Redis (an eviction, a
// restore, a failover) happens to both. It owns the names of the keys, the
// scripts, and the checks of the server's settings. It reads no Kafka:
// internal/count knows which member owns a partition and what was read from it.
package tally

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/event"
)

// MaxKinds is how many distinct event types one hash counts by name. Event types come from
// whoever writes to the topic; the rest is counted as event.OtherKind.
const MaxKinds = 1000

// maxAdd bounds one increment, so that a sum of two stored 18-digit numbers
// cannot overflow 64 bits inside the script.
const maxAdd = 1_000_000_000_000_000

// prefix of every key that this package owns.
const prefix = "weir:tally:"

// key is "weir:tally:<group>:<topic>:<partition>". Topic names have no colon, so
// the name can be split from its end although a group may have one.
func key(group, topic string, partition int32) string {
	return prefix + group + ":" + topic + ":" + strconv.Itoa(int(partition))
}

// parseKey is the inverse of key.
func parseKey(k string) (group, topic string, partition int32, ok bool) {
	rest, ok := strings.CutPrefix(k, prefix)
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return "", "", 0, false
	}
	p, err := strconv.ParseInt(rest[i+1:], 10, 32)
	if err != nil || p < 0 {
		return "", "", 0, false
	}
	rest = rest[:i]
	if i = strings.LastIndexByte(rest, ':'); i < 0 {
		return "", "", 0, false
	}
	return rest[:i], rest[i+1:], int32(p), true
}

// Batch is what was counted of one partition between two offsets.
type Batch struct {
	Group, Topic string
	Partition    int32
	// TopicID is the topic's UUID as text, empty where the cluster has none.
	// Counts that were begun with another one are refused: the topic was recreated.
	TopicID string
	// From is the offset where this batch began, exactly as it is stored: the
	// Next of the batch before or of Load, not the first record's offset.
	From int64
	// Next is the offset after everything that this batch covers. At least From.
	Next int64
	// Counts are the events by type, each above 0 and at most 1e15. A type longer
	// than event.MaxKind bytes, or not UTF-8, is counted as event.OtherKind.
	Counts map[string]int64
}

// Position is the stored state of a partition, without its counts.
type Position struct {
	// Next is the offset to count next, Start the one at which the counts began.
	Next, Start int64
	// TopicID is the UUID of the topic that was counted, or empty.
	TopicID string
	// Found is false where nothing is stored; then the rest is zero.
	Found bool
	// Err is set where what is stored is not a hash of counts (errors.Is ErrGarbage).
	Err error
}

// Result is the answer to one batch.
type Result struct {
	// Stored is what Redis holds after the call.
	Stored Position
	// Err is nil where counts and position moved together. Otherwise nothing has changed, and
	// one of the errors below is in its chain.
	Err error
}

// Errors that callers branch on.
var (
	// ErrGarbage: a key that should hold a hash of counts holds something else, or a field of
	// it is not a number. Position.Err is the same error.
	ErrGarbage = errors.New("it does not hold counts of weir")
	// ErrOtherTopic: the counts belong to a topic that was deleted and created again under
	// its name, with another id.
	ErrOtherTopic = errors.New("the topic was created again under the same name")
	// ErrStale: the stored offset is not From. Ahead: another member owns the partition, or an
	// earlier reply was lost; behind: Redis lost its tail. Either way the answer is to go on
	// from the stored offset.
	ErrStale = errors.New("stored offset differs")
	// ErrAbsent: Redis holds no counts. It lost them, or Begin was not called.
	ErrAbsent = errors.New("nothing is stored")
)

// Apply adds the batches, each atomically, in one round trip. The results are in
// the order of the batches. The error is of the connection or of the server as a
// whole; batches may then have been applied or not, and applying them again is
// safe: what had been applied is refused (ErrStale) with Stored.Next equal to Next.
func (s *Store) Apply(ctx context.Context, batches []Batch) ([]Result, error) {
	var calls []call
	perCall := batchesPerCall
	if s.cluster { // the keys of one call have to be on one server
		perCall = 1
	}
	for chunk := range slices.Chunk(batches, perCall) {
		c := call{args: []any{strconv.Itoa(MaxKinds), kindPrefix + event.OtherKind, kindPrefix + event.MalformedKind}}
		for i := range chunk {
			b := &chunk[i]
			var err error
			if c.args, err = b.appendArgs(c.args); err != nil {
				return nil, err
			}
			c.keys = append(c.keys, key(b.Group, b.Topic, b.Partition))
		}
		calls = append(calls, c)
	}
	replies, err := s.run(ctx, applyScript, calls)
	if err != nil {
		return nil, fmt.Errorf("apply counts: %w", err)
	}
	results := make([]Result, len(batches))
	for i := range batches {
		b := &batches[i]
		results[i] = replies[i].result(key(b.Group, b.Topic, b.Partition), b)
	}
	return results, nil
}

// batchesPerCall bounds how long one script runs: others wait for it.
const batchesPerCall = 16

// appendArgs checks a batch and appends it in the form that the script takes.
func (b *Batch) appendArgs(args []any) ([]any, error) {
	if b.From < 0 || b.Next < b.From {
		return nil, fmt.Errorf("apply counts: %s partition %d: from %d to %d is not an offset range", b.Topic, b.Partition, b.From, b.Next)
	}
	args = append(args, strconv.FormatInt(b.From, 10), strconv.FormatInt(b.Next, 10), b.TopicID, "")
	first := len(args)
	var other int64
	named := 0
	for _, kind := range slices.Sorted(maps.Keys(b.Counts)) {
		n := b.Counts[kind]
		if n <= 0 || n > maxAdd {
			return nil, fmt.Errorf("apply counts: %s partition %d: count %d is out of range", b.Topic, b.Partition, n)
		}
		switch {
		case kind == event.OtherKind:
			other += n
		case kind == event.MalformedKind:
			args = append(args, kindPrefix+kind, strconv.FormatInt(n, 10))
		case named == MaxKinds || kind == "" || len(kind) > event.MaxKind || !utf8.ValidString(kind):
			other += n
		default:
			named++
			args = append(args, kindPrefix+kind, strconv.FormatInt(n, 10))
		}
	}
	if other > 0 {
		args = append(args, kindPrefix+event.OtherKind, strconv.FormatInt(other, 10))
	}
	args[first-1] = strconv.Itoa((len(args) - first) / 2)
	return args, nil
}

// Begin stores the position at which counting begins, where nothing is stored.
// Stored is what holds afterwards: offset, or what was there before (ErrStale).
func (s *Store) Begin(ctx context.Context, group, topic string, partition int32, topicID string, offset int64) (Result, error) {
	k := key(group, topic, partition)
	replies, err := s.run(ctx, beginScript, []call{{keys: []string{k}, args: []any{strconv.FormatInt(offset, 10), topicID}}})
	if err != nil {
		return Result{}, fmt.Errorf("begin counts: %w", err)
	}
	return replies[0].result(k, &Batch{Group: group, Topic: topic, Partition: partition, TopicID: topicID, From: offset, Next: offset}), nil
}

// Reset drops the counts of a partition and begins again at offset, whatever was
// stored. A running counter notices within a second and goes there.
func (s *Store) Reset(ctx context.Context, group, topic string, partition int32, topicID string, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("reset counts: offset %d is negative", offset)
	}
	_, err := s.run(ctx, resetScript, []call{{keys: []string{key(group, topic, partition)}, args: []any{strconv.FormatInt(offset, 10), topicID}}})
	if err != nil {
		return fmt.Errorf("reset counts: %w", err)
	}
	return nil
}

// Load returns the stored offset of each partition, in one round trip.
func (s *Store) Load(ctx context.Context, group, topic string, partitions []int32) (map[int32]Position, error) {
	pipe := s.client.Pipeline()
	types := make([]*redis.StatusCmd, len(partitions))
	hashes := make([]*redis.SliceCmd, len(partitions))
	for i, p := range partitions {
		k := key(group, topic, p)
		types[i] = pipe.Type(ctx, k)
		hashes[i] = pipe.HMGet(ctx, k, fieldNext, fieldStart, fieldTopicID)
	}
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return nil, fmt.Errorf("load stored offsets: %w", s.explain(err))
	}
	out := make(map[int32]Position, len(partitions))
	for i, p := range partitions {
		t, err := types[i].Result()
		if t == "hash" {
			err = hashes[i].Err()
		}
		k := key(group, topic, p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("load stored offsets: %w", s.explain(err))
		case t == "none":
			out[p] = Position{}
		case t == "hash":
			out[p] = position(k, hashes[i].Val())
		default:
			out[p] = Position{Err: garbageType(k, t)}
		}
	}
	return out, nil
}

func position(k string, v []any) Position {
	if len(v) != 3 || v[0] == nil && v[1] == nil && v[2] == nil {
		return Position{} // deleted between the two commands, or something else
	}
	next, _ := v[0].(string)
	start, _ := v[1].(string)
	id, _ := v[2].(string)
	return stored(k, next, start, id)
}

// stored is the position that the fields of a hash hold.
func stored(k, next, start, topicID string) Position {
	p := Position{TopicID: topicID, Found: true}
	var ok bool
	if p.Next, ok = offset(next); !ok {
		return Position{Err: garbageField(k, fieldNext, next)}
	}
	if p.Start, ok = offset(start); !ok {
		return Position{Err: garbageField(k, fieldStart, start)}
	}
	return p
}

// offset parses what the scripts accept as an offset.
func offset(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n < math.MaxInt64 && strconv.FormatInt(n, 10) == s
}

func garbageType(k, typ string) error {
	return fmt.Errorf("redis key %q holds a %s: %w; delete or rename the key, and the partition is counted anew from what Kafka keeps", k, typ, ErrGarbage)
}

func garbageField(k, field, value string) error {
	if len(value) > 64 {
		value = value[:64] + "..."
	}
	return fmt.Errorf("redis key %q: field %q is %q, which is not a number: %w; restore or delete the key, and the partition is counted anew from what Kafka keeps", k, field, value, ErrGarbage)
}
