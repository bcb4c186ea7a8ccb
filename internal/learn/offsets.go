package learn

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weir-project/weir/internal/inspect"
)

// offsetsStation: the learner reads with a group, stops it, writes more and goes on.
var offsetsStation = station{number: 5, name: "offsets", minutes: 10, question: offsetsQuestion, check: offsetsCheck,
	observe: func(_ context.Context, l *look, s sample) error {
		return followGroups(l, s, l.learners, func(string, groupSample) offsetsTrail { return offsetsTrail{Total: -1, Uncommitted: true} },
			func(t *offsetsTrail, _ string, g groupSample) bool { return t.follow(g) })
	},
	picture: func(ctx context.Context, l *look) (Picture, error) {
		group, _, _, err := furthest[offsetsTrail](l, nil)
		if err != nil {
			return Picture{}, err
		}
		return l.lanes(ctx, PictureLanes, l.topic(), group)
	}}

func offsetsQuestion(ctx context.Context, l *look) (question, error) {
	if len(l.learnersTopics()) == 0 {
		return question{}, errNoTopicYet
	}
	pin, err := l.asPinned(ctx)
	if err != nil {
		return question{}, err
	}
	topic := pin.Topic
	var records int64
	for _, p := range pin.Partitions {
		records += p.End - p.Start
	}
	return question{kind: Number, answer: strconv.FormatInt(records, 10),
		text: fmt.Sprintf("The partitions of `%s` hold %d records together. A new group joins, begins with the oldest record of "+
			"each partition, "+
			"and has read nothing yet. What is its lag?", topic, records),
		why: because(fmt.Sprintf("The lag is the number of records between the group's offsets and the end offsets. The new group has "+
			"all %d records before it.", records), mistakes{"0": " The lag is 0 when the group has read everything."})}, nil
}

// offsetsTrail is how far a group of the learner's has come on station 5.
type offsetsTrail struct {
	// Total is the sum of the committed offsets, -1 before the first sample, Low the lag when it last changed.
	Total int64 `json:"total"`
	Low   int64 `json:"low"`
	// Grew is the lag that it grew to while the group had no member; 0 for not yet.
	Grew int64 `json:"grew,omitempty"`
	// Done says that the lag was 0 after that.
	Done bool `json:"done,omitempty"`
	// Uncommitted says that the group has members and no committed offset, Busy that the lag grew
	// while a member was there. They are the reasons of a check that is not done.
	Uncommitted bool `json:"-"`
	Busy        bool `json:"-"`
	lag         int64
}

func (t *offsetsTrail) rank() int64 {
	switch {
	case t.Done:
		return 4
	case t.Grew > 0:
		return 3
	case !t.Uncommitted:
		return 2
	}
	return 1
}

// follow adds a sample of the group, and reports whether it came a step further.
func (t *offsetsTrail) follow(g groupSample) bool {
	before := t.rank()
	t.lag, t.Busy, t.Uncommitted = g.lag, false, len(g.committed) == 0
	if t.Uncommitted || g.lag == inspect.Unknown || t.Done {
		return false
	}
	total := g.sum()
	switch {
	case t.Grew > 0:
		t.Done = g.lag == 0 && total > t.Total
	case total != t.Total:
		t.Total, t.Low = total, g.lag
	case g.lag > t.Low && g.members == 0:
		t.Grew = g.lag
	case g.lag > t.Low:
		t.Busy = true
	}
	return t.rank() != before
}

func offsetsCheck(_ context.Context, l *look) (Check, error) {
	name, t, ok, err := furthest[offsetsTrail](l, nil)
	if err != nil {
		return Check{}, err
	}
	if !ok {
		return notYet("weir sees no consumer group of yours yet: read your topic as a member of a group"), nil
	}
	shown := shownName(name)
	switch {
	case t.Uncommitted:
		return notYetf("group %s has no committed offset: its consumer must commit what it has read", shown), nil
	case t.Done:
		return Check{Done: true, Seen: []string{
			fmt.Sprintf("group %s committed its offsets and stopped", shown),
			fmt.Sprintf("its lag grew from %d to %d while it had no member", t.Low, t.Grew),
			"it went on at its committed offsets, until its lag was 0",
		}}, nil
	}
	seen := []string{fmt.Sprintf("group %s has committed offsets; its lag is %d", shown, t.lag)}
	switch {
	case t.Grew > 0:
		return Check{Reason: fmt.Sprintf("the lag of group %s grew to %d while it had no member; start it again until its lag is 0 (now %d)",
			shown, t.Grew, t.lag), Seen: seen}, nil
	case t.Busy:
		return Check{Reason: fmt.Sprintf("the lag of group %s grew, but a member was still there: stop the member first, then "+
			"write more records", shown), Seen: seen}, nil
	}
	return Check{Reason: fmt.Sprintf("group %s has committed its offsets, and weir has not seen its lag grow yet: stop the "+
		"group, write more records to the topic, and wait two seconds before you read again", shown), Seen: seen}, nil
}
