package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sample is what was seen at one moment.
type Sample struct {
	At time.Time
	// Counts are those in Redis, 0 where a key is missing or holds no number.
	Counts Counts
	// Group is the consumer group of the program on the topic, empty for none; Others are more of them.
	Group  string
	Others []string
	// Committed are the offsets that it has committed in the topic, by partition.
	Committed map[int32]int64
	// Members are the partitions by the ID of the member.
	Members map[string][]int32
	// Memory is that of all copies in bytes.
	Memory int64
}

// Lag is how many events of the truth are at or after the committed offsets.
func (s *Sample) Lag(l *Ledger) (n int64) {
	for p, end := range l.Ends() {
		n += max(0, end-s.Committed[p])
	}
	return n
}

// uncommitted finds the first partition whose committed offset is before its end.
func uncommitted(committed, ends map[int32]int64) (partition int32, ok bool) {
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		if committed[p] < ends[p] {
			return p, true
		}
	}
	return 0, false
}

// committed is the sum of the committed offsets.
func (s *Sample) committed() (n int64) {
	for _, o := range s.Committed {
		n += o
	}
	return n
}

// changed reports whether two samples differ in what the program did.
func (s *Sample) changed(from *Sample) bool {
	return from == nil || !s.Counts.Equal(from.Counts) || !maps.Equal(s.Committed, from.Committed) || len(s.Members) != len(from.Members)
}

// Look takes a sample.
func (b *Bench) Look(ctx context.Context) (*Sample, error) {
	b.watching.Lock()
	defer b.watching.Unlock()
	s := &Sample{At: time.Now(), Counts: Counts{}, Committed: map[int32]int64{}, Members: map[string][]int32{}}
	if err := b.readCounts(ctx, s); err != nil {
		return nil, err
	}
	if err := b.readGroup(ctx, s); err != nil {
		return nil, err
	}
	b.mu.Lock()
	for _, c := range b.copies {
		if !c.Over() {
			s.Memory += c.Memory()
		}
	}
	b.mu.Unlock()
	b.Point("written", "events", float64(b.Truth.Total().Sum()))
	b.Point("counted", "events", float64(s.Counts.Sum()))
	b.Point("committed", "events", float64(s.committed()))
	b.Point("memory", "MiB", float64(s.Memory>>20))
	for p, o := range s.Committed {
		if b.last == nil || b.last.Committed[p] != o {
			b.moved[p] = s.At
		}
	}
	b.last = s
	return s, nil
}

func (b *Bench) readCounts(ctx context.Context, s *Sample) error {
	for _, k := range Kinds {
		v, err := b.Redis.Get(ctx, k).Result()
		if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE") {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the counts: %w", err)
		}
		s.Counts[k], _ = strconv.ParseInt(v, 10, 64) // no number is 0
	}
	return nil
}

// readGroup finds the group that reads the topic: that of the environment, or another one.
func (b *Bench) readGroup(ctx context.Context, s *Sample) error {
	types, err := b.groups(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(types))
	if i := slices.Index(names, b.Group); i > 0 { // that of the environment first
		names = append([]string{b.Group}, slices.Delete(names, i, i+1)...)
	}
	for _, name := range names {
		members, err := b.members(ctx, name, types[name])
		if err != nil {
			return err
		}
		offsets, err := b.Admin.FetchOffsets(ctx, name)
		if err != nil {
			return fmt.Errorf("read the committed offsets of %s: %w", name, err)
		}
		committed := map[int32]int64{}
		for p, o := range offsets[b.Topic] {
			if o.Err == nil && o.At >= 0 {
				committed[p] = o.At
			}
		}
		switch {
		case len(members) == 0 && len(committed) == 0:
		case s.Group == "":
			s.Group, s.Committed = name, committed
			for _, m := range members {
				s.Members[m.id] = m.parts
			}
		default:
			s.Others = append(s.Others, name)
		}
	}
	return nil
}

// The protocols of consumer groups: the older one, and that of KIP-848.
const (
	classicGroup  = "classic"
	consumerGroup = "consumer"
)

// groups returns the consumer groups with their protocols.
func (b *Bench) groups(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, kind := range []string{classicGroup, consumerGroup} {
		groups, err := b.Admin.ListGroupsByType(ctx, []string{kind})
		if err != nil {
			return nil, fmt.Errorf("list the groups: %w", err)
		}
		for name := range groups {
			out[name] = kind
		}
	}
	return out, nil
}

// member is a member of a consumer group.
type member struct {
	id     string
	static bool    // it comes back under the name of its instance
	parts  []int32 // its partitions of the topic
}

// members returns the members of a group.
func (b *Bench) members(ctx context.Context, group, kind string) (out []member, err error) {
	if kind == consumerGroup {
		described, err := b.Admin.DescribeConsumerGroups(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("describe group %s: %w", group, err)
		}
		for _, m := range described[group].Members {
			out = append(out, member{m.MemberID, m.InstanceID != nil, slices.Sorted(maps.Keys(m.Assignment[b.Topic]))})
		}
		return out, nil
	}
	described, err := b.Admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, m := range described[group].Members {
		var parts []int32
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				if t.Topic == b.Topic {
					parts = append(parts, t.Partitions...)
				}
			}
		}
		slices.Sort(parts)
		out = append(out, member{m.MemberID, m.InstanceID != nil, parts})
	}
	return out, nil
}

// lastMoved is the partition whose committed offset changed last, of those that have one.
func (b *Bench) lastMoved(s *Sample) (int32, bool) {
	b.watching.Lock()
	defer b.watching.Unlock()
	best, found := int32(0), false
	for _, p := range slices.Sorted(maps.Keys(s.Committed)) {
		if !found || b.moved[p].After(b.moved[best]) {
			best, found = p, true
		}
	}
	return best, found
}

const (
	lookEvery = 100 * time.Millisecond
	// startTime is how long a program may take until something of it is seen.
	startTime = 45 * time.Second
	// quietTime is how long a program may do nothing before it is judged, and quietAtEnd how long
	// when its group has committed everything.
	quietTime  = 15 * time.Second
	quietAtEnd = 4 * time.Second
	// extraTime is how long a program is watched after it is right: it may count too much.
	extraTime = 1500 * time.Millisecond
)

// Pause waits, and looks at the program meanwhile.
func (b *Bench) Pause(ctx context.Context, d time.Duration) error {
	_, err := b.Until(ctx, d, func(*Sample) bool { return false })
	return err
}

// Until waits until ok returns true for a sample; false when that takes longer than limit. It is
// an error when a copy of the program ends by itself or exceeds a limit.
func (b *Bench) Until(ctx context.Context, limit time.Duration, ok func(*Sample) bool) (bool, error) {
	for end := time.Now().Add(limit); ; {
		s, err := b.Look(ctx)
		if err == nil {
			err = b.trouble()
		}
		if err != nil {
			return false, err
		}
		if ok(s) {
			return true, nil
		}
		if time.Now().After(end) {
			return false, nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// Settle waits until the program does nothing more: done has held for a while, or nothing has
// changed for long. It returns the last sample.
func (b *Bench) Settle(ctx context.Context, limit time.Duration, done func(*Sample) bool) (last *Sample, err error) {
	changed := time.Now()
	_, err = b.Until(ctx, limit, func(s *Sample) bool {
		if s.changed(last) {
			changed = s.At
		}
		last = s
		switch quiet := s.At.Sub(changed); {
		case done(s):
			return quiet > extraTime
		case s.Group != "" && s.Lag(b.Truth) == 0:
			return quiet > quietAtEnd
		default:
			return quiet > quietTime
		}
	})
	return last, err
}
