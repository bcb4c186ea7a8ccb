package learn

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/watch"
)

// maxTrails is of how many groups an observer remembers something.
const maxTrails = 50

// trails are what an observer knows of the groups or topics, by name. See observed for the lock.
func trails[T any](l *look) (map[string]*T, error) {
	all, err := observed[map[string]*T](l)
	if err != nil {
		return nil, err
	}
	if *all == nil {
		*all = map[string]*T{}
	}
	dropNull(*all)
	return *all, nil
}

// trailOf is the trail of a name, begun where there is none yet; nil where there are too many.
func trailOf[T any](all map[string]*T, name string, begin func() T) *T {
	if all[name] == nil && len(all) < maxTrails {
		t := begin()
		all[name] = &t
	}
	return all[name]
}

// followGroups adds a sample to the trails of some groups. follow reports whether the trail has got something
// worth keeping.
func followGroups[T any](l *look, s sample, counts func(string, groupSample) bool, begin func(string, groupSample) T,
	follow func(*T, string, groupSample) bool) error {
	all, err := trails[T](l)
	if err != nil {
		return err
	}
	changed := s.now
	for _, name := range sortedNames(s.groups) {
		g := s.groups[name]
		if !counts(name, g) {
			continue
		}
		if t := trailOf(all, name, func() T { return begin(name, g) }); t != nil && follow(t, name, g) {
			changed = true
		}
	}
	if changed {
		return l.keep(all)
	}
	return nil
}

// ranked is a trail that knows how far its group or topic has come.
type ranked[T any] interface {
	*T
	rank() int64
}

// nearest is the one of some names that has come furthest; nil for none.
func nearest[T any, R ranked[T]](all map[string]*T, names []string) (name string, best *T) {
	for _, n := range names {
		if t := all[n]; t != nil && (best == nil || R(t).rank() > R(best).rank()) {
			name, best = n, t
		}
	}
	return name, best
}

// furthest is the group or topic that has come furthest, as the observer knows it now; false for none. It is
// one of names, or any where names is nil.
func furthest[T any, R ranked[T]](l *look, names []string) (name string, t T, ok bool, err error) {
	l.c.observing.Lock()
	defer l.c.observing.Unlock()
	all, err := trails[T](l)
	if err != nil {
		return "", t, false, err
	}
	if names == nil {
		names = sortedNames(all)
	}
	name, best := nearest[T, R](all, names)
	if best == nil {
		return "", t, false, nil
	}
	return name, *best, true, nil
}

// shownName is the name of a group in a text.
func shownName(name string) string { return visible.Text(name) }

// learners reports whether a group is one of the learner's.
func (l *look) learners(name string, g groupSample) bool { return !l.ownGroup(name) && l.reads(g) }

// counts reports whether a group counts where weir's own counters do as well.
func (l *look) counts(name string, g groupSample) bool { return l.ownGroup(name) || l.reads(g) }

// reads reports whether a group reads a topic that counts for the learner: any on weir's own
// cluster, on an existing one only those that were not there before.
func (l *look) reads(g groupSample) bool {
	if l.c.cfg.Own != "" {
		return true
	}
	for topic := range g.topics {
		if _, old := l.before[topic]; !old {
			return true
		}
	}
	return false
}

// groupsStation: the learner adds members to a group until one has no partition.
var groupsStation = station{number: 6, name: "groups", minutes: 10, question: groupsQuestion, check: groupsCheck,
	observe: func(_ context.Context, l *look, s sample) error {
		return followGroups(l, s, l.counts, func(string, groupSample) membersTrail { return membersTrail{} },
			func(t *membersTrail, _ string, g groupSample) bool { return t.follow(g) })
	},
	picture: func(ctx context.Context, l *look) (Picture, error) {
		topic, group := l.shown()
		name, t, ok, err := furthest[membersTrail](l, nil)
		if err != nil {
			return Picture{}, err
		}
		if ok && t.rank() > 1 && t.topic != "" {
			topic, group = t.topic, name
		}
		return l.lanes(ctx, PictureMembers, topic, group)
	}}

func groupsQuestion(_ context.Context, l *look) (question, error) {
	topic, _ := l.shown()
	if stream, _ := l.streamTopic(); stream == "" && len(l.learnersTopics()) == 0 {
		return question{}, errNoTopicYet
	}
	n := len(l.meta.Topics[topic].Partitions)
	return question{kind: Number, answer: strconv.Itoa(n),
		text: fmt.Sprintf("Topic `%s` has %s. One consumer group reads it, with %d members. How many of the members get at least "+
			"one partition?",
			topic, watch.Plural(n, "partition"), n+1),
		why: because(fmt.Sprintf("Inside a group each partition has exactly one member. %s keep %s busy; member %d waits without a partition.",
			watch.Plural(n, "partition"), watch.Plural(n, "member"), n+1), mistakes{
			strconv.Itoa(n + 1): " Two members of one group never share a partition: the order inside a partition would be lost.",
		})}, nil
}

// membersTrail is how far a group has come on station 6.
type membersTrail struct {
	// Owners is how many members had partitions at the last sample.
	Owners int `json:"owners"`
	// From and To are the number of members with partitions before and after partitions moved; 0 for not yet.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
	// Idle is the number of members when one had no partition, Partitions that of the partitions then.
	Idle       int `json:"idle,omitempty"`
	Partitions int `json:"partitions,omitempty"`

	members, assigned int
	idleBefore        bool
	topic             string
}

func (t *membersTrail) rank() (steps int64) {
	if t.members > 0 || t.Owners > 0 {
		steps++
	}
	if t.To > 0 {
		steps += 2
	}
	if t.Idle > 0 {
		steps += 2
	}
	return steps
}

// follow adds a sample of the group, and reports whether it came a step further.
func (t *membersTrail) follow(g groupSample) bool {
	t.members, t.assigned = g.members, g.assigned
	for topic := range g.topics {
		t.topic = topic
	}
	if !g.settled {
		return false
	}
	before := t.rank()
	if t.Owners > 0 && g.owners > t.Owners {
		t.From, t.To = t.Owners, g.owners
	}
	t.Owners = g.owners
	idle := g.owners > 0 && g.members > g.owners
	if idle && (g.assigned == g.owners || t.idleBefore) { // otherwise a rebalance may be in its first half
		t.Idle, t.Partitions = g.members, g.assigned
	}
	t.idleBefore = idle
	return t.rank() != before
}

func groupsCheck(_ context.Context, l *look) (Check, error) {
	name, t, ok, err := furthest[membersTrail](l, nil)
	if err != nil {
		return Check{}, err
	}
	if !ok || t.rank() == 0 {
		return notYet("weir sees no consumer group with members: start a consumer of a group"), nil
	}
	shown := shownName(name)
	seen := []string{fmt.Sprintf("group %s has %s now, %d with partitions", shown, watch.Plural(t.members, "member"), t.Owners)}
	if t.To > 0 {
		seen = append(seen, fmt.Sprintf("partitions moved: %s had partitions before, %d after", watch.Plural(t.From, "member"), t.To))
	}
	if t.Idle > 0 {
		seen = append(seen, fmt.Sprintf("with %s and %s, one member or more had none", watch.Plural(t.Idle, "member"), watch.Plural(t.Partitions,
			"partition")))
	}
	switch {
	case t.To > 0 && t.Idle > 0:
		return Check{Done: true, Seen: seen}, nil
	case t.Idle > 0:
		return Check{Reason: fmt.Sprintf("group %s has a member without a partition, but weir has not seen partitions move: let "+
			"members leave until one is left, then add a second one", shown), Seen: seen}, nil
	case t.To > 0:
		return Check{Reason: fmt.Sprintf("partitions of group %s moved to a new member, but each of its %s has at least one: add "+
			"members until there are more members than the %s",
			shown, watch.Plural(t.members, "member"), watch.Plural(t.assigned, "partition")), Seen: seen}, nil
	}
	return Check{Reason: fmt.Sprintf("group %s has %s, and weir has not seen partitions move yet: add a member", shown, watch.Plural(t.members,
		"member")), Seen: seen}, nil
}
