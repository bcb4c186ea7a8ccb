package groups

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// What is done to the groups, in this order.
const (
	stepStart = "start"
	stepJoin  = "join"
	stepLeave = "leave"
	stepSeven = "seven"
	stepDie   = "kill"
)

// seen is what was seen.
type seen struct {
	rate, hold float64
	// sent is what was acknowledged, truth by event type, ends by partition.
	sent  int64
	truth map[string]int64
	ends  map[int32]int64
	// stuck is what did not come about within patience; empty where everything did.
	stuck string

	// The slow group when it was paused and when it went on. The peaks are of the time
	// between.
	pausedAt, resumedAt, drainedAt float64
	atPause, atResume              standing
	slowPeak, steadyPeak           int64
	counterDied                    bool
	counterLeaves                  int
	steady, slow                   map[string]int64 // counted at the end

	steps     []stepSeen
	protocols []protocolSeen
}

// stepSeen is a change of a group's members.
type stepSeen struct {
	protocol       Protocol
	kind           string
	began, settled float64
	before, after  map[int32]int // owners by partition
	members        int           // afterwards
}

// protocolSeen is all that a group's members noted.
type protocolSeen struct {
	protocol  Protocol
	void      string // why nothing can be claimed; empty where it can
	reads     []readEvent
	moves     []handover
	deaths    []deathSeen
	left      int // requests to leave that members wrote when they left
	committed map[int32]int64
}

// readEvent is one record that a member received.
type readEvent struct {
	at        float64 // seconds since the run began
	partition int32
	offset    int64
	member    int
}

// handover is a partition that was assigned to a member, or revoked.
type handover struct {
	at        float64
	partition int32
	member    int
	given     bool
}

// deathSeen is a member whose network was cut.
type deathSeen struct {
	member int
	at     float64
	beat   float64        // when its last heartbeat was written
	leaves int            // how many requests to leave were written
	parts  map[int32]part // those of its partitions that it had read
}

// count compares what was read with what there is: the contents of all partitions together, and
// which records, by partition and offset, were read twice.
func (p *protocolSeen) count(ends map[int32]int64) (all kit.Contents, twice map[[2]int64]bool) {
	parts := map[int32]*kit.Contents{}
	for id, end := range ends {
		x := kit.Expect(end)
		parts[id] = &x
	}
	twice = map[[2]int64]bool{}
	for _, r := range p.reads {
		x := cmp.Or(parts[r.partition], &all) // which nothing is expected in
		before := x.Twice
		if x.Find(r.offset, ""); x.Twice > before {
			twice[[2]int64{int64(r.partition), r.offset}] = true
		}
	}
	for _, x := range parts {
		all.Lost, all.Foreign, all.Late = all.Lost+x.Lost, all.Foreign+x.Foreign, all.Late+x.Late
	}
	return all, twice
}

// redone is how many records at least and at most killed members had read and not committed:
// a commit that was asked for and not answered may count or not. outside is how many of the
// duplicated records are none of those.
func (p *protocolSeen) redone(doubled map[[2]int64]bool) (least, most, outside int64) {
	left := maps.Clone(doubled)
	for _, d := range p.deaths {
		for id, x := range d.parts {
			least += x.done - max(x.acked, x.tried)
			most += x.done - x.acked
			for o := x.acked; o < x.done; o++ {
				delete(left, [2]int64{int64(id), o})
			}
		}
	}
	return least, most, int64(len(left))
}

// stepEffect is what a step did to partitions.
type stepEffect struct {
	revoked, moved map[int32]bool
	// ofMoved and ofStayed are the longest stop of the partitions that moved and of those that
	// stayed, in seconds.
	ofMoved, ofStayed float64
}

// effect is what a step did. A stop is a time in which a partition's records were not read,
// by any member: what lies in the step of the gap between two that follow each other.
func (p *protocolSeen) effect(s *stepSeen) stepEffect {
	e := stepEffect{revoked: map[int32]bool{}, moved: map[int32]bool{}}
	for _, h := range p.moves {
		if h.at >= s.began && h.at <= s.settled && !h.given {
			e.revoked[h.partition] = true
		}
	}
	for id, m := range s.after {
		if s.before[id] != m {
			e.moved[id] = true
		}
	}
	last := map[int32]float64{}
	for _, r := range p.reads { // in the order of time
		if before, ok := last[r.partition]; ok {
			longest := &e.ofStayed
			if e.moved[r.partition] {
				longest = &e.ofMoved
			}
			*longest = max(*longest, min(r.at, s.settled)-max(before, s.began))
		}
		last[r.partition] = r.at
	}
	return e
}

// step finds a protocol's step.
func (o *seen) step(p Protocol, kind string) *stepSeen {
	i := slices.IndexFunc(o.steps, func(s stepSeen) bool { return s.protocol == p && s.kind == kind })
	if i < 0 {
		return nil
	}
	return &o.steps[i]
}

// measure adds figures.
func (o *seen) measure(r *lab.Report) {
	steady, slow := r.Of(steadyGroup), r.Of(slowGroup)
	steady.Measure("counted", float64(kit.Sum(o.steady)), "events")
	slow.Measure("counted", float64(kit.Sum(o.slow)), "events")
	steady.Measure("largest lag in the pause", float64(o.steadyPeak), "events")
	slow.Measure("largest lag in the pause", float64(o.slowPeak), "events")
	if o.drainedAt > o.resumedAt {
		slow.Measure("paused for", o.resumedAt-o.pausedAt, "s")
		slow.Measure("caught up in", o.drainedAt-o.resumedAt, "s")
	}
	for _, p := range o.protocols {
		c := r.Of(string(p.protocol))
		_, twice := p.count(o.ends)
		c.Measure("read", float64(len(p.reads)), "events")
		c.Measure("read twice", float64(len(twice)), "events")
		for _, kind := range []string{stepJoin, stepLeave, stepDie} {
			st := o.step(p.protocol, kind)
			if st == nil {
				continue
			}
			e := p.effect(st)
			c.Measure(kind+": moved", float64(len(e.moved)), "partitions")
			c.Measure(kind+": revoked", float64(len(e.revoked)), "partitions")
			if len(e.moved) > 0 {
				c.Measure(kind+": stop of what moved", 1000*e.ofMoved, "ms")
			}
			if len(e.moved) < partitions {
				c.Measure(kind+": stop of what stayed", 1000*e.ofStayed, "ms")
			}
		}
	}
}

// judge adds the checks.
func (o *seen) judge(r *lab.Report) {
	if !r.Of(slowGroup).Needs(o.stuck == "", "everything happens in time: "+o.stuck, "within a minute or so", "not yet") {
		return
	}
	o.judgeIndependence(r.Of(steadyGroup), r.Of(slowGroup))
	for i := range o.protocols {
		p := &o.protocols[i]
		c := r.Of(string(p.protocol))
		if c.Needs(p.void == "", "no member is disturbed", "only the lab's own changes", "%s", p.void) {
			o.judgeReads(c, p)
			o.judgeMoves(c, p)
			o.judgeDeath(c, p)
		}
	}
}

// judgeIndependence adds what is claimed of the two groups that count.
func (o *seen) judgeIndependence(steady, slow lab.Case) {
	if least := int64(o.rate * o.hold); !slow.Needs(o.slowPeak >= least, "it falls behind", fmt.Sprintf("a lag of %d", least), "%d", o.slowPeak) {
		return
	}
	from, to := o.atPause, o.atResume
	slow.Same("while paused it stands still, and its lag grows by the records written",
		fmt.Sprintf("offset %d, lag %d", from.next, from.lag+to.written-from.written), "offset %d, lag %d", to.next, to.lag)
	bound := int64(o.rate * o.hold / 2)
	steady.Check("the other group does not fall behind meanwhile",
		fmt.Sprintf("at most %d", bound), fmt.Sprint(o.steadyPeak), o.steadyPeak <= bound)
	steady.Needs(o.counterDied && o.counterLeaves == 0, "one of its members is killed", "cut off, without a request to leave",
		"%v, %d requests to leave", o.counterDied, o.counterLeaves)
	const claim = "it has counted every event exactly once, by event type"
	truth := fmt.Sprint(kit.Sorted(o.truth))
	steady.Same(claim+", although one of its members was killed", truth, "%v", kit.Sorted(o.steady))
	slow.Same(claim, truth, "%v", kit.Sorted(o.slow))
}

// judgeReads adds what is claimed of the records that a group has read.
func (o *seen) judgeReads(c lab.Case, p *protocolSeen) {
	t, twice := p.count(o.ends)
	c.Same("every record is read, and in its partition's order when it is read first", "0 lost, 0 late", "%d lost, %d late", t.Lost, t.Late)
	c.Same("no record is foreign", "0", "%d", t.Foreign)
	c.Check("at the end everything is committed", ordered(o.ends), ordered(p.committed), maps.Equal(o.ends, p.committed))
	least, most, outside := p.redone(twice)
	c.Check("only records that a killed member had not committed are read twice", fmt.Sprintf("%d to %d, 0 others", least, most),
		fmt.Sprintf("%d, %d others", len(twice), outside), outside == 0 && int64(len(twice)) >= least && int64(len(twice)) <= most)
}

// judgeMoves adds what is claimed of the partitions when members join and leave.
func (o *seen) judgeMoves(c lab.Case, p *protocolSeen) {
	for _, kind := range []string{stepJoin, stepLeave} {
		st := o.step(p.protocol, kind)
		if !c.Needs(st != nil && len(st.before) == partitions, "a member joins and one leaves", "all six partitions owned before", "%v", st) {
			continue
		}
		switch e := p.effect(st); {
		case !c.Needs(len(e.moved) > 0, kind+": partitions move", "at least 1", "0"):
		case p.protocol == Eager:
			c.Check(kind+": every partition is revoked, whether it moves or not", "6 of 6",
				fmt.Sprintf("%d of 6, %d moved", len(e.revoked), len(e.moved)), len(e.revoked) == partitions)
		default:
			c.Same(kind+": only partitions that move are revoked", ids(e.moved), "%s", ids(e.revoked))
		}
	}
	if st := o.step(p.protocol, stepSeven); st != nil {
		owners := map[int]bool{}
		for _, m := range st.after {
			owners[m] = true
		}
		c.Check("with seven members on six partitions one is idle", "6 with one each, 1 idle",
			fmt.Sprintf("%d with some, %d idle", len(owners), st.members-len(owners)), st.members == partitions+1 && len(owners) == partitions)
	}
}

// judgeDeath adds what is claimed of the member that is killed, beside the one that leaves.
func (o *seen) judgeDeath(c lab.Case, p *protocolSeen) {
	leave := o.step(p.protocol, stepLeave)
	if !c.Needs(o.step(p.protocol, stepDie) != nil && leave != nil && len(p.deaths) > 0, "a member is killed", "1", "0") {
		return
	}
	d := &p.deaths[0]
	if !c.Needs(d.leaves == 0, "a member is killed without a request to leave", "0 requests to leave", "%d", d.leaves) ||
		!c.Needs(p.left > 0, "a member that leaves sends a request to leave", "a request to leave", "none") {
		return
	}
	taken, least := p.taken(d), 0.9*session.Seconds()
	c.Check("the group notices a killed member when its session has expired, not before", fmt.Sprintf("after at least %.1f s", least),
		fmt.Sprintf("after %.1f s", taken-d.beat), taken-d.beat >= least)
	left := p.effect(leave).ofMoved
	c.Check("a member that leaves cleanly stops its partitions for a shorter time than one that is killed",
		fmt.Sprintf("less than %.1f s", taken-d.at), fmt.Sprintf("%.1f s", left), left < taken-d.at)
}

// taken is when a partition of a killed member was first given to another one.
func (p *protocolSeen) taken(d *deathSeen) float64 {
	for _, h := range p.moves {
		if _, had := d.parts[h.partition]; had && h.given && h.at > d.at {
			return h.at
		}
	}
	return d.at
}

// notes say in words what was seen.
func (o *seen) notes() (out []string) {
	for _, p := range o.protocols {
		if st := o.step(p.protocol, stepJoin); st != nil {
			e := p.effect(st)
			out = append(out, fmt.Sprintf("%s, when the third member joined: %d of 6 partitions were revoked, %d moved; those that moved stood still for %.0f ms, the others for %.0f ms",
				p.protocol, len(e.revoked), len(e.moved), 1000*e.ofMoved, 1000*e.ofStayed))
		}
	}
	return out
}

// ids lists partitions.
func ids(of map[int32]bool) string { return fmt.Sprint(slices.Sorted(maps.Keys(of))) }

// ordered lists offsets by partition.
func ordered(of map[int32]int64) string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(of)) {
		out = append(out, fmt.Sprint(of[id]))
	}
	return strings.Join(out, " ")
}
