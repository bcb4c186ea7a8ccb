package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// kafkasOwn are the topics in which brokers keep state. A cluster does not mark all of them as
// internal.
var kafkasOwn = []string{"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata", "__remote_log_metadata"}

// Reserved reports whether a topic's records and partitions are not changed from here.
func (i *Inspector) Reserved(topic string) bool { return slices.Contains(i.cfg.Reserved, topic) }

// protected is ErrProtected with the reason for a topic of weir or of Kafka itself, else nil.
func (i *Inspector) protected(name string, internal bool) error {
	switch {
	case i.Reserved(name):
		return fmt.Errorf("%w: weir counts exactly once only while it stays as it is. "+
			"To begin again, stop weir up and start it with an empty --data directory. "+
			"On your own cluster, stop weir produce and weir consume, then use kafka-topics.sh", ErrProtected)
	case internal || slices.Contains(kafkasOwn, name):
		return fmt.Errorf("%w: the brokers keep their own state in it", ErrProtected)
	}
	return nil
}

// changeable looks up a topic whose records or partitions are to change. A topic of Kafka itself
// or of weir is ErrProtected.
func (i *Inspector) changeable(ctx context.Context, name string) (kadm.Metadata, kadm.TopicDetail, error) {
	if i.Reserved(name) {
		return kadm.Metadata{}, kadm.TopicDetail{}, i.protected(name, false)
	}
	meta, err := i.Metadata(ctx, name)
	if err != nil {
		return meta, kadm.TopicDetail{}, err
	}
	d, err := unnamed(meta, name)
	if err == nil {
		err = i.protected(name, d.IsInternal)
	}
	return meta, d, err
}

// TruncateQuery says which messages to delete.
type TruncateQuery struct {
	Topic string
	// Before is End, an offset or a time: messages before it are deleted.
	Before Target
	// Partitions restricts to these; empty means all.
	Partitions []int32
}

// TruncatePlan is what deleting the oldest messages of a topic would do. Apply does it.
type TruncatePlan struct {
	Topic      string              `json:"topic"`
	Partitions []TruncatePartition `json:"partitions"`
	// Messages is the sum of the offsets that are deleted, transaction markers included.
	Messages int64 `json:"messages"`

	i *Inspector
}

// TruncatePartition is what is deleted from one partition.
type TruncatePartition struct {
	Partition int32 `json:"partition"`
	Low       int64 `json:"low"` // the first offset before
	To        int64 `json:"to"`  // the first offset afterwards
	Deleted   int64 `json:"deleted"`
}

// PlanTruncate looks up which messages would be deleted, and deletes none.
func (i *Inspector) PlanTruncate(ctx context.Context, q TruncateQuery) (plan TruncatePlan, err error) {
	defer wrap(&err, "truncate topic %q", q.Topic)
	plan = TruncatePlan{Topic: q.Topic, Partitions: []TruncatePartition{}, i: i}
	if q.Before.mode != targetEnd && q.Before.mode != targetOffset && q.Before.mode != targetTime {
		return plan, notAsAsked("say before what to delete: end, an offset, or a time")
	}
	meta, d, err := i.changeable(ctx, q.Topic)
	if err != nil {
		return plan, err
	}
	if policy, err := i.cleanupPolicy(ctx, q.Topic); err == nil && policy != "" && !strings.Contains(policy, "delete") {
		return plan, notAsAsked("its cleanup.policy is %s, and Kafka deletes messages only where it has delete; "+
			"set it to %s,delete first", policy, policy)
	}
	parts, err := choose(d, q.Partitions)
	if err != nil {
		return plan, err
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds)
	after, err := q.Before.after(ctx, i, q.Topic)
	if err != nil {
		return plan, err
	}
	for _, id := range parts {
		lo, hi, err := at.of(q.Topic, id)
		if err != nil {
			return plan, err
		}
		to := q.Before.in(q.Topic, id, lo, hi, lo, after)
		plan.Partitions = append(plan.Partitions, TruncatePartition{Partition: id, Low: lo, To: to, Deleted: to - lo})
		plan.Messages += to - lo
	}
	return plan, nil
}

// cleanupPolicy returns how a topic loses records; empty where the cluster does not report it.
func (i *Inspector) cleanupPolicy(ctx context.Context, topic string) (string, error) {
	settings, err := i.settingsByName(ctx, topic)
	return settings["cleanup.policy"].Value, err
}

// Apply deletes the messages. The plan then has what the brokers have deleted, which is less where
// an engine keeps the newest message of a partition.
func (p *TruncatePlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "truncate topic %q", p.Topic)
	to := kadm.Offsets{}
	for _, part := range p.Partitions {
		if part.Deleted > 0 {
			to.AddOffset(p.Topic, part.Partition, part.To, -1)
		}
	}
	responses, err := p.i.admin.DeleteRecords(ctx, to)
	if err != nil && len(responses) == 0 {
		return rejected(err, "")
	}
	p.Messages = 0
	var failed []error
	for n := range p.Partitions {
		part := &p.Partitions[n]
		if part.Deleted == 0 {
			continue
		}
		r, missing := responses.On(p.Topic, part.Partition, nil)
		if why := cmp.Or(r.Err, missing); why != nil {
			if missing != nil && err != nil {
				why = err
			}
			failed = append(failed, fmt.Errorf("partition %d: %w", part.Partition, rejected(why, "")))
			part.To, part.Deleted = part.Low, 0
			continue
		}
		part.To, part.Deleted = r.LowWatermark, max(0, r.LowWatermark-part.Low)
		p.Messages += part.Deleted
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d messages are deleted, and some partitions stay as they are: %w", p.Messages, errors.Join(failed...))
	}
	return nil
}

// DeletePlan is what deleting a topic would do. Apply does it.
type DeletePlan struct {
	Topic    string `json:"topic"`
	Messages int64  `json:"messages"`
	// Groups are those that consume the topic or have committed offsets in it.
	Groups   []TopicGroup `json:"groups"`
	Warnings []string     `json:"warnings,omitempty"`

	i *Inspector
}

// PlanDelete looks up what deleting a topic would delete, and who would notice it.
func (i *Inspector) PlanDelete(ctx context.Context, topic string) (plan DeletePlan, err error) {
	defer wrap(&err, "delete topic %q", topic)
	plan = DeletePlan{Topic: topic, Groups: []TopicGroup{}, i: i}
	meta, d, err := i.changeable(ctx, topic)
	if err != nil {
		return plan, err
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds)
	for _, p := range d.Partitions {
		lo, hi, err := at.of(topic, p.Partition)
		if err != nil { // a topic without leaders can be deleted, too
			plan.Warnings = append(plan.Warnings, fmt.Sprintf("partition %d: %v", p.Partition, err))
			continue
		}
		plan.Messages += hi - lo
	}
	if plan.Groups, err = i.topicGroups(ctx, topic); err != nil {
		plan.Warnings = append(plan.Warnings, err.Error())
	}
	return plan, nil
}

// Apply deletes the topic.
func (p DeletePlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "delete topic %q", p.Topic)
	resp, err := p.i.admin.DeleteTopic(ctx, p.Topic)
	if errors.Is(err, kerr.TopicDeletionDisabled) {
		return &RejectedError{Err: err, Reason: "the brokers have delete.topic.enable=false"}
	}
	return rejected(err, resp.ErrMessage)
}
