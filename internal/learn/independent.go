package learn

import (
	"context"
	"fmt"
	"time"
)

// independentStation: the learner pauses one of two groups that read one topic.
var independentStation = station{number: 7, name: "independent", minutes: 8, question: independentQuestion, check: independentCheck,
	observe: observeIndependent,
	picture: func(ctx context.Context, l *look) (Picture, error) {
		topic, group := l.shown()
		name, t, ok, err := furthest[pauseTrail](l, nil)
		if err != nil {
			return Picture{}, err
		}
		if ok && t.topic != "" && (t.steps() > 2 || t.steps() == 2 && t.topic == topic) {
			topic, group = t.topic, name
		}
		return l.lanes(ctx, PictureLanes, topic, group)
	}}

// pinnedRate is the rate that the question is about, in records per second.
type pinnedRate struct {
	Topic string `json:"topic"`
	Rate  int64  `json:"rate"`
}

// rateAfter is the rate of weir's stream, or of a topic of the learner's; 100 a second where it is not known, or
// was watched for less than a while.
func (l *look) rateAfter(while time.Duration) pinnedRate {
	pin := pinnedRate{Rate: 100}
	pin.Topic, _ = l.shown()
	if l.c.cfg.State != nil && time.Since(l.c.opened) > while {
		if t := l.c.cfg.State().Topics[pin.Topic]; t != nil && t.Rate >= 1 {
			pin.Rate = int64(t.Rate)
		}
	}
	return pin
}

const pauseSeconds = 10

func independentQuestion(_ context.Context, l *look) (question, error) {
	pin, err := pinned(l, nil, func() (pinnedRate, error) { return l.rateAfter(0), nil })
	if err != nil {
		return question{}, err
	}
	all := pin.Rate * pauseSeconds
	choices := []string{"not at all", fmt.Sprintf("by about %d records", all/2), fmt.Sprintf("by about %d records", all)}
	return question{kind: Choice, choices: choices, answer: choices[0],
		text: fmt.Sprintf("Two groups, A and B, read `%s` at %d records per second. You stop all members of A for %d seconds. B "+
			"goes on. How much does the lag of B grow?",
			pin.Topic, pin.Rate, pauseSeconds),
		why: because(fmt.Sprintf("Only A falls behind: its lag grows by about %d records. Each group has its own committed offsets, "+
			"and the records stay in the log for both.", all), nil)}, nil
}

// pauseTrail is how far a group has come on station 7.
type pauseTrail struct {
	// Total is the sum of the committed offsets at the last sample.
	Total int64 `json:"total"`
	// Moved says that the offsets went forward once, so that standing still is a pause; MovedAt when they
	// last did, in Unix milliseconds.
	Moved   bool  `json:"moved,omitempty"`
	MovedAt int64 `json:"moved_at,omitempty"`
	// Still is when the offsets stopped, in Unix milliseconds, 0 while they go forward; Lag the lag then.
	Still int64 `json:"still,omitempty"`
	Lag   int64 `json:"lag,omitempty"`
	// Others are the groups that read the same topic, as they were then.
	Others map[string]otherGroup `json:"others,omitempty"`
	// Grew is by how much the lag grew, Other the group that went on meanwhile; empty for not yet.
	Grew  int64  `json:"grew,omitempty"`
	Other string `json:"other,omitempty"`
	// OtherLag is by how much the other group's lag grew, which may be below 0.
	OtherLag int64 `json:"other_lag,omitempty"`
	Seconds  int64 `json:"seconds,omitempty"`

	// Own says that it is a counter of weir: a group of the learner's is nearer to the task.
	Own bool `json:"own,omitempty"`

	reason, topic string
	grown         int64 // since Still
	members       int
}

type otherGroup struct {
	Total int64 `json:"total"`
	Lag   int64 `json:"lag"`
}

func (t *pauseTrail) steps() int {
	switch {
	case t.Other != "":
		return 5
	case t.reason != "":
		return 4
	case t.Still != 0 && t.grown > 0:
		return 3
	case t.Moved:
		return 2
	}
	return 1
}

// rank orders the groups by how near they are to the task: by steps, the learner's before weir's own, and
// then the one that went forward last.
func (t *pauseTrail) rank() int64 {
	n := 2 * int64(t.steps())
	if !t.Own {
		n++
	}
	const later = 1e14 // more than any time in Unix milliseconds
	return n*later + t.MovedAt
}

const (
	// leastGrowth is by how many records the lag of a paused group has to grow at least, leastPause
	// how long the pause is at least.
	leastGrowth = 5
	leastPause  = 2 * time.Second
)

func observeIndependent(_ context.Context, l *look, s sample) error {
	reads := func(name string, g groupSample) bool { return len(g.committed) > 0 && g.lag >= 0 && l.counts(name, g) }
	begin := func(name string, g groupSample) pauseTrail { return pauseTrail{Total: g.sum(), Own: l.ownGroup(name)} }
	return followGroups(l, s, reads, begin, func(t *pauseTrail, name string, g groupSample) bool {
		before := t.Other
		t.follow(name, g, s)
		return t.Other != before
	})
}

// follow adds a sample of the group and of those that read the same topics.
func (t *pauseTrail) follow(name string, g groupSample, s sample) {
	if t.Other != "" {
		return
	}
	for topic := range g.committed {
		t.topic = topic
	}
	t.members = g.members
	total := g.sum()
	if total > t.Total {
		t.MovedAt = s.at.UnixMilli()
	}
	if total != t.Total {
		t.Total, t.Moved, t.Still, t.Others, t.reason, t.grown = total, t.Moved || total > t.Total, 0, nil, "", 0
		return
	}
	if !t.Moved {
		return
	}
	if t.Still == 0 {
		t.Still, t.Lag, t.Others = s.at.UnixMilli(), g.lag, map[string]otherGroup{}
		for other, o := range s.groups {
			if other != name && o.lag >= 0 && o.shares(g) {
				t.Others[other] = otherGroup{o.sum(), o.lag}
			}
		}
		return
	}
	paused := s.at.Sub(time.UnixMilli(t.Still))
	grown := g.lag - t.Lag
	t.grown = grown
	if grown < leastGrowth || paused < leastPause {
		return
	}
	t.reason = fmt.Sprintf("group %s stands still and its lag grew by %d, but no other group reads the same topic: start a "+
		"second group on it", shownName(name), grown)
	for _, other := range sortedNames(t.Others) {
		then, now := t.Others[other], s.groups[other]
		switch more := now.lag - then.Lag; {
		case now.lag < 0 || len(now.committed) == 0:
		case now.sum()-then.Total < grown/2:
			t.reason = fmt.Sprintf("group %s stands still and its lag grew by %d, but group %s does not go on either", shownName(name), grown,
				shownName(other))
		case more > grown/2:
			t.reason = fmt.Sprintf("the lag of group %s grew by %d, but that of group %s grew as well, by %d", shownName(name), grown,
				shownName(other), more)
		default:
			t.Other, t.OtherLag, t.Grew, t.Seconds = other, more, grown, int64(paused.Seconds())
			return
		}
	}
}

func independentCheck(_ context.Context, l *look) (Check, error) {
	name, t, ok, err := furthest[pauseTrail](l, nil)
	if err != nil {
		return Check{}, err
	}
	if !ok {
		return notYet("weir sees no consumer group with committed offsets: let two groups read one topic"), nil
	}
	shown := shownName(name)
	switch t.steps() {
	case 5:
		return Check{Done: true, Seen: []string{
			fmt.Sprintf("group %s stood still for %d seconds, and its lag grew by %d", shown, t.Seconds, t.Grew),
			fmt.Sprintf("group %s went on with the same topic; its lag changed by %d", shownName(t.Other), t.OtherLag),
		}}, nil
	case 4:
		return notYet(t.reason), nil
	case 3:
		return notYetf("group %s stands still; weir waits until its lag has grown by %d records or more, in two seconds or more", shown,
			leastGrowth), nil
	case 2:
		if t.members == 0 {
			return notYetf("group %s went forward and has no member now, but its topic %s gets no records: let a group read a topic that gets "+
				"records all the time, and stop that one", shown, t.topic), nil
		}
		return notYetf("weir saw group %s go forward; stop all its members for some seconds, while another group reads the same topic", shown),
			nil
	}
	return notYet("weir has seen no group go forward yet: let a group read a topic that gets records, then stop it"), nil
}
