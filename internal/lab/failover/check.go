package failover

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// seen is what was seen of one case. Records are numbered from 0; times are in seconds
// since the case began.
type seen struct {
	of   Case
	real bool // brokers are processes with a disk each
	sent int64
	// acked is when the producer was told that a record is written; absent where it was not.
	acked map[int64]float64
	// stored is the topic in its order, afterwards.
	stored []int64
	// consumed is when a consumer first received each of them.
	consumed map[int64]float64
	// held and killed are when the followers were paused and the leader killed; moved is
	// when another broker led, back when all replicas were in sync again.
	held, killed, moved, back float64
	dead                      bool // the killed broker was seen to be gone
	leader, successor         int32
	finished                  bool // records were acknowledged again, and all replicas came back into sync

	// restarting is when the broker was started again; degraded is since when fewer
	// replicas were in sync than required. Both only under AcksEvery.
	degraded, restarting float64
	probe                string // the answer to a producer that does not wait, meanwhile
}

// loss is what follows from what was seen: what the topic holds, and which acknowledged records it
// does not, in ascending order.
func (o *seen) loss() (all kit.Contents, lost []int64) {
	all = kit.Expect(o.sent)
	for _, n := range o.stored {
		all.Find(n, "")
	}
	for n := range o.acked {
		if !all.Has(n) {
			lost = append(lost, n)
		}
	}
	slices.Sort(lost)
	return all, lost
}

// pause is the longest time between two of the times that ends after the fault.
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
func (s *Settings) measure(r *lab.Report, o *seen) {
	c := r.Of(o.of.title())
	all, lost := o.loss()
	c.Measure("sent", float64(o.sent), "events")
	c.Measure("acknowledged", float64(len(o.acked)), "events")
	c.Measure("stored", float64(len(o.stored)), "events")
	c.Measure("acknowledged and lost", float64(len(lost)), "events")
	c.Measure("stored twice", float64(all.Twice), "events")
	c.Measure("producer's pause", 1000*pause(times(o.acked), o.killed), "ms")
	c.Measure("consumer's pause", 1000*pause(times(o.consumed), o.killed), "ms")
	c.Measure("new leader after", 1000*(o.moved-o.killed), "ms")
	c.Measure("all in sync after", o.back-o.killed, "s")
	r.Lines = append(r.Lines, perSecond(c.Name, ackedPanel, times(o.acked)), perSecond(c.Name, consumedPanel, times(o.consumed)))
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
func (s *Settings) judge(r *lab.Report, o *seen) {
	c, n, least := r.Of(o.of.title()), between(o.acked, 0, o.killed), int(s.Rate*s.Before.Seconds()/10)
	written := c.Needs(n >= least, "records are written before the fault", fmt.Sprintf("at least %d acknowledged", least), "%d", n)
	killed := c.Needs(o.dead && o.successor != o.leader, "the leader is killed and another broker leads",
		fmt.Sprintf("broker %d gone, another leads", o.leader), "gone: %v, broker %d leads", o.dead, o.successor)
	recovered := c.Needs(o.finished, "the cluster recovers", "acknowledged and in sync again", "not in time")
	if !written || !killed || !recovered {
		return
	}
	all, lost := o.loss()
	acked, consumed := between(o.acked, o.moved, 1e9), between(o.consumed, o.moved, 1e9)
	c.Check("producers and consumers go on by themselves", "records after the new leader",
		fmt.Sprintf("%d acknowledged, %d consumed", acked, consumed), acked > 0 && consumed > 0)
	switch {
	case o.of == AcksAll || o.of == AcksEvery:
		c.Check("no acknowledged record is lost", fmt.Sprintf("all %d stored", len(o.acked)), fmt.Sprintf("%d lost", len(lost)), len(lost) == 0)
		c.Same("no record is duplicated, foreign or out of order", "0, 0, 0", "%d, %d, %d", all.Twice, all.Foreign, all.Late)
	case o.real && !o.judgeWeak(c, lost):
		return
	default:
		if o.of == AcksLeader && !o.real { // one copy, which survives
			c.Same("with one copy that survives its broker no acknowledged record is lost", "0 lost", "%d lost", len(lost))
		}
		c.Same("no record is foreign", "0", "%d", all.Foreign)
	}
	if o.of == AcksEvery && o.real { // the embedded engine has no replicas to miss
		o.judgeEvery(c)
	}
}

// judgeWeak adds what holds where only the leader, or no broker, acknowledges; false where
// nothing can be said.
func (o *seen) judgeWeak(c lab.Case, lost []int64) bool {
	alone := between(o.acked, o.held+holdBlur.Seconds(), o.killed)
	if !c.Needs(alone > 0, "the leader acknowledges while its followers do not fetch", "at least once", "never") {
		return false
	}
	c.Check("records that only the killed leader had are lost, although it acknowledged them", "at least 1", fmt.Sprint(len(lost)), len(lost) > 0)
	read := 0
	for _, n := range lost {
		if at, ok := o.consumed[n]; ok && at < o.killed {
			read++
		}
	}
	c.Check("no record that a consumer had read is lost: consumers see only what all in-sync replicas have", "0 lost", fmt.Sprint(read), read == 0)
	return true
}

// holdBlur is how long after they are paused followers may still receive what they had
// asked for: replica.fetch.wait.max.ms.
const holdBlur = 500 * time.Millisecond

// judgeEvery adds what requiring every replica costs.
func (o *seen) judgeEvery(c lab.Case) {
	if !c.Needs(o.degraded > 0, "the killed replica leaves the in-sync replicas", "fewer than 3 in sync", "still 3") {
		return
	}
	n := between(o.acked, o.degraded, o.restarting)
	c.Check("no producer can write while a required replica is missing", "0 acknowledged, NOT_ENOUGH_REPLICAS",
		fmt.Sprintf("%d acknowledged in %.1f s, %s", n, o.restarting-o.degraded, o.probe), n == 0 && o.probe == notEnoughReplicas)
}
