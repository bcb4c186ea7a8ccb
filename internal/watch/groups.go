package watch

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// maxPositions bounds how many committed offsets of groups the state holds; a group beyond
// shows its own on its page.
const maxPositions = 20_000

// pastGroup is what is remembered of a group from version to version.
type pastGroup struct {
	members    uint64 // a digest of the members and their partitions, 0 for none yet
	rate, ends track  // of its committed offsets, and of the ends of what it reads
}

// applyGroups makes the groups from an answer.
func (w *Watcher) applyGroups(at time.Time, list []inspect.GroupDetail, warnings []string, err error) {
	if err != nil {
		w.failed[aboutGroups] = "the groups cannot be listed: " + err.Error()
		return
	}
	w.failed[aboutGroups], w.known[aboutGroups] = strings.Join(warnings[:min(2, len(warnings))], "; "), true
	w.next.Cluster.GroupsTime = Millis(at)
	groups := make(map[string]*Group, len(list))
	room := maxPositions
	for k := range list {
		d := &list[k]
		past := w.groups[d.Name]
		if past == nil {
			past = &pastGroup{}
			w.groups[d.Name] = past
		}
		g := describe(d)
		if was := w.next.Groups[d.Name]; was != nil {
			g.Rebalances = was.Rebalances
			if past.rebalanced(g, was, d.Members) {
				g.Rebalances++
			}
		}
		w.pace(at, past, g)
		counts := slices.ContainsFunc(w.cfg.Streams, func(s StreamConfig) bool { return s.Group == d.Name })
		if room -= len(d.Partitions); room < 0 && !counts {
			g.Positions, g.Assignments = map[string]map[string]int64{}, map[string]map[string]string{}
		}
		groups[d.Name] = g
	}
	for name, was := range w.next.Groups {
		if groups[name] == nil && len(warnings) > 0 { // its coordinator may be the broker that did not answer
			c := *was
			c.Error = "last known state: " + warnings[0]
			groups[name] = &c
		}
	}
	maps.DeleteFunc(w.groups, func(name string, _ *pastGroup) bool { return groups[name] == nil })
	w.next.Groups = groups
}

// describe makes a group, with its members and committed offsets by topic and partition.
func describe(d *inspect.GroupDetail) *Group {
	g := &Group{Type: d.Type, State: d.State, Protocol: d.Protocol, Members: d.MemberCount, Topics: d.Topics, Lag: d.Lag, Error: d.Error,
		Positions: map[string]map[string]int64{}, Assignments: map[string]map[string]string{}}
	for i, m := range d.Members {
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				put(g.Assignments, topic, p, strconv.Itoa(i+1)+" "+m.ClientID)
			}
		}
	}
	var worst time.Duration
	for _, p := range d.Partitions {
		if p.Committed >= 0 {
			put(g.Positions, p.Topic, p.Partition, p.Committed)
		}
		worst = max(worst, p.LagTime)
	}
	if worst > 0 {
		s := worst.Seconds()
		g.LagSeconds = &s
	}
	return g
}

func put[T any](in map[string]map[string]T, topic string, partition int32, v T) {
	if in[topic] == nil {
		in[topic] = map[string]T{}
	}
	in[topic][strconv.Itoa(int(partition))] = v
}

// pace finds out how fast a group consumes, and what that means.
func (w *Watcher) pace(now time.Time, past *pastGroup, g *Group) {
	var position, end int64
	var age time.Duration
	aged := false
	for topic, partitions := range g.Positions {
		var sum int64
		for _, o := range partitions {
			sum += o
		}
		position += sum
		read, t := w.topics[topic], w.next.Topics[topic]
		if read == nil || !read.rate.begun() || t == nil || t.Partitions != len(partitions) {
			continue
		}
		end += read.rate.value
		if a, ok := read.ends.age(now, sum); ok {
			age, aged = max(age, a), true
		}
	}
	if len(g.Positions) > 0 {
		g.Rate = past.rate.add(now, position)
		g.Trend = past.ends.add(now, end) - g.Rate
	}
	zero := 0.0
	switch {
	case g.Lag == 0:
		g.LagSeconds = &zero
	case g.LagSeconds == nil && aged:
		s := age.Seconds()
		g.LagSeconds = &s
	}
	if g.Lag > 0 && g.Trend < -0.5 {
		eta := float64(g.Lag) / -g.Trend
		g.ETASeconds = &eta
	}
}

// settled reports whether a group is not in a rebalance.
func (g *Group) settled() bool {
	return !slices.Contains([]string{"PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"}, g.State)
}

// rebalanced reports whether a group has been rebalanced since the answer before: other
// members, or the same ones with other partitions. A rebalance counts when it is over.
func (p *pastGroup) rebalanced(now, was *Group, members []inspect.Member) bool {
	if !now.settled() {
		return false
	}
	before := p.members
	p.members = digestMembers(members)
	return before != 0 && (p.members != before || !was.settled())
}

// digestMembers is a digest of the members, in their order, and of their partitions.
func digestMembers(list []inspect.Member) uint64 {
	h := fnv.New64a()
	for _, m := range list {
		_, _ = fmt.Fprintf(h, "%q %v\n", m.ID, m.Assigned) // fmt sorts maps
	}
	return h.Sum64()
}

// lagPerTopic adds to each topic the groups that read it.
func (w *Watcher) lagPerTopic() {
	w.changeTopics(func(_ string, t *Topic) { t.Groups, t.Lag = []string{}, 0 })
	for _, name := range slices.Sorted(maps.Keys(w.next.Groups)) {
		g := w.next.Groups[name]
		// A group that a replay made stays for the comparison when nobody reads with it any
		// more, and its lag grows without a meaning.
		finishedReplay := g.Members == 0 && strings.HasSuffix(name, inspect.ReplaySuffix)
		for _, topic := range g.Topics {
			if t := w.next.Topics[topic]; t != nil {
				t.Groups = append(t.Groups, name)
				if len(g.Topics) == 1 && !finishedReplay {
					t.Lag = max(t.Lag, g.Lag)
				}
			}
		}
	}
}
