package parallel

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/lab"
)

const (
	// busyBelow and busyAbove are how far the time that a case takes may be from what
	// its busiest worker needs: the clock's blur, and until the first record is there.
	busyBelow = 0.05
	busyAbove = 0.15
	// busyStart is what may be added for workers that begin later than others.
	busyStart = 500 * time.Millisecond
	// paceLeast is what share of its work a worker without a pipeline must have done, or
	// nothing can be said of how long anything takes.
	paceLeast = 0.8
	// evenLeast is the share of what so many workers could do that threads must reach:
	// keys divide unevenly.
	evenLeast = 0.5
)

// accepted lists what was worked, by slot.
func (o *seen) accepted() map[slot][]attempt {
	out := make(map[slot][]attempt, len(o.log.records))
	for _, a := range o.attempts {
		if a.accepted {
			out[a.slot] = append(out[a.slot], a)
		}
	}
	return out
}

// workTally is how often the records of the backlog were worked.
type workTally struct {
	missing, twice, foreign int
	overtaken               int // records that a worker began before one of the same key, that lies before, was done
}

func (o *seen) tally() workTally {
	var t workTally
	done := o.accepted()
	ends := map[string]float64{} // of each key: when all that is before has ended
	for _, r := range o.log.records {
		all := done[r.slot]
		delete(done, r.slot)
		if o.promise == sharesOut && r.slot == o.poison {
			continue
		}
		switch len(all) {
		case 0:
			t.missing++
			continue
		case 1:
		default:
			t.twice++
		}
		if end, ok := ends[r.key]; ok && all[0].begin < end {
			t.overtaken++
		}
		ends[r.key] = max(ends[r.key], all[0].end)
	}
	delete(done, o.poison)
	t.foreign = len(done)
	return t
}

// elapsed is from when the first record was begun until the last one was done, in
// seconds; 0 for nothing.
func (o *seen) elapsed() float64 {
	if len(o.attempts) == 0 {
		return 0
	}
	first, last := math.Inf(1), 0.0
	for _, a := range o.attempts {
		first = min(first, a.begin)
		if a.accepted {
			last = max(last, a.end)
		}
	}
	return max(0, last-first)
}

// loads is how many attempts each worker made.
func (o *seen) loads() []int {
	out := make([]int, o.workers)
	for _, a := range o.attempts {
		out[a.worker]++
	}
	return out
}

// busiest is what the worker with the most attempts needs for them, in seconds.
func (o *seen) busiest(work time.Duration) float64 {
	return float64(slices.Max(o.loads())) * work.Seconds()
}

// idle is how many workers did nothing.
func (o *seen) idle() (n int) {
	for _, x := range o.loads() {
		if x == 0 {
			n++
		}
	}
	return n
}

// measure adds a case's figures.
func (o *seen) measure(r *lab.Report, base *seen) {
	c, worked, took := r.Of(o.name), float64(len(o.accepted())), o.elapsed()
	c.Measure("worked", worked, "events")
	c.Measure("time", took, "s")
	c.Measure("throughput", worked/max(took, 1e-3), "events/s")
	c.Measure("speed-up", speed(base, o), "x")
	c.Measure("busiest worker", float64(slices.Max(o.loads())), "events")
	c.Measure("idle workers", float64(o.idle()), "")
	c.Measure("overtaken in their key", float64(o.tally().overtaken), "events")
	if o.promise == sharesOut {
		c.Measure("delivered again", float64(len(o.attempts)-len(o.accepted())), "events")
		c.Measure("deliveries of the poison", float64(len(o.deliveries(o.poison))), "times")
	}
}

// deliveries are the broker's counts of a record's deliveries, in the order in which
// they came.
func (o *seen) deliveries(of slot) (counts []int32) {
	var all []attempt
	for _, a := range o.attempts {
		if a.slot == of {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b attempt) int { return cmp.Compare(a.begin, b.begin) })
	for _, a := range all {
		counts = append(counts, a.delivery)
	}
	return counts
}

// judge adds the checks of a case.
func (o *seen) judge(r *lab.Report, base *seen, work time.Duration) {
	c, t := r.Of(o.name), o.tally()
	stable := slices.Equal(sortedInts(o.described), sortedInts(o.after))
	if !c.Needs(len(o.attempts) > 0, "records are worked", "at least 1", "0") ||
		!c.Needs(stable, "the group does not rebalance meanwhile", fmt.Sprint(o.described), "%v", o.after) {
		return
	}
	if o.promise == sharesOut {
		o.judgeShare(c, t)
	} else {
		c.Same("every record is worked exactly once", fmt.Sprintf("%d worked; 0 missing, 0 twice, 0 foreign", len(o.log.records)),
			"%d worked; %d missing, %d twice, %d foreign", len(o.accepted()), t.missing, t.twice, t.foreign)
		c.Same("the group's committed offsets are at the end", "0 behind", "%d behind", o.behind)
	}
	// That order is lost where no rule keeps it is shown, not promised.
	got := fmt.Sprintf("%d of %d begun before an earlier one was done", t.overtaken, len(o.log.records))
	switch {
	case o.promise == keepsOrder:
		c.Check("records of a key are worked one after the other, in the log's order", "0 overtaken", got, t.overtaken == 0)
	case c.Needs(t.overtaken > 0, "records of a key are in progress together, so that their order can be lost", "more than 0 overtaken", "%s", got):
		c.Check("no rule keeps the order of a key", "more than 0 overtaken", got, true)
	}
	if o.described != nil {
		o.judgeMembers(c)
	}
	o.judgeTime(c, base, work)
}

func sortedInts(all []int) []int { return slices.Sorted(slices.Values(all)) }

// judgeMembers adds which members of a consumer group have nothing to do.
func (o *seen) judgeMembers(c lab.Case) {
	if !c.Needs(len(o.described) == o.workers, "all members join", fmt.Sprint(o.workers), "%d", len(o.described)) {
		return
	}
	without := 0
	for _, n := range o.described {
		if n == 0 {
			without++
		}
	}
	const idle = "%d without a partition, %d without work"
	want := max(0, o.workers-partitions)
	c.Same("a partition has one member: more members than partitions are idle", fmt.Sprintf(idle, want, want), idle, without, o.idle())
}

// judgeTime adds what theory says of the speed, on a machine on which a worker without
// a pipeline does all that it should. On a busy one everything takes longer by as much as
// that worker does.
func (o *seen) judgeTime(c lab.Case, base *seen, work time.Duration) {
	const claim = "it takes as long as the busiest worker needs"
	busiest, took, pace := o.busiest(work), o.elapsed(), min(1, max(0.01, o.control))
	least, most := busiest*(1-busyBelow), (busiest*(1+busyAbove)+busyStart.Seconds())/pace
	if o.promise == sharesOut { // its members wait for brokers every few records, for as long as those take
		most = base.elapsed()
	}
	want := fmt.Sprintf("%.2f to %.2f s", least, most)
	if !c.Needs(took <= most || pace >= paceLeast, claim+", on a machine that keeps time", want,
		"%.2f s, while a worker without a pipeline reached %.0f%%", took, 100*o.control) {
		return
	}
	c.Check(claim, want, fmt.Sprintf("%.2f s", took), took >= least && took <= most)
	if o == base || o.described != nil { // partitions divide as they do: the notes say how
		return
	}
	even := float64(len(o.attempts)) / float64(o.workers)
	share := even / float64(slices.Max(o.loads()))
	c.Check("work is divided among all workers", fmt.Sprintf("0 idle, busiest at most %.0fx its share", 1/evenLeast),
		fmt.Sprintf("%d idle, %.2fx", o.idle(), 1/share), o.idle() == 0 && share >= evenLeast)
}

// judgeShare adds what a share group promises.
func (o *seen) judgeShare(c lab.Case, t workTally) {
	if !c.Needs(o.refused == 0, "brokers accept every acknowledgement", "0 refused", "%d", o.refused) {
		return // such a record comes again, and nobody can tell which it was
	}
	const once = "%d; %d missing, %d twice, %d foreign"
	n := len(o.log.records) - 1
	c.Same("every record but the poison is acknowledged exactly once", fmt.Sprintf(once, n, 0, 0, 0), once, n-t.missing, t.missing, t.twice, t.foreign)
	again, wrong := 0, 0
	for _, x := range o.log.records {
		if x.slot == o.poison {
			continue
		}
		want := []int32{1}
		if o.release[x.slot] {
			want = append(want, 2)
		}
		switch ok := slices.Equal(o.deliveries(x.slot), want); {
		case !ok:
			wrong++
		case o.release[x.slot]:
			again++
		}
	}
	c.Same("a released record comes again, counted; every other record comes once", fmt.Sprintf("%d twice, 0 otherwise", len(o.release)),
		"%d twice, %d otherwise", again, wrong)
	var want []int32
	for i := range o.limit {
		want = append(want, int32(i+1))
	}
	c.Same("the poison record is delivered up to the limit, then given up", fmt.Sprint(want), "%v", o.deliveries(o.poison))
	c.Check("the other records are not held up: the group has nothing left", "0 behind", fmt.Sprintf("%d behind", o.behind), o.finished && o.behind == 0)
	c.Check("more workers than partitions work", fmt.Sprintf("all %d on %d partitions", o.workers, len(o.log.partitions)),
		fmt.Sprint(o.workers-o.idle()), o.idle() == 0 && o.workers > len(o.log.partitions))
}
