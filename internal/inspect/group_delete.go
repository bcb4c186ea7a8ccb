package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// DeleteGroupPlan is what deleting a group would remove. Apply does it.
type DeleteGroupPlan struct {
	Group string `json:"group"`
	Type  string `json:"type"`
	State string `json:"state"`
	// Offsets is how many partitions the group has a committed offset in.
	Offsets int `json:"offsets"`
	// Active are the group's members: while there are any, Apply refuses.
	Active []Member `json:"active,omitempty"`

	i *Inspector
}

// PlanDeleteGroup looks up what deleting a group would remove and changes nothing. A group that
// has counts in Redis is refused. The store is nil where no Redis is known.
func (i *Inspector) PlanDeleteGroup(ctx context.Context, group string, store Tallies) (plan DeleteGroupPlan, err error) {
	defer wrap(&err, "plan the deletion")
	d, err := i.forgettable(ctx, group, store)
	plan = DeleteGroupPlan{Group: group, Type: d.Type, State: d.State, Active: d.Members, i: i}
	for _, p := range d.Partitions {
		if p.Committed >= 0 {
			plan.Offsets++
		}
	}
	return plan, err
}

// forgettable describes a group that may lose offsets. Counts in Redis and the offsets beside
// them are one: a counter would continue from those, as if nothing had been deleted.
func (i *Inspector) forgettable(ctx context.Context, group string, store Tallies) (GroupDetail, error) {
	d, err := i.Group(ctx, group)
	if err != nil {
		return d, err
	}
	counted, err := countedTopics(ctx, store, group)
	if err == nil && len(counted) > 0 {
		err = notAsAsked("the counts of group %q are in Redis, with the offsets from which its counters continue, and would stay there: "+
			"to count again, reset the group (weir groups reset GROUP --to oldest); "+
			"to remove it for good, stop its counters and delete its counts from Redis first (the keys weir:tally:GROUP:*)", group)
	}
	return d, err
}

// Apply deletes the group. It refuses with ErrGroupActive while the group has members.
func (p DeleteGroupPlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "delete group")
	if err := p.i.idle(ctx, p.Group); err != nil {
		return err
	}
	_, err = p.i.admin.DeleteGroup(ctx, p.Group)
	return groupError(p.Group, err)
}

// groupError adds what callers branch on to an answer of a coordinator.
func groupError(group string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.GroupSubscribedToTopic): // a member has come meanwhile
		return fmt.Errorf("%q: %w: %w", group, ErrGroupActive, err)
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("%q: %w", group, ErrNoGroup)
	}
	return fmt.Errorf("%q: %w", group, err)
}

// CommittedOffset is an offset that a group has committed.
type CommittedOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"`
}

// DeleteOffsetsPlan is which committed offsets would be removed. Apply removes them.
type DeleteOffsetsPlan struct {
	Group   string            `json:"group"`
	Topic   string            `json:"topic"`
	Type    string            `json:"type"`
	Offsets []CommittedOffset `json:"offsets"`
	// Active are the group's members: while there are any, Apply refuses.
	Active []Member `json:"active,omitempty"`

	i *Inspector
}

// PlanDeleteOffsets looks up which committed offsets of a topic a group would lose and
// changes nothing; no partitions means all of them. A group that has counts in Redis is
// refused. The store is nil where no Redis is known.
func (i *Inspector) PlanDeleteOffsets(ctx context.Context, group, topic string, partitions []int32,
	store Tallies) (plan DeleteOffsetsPlan, err error) {
	defer wrap(&err, "plan the deletion of offsets")
	plan = DeleteOffsetsPlan{Group: group, Topic: topic, Offsets: []CommittedOffset{}, i: i}
	if topic == "" {
		return plan, notAsAsked("name the topic whose committed offsets are to be deleted")
	}
	d, err := i.forgettable(ctx, group, store)
	plan.Type, plan.Active = d.Type, d.Members
	if err != nil {
		return plan, err
	}
	if d.Type == TypeShare && len(partitions) > 0 {
		return plan, notAsAsked("a share group loses the offsets of a whole topic: leave the partitions out")
	}
	for _, p := range d.Partitions {
		if p.Topic == topic && p.Committed >= 0 && (len(partitions) == 0 || slices.Contains(partitions, p.Partition)) {
			plan.Offsets = append(plan.Offsets, CommittedOffset{p.Topic, p.Partition, p.Committed})
		}
	}
	for _, p := range partitions {
		if !slices.ContainsFunc(plan.Offsets, func(o CommittedOffset) bool { return o.Partition == p }) {
			return plan, notAsAsked("group %q has no committed offset in partition %d of topic %q", group, p, topic)
		}
	}
	if len(plan.Offsets) == 0 {
		return plan, notAsAsked("group %q has no committed offset in topic %q", group, topic)
	}
	return plan, nil
}

// Apply deletes the offsets. It refuses with ErrGroupActive while the group has members.
func (p DeleteOffsetsPlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "delete offsets of group")
	if err := p.i.idle(ctx, p.Group); err != nil {
		return err
	}
	if p.Type == TypeShare {
		deleted, err := p.i.admin.DeleteShareGroupOffsets(ctx, p.Group, p.Topic)
		if err == nil {
			err = deleted.Error()
		}
		return groupError(p.Group, err)
	}
	set := kadm.TopicsSet{}
	for _, o := range p.Offsets {
		set.Add(o.Topic, o.Partition)
	}
	deleted, err := p.i.admin.DeleteOffsets(ctx, p.Group, set)
	if err == nil {
		err = deleted.Error()
	}
	return groupError(p.Group, err)
}
