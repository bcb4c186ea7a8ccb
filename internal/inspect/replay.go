package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

// ReplaySuffix is added to a group's name for the group that it is replayed into.
const ReplaySuffix = ".replay"

// ReplayQuery says which group to count again.
type ReplayQuery struct {
	Group string
	// Into is the group that counts again; empty means Group and ReplaySuffix.
	Into string
	// Topic that the group counts; may be empty where it is only one.
	Topic   string
	Tallies Tallies // required
}

// ReplayPlan says what a replay counts. Begin prepares it; then a counter of the
// group Into runs until Done; then Compare.
type ReplayPlan struct {
	Group      string            `json:"group"`
	Into       string            `json:"into"`
	Topic      string            `json:"topic"`
	Partitions []ReplayPartition `json:"partitions"`
	// Drops is how many events of an earlier replay are dropped.
	Drops int64 `json:"drops"`
	// Active are the members of Into: while there are any, Begin refuses.
	Active []Member `json:"active,omitempty"`

	i       *Inspector
	tallies Tallies
	topicID string
}

// ReplayPartition is the offset range of a partition that is counted again.
type ReplayPartition struct {
	Partition int32 `json:"partition"`
	// Start and Next bound what the group had counted when the plan was made.
	Start int64 `json:"start"`
	Next  int64 `json:"next"`
	// From is where the replay begins: Start, or later where retention deleted records.
	From int64 `json:"from"`
	// Until is the offset after the last message that there was, and at least
	// Next: the replay has caught up when it has come there.
	Until int64 `json:"until"`
	// Trimmed is how many offsets that were counted are no longer in the log.
	Trimmed int64 `json:"trimmed"`
}

// PlanReplay looks up what a replay of a group would count and changes nothing.
func (i *Inspector) PlanReplay(ctx context.Context, q ReplayQuery) (plan ReplayPlan, err error) {
	defer wrap(&err, "plan replay of group %q", q.Group)
	plan = ReplayPlan{Group: q.Group, Into: q.Into, Topic: q.Topic, i: i, tallies: q.Tallies}
	if plan.Into == "" {
		plan.Into = q.Group + ReplaySuffix
	}
	if plan.Into == plan.Group {
		return plan, notAsAsked("a group cannot be replayed into itself: reset it instead")
	}
	counted, err := countedTopics(ctx, q.Tallies, q.Group)
	if err != nil {
		return plan, err
	}
	names := slices.Sorted(maps.Keys(counted))
	switch {
	case len(names) == 0:
		return plan, fmt.Errorf("%w with counts in Redis: only what weir counted can be counted again", ErrNoGroup)
	case plan.Topic == "" && len(names) > 1:
		return plan, notAsAsked("it counts several topics, name one of %s", strings.Join(names, ", "))
	case plan.Topic == "":
		plan.Topic = names[0]
	case counted[plan.Topic] == nil:
		return plan, notAsAsked("it has counted nothing in topic %q, but in %s", plan.Topic, strings.Join(names, ", "))
	}
	earlier, err := q.Tallies.Partitions(ctx, plan.Into, plan.Topic)
	if err != nil {
		return plan, err
	}
	for _, t := range earlier {
		plan.Drops += t.Sum()
	}
	if into, err := i.Group(ctx, plan.Into); err == nil {
		plan.Active = into.Members
	} else if !errors.Is(err, ErrNoGroup) {
		return plan, err
	}
	return plan, i.replayPartitions(ctx, &plan, counted[plan.Topic])
}

// replayPartitions fills in what each partition counts again.
func (i *Inspector) replayPartitions(ctx context.Context, plan *ReplayPlan, counted map[int32]tally.Tally) error {
	meta, d, err := i.lookUp(ctx, plan.Topic)
	if err != nil {
		return err
	}
	plan.topicID = tally.TopicUUID(d.ID)
	at := i.bounds(ctx, meta, LogStarts, LastStable)
	for _, id := range slices.Sorted(maps.Keys(counted)) {
		t := counted[id]
		lo, _, err := at.of(plan.Topic, id)
		if err != nil {
			return err
		}
		p := ReplayPartition{Partition: id, Start: t.Start, Next: t.Next, From: max(t.Start, lo)}
		p.Trimmed = min(p.From, t.Next) - t.Start
		p.Until = max(t.Next, p.From) // where everything was trimmed, nothing is left to count
		if _, err := i.Read(ctx, Query{Topic: plan.Topic, Partitions: []int32{id}, From: Newest(1)}, func(m Message) error {
			p.Until = max(p.Until, m.Offset+1)
			return nil
		}); err != nil {
			return err
		}
		plan.Partitions = append(plan.Partitions, p)
	}
	return nil
}

// Begin sets the group Into to the beginning of each offset range, without counts, so that
// every Kafka tool shows the replay's lag. It refuses with ErrGroupActive while Into has
// members. The replayed group is not touched.
func (p ReplayPlan) Begin(ctx context.Context) (err error) {
	defer wrap(&err, "begin replay")
	var changes []Change
	for _, part := range p.Partitions {
		changes = append(changes, Change{Topic: p.Topic, Partition: part.Partition, To: part.From, Tally: &TallyChange{topicID: p.topicID}})
	}
	return p.i.move(ctx, p.Into, p.tallies, changes)
}

// Remaining returns how many offsets the replay still has to go; 0 means that it
// has caught up with where the log ended when the plan was made.
func (p ReplayPlan) Remaining(ctx context.Context) (int64, error) {
	now, err := p.tallies.Partitions(ctx, p.Into, p.Topic)
	if err != nil {
		return 0, fmt.Errorf("progress of the replay: %w", err)
	}
	var left int64
	for _, part := range p.Partitions {
		at := part.From
		if t, ok := now[part.Partition]; ok {
			at = max(at, t.Next)
		}
		left += max(0, part.Until-at)
	}
	return left, nil
}

// Comparison sets the counts of a group beside those of its replay.
type Comparison struct {
	Kinds []KindRow `json:"kinds"`
	// Equal says that every event type has the same count in both, over the same offset
	// range of every partition.
	Equal bool `json:"equal"`
	// Trimmed is how many offsets the group had counted that are no longer in the
	// log. Where there are any, Equal says that the differences can be theirs: none
	// is below 0, and they are no more than that.
	Trimmed int64 `json:"trimmed"`
	// Adjusted is how many messages one of the two had counted and the other not
	// yet: they were looked up in the log.
	Adjusted int64 `json:"adjusted"`
}

// KindRow is one event type of a Comparison.
type KindRow struct {
	Kind string `json:"kind"`
	// Original is the group's count, Replay the count of the replay over the same
	// offset range, Difference the first minus the second.
	Original   int64 `json:"original"`
	Replay     int64 `json:"replay"`
	Difference int64 `json:"difference"`
}

// Compare reads the counts of both groups as they are now and compares them by event type. Both may
// still be counting: where one is ahead, what lies between their positions is
// recounted from the log. classify is what records without a `kind` header count as.
func (p ReplayPlan) Compare(ctx context.Context, classify func([]byte) string) (_ Comparison, err error) {
	defer wrap(&err, "compare with the replay")
	original, err := p.tallies.Partitions(ctx, p.Group, p.Topic)
	if err != nil {
		return Comparison{}, err
	}
	replay, err := p.tallies.Partitions(ctx, p.Into, p.Topic)
	if err != nil {
		return Comparison{}, err
	}
	meta, _, err := p.i.lookUp(ctx, p.Topic)
	if err != nil {
		return Comparison{}, err
	}
	at := p.i.bounds(ctx, meta, LogStarts, LogEnds)
	c := comparing{p: p, classify: classify, rows: map[string]*KindRow{}}
	for _, part := range p.Partitions {
		a, okA := original[part.Partition]
		b, okB := replay[part.Partition]
		if !okA || !okB {
			return Comparison{}, fmt.Errorf("partition %d: its counts are no longer in Redis", part.Partition)
		}
		low, _, err := at.of(p.Topic, part.Partition)
		if err != nil {
			return Comparison{}, err
		}
		if err := c.add(ctx, a, b, low); err != nil {
			return Comparison{}, fmt.Errorf("partition %d: %w", part.Partition, err)
		}
	}
	return c.result(), nil
}

// comparing collects a Comparison.
type comparing struct {
	p        ReplayPlan
	classify func([]byte) string
	rows     map[string]*KindRow
	Comparison
}

func (c *comparing) row(kind string) *KindRow {
	if c.rows[kind] == nil {
		c.rows[kind] = &KindRow{Kind: kind}
	}
	return c.rows[kind]
}

var errReplayGone = errors.New("what only the replay counted is no longer in the log")

// add brings the replay's counts b to the offset range of the original's counts a.
func (c *comparing) add(ctx context.Context, a, b tally.Tally, low int64) error {
	if a.TopicID != "" && b.TopicID != "" && a.TopicID != b.TopicID {
		return errors.New("the topic was created again: the group counted another one")
	}
	for k, n := range a.Counts {
		c.row(k).Original += n
	}
	for k, n := range b.Counts {
		c.row(k).Replay += n
	}
	for _, s := range []struct {
		from, to, sign int64
	}{
		{a.Start, min(b.Start, a.Next), +1}, // counted by the original only
		{b.Start, min(a.Start, b.Next), -1}, // by the replay only
		{max(b.Next, a.Start), a.Next, +1},
		{max(a.Next, b.Start), b.Next, -1},
	} {
		if s.from >= s.to {
			continue
		}
		if s.from < low {
			if s.sign < 0 {
				return errReplayGone
			}
			c.Trimmed += min(low, s.to) - s.from
			s.from = min(low, s.to)
		}
		if err := c.recount(ctx, a.Partition, s.from, s.to, s.sign); err != nil {
			return err
		}
	}
	return nil
}

// recount adds the records between two offsets to the replay's counts, or subtracts them.
func (c *comparing) recount(ctx context.Context, partition int32, from, to, sign int64) error {
	reader := scan.New(c.p.i.cfg.Client, scan.Options{})
	tp := scan.TopicPartition{Topic: c.p.Topic, Partition: partition}
	return reader.Read(ctx, scan.Range{TopicPartition: tp, From: from, To: to}, func(chunk scan.Chunk) error {
		for _, r := range chunk.Records {
			c.row(scan.Kind(r, c.classify)).Replay += sign
		}
		c.Adjusted += int64(len(chunk.Records))
		if chunk.Trimmed > 0 && sign < 0 {
			return errReplayGone
		}
		c.Trimmed += chunk.Trimmed
		return nil
	})
}

func (c *comparing) result() Comparison {
	c.Kinds, c.Equal = []KindRow{}, true
	var sum int64
	for _, k := range slices.Sorted(maps.Keys(c.rows)) {
		row := *c.rows[k]
		if row.Original == 0 && row.Replay == 0 {
			continue
		}
		row.Difference = row.Original - row.Replay
		sum += row.Difference
		if row.Difference < 0 || row.Difference > 0 && c.Trimmed == 0 {
			c.Equal = false
		}
		c.Kinds = append(c.Kinds, row)
	}
	c.Equal = c.Equal && sum <= c.Trimmed
	return c.Comparison
}
