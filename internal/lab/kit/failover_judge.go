package kit

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

// failoverSeen is what was seen of one case. Records are numbered from 0.
type failoverSeen struct {
	of   FailoverCase
	real bool // brokers are processes with a disk each
	sent int64
	// acked is when the producer was told that a record is written, in seconds since
	// the case began; absent where it was not.
	acked map[int64]float64
	// refused counts records that the producer gave up.
	refused int64
	// stored is the topic in its order, afterwards.
	stored []int64
	// consumed is when a consumer first received each of them, in seconds.
	consumed map[int64]float64
	// held and killed are when the followers were held and the leader killed, in
	// seconds; moved is when another broker led, back when all replicas were in sync again.
	held, killed, moved, back float64
	dead                      bool // the killed broker was seen to be gone
	leader, successor         int32
	finished                  bool // records were acknowledged again, and everything came to rest

	// restarting is when the broker was started again; degraded is since when fewer
	// replicas were in sync than required. Both only under AcksEvery.
	degraded, restarting float64
	probe                string // what a producer that does not wait was answered meanwhile
}

// loss is what follows from what was seen.
type loss struct {
	lost    []int64 // acknowledged and not stored, ascending
	doubled int64   // stored more than once
	foreign int64   // stored and never sent
	late    int64   // stored after a later one
}

func (o *failoverSeen) loss() loss {
	var l loss
	seen := make(map[int64]bool, len(o.stored))
	newest := int64(-1)
	for _, n := range o.stored {
		switch {
		case n < 0 || n >= o.sent:
			l.foreign++
			continue
		case seen[n]:
			l.doubled++
			continue // a copy is late by nature
		case n < newest:
			l.late++
		}
		seen[n] = true
		newest = max(newest, n)
	}
	for n := range o.acked {
		if !seen[n] {
			l.lost = append(l.lost, n)
		}
	}
	slices.Sort(l.lost)
	return l
}

// pause is the longest stretch between two of the times that ends after the fault.
func pause(times []float64, fault float64) float64 {
	sorted := slices.Sorted(slices.Values(times))
	longest := 0.0
	for i := 1; i < len(sorted); i++ {
		if sorted[i] > fault {
			longest = max(longest, sorted[i]-sorted[i-1])
		}
	}
	return longest
}

// times are those of a map from records to times.
func times(of map[int64]float64) []float64 { return slices.Collect(maps.Values(of)) }

// between counts the times in [from, to).
func between(of map[int64]float64, from, to float64) (n int) {
	for _, t := range of {
		if t >= from && t < to {
			n++
		}
	}
	return n
}

// measure adds a case's figures and lines.
func (s *Failover) measure(r *lab.Report, o *failoverSeen) {
	l, of := o.loss(), string(o.of)
	r.Measure(of, "sent", float64(o.sent), "events")
	r.Measure(of, "acknowledged", float64(len(o.acked)), "events")
	r.Measure(of, "stored", float64(len(o.stored)), "events")
	r.Measure(of, "acknowledged and lost", float64(len(l.lost)), "events")
	r.Measure(of, "stored twice", float64(l.doubled), "events")
	r.Measure(of, "producer's pause", 1000*pause(times(o.acked), o.killed), "ms")
	r.Measure(of, "consumer's pause", 1000*pause(times(o.consumed), o.killed), "ms")
	r.Measure(of, "new leader after", 1000*(o.moved-o.killed), "ms")
	r.Measure(of, "all in sync after", o.back-o.killed, "s")
	r.Lines = append(r.Lines, perSecond(of, ackedPanel, times(o.acked)), perSecond(of, consumedPanel, times(o.consumed)))
}

// Panels of a case.
const (
	ackedPanel    = "acknowledged (records/s)"
	consumedPanel = "consumed (records/s)"
)

// perSecond makes a line of how many of the times fall into each tenth of a second.
func perSecond(of, panel string, times []float64) record.Line {
	const width = 0.1
	l := record.Line{Case: of, Panel: panel}
	var counts []float64
	for _, t := range times {
		i := int(max(0, t) / width)
		for len(counts) <= i {
			counts = append(counts, 0)
		}
		counts[i]++
	}
	for i, n := range counts {
		l.X, l.Y = append(l.X, (float64(i)+0.5)*width), append(l.Y, n/width)
	}
	return l
}

// judge adds the checks of a case.
func (s *Failover) judge(r *lab.Report, o *failoverSeen) {
	of := string(o.of)
	conditions := len(r.Checks)
	if least := int(s.Rate * s.Before.Seconds() / 10); between(o.acked, 0, o.killed) < least {
		r.Unknown(of, "records are written before the fault", fmt.Sprintf("at least %d acknowledged", least), fmt.Sprint(between(o.acked, 0, o.killed)))
	}
	if !o.dead || o.successor == o.leader {
		r.Unknown(of, "the leader dies and another broker leads", fmt.Sprintf("broker %d gone, another leads", o.leader),
			fmt.Sprintf("gone: %v, broker %d leads", o.dead, o.successor))
	}
	if !o.finished {
		r.Unknown(of, "everything comes to rest", "acknowledged and in sync again", "not in time")
	}
	if len(r.Checks) > conditions {
		return
	}
	l := o.loss()
	r.Check(of, "producers and consumers go on by themselves", "records after the new leader", fmt.Sprintf("%d acknowledged, %d consumed", between(o.acked, o.moved, 1e9), between(o.consumed, o.moved, 1e9)),
		between(o.acked, o.moved, 1e9) > 0 && between(o.consumed, o.moved, 1e9) > 0)
	switch o.of {
	case AcksAll, AcksEvery:
		r.Check(of, "nothing acknowledged is lost", fmt.Sprintf("all %d stored", len(o.acked)), fmt.Sprintf("%d lost", len(l.lost)), len(l.lost) == 0)
		r.Check(of, "nothing is doubled, made up or out of order", "0, 0, 0", fmt.Sprintf("%d, %d, %d", l.doubled, l.foreign, l.late),
			l.doubled == 0 && l.foreign == 0 && l.late == 0)
	default:
		s.judgeWeak(r, o, l)
	}
	if o.of == AcksEvery && o.real { // the embedded engine has no replicas to miss
		s.judgeEvery(r, o)
	}
}

// judgeWeak adds what holds where only the leader, or nobody, acknowledges.
func (s *Failover) judgeWeak(r *lab.Report, o *failoverSeen, l loss) {
	of := string(o.of)
	if !o.real {
		if o.of == AcksLeader { // one copy, which survives
			r.Check(of, "with one copy that survives its broker nothing acknowledged is lost", "0 lost", fmt.Sprintf("%d lost", len(l.lost)), len(l.lost) == 0)
		}
		r.Check(of, "nothing is made up", "0", fmt.Sprint(l.foreign), l.foreign == 0)
		return
	}
	alone := between(o.acked, o.held+holdBlur.Seconds(), o.killed)
	if alone == 0 {
		r.Unknown(of, "the leader acknowledges while its followers do not fetch", "at least once", "never")
		return
	}
	r.Check(of, "what only the dead leader had is lost, although it was acknowledged", "at least 1", fmt.Sprint(len(l.lost)), len(l.lost) > 0)
	seen := 0
	for _, n := range l.lost {
		if at, ok := o.consumed[n]; ok && at < o.killed {
			seen++
		}
	}
	r.Check(of, "what a consumer had read is not: it sees no further than all replicas in sync", "0 lost", fmt.Sprint(seen), seen == 0)
	r.Check(of, "nothing is made up", "0", fmt.Sprint(l.foreign), l.foreign == 0)
}

// holdBlur is how long after they are held followers may still be sent what they
// had asked for: replica.fetch.wait.max.ms.
const holdBlur = 500 * time.Millisecond

// judgeEvery adds what requiring every replica costs.
func (s *Failover) judgeEvery(r *lab.Report, o *failoverSeen) {
	of := string(o.of)
	if o.degraded == 0 {
		r.Unknown(of, "the dead replica leaves the set in sync", "fewer than 3 in sync", "still 3")
		return
	}
	const claim = "nobody can write while a required replica is away"
	n := between(o.acked, o.degraded, o.restarting)
	want, got := "0 acknowledged, NOT_ENOUGH_REPLICAS", fmt.Sprintf("%d acknowledged in %.1f s, %s", n, o.restarting-o.degraded, o.probe)
	r.Check(of, claim, want, got, n == 0 && o.probe == notEnoughReplicas)
}
