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

// tally is how often the records of the backlog were worked.
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

// measure adds a case's figures and lines.
func (s *Lab) measure(r *lab.Report, base, o *seen) {
	t, of := o.tally(), o.name
	loads := o.loads()
	r.Measure(of, "worked", float64(len(o.accepted())), "events")
	r.Measure(of, "time", o.elapsed(), "s")
	r.Measure(of, "throughput", float64(len(o.accepted()))/max(o.elapsed(), 1e-3), "events/s")
	r.Measure(of, "speed-up", speed(base, o), "x")
	r.Measure(of, "busiest worker", float64(slices.Max(loads)), "events")
	r.Measure(of, "idle workers", float64(o.idle()), "")
	r.Measure(of, "overtaken in their key", float64(t.overtaken), "events")
	if o.promise == sharesOut {
		r.Measure(of, "delivered again", float64(len(o.attempts)-len(o.accepted())), "events")
		r.Measure(of, "deliveries of the poison", float64(len(o.deliveries(o.poison))), "times")
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
func (s *Lab) judge(r *lab.Report, base, o *seen) {
	of, t := o.name, o.tally()
	if len(o.attempts) == 0 {
		r.Unknown(of, "records are worked", "at least 1", "0")
		return
	}
	if !slices.Equal(sortedInts(o.described), sortedInts(o.after)) {
		r.Unknown(of, "the group does not rebalance meanwhile", fmt.Sprint(o.described), fmt.Sprint(o.after))
		return
	}
	n := len(o.log.records)
	switch o.promise {
	case sharesOut:
		s.judgeShare(r, o, t)
	default:
		r.Check(of, "every record is worked exactly once", fmt.Sprintf("%d worked; 0 missing, 0 twice, 0 foreign", n),
			fmt.Sprintf("%d worked; %d missing, %d twice, %d foreign", len(o.accepted()), t.missing, t.twice, t.foreign), t.missing+t.twice+t.foreign == 0)
		r.Check(of, "the group's committed offsets are at the end", "0 behind", fmt.Sprintf("%d behind", o.behind), o.behind == 0)
	}
	s.judgeOrder(r, o, t)
	if o.described != nil {
		s.judgeMembers(r, o)
	}
	s.judgeTime(r, base, o)
}

func sortedInts(all []int) []int { return slices.Sorted(slices.Values(all)) }

// judgeOrder adds what becomes of order. That it is lost where nobody keeps it is
// shown, not promised.
func (s *Lab) judgeOrder(r *lab.Report, o *seen, t workTally) {
	const overtaken = "%d of %d begun before an earlier one was done"
	got := fmt.Sprintf(overtaken, t.overtaken, len(o.log.records))
	switch {
	case o.promise == keepsOrder:
		r.Check(o.name, "records of a key are worked one after the other, in the log's order", "0 overtaken", got, t.overtaken == 0)
	case t.overtaken > 0:
		r.Check(o.name, "no rule keeps the order of a key", "more than 0 overtaken", got, true)
	default:
		r.Unknown(o.name, "records of a key are in progress together, so that their order can be lost", "more than 0 overtaken", got)
	}
}

// judgeMembers adds who of a consumer group has nothing to do.
func (s *Lab) judgeMembers(r *lab.Report, o *seen) {
	want := max(0, o.workers-partitions)
	if len(o.described) != o.workers {
		r.Unknown(o.name, "all members join", fmt.Sprint(o.workers), fmt.Sprint(len(o.described)))
		return
	}
	without := 0
	for _, n := range o.described {
		if n == 0 {
			without++
		}
	}
	r.Check(o.name, "a partition has one member: more members than partitions are idle", fmt.Sprintf("%d without a partition, %d without work", want, want),
		fmt.Sprintf("%d without a partition, %d without work", without, o.idle()), without == want && o.idle() == want)
}

// judgeTime adds what theory says of the speed, on a machine on which a worker without
// a pipeline does all that it should. On a busy one everything takes longer by as much as
// that worker does.
func (s *Lab) judgeTime(r *lab.Report, base, o *seen) {
	const claim = "it takes as long as the busiest worker needs"
	busiest, took, pace := o.busiest(s.Work), o.elapsed(), min(1, max(0.01, o.control))
	least, most := busiest*(1-busyBelow), (busiest*(1+busyAbove)+busyStart.Seconds())/pace
	if o.promise == sharesOut { // its members wait for brokers every few records, for as long as those take
		most = base.elapsed()
	}
	want, got := fmt.Sprintf("%.2f to %.2f s", least, most), fmt.Sprintf("%.2f s", took)
	if took > most && pace < paceLeast {
		r.Unknown(o.name, claim+", on a machine that keeps time", want, fmt.Sprintf("%s, while a worker without a pipeline reached %.0f%%", got, 100*o.control))
		return
	}
	r.Check(o.name, claim, want, got, took >= least && took <= most)
	if o == base || o.described != nil { // partitions divide as they do: the notes say how
		return
	}
	even := float64(len(o.attempts)) / float64(o.workers)
	share := even / float64(slices.Max(o.loads()))
	r.Check(o.name, "work is divided among all workers", fmt.Sprintf("0 idle, busiest at most %.0fx its share", 1/evenLeast),
		fmt.Sprintf("%d idle, %.2fx", o.idle(), 1/share), o.idle() == 0 && share >= evenLeast)
}

// judgeShare adds what a share group promises.
func (s *Lab) judgeShare(r *lab.Report, o *seen, t workTally) {
	of, n := o.name, len(o.log.records)
	if o.refused > 0 { // such a record comes again, and nobody can tell which it was
		r.Unknown(of, "brokers accept every acknowledgement", "0 refused", fmt.Sprint(o.refused))
		return
	}
	r.Check(of, "every record but the poison is acknowledged exactly once", fmt.Sprintf("%d; 0 missing, 0 twice, 0 foreign", n-1),
		fmt.Sprintf("%d; %d missing, %d twice, %d foreign", n-1-t.missing, t.missing, t.twice, t.foreign), t.missing+t.twice+t.foreign == 0)
	again, wrong := 0, 0
	for _, x := range o.log.records {
		if x.slot == o.poison {
			continue
		}
		want := []int32{1}
		if o.release[x.slot] {
			want = append(want, 2)
		}
		got := o.deliveries(x.slot)
		if o.release[x.slot] && slices.Equal(got, want) {
			again++
		}
		if !slices.Equal(got, want) {
			wrong++
		}
	}
	r.Check(of, "a released record comes again, counted; every other record comes once", fmt.Sprintf("%d twice, 0 otherwise", len(o.release)),
		fmt.Sprintf("%d twice, %d otherwise", again, wrong), again == len(o.release) && wrong == 0)
	var want []int32
	for i := range o.limit {
		want = append(want, int32(i+1))
	}
	got := o.deliveries(o.poison)
	r.Check(of, "the poison record is delivered up to the limit, then given up", fmt.Sprint(want), fmt.Sprint(got), slices.Equal(got, want))
	r.Check(of, "the other records are not held up: the group has nothing left", "0 behind", fmt.Sprintf("%d behind", o.behind), o.finished && o.behind == 0)
	r.Check(of, "more workers than partitions work", fmt.Sprintf("all %d on %d partitions", o.workers, len(o.log.partitions)),
		fmt.Sprintf("%d", o.workers-o.idle()), o.idle() == 0 && o.workers > len(o.log.partitions))
}
