package batching

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// batchHead is the size in bytes of what comes before the records of a batch, from
// Kafka's message format, version 2.
const batchHead = 61

// embeddedFrame is how many bytes the embedded engine's log has in front of each batch.
const embeddedFrame = 15

// brokersOfLab is how many brokers a producer sends to.
const brokersOfLab = 3

// judgeProducers adds figures and checks of the settings.
func (s *Settings) judgeProducers(r *lab.Report, all []*producerSeen) {
	for _, o := range all {
		c := r.Of(o.String())
		c.Measure("latency p50", kit.Quantile(o.latency, 0.5), "ms")
		c.Measure("latency p99", kit.Quantile(o.latency, 0.99), "ms")
		c.Measure("CPU per event", o.cpuPerEvent(), "µs")
		c.Measure("throughput", float64(o.flood)/max(o.floodSeconds, 1e-9), "events/s")
		c.Measure("events per request", float64(o.paced)/float64(max(1, o.requests)), "events")
		c.Measure("bytes per event", float64(o.wire.packed+batchHead*o.wire.batches)/float64(max(1, o.written)), "bytes")
	}
	for _, o := range all {
		s.judgeProducer(r.Of(o.String()), o)
	}
	judgeLingers(r, all)
	for _, o := range all { // bytes before and after compression
		if c := r.Of(o.String()); o.of.Compression == "none" {
			c.Same("nothing is compressed", fmt.Sprint(o.wire.plain), "%d", o.wire.packed)
		} else {
			c.Check(o.of.Compression+" makes these events smaller", fmt.Sprintf("less than %d", o.wire.plain),
				fmt.Sprint(o.wire.packed), o.wire.packed < o.wire.plain)
		}
	}
}

// judgeProducer adds the checks of one setting.
func (s *Settings) judgeProducer(c lab.Case, o *producerSeen) {
	if !c.Needs(!o.short && o.paced > 0, "events are offered at the rate",
		fmt.Sprintf("%.0f/s", s.Rate), "%.0f/s", float64(o.paced)/max(o.seconds, 1e-9)) {
		return
	}
	if o.of.safe() {
		c.Same("every record is stored once, and in its key's order", new(kit.Contents).String()+", 0 refused", "%v, %d refused", &o.Contents, o.refused)
		head := int64(batchHead)
		if !o.real {
			head += embeddedFrame
		}
		c.Same(fmt.Sprintf("the size on disk is the size sent: %d bytes for each batch, and its records", head),
			fmt.Sprint(o.wire.packed+head*o.wire.batches), "%d", o.disk)
	}
	least := (o.wire.plain + int64(o.of.Batch) - 1) / int64(o.of.Batch)
	c.Check("no batch exceeds the batch size, so there are enough batches",
		fmt.Sprintf("at most %d bytes, at least %d batches", o.of.Batch, least), fmt.Sprintf("%d bytes, %d batches", o.wire.largest, o.wire.batches),
		o.wire.largest <= int64(o.of.Batch) && o.wire.batches >= least)
	if o.of.Linger < 5*time.Millisecond {
		return
	}
	most := o.mostRequests()
	c.Check("a broker gets at most one request per linger, and one when a batch is full",
		fmt.Sprintf("at most %d requests", most), fmt.Sprint(o.requests), o.requests <= most)
	if o.of.Linger >= 20*time.Millisecond && o.of.Acks != "0" && o.of.Batch >= BaseSetting().Batch {
		quarter, p50 := kit.Milliseconds(o.of.Linger)/4, kit.Quantile(o.latency, 0.5)
		c.Check("records wait for their batch: half of them for more than a quarter of the linger",
			fmt.Sprintf("p50 over %.0f ms", quarter), fmt.Sprintf("%.0f ms", p50), p50 > quarter)
	}
}

// mostRequests bounds the requests of what was offered at the rate. A broker's batches
// leave together, a linger after the first record of any; and whenever one is full. Two
// more per broker and round: the first, and the last one that is flushed.
func (o *producerSeen) mostRequests() int64 {
	perBroker := int64(o.seconds/o.of.Linger.Seconds()) + 2*int64(max(1, int(o.seconds)))
	// A batch is full where the next record does not fit: half full is a safe bound.
	full := o.wire.plain * o.paced / max(1, o.written) / int64(o.of.Batch/2)
	return brokersOfLab*perBroker + full + 1
}

// judgeLingers compares settings that differ in nothing but their linger.
func judgeLingers(r *lab.Report, all []*producerSeen) {
	var same []*producerSeen
	for _, o := range all {
		x := o.of
		x.Linger = BaseSetting().Linger
		if x == BaseSetting() && !o.short {
			same = append(same, o)
		}
	}
	slices.SortFunc(same, func(a, b *producerSeen) int { return int(a.of.Linger - b.of.Linger) })
	var hidden []string
	for i := 1; i < len(same); i++ {
		a, b := same[i-1], same[i]
		c := r.Of(b.String())
		if p50 := kit.Quantile(a.latency, 0.5); p50 > kit.Milliseconds(b.of.Linger) {
			// Then records wait for the brokers anyway, and requests are as rare as responses: a
			// linger that is shorter than that changes nothing, in either direction.
			hidden = append(hidden, fmt.Sprintf("%v (p50 of %s: %.0f ms)", b.of.Linger, a, p50))
			c.Needs(len(hidden) < len(same)-1, "brokers respond sooner than the longest linger",
				fmt.Sprintf("p50 of %s under %v", a, b.of.Linger), "%.0f ms", p50)
			continue
		}
		c.Check("a longer linger never makes more requests of the same records",
			fmt.Sprintf("at most %d (of %s), give or take a tenth", a.requests, a), fmt.Sprint(b.requests), float64(b.requests) <= 1.1*float64(a.requests))
	}
	if len(hidden) > 0 {
		r.Notes = append(r.Notes, "brokers took longer to respond than these lingers, so these lingers make no difference here: "+strings.Join(hidden, ", "))
	}
}

// judge adds figures and checks of a network that cuts connections.
func (o *deliverySeen) judge(r *lab.Report) {
	c := r.Of(string(o.of))
	c.Measure("written", float64(o.written), "events")
	c.Measure("lost", float64(o.Lost), "events")
	c.Measure("duplicated", float64(o.Twice), "events")
	fired := o.swallowed > 0 && (o.voided > 0 || o.of == deliverNever) // no client waits for a response there
	if !c.Needs(fired, "requests are swallowed and responses lost", "at least 1 each", "%d, %d", o.swallowed, o.voided) {
		return
	}
	switch o.of {
	case deliverSafe:
		c.Same("every record is stored once, and in its key's order", new(kit.Contents).String(), "%v", &o.Contents)
	case deliverOnce:
		c.Same("nothing is lost", "0", "%d", o.Lost)
		c.Check("a record whose response was lost is written again", "at least 1 duplicated", fmt.Sprint(o.Twice), o.Twice > 0)
	case deliverNever:
		c.Check("a record in a swallowed request is lost, and reported as written", "at least 1 lost, 0 refused",
			fmt.Sprintf("%d lost, %d refused", o.Lost, o.refused), o.Lost > 0 && o.refused == 0)
	}
}

// judgeCommits adds figures and checks of commits.
func judgeCommits(r *lab.Report, all []*commitSeen) {
	for _, o := range all {
		c, load := r.Of(o.String()), " at "+o.load()
		c.Measure("latency p50"+load, kit.Quantile(o.latency, 0.5), "ms")
		c.Measure("commits"+load, float64(o.commits), "commits")
		if o.rate == commitHighRate {
			c.Measure("CPU per event"+load, o.cpuPerEvent(), "µs")
		}
	}
	inTime := true
	for _, o := range all {
		inTime = r.Of(o.String()).Needs(o.finished && o.restarts == 0, "every event is committed in time, at "+o.load(),
			fmt.Sprintf("%d, 0 restarts", o.events), "%d, %d restarts", o.stored, o.restarts) && inTime
	}
	if !inTime {
		return
	}
	for _, o := range all {
		r.Of(o.String()).Same("every event can be read once, at "+o.load(), fmt.Sprintf("%d, 0 twice", o.events), "%d, %d twice", o.stored, o.foreign)
	}
	find := func(c committing, rate float64) *commitSeen {
		return all[slices.IndexFunc(all, func(o *commitSeen) bool { return o.of == c && o.rate == rate })]
	}
	c := r.Of(string(commitAdaptive))
	a, b := kit.Quantile(find(commitAdaptive, commitLowRate).latency, 0.5), kit.Quantile(find(commitRarely, commitLowRate).latency, 0.5)
	c.Check("at a low load, half of the events can be read sooner than with long commits",
		fmt.Sprintf("less than %.0f ms", b), fmt.Sprintf("%.0f ms", a), a < b)
	adaptive, often := find(commitAdaptive, commitHighRate), find(commitOften, commitHighRate)
	most := adaptive.mostCommits()
	c.Check("at a high load, there is at most one commit per interval or full commit",
		fmt.Sprintf("at most %d commits", most), fmt.Sprint(adaptive.commits), adaptive.commits <= most)
	c.Check("at a high load, an event costs no more CPU than with short commits",
		fmt.Sprintf("at most %.1f µs, and a tenth", often.cpuPerEvent()), fmt.Sprintf("%.1f µs", adaptive.cpuPerEvent()),
		adaptive.cpuPerEvent() <= 1.1*often.cpuPerEvent())
}

func (o *producerSeen) tradeoff() record.Tradeoff {
	return record.Tradeoff{Case: o.of.String(), X: kit.Quantile(o.latency, 0.99), Y: o.cpuPerEvent()}
}

// choose finds the front and a setting on it, and says why.
func (s *Settings) choose(r *lab.Report, all []*producerSeen) {
	all = slices.DeleteFunc(slices.Clone(all), func(o *producerSeen) bool { return len(o.latency) == 0 })
	for _, o := range all {
		r.Tradeoffs = append(r.Tradeoffs, o.tradeoff())
	}
	lab.MarkFront(r.Tradeoffs)
	within := kit.Milliseconds(s.Within)
	best := -1
	for i, o := range all {
		if o.of.safe() && (best < 0 || better(r.Tradeoffs[i], r.Tradeoffs[best], within)) {
			best = i
		}
	}
	if best < 0 {
		r.Notes = append(r.Notes, "no setting is chosen: none of the tried settings keeps every acknowledged record (acks=all with idempotence)")
		return
	}
	c := &r.Tradeoffs[best]
	c.Chosen = true
	why := fmt.Sprintf("the least CPU of the settings that lose and duplicate nothing and acknowledge 99 %% within %.0f ms", within)
	if c.X > within {
		why = fmt.Sprintf("no setting that loses and duplicates nothing acknowledges 99 %% within %.0f ms; this one comes closest", within)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("chosen is %s (%s): %s, with %.1f µs of CPU for an event and a p99 of %.0f ms", c.Case, all[best].of.words(), why, c.Y, c.X))
	var front, unsafe []string
	for i, t := range r.Tradeoffs {
		if t.Front && !t.Chosen {
			front = append(front, fmt.Sprintf("%s (%.1f µs, %.0f ms)", t.Case, t.Y, t.X))
			if !all[i].of.safe() {
				unsafe = append(unsafe, t.Case)
			}
		}
	}
	if len(front) > 0 {
		r.Notes = append(r.Notes, "also on the front, better at one cost and worse at the other: "+strings.Join(front, ", "))
	}
	if len(unsafe) > 0 {
		r.Notes = append(r.Notes, "cheap or quick because they promise less, and therefore not chosen: "+strings.Join(unsafe, ", "))
	}
}

// better says whether a safe setting is to be chosen rather than another one.
func better(a, b record.Tradeoff, within float64) bool {
	switch inA, inB := a.X <= within, b.X <= within; {
	case inA != inB:
		return inA
	case inA:
		return a.Y < b.Y
	}
	return a.X < b.X
}
