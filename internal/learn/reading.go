package learn

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
)

// Limits of what a check reads.
const (
	// maxTopics is how many topics of the learner's a check looks into.
	maxTopics = 20
	// maxRecords is how many of the newest records of a topic it reads, maxBytes how much of them.
	maxRecords, maxBytes = 500, 4 << 20
)

// newest reads the newest records of a topic, in the order of each partition.
func (l *look) newest(ctx context.Context, topic string, n int64) (list []inspect.Message, err error) {
	_, err = l.inspector().Read(ctx, inspect.Query{Topic: topic, From: inspect.Newest(n), Partial: true, MaxBytes: maxBytes,
		MaxScanned: maxRecords * 4},
		func(m inspect.Message) error { list = append(list, m); return nil })
	return list, err
}

// record reads one record; false where the partition holds none at the offset any more.
func (l *look) record(ctx context.Context, topic string, partition int32, offset int64) (m inspect.Message, ok bool, err error) {
	_, err = l.inspector().Read(ctx, inspect.Query{Topic: topic, Partitions: []int32{partition}, From: inspect.AtOffset(offset),
		MaxMessages: 1},
		func(got inspect.Message) error { m, ok = got, got.Offset == offset; return nil })
	return m, ok, err
}

// eachTopic looks at the learner's topics until one is right. look returns an empty reason for the one
// that is, else what is missing and how near it is: the nearest reason is returned.
func (l *look) eachTopic(none string, look func(kadm.TopicDetail) (reason string, near int, seen []string, err error)) (Check, error) {
	mine := l.learnersTopics()
	if len(mine) == 0 {
		return notYet(none), nil
	}
	named := l.topic() // the topic of texts and commands comes first: of two that are as near, it is the one that the learner uses
	slices.SortStableFunc(mine, func(a, b kadm.TopicDetail) int { return boolInt(a.Topic != named) - boolInt(b.Topic != named) })
	best, nearest := Check{}, -1
	for _, d := range mine[:min(len(mine), maxTopics)] {
		reason, near, seen, err := look(d)
		if err != nil {
			return Check{}, err
		}
		if reason == "" {
			return Check{Done: true, Seen: seen}, nil
		}
		if near > nearest {
			best, nearest = Check{Reason: reason, Seen: seen}, near
		}
	}
	if len(mine) > maxTopics {
		best.Seen = append(best.Seen, fmt.Sprintf("weir looked at the first %d of your %d topics", maxTopics, len(mine)))
	}
	return best, nil
}
