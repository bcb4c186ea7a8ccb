package latency

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// busyMachine is how late in ms an idle goroutine may be woken up on average: where it is later,
// the time in a stage is not the stage's.
const busyMachine = 5

// wakeUps is how often an event in the queue waits for a goroutine to be woken up: for the timer of
// the pace, and for the transaction before.
const wakeUps = 4

// slowPace is a pace beside which the other stages together are short on any machine.
const slowPace = 100 * time.Millisecond

// load names the load of a step.
func (st *step) load() string {
	if st.saturated {
		return "more than it can do"
	}
	return fmt.Sprintf("%.0f/s", st.rate)
}

// ordinary are the steps with a load that was asked for, flood the last one, which is nil where
// there is none.
func (o *observation) ordinary() (steps []*step, flood *step) {
	for _, st := range o.steps {
		if st.saturated {
			flood = st
		} else {
			steps = append(steps, st)
		}
	}
	return steps, flood
}

// measure adds the figures.
func (o *observation) measure(r *lab.Report) {
	for _, st := range o.steps {
		c := r.Of(caseOf(o.pace) + ", " + st.load())
		if st.saturated {
			c.Measure("load", st.rate, "events/s")
			c.Measure("behind after the last event", st.drained, "s")
		}
		for _, q := range []float64{0.5, 0.99, 0.999} {
			c.Measure(fmt.Sprintf("latency p%g", 100*q), kit.Quantile(st.whole, q), "ms")
		}
		for i, part := range st.parts {
			c.Measure(stage(i).String()+" p50", kit.Quantile(part, 0.5), "ms")
			c.Measure(stage(i).String()+" p99", kit.Quantile(part, 0.99), "ms")
		}
		c.Measure("CPU", 100*st.cpu, "% of a core")
	}
}

// judge adds the checks.
func (s *Settings) judge(r *lab.Report, all []*observation) {
	for _, o := range all {
		c := r.Of(caseOf(o.pace))
		if o.conditions(c) {
			o.exact(c)
			o.waits(c)
		}
	}
	if len(all) < 2 {
		return
	}
	a, b := all[0], all[len(all)-1]
	quick, slow := a.steps[0], b.steps[0]
	c := r.Of(caseOf(a.pace))
	if quick.quiet() && slow.quiet() && a.commits() < kit.Milliseconds(b.pace)/2 { // else events wait for the brokers with both
		x, y := kit.Quantile(quick.whole, 0.5), kit.Quantile(slow.whole, 0.5)
		c.Check(fmt.Sprintf("at %s, half of the events are counted sooner than with %s", quick.load(), caseOf(b.pace)),
			fmt.Sprintf("less than %.0f ms", y), fmt.Sprintf("%.0f ms", x), x < y)
	}
}

// conditions reports whether the observation shows something, and adds what is missing for that.
func (o *observation) conditions(c lab.Case) bool {
	ok := true
	for _, st := range o.steps {
		ok = c.Needs(st.finished && st.events > 0, "every event is counted in time", "at "+st.load(), "not within %v", kit.Patience) && ok
	}
	ok = c.Needs(o.restarts == 0, "the ingester runs without a restart", "0 restarts", "%d restarts", o.restarts) && ok
	_, flood := o.ordinary()
	got := "no such load was offered"
	if flood != nil {
		got = fmt.Sprintf("%.0f events/s were not enough", flood.rate)
	}
	c.Needs(flood != nil && o.tooMuch(flood), "the load rises until the pipeline falls behind", fmt.Sprintf("%.1f s behind what is usual", behind.Seconds()), "%s", got)
	return ok
}

// tooMuch reports whether the pipeline has fallen behind at a load: the last event was counted
// later than is usual at the lowest load.
func (o *observation) tooMuch(st *step) bool {
	return st.drained > behind.Seconds()+kit.Quantile(o.steps[0].whole, 0.99)/1000
}

// quiet reports whether the machine let the stages of the step work.
func (st *step) quiet() bool { return st.late <= busyMachine }

// commits is how long in ms a commit takes when brokers are warm, and no stage is broken yet.
func (o *observation) commits() float64 { return o.warm.parts[transaction].mean() }

// exact adds what holds on every machine.
func (o *observation) exact(c lab.Case) {
	c.Same("every event is counted once, by type", fmt.Sprintf("%v, 0 missing, 0 unknown", kit.Sorted(o.truth)),
		"%v, %d missing, %d unknown", kit.Sorted(o.counts), o.missing, o.unknown)
	worst, at := 0.0, ""
	for _, st := range o.steps {
		whole, sum := spent(st.whole).mean(), 0.0
		for _, part := range st.parts {
			sum += part.mean()
		}
		if off := math.Abs(sum-whole) / whole; off >= worst {
			worst, at = off, fmt.Sprintf("%.2f of %.2f ms at %s", sum, whole, st.load())
		}
	}
	c.Check("the stages together are the whole", "within 1 %", at, worst <= 0.01)
	backwards := 0
	for _, st := range o.steps {
		for _, part := range st.parts {
			if len(part) > 0 && part[0] < -1 { // ms: the clocks of the timeline and of the probe
				backwards++
			}
		}
	}
	c.Same("every event passes the stages in their order", "0 stages that end before they begin", "%d stages that end before they begin", backwards)
}

// waits adds where events wait: at the lowest load for the next commit, at the highest for the
// slowest stage.
func (o *observation) waits(c lab.Case) {
	low := o.steps[0]
	if !c.Needs(low.quiet(), "the machine has time for the pipeline", fmt.Sprintf("an idle goroutine is woken up within %d ms", busyMachine), "%.0f ms", low.late) {
		return
	}
	wait, pace := low.parts[queue].mean(), kit.Milliseconds(o.pace)
	most := max(pace, o.commits()) + wakeUps*busyMachine
	c.Check(fmt.Sprintf("at %s, an event waits in the queue for the pace, or for the commit before it, and no longer", low.load()),
		fmt.Sprintf("less than %.0f ms on average", most), fmt.Sprintf("%.1f ms", wait), wait < most)
	switch warm := o.warm.others(); {
	case o.pace < slowPace:
	case warm > pace/4:
		c.Report.Notes = append(c.Report.Notes, fmt.Sprintf("%s: the other stages take %.0f ms together on this machine and with these brokers, so the pace is only a part of the latency", c.Name, warm))
	default:
		var parts []string
		for i, part := range low.parts {
			if stage(i) != queue {
				parts = append(parts, fmt.Sprintf("%s %.1f", stage(i), part.mean()))
			}
		}
		c.Check(fmt.Sprintf("at %s, this wait is longer than all other stages together", low.load()), fmt.Sprintf("less than %.1f ms in the others", wait),
			fmt.Sprintf("%.1f ms (%s)", low.others(), strings.Join(parts, ", ")), low.others() < wait)
	}
	if _, flood := o.ordinary(); flood != nil && o.tooMuch(flood) {
		x, y := kit.Quantile(low.whole, 0.5), kit.Quantile(flood.whole, 0.5)
		c.Check("with more events than it can count, the latency rises", fmt.Sprintf("p50 over %.0f ms, as at %s", x, low.load()), fmt.Sprintf("%.0f ms", y), y > x)
	}
}

// growth returns the stage in which events wait longer at a load than at the lowest one, and its
// share of all that is longer.
func (o *observation) growth(st *step) (most stage, share float64) {
	var grown [stages]float64
	sum := 0.0
	for i := range grown {
		grown[i] = max(0, st.parts[i].mean()-o.steps[0].parts[i].mean())
		sum += grown[i]
		if grown[i] > grown[most] {
			most = stage(i)
		}
	}
	return most, grown[most] / max(sum, 1e-9)
}

// note says in words where events wait.
func (o *observation) note() string {
	steps, flood := o.ordinary()
	var parts []string
	for _, st := range steps {
		parts = append(parts, fmt.Sprintf("%.0f ms at %s", kit.Quantile(st.whole, 0.5), st.load()))
	}
	text := fmt.Sprintf("%s: half of the events are counted within %s", caseOf(o.pace), strings.Join(parts, ", "))
	if flood != nil {
		most, share := o.growth(flood)
		text += fmt.Sprintf("; %.0f events/s were more than the pipeline can do, and %.0f %% of the further latency was in the stage %s",
			flood.rate, 100*share, most)
	}
	return text
}

// charts draws the percentiles over the load, and the stages.
func charts(all []*observation) []record.Chart {
	over := record.Chart{Title: "Latency from when an event was due to its count, by load", X: "events/s offered", Y: "latency (ms)"}
	bars := record.Chart{Title: "Mean time in each stage, by pace and load", Y: "time (ms)"}
	bars.Series = make([]record.Series, stages)
	for i := range bars.Series {
		bars.Series[i].Name = stage(i).String()
	}
	for n, o := range all {
		for _, q := range []float64{0.5, 0.99, 0.999} {
			line := record.Series{Name: fmt.Sprintf("%s, p%g", caseOf(o.pace), 100*q), Group: n}
			steps, flood := o.ordinary()
			if steps = append(steps, o.rising...); flood != nil {
				steps = append(steps, flood)
			}
			for _, st := range steps {
				line.X, line.Y = append(line.X, st.rate), append(line.Y, kit.Quantile(st.whole, q))
			}
			over.Series = append(over.Series, line)
		}
		steps, _ := o.ordinary()
		for _, st := range steps {
			bars.Bars = append(bars.Bars, fmt.Sprintf("%v, %s", o.pace, st.load()))
			for i, part := range st.parts {
				bars.Series[i].Y = append(bars.Series[i].Y, part.mean())
			}
		}
	}
	return []record.Chart{over, bars}
}
