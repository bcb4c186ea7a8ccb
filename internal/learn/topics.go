package learn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// wantedPartitions is how many partitions the learner's topic has.
const wantedPartitions = 3

// topicStation: the learner creates a topic with three partitions.
var topicStation = station{number: 2, name: "topic", minutes: 5, question: topicQuestion, check: topicCheck,
	picture: func(ctx context.Context, l *look) (Picture, error) {
		if len(l.learnersTopics()) > 0 {
			return l.lanes(ctx, PictureReplicas, l.topic(), "")
		}
		topic, _ := l.streamTopic()
		return l.lanes(ctx, PictureReplicas, topic, "")
	}}

func topicQuestion(_ context.Context, l *look) (question, error) {
	brokers := len(l.meta.Brokers)
	if brokers == 0 {
		return question{}, errors.New("no broker answers")
	}
	copies := min(3, brokers)
	return question{kind: Number, answer: strconv.Itoa(wantedPartitions * copies),
		text: fmt.Sprintf("This cluster has %s. You create a topic with %d partitions and replication factor %d. "+
			"How many replicas do the brokers store for the topic, all partitions together?", watch.Plural(brokers, "broker"), wantedPartitions, copies),
		why: because(fmt.Sprintf("Each of the %d partitions has %s, each on another broker: %d × %d = %d.",
			wantedPartitions, watch.Plural(copies, "replica"), wantedPartitions, copies, wantedPartitions*copies), mistakes{
			strconv.Itoa(wantedPartitions): " Partitions divide the records of a topic. Replicas are copies of the same partition.",
		})}, nil
}

func topicCheck(_ context.Context, l *look) (Check, error) {
	none := "weir sees no topic of yours yet; create one with three partitions"
	return l.eachTopic(none, func(d kadm.TopicDetail) (string, int, []string, error) {
		n := len(d.Partitions)
		seen := []string{fmt.Sprintf("topic %s has %s", d.Topic, watch.Plural(n, "partition"))}
		switch {
		case n == wantedPartitions:
			return "", 0, seen, nil
		case n < wantedPartitions:
			return fmt.Sprintf("topic %s has %s; this station needs %d: create another topic, or add partitions to this one",
				d.Topic, watch.Plural(n, "partition"), wantedPartitions), n, seen, nil
		}
		return fmt.Sprintf("topic %s has %s; this station needs exactly %d, and Kafka cannot remove partitions: create another topic",
			d.Topic, watch.Plural(n, "partition"), wantedPartitions), 0, seen, nil
	})
}

// producingStation: the learner writes records without a key, into two or more partitions.
var producingStation = station{number: 3, name: "producing", minutes: 5, question: producingQuestion, check: producingCheck,
	picture: ownTopicPicture}

var errNoTopicYet = errors.New("create a topic of your own first: that is station 2")

func producingQuestion(ctx context.Context, l *look) (question, error) {
	if len(l.learnersTopics()) == 0 {
		return question{}, errNoTopicYet
	}
	pin, err := l.asPinned(ctx)
	if err != nil {
		return question{}, err
	}
	topic, parts := pin.Topic, pin.Partitions
	var ends []string
	at := parts[len(parts)-1]
	for _, p := range parts {
		ends = append(ends, fmt.Sprintf("%d in partition %d", p.End, p.Partition))
	}
	return question{kind: Number, answer: strconv.FormatInt(at.End, 10),
		text: fmt.Sprintf("The end offsets of `%s` are now %s. The next record goes to partition %d. Which offset does it get?",
			topic, strings.Join(ends, ", "), at.Partition),
		why: because(fmt.Sprintf("Offsets begin at 0, and each partition counts alone. The end offset is the offset of the next "+
			"record: %d in partition %d.", at.End, at.Partition), mistakes{
			strconv.FormatInt(at.End+1, 10): " With an end offset of 1, for example, the partition has one record, at offset 0.",
		})}, nil
}

// pinnedOffsets are the offsets of a topic that a question is about.
type pinnedOffsets struct {
	Topic      string             `json:"topic"`
	Partitions []PicturePartition `json:"partitions"`
}

// asPinned are the partitions of the learner's topic as the question names them. They follow the topic until
// the question is answered. Then they stay, as the learner goes on to write.
func (l *look) asPinned(ctx context.Context) (pinnedOffsets, error) {
	stays := func(pin pinnedOffsets) bool {
		_, ok := l.meta.Topics[pin.Topic]
		return ok && l.answers && len(pin.Partitions) > 0
	}
	return pinned(l, stays, func() (pin pinnedOffsets, err error) {
		pin.Topic = l.topic()
		pin.Partitions, err = l.partitions(ctx, pin.Topic)
		return pin, err
	})
}

func producingCheck(ctx context.Context, l *look) (Check, error) {
	return l.eachTopic(errNoTopicYet.Error(), func(d kadm.TopicDetail) (string, int, []string, error) {
		if len(d.Partitions) < 2 {
			return fmt.Sprintf("topic %s has only one partition; this station needs a topic with two or more", d.Topic), 0, nil, nil
		}
		list, err := l.newest(ctx, d.Topic, maxRecords)
		if err != nil {
			return "", 0, nil, err
		}
		without, keyed := map[int32]int{}, 0
		for _, m := range list {
			if m.Key == nil {
				without[m.Partition]++
			} else {
				keyed++
			}
		}
		seen := []string{}
		for _, p := range d.Partitions.Sorted() {
			seen = append(seen, fmt.Sprintf("partition %d of %s: %s without a key", p.Partition, d.Topic, watch.Plural(without[p.Partition], "record")))
		}
		switch {
		case len(without) >= 2:
			return "", 0, seen, nil
		case len(without) == 1:
			p := sortedPartitions(without)[0]
			return fmt.Sprintf("topic %s has %s without a key, all in partition %d; this station needs records in two partitions or more. "+
				"A producer fills one partition for a while before it takes another one: run the command again",
				d.Topic, watch.Plural(without[p], "record"), p), 3, seen, nil
		case keyed > 0:
			return fmt.Sprintf("topic %s has only records with a key (%d); this station needs records without one", d.Topic, keyed), 2, seen, nil
		}
		return fmt.Sprintf("topic %s has no records yet", d.Topic), 1, seen, nil
	})
}

// keysStation: the learner writes five records with one key.
var keysStation = station{number: 4, name: "keys", minutes: 8, question: keysQuestion, check: keysCheck,
	picture: ownTopicPicture}

const (
	wantedKey     = "anna"
	wantedRecords = 5
)

func keysQuestion(_ context.Context, l *look) (question, error) {
	if len(l.learnersTopics()) == 0 {
		return question{}, errNoTopicYet
	}
	topic := l.topic()
	n := len(l.meta.Topics[topic].Partitions)
	hash := murmur2([]byte(wantedKey))
	answer := hash % uint32(n)
	return question{kind: Number, answer: strconv.Itoa(int(answer)),
		text: fmt.Sprintf("Kafka's hash of the key `%s` is %d. The partition is the remainder of hash ÷ number of partitions, and "+
			"`%s` has %s. "+
			"Which partition do the records with this key go to?", wantedKey, hash, topic, watch.Plural(n, "partition")),
		why: func(wrong string) string {
			text := fmt.Sprintf("%d = %d × %d + %d, so the remainder is %d. Each record with the key `%s` goes to partition %d of `%s`.",
				hash, n, hash/uint32(n), answer, answer, wantedKey, answer, topic)
			if w, err := strconv.Atoi(wrong); err == nil && w >= n {
				text += fmt.Sprintf(" The partitions are numbered from 0 to %d.", n-1)
			}
			return text
		}}, nil
}

func keysCheck(ctx context.Context, l *look) (Check, error) {
	return l.eachTopic(errNoTopicYet.Error(), func(d kadm.TopicDetail) (string, int, []string, error) {
		if len(d.Partitions) < 2 {
			return fmt.Sprintf("topic %s has only one partition, so a key chooses nothing; this station needs two or more", d.Topic), 0, nil, nil
		}
		list, err := l.newest(ctx, d.Topic, maxRecords)
		if err != nil {
			return "", 0, nil, err
		}
		reason, near, seen := keyed(d, list)
		return reason, near, seen, nil
	})
}

// keyed judges the records of a topic: five with the key, in one partition, in order.
func keyed(d kadm.TopicDetail, list []inspect.Message) (reason string, near int, seen []string) {
	with, others, all := map[int32][]inspect.Message{}, map[string]int{}, 0
	for _, m := range list {
		switch {
		case string(m.Key) == wantedKey:
			with[m.Partition] = append(with[m.Partition], m)
			all++
		case m.Key != nil:
			others[string(m.Key)]++
		}
	}
	for _, p := range sortedPartitions(with) {
		seen = append(seen, fmt.Sprintf("partition %d of %s: %s with the key %s", p, d.Topic, watch.Plural(len(with[p]), "record"), wantedKey))
	}
	switch {
	case all == 0 && len(others) > 0:
		return fmt.Sprintf("topic %s has records with other keys (%s), but none with exactly the key %s",
			d.Topic, someKeys(others), wantedKey), 1, seen
	case all == 0:
		return fmt.Sprintf("topic %s has no record with the key %s yet", d.Topic, wantedKey), 0, seen
	case len(with) > 1:
		return fmt.Sprintf("the records with the key %s are in %d partitions of topic %s, so their order is lost; "+
			"a partition was chosen by hand, partitions were added, or two tools hash differently: create another topic and write all "+
			"five with one tool",
			wantedKey, len(with), d.Topic), 2 + all, seen
	case all < wantedRecords:
		return fmt.Sprintf("topic %s has %s with the key %s; this station needs %d", d.Topic, watch.Plural(all, "record"), wantedKey, wantedRecords),
			2 + all, seen
	}
	p := sortedPartitions(with)[0]
	same := with[p]
	slices.SortFunc(same, func(a, b inspect.Message) int { return int(a.Offset - b.Offset) })
	var order []string
	for _, m := range same[max(0, len(same)-wantedRecords):] {
		order = append(order, fmt.Sprintf("%.20q at %d", m.Value, m.Offset))
	}
	seen = append(seen, "in the order of their offsets: "+strings.Join(order, ", "))
	if by := int32(murmur2([]byte(wantedKey)) % uint32(len(d.Partitions))); by != p {
		seen = append(seen, fmt.Sprintf("your tool uses another hash than Kafka's Java client, which takes partition %d; the order "+
			"is kept all the same", by))
	}
	return "", 0, seen
}

// someKeys are the first keys of a topic, for a sentence.
func someKeys(keys map[string]int) string {
	const most = 3
	var list []string
	for _, k := range sortedNames(keys) {
		if len(list) == most {
			list = append(list, "…")
			break
		}
		list = append(list, fmt.Sprintf("%.20q", k))
	}
	return strings.Join(list, ", ")
}

func sortedPartitions[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }
