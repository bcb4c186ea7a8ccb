package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
)

// replicationStation: the learner kills the broker that leads partition 0, and restarts it.
var replicationStation = station{number: 9, name: "replication", minutes: 8, unavailable: noReplicas,
	question: replicationQuestion, check: replicationCheck,
	observe: observeReplication,
	names:   func(l *look) []string { return []string{"{leader}", l.killed()} },
	picture: func(ctx context.Context, l *look) (Picture, error) {
		topic := l.replicatedTopic()
		if name, t, ok, err := l.failedOver(); err == nil && ok && t.rank() > 1 {
			topic = name
		}
		return l.lanes(ctx, PictureReplicas, topic, "")
	}}

func noReplicas(_ context.Context, l *look) string {
	if len(l.meta.Brokers) < 2 && !slices.ContainsFunc(l.meta.Topics.Sorted(),
		func(d kadm.TopicDetail) bool { return d.Partitions.NumReplicas() > 1 }) {
		return "this cluster has one broker, so no partition has a second replica: try the station on the embedded cluster (weir up)"
	}
	return ""
}

// replicated are the topics whose partition 0 has two or more replicas: weir's stream first, then the
// learner's, then others.
func (l *look) replicated() []string {
	list := []string{}
	add := func(topic string) {
		d := l.meta.Topics[topic]
		p, ok := d.Partitions[0]
		if ok && d.Err == nil && !d.IsInternal && len(p.Replicas) > 1 && !slices.Contains(list, topic) && len(list) < maxTrails {
			list = append(list, topic)
		}
	}
	stream, _ := l.streamTopic()
	add(stream)
	for _, d := range l.learnersTopics() {
		add(d.Topic)
	}
	for _, d := range l.meta.Topics.Sorted() {
		if !strings.HasPrefix(d.Topic, "__") && !strings.HasPrefix(d.Topic, "weir.") {
			add(d.Topic)
		}
	}
	return list
}

// replicatedTopic is the topic that texts and the question are about; empty for none.
func (l *look) replicatedTopic() string {
	if list := l.replicated(); len(list) > 0 {
		return list[0]
	}
	return ""
}

// killed is the broker that the learner kills and restarts, as commands name it: the leader, until it was killed.
func (l *look) killed() string {
	if _, t, ok, err := l.failedOver(); err == nil && ok && t.Was >= 0 && !t.Back {
		return strconv.Itoa(int(t.Was))
	}
	return l.leader()
}

// leader is the broker that leads partition 0 of that topic.
func (l *look) leader() string {
	if p, ok := l.meta.Topics[l.replicatedTopic()].Partitions[0]; ok && p.Leader >= 0 {
		return strconv.Itoa(int(p.Leader))
	}
	return "LEADER"
}

func replicationQuestion(_ context.Context, l *look) (question, error) {
	topic := l.replicatedTopic()
	if topic == "" {
		return question{}, errors.New("no topic has a partition with two or more replicas")
	}
	named := func(pin kadm.PartitionDetail) bool { return pin.Topic != "" }
	pin, err := pinned(l, named, func() (kadm.PartitionDetail, error) {
		p := l.meta.Topics[topic].Partitions[0]
		p.Topic, p.Err = topic, nil
		if p.Leader < 0 || len(p.ISR) == 0 {
			return p, fmt.Errorf("partition 0 of topic %s has no leader now", topic)
		}
		return p, nil
	})
	if err != nil {
		return question{}, err
	}
	left := len(pin.ISR) - 1
	return question{kind: Number, answer: strconv.Itoa(left),
		text: fmt.Sprintf("The partition is number 0 of `%s`. Its replicas are on the brokers %s, the in-sync replicas are %s, and "+
			"broker %d leads.",
			pin.Topic, brokerList(pin.Replicas), brokerList(pin.ISR), pin.Leader),
		why: because(fmt.Sprintf("The broker that is killed leaves the ISR, so %s left of %d. One of these becomes the leader.",
			isAre(left), len(pin.ISR)), mistakes{
			strconv.Itoa(len(pin.ISR)): " The list of *replicas* does not change: the killed broker stays in it, and is expected back.",
		})}, nil
}

func isAre(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func brokerList(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ", ")
}

// failoverTrail is how far partition 0 of a topic has come on station 9.
type failoverTrail struct {
	Leader int32 `json:"leader"` // at the last sample
	// Was led the partition until the leader moved, Now leads it then; -1 for not yet.
	Was int32 `json:"was"`
	Now int32 `json:"now"`
	// Shrunk says that Was left the in-sync replicas, of which ISR were left.
	Shrunk bool    `json:"shrunk,omitempty"`
	ISR    []int32 `json:"isr,omitempty"`
	// Mark is the newest record then, and where the partition ended.
	Mark *markedRecord `json:"mark,omitempty"`
	// Written says that records were written after that, Back that Was is in sync again and the
	// marked record is the same.
	Written bool `json:"written,omitempty"`
	Back    bool `json:"back,omitempty"`

	follower int32  // a follower that left the in-sync replicas, -1 for none
	changed  string // what was not the same afterwards
}

func (t *failoverTrail) rank() int64 {
	switch {
	case t.Back && t.Written:
		return 6
	case t.Back || t.Written:
		return 5
	case t.Shrunk:
		return 4
	case t.Was >= 0:
		return 3
	case t.follower >= 0:
		return 2
	}
	return 1
}

// failedOver is the topic that has come furthest, in the order of replicated; false for none.
func (l *look) failedOver() (topic string, t failoverTrail, ok bool, err error) {
	return furthest[failoverTrail](l, l.replicated())
}

func observeReplication(ctx context.Context, l *look, s sample) error {
	if _, err := l.metadata(ctx); err != nil {
		return err
	}
	all, err := trails[failoverTrail](l)
	if err != nil {
		return err
	}
	changed := s.now
	for _, topic := range l.replicated() {
		p := l.meta.Topics[topic].Partitions[0]
		if p.Leader < 0 || p.Err != nil {
			continue
		}
		t := trailOf(all, topic, func() failoverTrail { return failoverTrail{Leader: p.Leader, Was: -1, Now: -1, follower: -1} })
		if t == nil {
			continue
		}
		before := t.rank()
		if err := t.follow(ctx, l, topic, p); err != nil {
			return err
		}
		changed = changed || t.rank() != before
	}
	if changed {
		return l.keep(all)
	}
	return nil
}

// follow adds a sample of the partition.
func (t *failoverTrail) follow(ctx context.Context, l *look, topic string, p kadm.PartitionDetail) error {
	if p.Leader != t.Leader && !t.Shrunk {
		t.Was, t.Now = t.Leader, p.Leader
	}
	t.Leader, t.follower = p.Leader, -1
	for _, id := range p.Replicas {
		if id != p.Leader && !slices.Contains(p.ISR, id) {
			t.follower = id
		}
	}
	switch {
	case t.Was < 0:
		return nil
	case !t.Shrunk && slices.Contains(p.ISR, t.Was):
		return nil // the leader moved, and its broker runs: an election, or a shutdown that goes on
	case !t.Shrunk || t.Mark == nil:
		mark, err := l.mark(ctx, inspect.Query{Topic: topic, Partitions: []int32{0}})
		if err != nil {
			return err
		}
		t.Shrunk, t.ISR, t.Mark = true, slices.Clone(p.ISR), mark
	}
	if t.Written && t.Back {
		return nil
	}
	same, end, err := l.unchanged(ctx, t.Mark)
	if err != nil {
		return err
	}
	t.Written = t.Written || end > t.Mark.End
	if !t.Back && slices.Contains(p.ISR, t.Was) && len(p.ISR) == len(p.Replicas) {
		if t.Back = same; !t.Back {
			t.changed = fmt.Sprintf("offset %d of partition 0 of topic %s does not hold the record that it held before the restart",
				t.Mark.Offset, topic)
		}
	}
	return nil
}

func replicationCheck(_ context.Context, l *look) (Check, error) {
	topic, t, ok, err := l.failedOver()
	if err != nil {
		return Check{}, err
	}
	if l.replicatedTopic() == "" {
		return notYet("weir sees no topic whose partition 0 has two or more replicas: create one with three replicas"), nil
	}
	if !ok || t.Was < 0 && t.follower < 0 {
		return notYetf("broker %s leads partition 0 of topic %s, and all its replicas are in sync: kill that broker", l.leader(),
			l.replicatedTopic()), nil
	}
	if t.Was < 0 {
		return notYetf("broker %d left the in-sync replicas of partition 0 of topic %s, but it was a follower there: restart it, and "+
			"kill the leader, which is broker %d", t.follower, topic, t.Leader), nil
	}
	moved := fmt.Sprintf("the leader of partition 0 of topic %s moved from broker %d to broker %d", topic, t.Was, t.Now)
	result := Check{Seen: []string{moved}}
	if !t.Shrunk {
		result.Reason = fmt.Sprintf("the leader moved, but broker %d is still in sync, so it was not killed: kill the leader, which "+
			"is broker %d now", t.Was, t.Leader)
		return result, nil
	}
	result.Seen = append(result.Seen, fmt.Sprintf("broker %d left the in-sync replicas; %s were left", t.Was, brokerList(t.ISR)))
	if t.Written {
		result.Seen = append(result.Seen, "new records were written to the partition after that")
	}
	if t.Back && t.Mark != nil {
		result.Seen = append(result.Seen, fmt.Sprintf("broker %d is back and in sync, and the record at offset %d is the same as "+
			"before", t.Was, t.Mark.Offset))
	}
	switch {
	case t.changed != "" && !t.Back:
		result.Reason = t.changed + ": weir verify shows what was lost"
	case !t.Back && !t.Written:
		result.Reason = fmt.Sprintf("broker %d is not in sync, and nothing was written to the partition since it was killed: wait for "+
			"records or write some, then restart broker %d", t.Was, t.Was)
	case !t.Back:
		result.Reason = fmt.Sprintf("broker %d is not in sync again: restart it, and wait for its replica", t.Was)
	case !t.Written:
		result.Reason = fmt.Sprintf("nothing was written to partition 0 of topic %s since broker %d was killed: write some records",
			topic, t.Was)
	default:
		result.Done = true
	}
	return result, nil
}
