package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

// Tallies is where weir's counter groups keep counts and stored offsets: the Store of internal/tally.
type Tallies interface {
	All(ctx context.Context) ([]tally.Tally, error)
	Partitions(ctx context.Context, group, topic string) (map[int32]tally.Tally, error)
	Reset(ctx context.Context, group, topic string, partition int32, topicID string, offset int64) error
}

// ResetQuery says what to reset.
type ResetQuery struct {
	Group string
	// Topics to move in; empty means all that the group has a position in, of a streams
	// group its source topics.
	Topics []string
	// Partitions restricts to these; empty means all.
	Partitions []int32
	To         Target
	// Offsets are offsets by topic and partition, instead of Topics, Partitions and To.
	Offsets map[string]map[int32]int64
	// Tallies are changed with the group where they have counts of it. May be nil.
	Tallies Tallies
}

// Change is what a reset does to one partition. Offsets outside of what is
// retained are moved to its border.
type Change struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// From is the committed offset, Unknown where there is none.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Delta is To minus the group's offset before (the stored one where it has counts):
	// above 0 messages are skipped, below 0 they are consumed again.
	Delta int64 `json:"delta"`
	// Tally is set where counts are kept of the group: its position is the truth.
	Tally *TallyChange `json:"tally,omitempty"`
}

// TallyChange is what a reset does to the counts of a partition in Redis.
type TallyChange struct {
	// From is the offset that was to be counted next, Unknown where the partition
	// has no counts yet.
	From int64 `json:"from"`
	// Dropped is how many events were counted: counting begins anew, so that the
	// counts are again those of one offset range.
	Dropped int64 `json:"dropped"`
	topicID string
}

// ResetPlan is what a reset would do. Apply does it.
type ResetPlan struct {
	Group string `json:"group"`
	// Type is empty for a group that does not exist yet.
	Type    string   `json:"type"`
	Changes []Change `json:"changes"`
	// Active are the group's members: while there are any, Apply refuses.
	Active []Member `json:"active,omitempty"`
	// Skipped names the partitions that stay as they are, with the reason: a move
	// by a number of offsets needs a committed offset to count from.
	Skipped []string `json:"skipped,omitempty"`

	i       *Inspector
	tallies Tallies
}

// PlanReset looks up what a reset would change and changes nothing. A group that
// has no position in a topic that is named gets one.
func (i *Inspector) PlanReset(ctx context.Context, q ResetQuery) (plan ResetPlan, err error) {
	defer wrap(&err, "plan reset of group %q", q.Group)
	plan = ResetPlan{Group: q.Group, i: i, tallies: q.Tallies}
	if q.To.mode == targetNone && len(q.Offsets) == 0 {
		return plan, notAsAsked("say where to: oldest, latest, a time, an offset or a number of offsets")
	}
	detail, err := i.Group(ctx, q.Group)
	if err != nil && !errors.Is(err, ErrNoGroup) {
		return plan, err
	}
	if detail.Type == TypeShare {
		return plan, notAsAsked("a share group has no committed offset to reset")
	}
	plan.Active, plan.Type = detail.Members, detail.Type
	counted, err := countedTopics(ctx, q.Tallies, q.Group)
	if err != nil {
		return plan, err
	}
	topics := slices.AppendSeq(slices.Clone(q.Topics), maps.Keys(q.Offsets))
	if len(topics) == 0 {
		topics = slices.AppendSeq(detail.inputs(), maps.Keys(counted))
	}
	if topics = slices.Compact(slices.Sorted(slices.Values(topics))); len(topics) == 0 {
		return plan, fmt.Errorf("%w, or it has committed no offset: name the topics", ErrNoGroup)
	}
	committed := map[scan.TopicPartition]int64{}
	for _, p := range detail.Partitions {
		committed[p.key()] = p.Committed
	}
	meta, err := i.Metadata(ctx, topics...)
	if err != nil {
		return plan, err
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds)
	for _, t := range topics {
		d, err := found(meta, t)
		if err != nil {
			return plan, err
		}
		if offsets := q.Offsets[t]; offsets != nil {
			q.To, q.Partitions = AtPositions(offsets), slices.Collect(maps.Keys(offsets))
		}
		if err := plan.add(ctx, q, d, at, committed, counted[t]); err != nil {
			return plan, err
		}
	}
	if len(plan.Changes) == 0 && len(plan.Skipped) > 0 {
		return plan, notAsAsked("the group has no committed offset to count from: give oldest, latest, a time or an offset")
	}
	return plan, nil
}

// countedTopics returns a group's tallies by topic and partition.
func countedTopics(ctx context.Context, store Tallies, group string) (map[string]map[int32]tally.Tally, error) {
	out := map[string]map[int32]tally.Tally{}
	if store == nil {
		return out, nil
	}
	all, err := store.All(ctx)
	for _, t := range all {
		if t.Group != group {
			continue
		}
		if out[t.Topic] == nil {
			out[t.Topic] = map[int32]tally.Tally{}
		}
		out[t.Topic][t.Partition] = t
	}
	return out, err
}

// add plans one topic, and names the partitions that stay as they are.
func (p *ResetPlan) add(ctx context.Context, q ResetQuery, d kadm.TopicDetail, at bounds,
	committed map[scan.TopicPartition]int64, counted map[int32]tally.Tally) error {
	parts, err := choose(d, q.Partitions)
	if err != nil {
		return err
	}
	after, err := q.To.after(ctx, p.i, d.Topic)
	if err != nil {
		return err
	}
	for _, id := range parts {
		lo, hi, err := at.of(d.Topic, id)
		if err != nil {
			return err
		}
		c := Change{Topic: d.Topic, Partition: id, From: Unknown}
		if offset, ok := committed[scan.TopicPartition{Topic: d.Topic, Partition: id}]; ok {
			c.From = offset
		}
		stands := c.From
		if counted != nil {
			c.Tally = &TallyChange{From: Unknown, topicID: tally.TopicUUID(d.ID)}
			if t, ok := counted[id]; ok {
				c.Tally.From, c.Tally.Dropped = t.Next, t.Sum()
			}
			stands = c.Tally.From
		}
		if q.To.mode == targetBy && stands == Unknown {
			p.Skipped = append(p.Skipped, fmt.Sprintf("%s partition %d: no committed offset to count from", d.Topic, id))
			continue
		}
		c.To = q.To.in(d.Topic, id, lo, hi, stands, after)
		if stands == Unknown {
			stands = lo // where a group without a position begins
		}
		c.Delta = c.To - stands
		p.Changes = append(p.Changes, c)
	}
	return nil
}

// Apply carries the plan out. It refuses with ErrGroupActive while the group has
// members.
func (p ResetPlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "reset group")
	return p.i.move(ctx, p.Group, p.tallies, p.Changes)
}

// move commits a group's offsets, and begins its counts anew where it has some. It refuses
// with ErrGroupActive while the group has members. Kafka goes first, since it refuses by
// itself when a member has come meanwhile; should Redis then fail, planning and applying
// again repairs it.
func (i *Inspector) move(ctx context.Context, group string, store Tallies, changes []Change) error {
	if err := i.idle(ctx, group); err != nil {
		return err
	}
	to := kadm.Offsets{}
	for _, c := range changes {
		to.AddOffset(c.Topic, c.Partition, c.To, -1)
	}
	if err := i.admin.CommitAllOffsets(ctx, group, to); err != nil {
		return fmt.Errorf("%q: commit offsets: %w", group, err)
	}
	for _, c := range changes {
		if c.Tally == nil {
			continue
		}
		if err := store.Reset(ctx, group, c.Topic, c.Partition, c.Tally.topicID, c.To); err != nil {
			return fmt.Errorf("%q: Kafka's offsets are moved, the counts of %s partition %d are not; do it again: %w", group, c.Topic, c.Partition, err)
		}
	}
	return nil
}

// idle returns an error that names the members of a group, if it has any.
func (i *Inspector) idle(ctx context.Context, group string) error {
	d, err := i.Group(ctx, group)
	if err != nil && !errors.Is(err, ErrNoGroup) {
		return err
	}
	if len(d.Members) == 0 {
		return nil
	}
	names := make([]string, 0, len(d.Members))
	for _, m := range d.Members {
		names = append(names, fmt.Sprintf("%s at %s", cmp.Or(m.InstanceID, m.ClientID, m.ID), m.Host))
	}
	return fmt.Errorf("%q: %w (%s): stop them first", group, ErrGroupActive, strings.Join(names, ", "))
}
