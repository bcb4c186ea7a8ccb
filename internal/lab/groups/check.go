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
	stepDie   = "die"
)

// seen is what was seen.
type seen struct {
	rate, hold float64
	// sent is what was acknowledged, truth by kind, ends by partition.
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
	left      int // requests to leave that were written
	committed map[int32]int64
}

// tallyOf is how often each record was read.
type tallyOf struct {
	lost, late, foreign int64
	doubled             map[[2]int64]bool // partition and offset
}

// count compares what was read with what there is.
func (p *protocolSeen) count(ends map[int32]int64) tallyOf {
	t := tallyOf{doubled: map[[2]int64]bool{}}
	times := map[int32][]int{}
	for id, end := range ends {
		times[id] = make([]int, end)
	}
	newest := map[int32]int64{}
	for _, r := range p.reads {
		seen := times[r.partition]
		if r.offset >= int64(len(seen)) {
			t.foreign++
			continue
		}
		if seen[r.offset]++; seen[r.offset] > 1 {
			t.doubled[[2]int64{int64(r.partition), r.offset}] = true
			continue
		}
		if r.offset+1 < newest[r.partition] {
			t.late++
		}
		newest[r.partition] = max(newest[r.partition], r.offset+1)
	}
	for _, seen := range times {
		for _, n := range seen {
			if n == 0 {
				t.lost++
			}
		}
	}
	return t
}

// redone is how many records at least and at most had been read and not committed by
// those who died: a commit that was asked for and not answered may count or not.
// outside is how many of the doubled ones are none of those.
func (p *protocolSeen) redone(doubled map[[2]int64]bool) (least, most, outside int64) {
	left := maps.Clone(doubled)
	for _, d := range p.deaths {
		for id, done := range d.done {
			least += done - max(d.acked[id], d.tried[id])
			most += done - d.acked[id]
			for o := d.acked[id]; o < done; o++ {
				delete(left, [2]int64{int64(id), o})
			}
		}
	}
	return least, most, int64(len(left))
}

// during returns the partitions that were given up in a step, and those that moved to
// another member.
func (p *protocolSeen) during(s *stepSeen) (revoked, moved map[int32]bool) {
	revoked, moved = map[int32]bool{}, map[int32]bool{}
	for _, h := range p.moves {
		if h.at >= s.began && h.at <= s.settled && !h.given {
			revoked[h.partition] = true
		}
	}
	for id, m := range s.after {
		if s.before[id] != m {
			moved[id] = true
		}
	}
	return revoked, moved
}

// stops is the longest time in a step in which a partition's records were not read, by
// whoever: what lies in it of the gap between two that follow each other.
func (p *protocolSeen) stops(s *stepSeen) map[int32]float64 {
	out, last := map[int32]float64{}, map[int32]float64{}
	for _, r := range p.reads { // in the order of time
		if before, ok := last[r.partition]; ok {
			out[r.partition] = max(out[r.partition], min(r.at, s.settled)-max(before, s.began))
		}
		last[r.partition] = r.at
	}
	return out
}

// longest is the longest stop of the partitions that moved and of those that stayed.
func longest(stops map[int32]float64, moved map[int32]bool) (ofMoved, ofStayed float64) {
	for id, d := range stops {
		if moved[id] {
			ofMoved = max(ofMoved, d)
		} else {
			ofStayed = max(ofStayed, d)
		}
	}
	return ofMoved, ofStayed
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
func (s *Lab) measure(r *lab.Report, o *seen) {
	r.Measure(steadyGroup, "counted", float64(kit.Sum(o.steady)), "events")
	r.Measure(slowGroup, "counted", float64(kit.Sum(o.slow)), "events")
	r.Measure(steadyGroup, "largest lag in the pause", float64(o.steadyPeak), "events")
	r.Measure(slowGroup, "largest lag in the pause", float64(o.slowPeak), "events")
	if o.drainedAt > o.resumedAt {
		r.Measure(slowGroup, "paused for", o.resumedAt-o.pausedAt, "s")
		r.Measure(slowGroup, "caught up in", o.drainedAt-o.resumedAt, "s")
	}
	for i := range o.protocols {
		p := &o.protocols[i]
		of := string(p.protocol)
		t := p.count(o.ends)
		r.Measure(of, "read", float64(len(p.reads)), "events")
		r.Measure(of, "read twice", float64(len(t.doubled)), "events")
		for _, kind := range []string{stepJoin, stepLeave, stepDie} {
			st := o.step(p.protocol, kind)
			if st == nil {
				continue
			}
			revoked, moved := p.during(st)
			ofMoved, ofStayed := longest(p.stops(st), moved)
			r.Measure(of, kind+": moved", float64(len(moved)), "partitions")
			r.Measure(of, kind+": told to stop", float64(len(revoked)), "partitions")
			if len(moved) > 0 {
				r.Measure(of, kind+": stop of what moved", 1000*ofMoved, "ms")
			}
			if len(moved) < partitions {
				r.Measure(of, kind+": stop of what stayed", 1000*ofStayed, "ms")
			}
		}
	}
}

// judge adds the checks.
func (s *Lab) judge(r *lab.Report, o *seen) {
	if o.stuck != "" {
		r.Unknown(slowGroup, "everything happens in time: "+o.stuck, "within a minute or so", "not yet")
		return
	}
	s.judgeIndependence(r, o)
	for i := range o.protocols {
		s.judgeProtocol(r, o, &o.protocols[i])
	}
	s.judgeDeaths(r, o)
}

// judgeIndependence adds what is claimed of the two groups that count.
func (s *Lab) judgeIndependence(r *lab.Report, o *seen) {
	if least := int64(o.rate * o.hold); o.slowPeak < least {
		r.Unknown(slowGroup, "it falls behind", fmt.Sprintf("a lag of %d", least), fmt.Sprint(o.slowPeak))
		return
	}
	from, to := o.atPause, o.atResume
	want := from.lag + to.written - from.written
	r.Check(slowGroup, "while paused it stands still, and its lag grows by the records written", fmt.Sprintf("offset %d, lag %d", from.next, want),
		fmt.Sprintf("offset %d, lag %d", to.next, to.lag), to.next == from.next && to.lag == want)
	bound := int64(o.rate * o.hold / 2)
	r.Check(steadyGroup, "the other group does not fall behind meanwhile", fmt.Sprintf("at most %d", bound), fmt.Sprint(o.steadyPeak), o.steadyPeak <= bound)
	for group, counts := range map[string]map[string]int64{steadyGroup: o.steady, slowGroup: o.slow} {
		claim := "it has counted every event exactly once, by event type"
		if group == steadyGroup {
			claim += ", although one of its members was killed"
			if !o.counterDied || o.counterLeaves > 0 {
				r.Unknown(group, "one of its members is killed", "cut off, without a request to leave", fmt.Sprintf("%v, %d requests to leave", o.counterDied, o.counterLeaves))
			}
		}
		r.Check(group, claim, fmt.Sprint(kit.Sorted(o.truth)), fmt.Sprint(kit.Sorted(counts)), maps.Equal(counts, o.truth))
	}
}

// judgeProtocol adds what is claimed of one protocol.
func (s *Lab) judgeProtocol(r *lab.Report, o *seen, p *protocolSeen) {
	of := string(p.protocol)
	if p.void != "" {
		r.Unknown(of, "no member is disturbed", "only the lab's own changes", p.void)
		return
	}
	t := p.count(o.ends)
	r.Check(of, "every record is read, and in its partition's order when it is read first", "0 lost, 0 late", fmt.Sprintf("%d lost, %d late", t.lost, t.late), t.lost == 0 && t.late == 0)
	r.Check(of, "no record is foreign", "0", fmt.Sprint(t.foreign), t.foreign == 0)
	r.Check(of, "at the end everything is committed", ordered(o.ends), ordered(p.committed), maps.Equal(o.ends, p.committed))
	least, most, outside := p.redone(t.doubled)
	r.Check(of, "only records that a killed member had not committed are read twice", fmt.Sprintf("%d to %d, 0 others", least, most),
		fmt.Sprintf("%d, %d others", len(t.doubled), outside), outside == 0 && int64(len(t.doubled)) >= least && int64(len(t.doubled)) <= most)
	for _, kind := range []string{stepJoin, stepLeave} {
		st := o.step(p.protocol, kind)
		if st == nil || len(st.before) < partitions {
			r.Unknown(of, "a member joins and one leaves", "all six partitions owned before", fmt.Sprint(st))
			continue
		}
		revoked, moved := p.during(st)
		if len(moved) == 0 {
			r.Unknown(of, kind+": partitions move", "at least 1", "0")
			continue
		}
		if p.protocol == Eager {
			r.Check(of, kind+": every partition is revoked, whether it moves or not", "6 of 6", fmt.Sprintf("%d of 6, %d moved", len(revoked), len(moved)), len(revoked) == partitions)
			continue
		}
		r.Check(of, kind+": only partitions that move are revoked", ids(moved), ids(revoked), maps.Equal(revoked, moved))
	}
	if st := o.step(p.protocol, stepSeven); st != nil {
		owners := map[int]bool{}
		for _, m := range st.after {
			owners[m] = true
		}
		r.Check(of, "with seven members on six partitions one is idle", "6 with one each, 1 idle", fmt.Sprintf("%d with some, %d idle", len(owners), st.members-len(owners)),
			st.members == partitions+1 && len(owners) == partitions)
	}
}

// judgeDeaths adds what is claimed of members that die, beside those that leave.
func (s *Lab) judgeDeaths(r *lab.Report, o *seen) {
	for i := range o.protocols {
		p := &o.protocols[i]
		of := string(p.protocol)
		st, leave := o.step(p.protocol, stepDie), o.step(p.protocol, stepLeave)
		switch {
		case p.void != "":
			continue // said already
		case st == nil || leave == nil || len(p.deaths) == 0:
			r.Unknown(of, "a member is killed", "1", "0")
			continue
		case p.deaths[0].leaves > 0:
			r.Unknown(of, "a member is killed without a request to leave", "0 requests to leave", fmt.Sprint(p.deaths[0].leaves))
			continue
		case p.left == 0:
			r.Unknown(of, "a member that leaves sends a request to leave", "a request to leave", "none")
			continue
		}
		d := &p.deaths[0]
		taken := p.taken(d)
		r.Check(of, "the group notices a killed member when its session has expired, not before", fmt.Sprintf("after at least %.1f s", 0.9*session.Seconds()),
			fmt.Sprintf("after %.1f s", taken-d.beat), taken-d.beat >= 0.9*session.Seconds())
		_, movedThen := p.during(leave)
		left, _ := longest(p.stops(leave), movedThen)
		r.Check(of, "a member that leaves cleanly stops its partitions for a shorter time than one that is killed", fmt.Sprintf("less than %.1f s", taken-d.at), fmt.Sprintf("%.1f s", left), left < taken-d.at)
	}
}

// taken is when a partition of a dead member was first given to another one.
func (p *protocolSeen) taken(d *deathSeen) float64 {
	for _, h := range p.moves {
		if _, had := d.done[h.partition]; had && h.given && h.at > d.at {
			return h.at
		}
	}
	return d.at
}

// notes say in words what was seen.
func (s *Lab) notes(o *seen) []string {
	var out []string
	for i := range o.protocols {
		p := &o.protocols[i]
		st := o.step(p.protocol, stepJoin)
		if st == nil {
			continue
		}
		revoked, moved := p.during(st)
		ofMoved, ofStayed := longest(p.stops(st), moved)
		out = append(out, fmt.Sprintf("%s, when the third member joined: %d of 6 partitions were revoked, %d moved; those that moved stood still for %.0f ms, the others for %.0f ms",
			p.protocol, len(revoked), len(moved), 1000*ofMoved, 1000*ofStayed))
	}
	return out
}

// ids lists partitions.
func ids(of map[int32]bool) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(of)))
}

// ordered lists offsets by partition.
func ordered(of map[int32]int64) string {
	var out []string
	for _, id := range slices.SortedFunc(maps.Keys(of), cmp.Compare) {
		out = append(out, fmt.Sprint(of[id]))
	}
	return strings.Join(out, " ")
}
