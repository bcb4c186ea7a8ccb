package verify

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-project/weir/internal/event"
)

// counts compares the counts in Redis with the recount.
func (s *source) counts(st *stream, given bool) {
	if !st.exists || !given {
		return
	}
	groups := map[string]map[*portion]*tallyCheck{}
	for _, l := range st.portions {
		for _, t := range l.tallies {
			if groups[t.Group] == nil {
				groups[t.Group] = map[*portion]*tallyCheck{}
			}
			groups[t.Group][l] = t
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		(&groupCheck{s, st, name, groups[name]}).check()
	}
	s.position(st)
}

// position holds the main group's tally against what it committed to Kafka, and
// adds up what it has yet to count.
func (s *source) position(st *stream) {
	if st.topic.Group == "" {
		return
	}
	var without, uncounted int64
	for _, l := range st.portions {
		next, behind := int64(0), l.records // where Redis holds no counts of it
		i := slices.IndexFunc(l.tallies, func(t *tallyCheck) bool { return t.Group == st.topic.Group })
		if i >= 0 {
			next, behind = l.tallies[i].Next, l.tallies[i].behind
		} else {
			without += behind
		}
		uncounted += behind
		if at, ok := st.committed[l.p.id]; ok && at > next && at <= l.p.high {
			s.fault(st.topic.Name, l.p.id, "group %s committed offset %d to Kafka, but the counts in Redis stand at %d: Redis has lost counts; the counter counts them again when it runs", st.topic.Group, at, next)
		}
	}
	s.report.Uncounted += uncounted
	switch {
	case without > 0 && without == uncounted && without == s.report.Events:
		s.note("%s: group %s has counted nothing yet: Redis holds no counts of it", st.topic.Name, st.topic.Group)
	case uncounted > 0:
		s.note("%s: group %s has yet to count %d records", st.topic.Name, st.topic.Group, uncounted)
	}
}

// groupCheck checks what one group has counted of one topic.
type groupCheck struct {
	s         *source
	st        *stream
	group     string
	byPortion map[*portion]*tallyCheck
}

func (g *groupCheck) check() {
	var trimmed []*portion
	known := map[string]int64{} // differences found in single partitions, by event type
	whole := true               // every partition can take part in the sum over all
	for _, l := range g.st.portions {
		t := g.byPortion[l]
		switch {
		case t == nil:
			whole = whole && l.p.low == 0
		case g.contradiction(l, t):
			whole = false
		case l.p.low > t.Start && t.Start < t.Next:
			trimmed = append(trimmed, l)
			whole = whole && t.Start == 0
		default:
			for _, d := range differ(t.Counts, t.in) {
				g.miscounted(l, d)
				known[d.kind] += d.stored - d.real
			}
			whole = whole && t.Start == 0
		}
	}
	if len(trimmed) > 0 {
		g.trimmed(trimmed, known, whole)
	}
}

// contradiction reports a hash of counts that cannot be of this log, and says why.
func (g *groupCheck) contradiction(l *portion, t *tallyCheck) bool {
	switch {
	case t.TopicID != "" && g.st.topicID != "" && t.TopicID != g.st.topicID:
		g.s.fault(l.p.topic, l.p.id, "group %s counted a topic of the same name that was deleted: this one was created again", g.group)
	case t.Next > l.p.high:
		g.s.fault(l.p.topic, l.p.id, "group %s has counted up to offset %d, but the log ends at %d: the broker lost records, or the log was replaced", g.group, t.Next, l.p.high)
	case t.Next > l.p.end:
		g.s.report.Unverifiable += t.Sum()
		g.s.note("%s partition %d: group %s has counted up to offset %d, of which only %d can be seen", l.p.topic, l.p.id, g.group, t.Next, l.p.end)
	default:
		return false
	}
	return true
}

func (g *groupCheck) miscounted(l *portion, d difference) {
	g.s.miscounted(d.stored-d.real, l.p.topic, l.p.id, "group %s has counted %d of %q, there are %d", g.group, d.stored, d.kind, d.real)
}

// trimmed checks counts whose first records are no longer in the log. What the
// retained records say is a lower bound; the cursor's cumulative counts settle
// the rest where nobody else wrote to the topic: what was ever written is what was
// counted and what is still to be counted.
func (g *groupCheck) trimmed(portions []*portion, known map[string]int64, whole bool) {
	for _, l := range portions {
		t := g.byPortion[l]
		for _, kind := range slices.Sorted(maps.Keys(t.in)) {
			if n := t.in[kind]; len(t.in) < maxKinds && t.Counts[kind] < n && t.Counts["(other)"] == 0 {
				g.miscounted(l, difference{kind, t.Counts[kind], n})
				known[kind] += t.Counts[kind] - n
			}
		}
		if gone := t.Sum() - sum(t.in); gone > l.p.low-t.Start {
			g.s.miscounted(gone-(l.p.low-t.Start), l.p.topic, l.p.id,
				"group %s has counted %d events more than are kept, but only %d offsets were deleted", g.group, gone, l.p.low-t.Start)
			return
		}
	}
	if why := g.unsettled(whole); why != "" {
		var n int64
		for _, l := range portions {
			t := g.byPortion[l]
			n += max(0, t.Sum()-sum(t.in)) // too few is miscounted, and reported above
		}
		g.s.report.Unverifiable += n
		g.s.note("%s: group %s has counted %d events that are no longer kept and cannot be recounted: %s", g.st.topic.Name, g.group, n, why)
		return
	}
	counted := map[string]int64{}
	add := func(counts map[string]int64, sign int64) {
		for kind, n := range counts {
			counted[kind] += sign * n
		}
	}
	for _, l := range g.st.portions {
		if t := g.byPortion[l]; t != nil {
			add(t.Counts, 1)
			add(t.tail, 1)
			continue
		}
		for kind, c := range l.kinds {
			counted[kind] += c.before
		}
	}
	add(known, -1) // reported already
	for _, d := range differ(counted, g.st.counts) {
		g.s.miscounted(d.stored-d.real, g.st.topic.Name, -1,
			"group %s has counted, or has yet to count, %d of %q; %d were ever written", g.group, d.stored, d.kind, d.real)
	}
}

// unsettled says why the cursor's counts cannot settle a trimmed log, "" if they
// can.
func (g *groupCheck) unsettled(whole bool) string {
	var foreign int64
	for _, l := range g.st.portions {
		foreign += l.foreign
		if l.p.end < l.p.high {
			return "a transaction is open"
		}
	}
	switch {
	case !g.s.found:
		return "there is no cursor"
	case foreign > 0:
		return "other programs wrote to the topic, too"
	case !whole:
		return "the group did not count every partition from its beginning"
	case g.st.counts[event.DeletedKind] > 0:
		return fmt.Sprintf("the cursor was rebuilt when %d of them had been deleted, and does not know their types", g.st.counts[event.DeletedKind])
	case g.s.report.Lost+g.s.report.Doubled > 0:
		return "events are lost or duplicated"
	}
	return ""
}
