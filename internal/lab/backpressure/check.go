package backpressure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
)

const (
	// batchEvents and batchBytes are how much the source hands over at once at most, of
	// simulated posts: how far below its bound a full queue can be.
	batchEvents = 256
	batchBytes  = batchEvents * 2 << 10
	// The measured capacity may be this much below theory: at the end of a batch
	// workers wait for the last of it, and for events of a key that another one works
	// on. Above it may be only what the ends of the measurement blur.
	capacityBelow, capacityAbove = 0.10, 0.05
	// controlLeast is what share of its work a worker without a pipeline must have
	// done, or the machine is too busy for a worker to be as fast as theory says.
	controlLeast = 0.97
	// memoryBeyond is what the process may grow by beyond a multiple of what the
	// queue holds (the garbage collector lets the heap triple): brokers' indices,
	// buffers of clients and of the reading side, batches in pools.
	memoryBeyond   = 128 << 20
	memoryMultiple = 4
	// notWaiting is for how many seconds a reader may wait for a queue that never fills.
	notWaiting = 0.01
	// spillBlur is a batch, by which the disk's share can be exceeded, in bytes.
	spillBlur = 256 << 10
)

// figures are what is derived from the samples.
type figures struct {
	peak, peakUpstream, peakLag                       int64   // events in the queue; that upstream kept; stored and not yet counted
	peakBytes, peakRSS, peakSend, peakReceive, onDisk int64   // bytes in the queue; of the process; in the kernel's buffers; spilled
	firstDrop                                         float64 // seconds after event 0; 0 for never
	throttled                                         float64 // bytes/s through the throttle
	rate                                              float64 // events/s through the workers while the queue was not empty
	window                                            float64 // seconds that rate was measured over
	control                                           float64 // share of its work that the control has done meanwhile
	recover                                           float64 // seconds from the last event offered to the last one settled
	blocked                                           float64 // seconds that the reader waited
	offering                                          float64 // seconds
}

// figures derives.
func (o *observation) figures(s *Settings) figures {
	f := figures{blocked: o.finalQueue.Blocked.Seconds()}
	for _, x := range o.samples {
		f.peak, f.peakBytes, f.onDisk = max(f.peak, int64(x.queue.Events)), max(f.peakBytes, x.queue.Bytes), max(f.onDisk, x.queue.Spilled.Bytes)
		f.peakUpstream, f.peakRSS, f.peakLag = max(f.peakUpstream, x.upstream), max(f.peakRSS, x.rss), max(f.peakLag, x.stored-x.counted)
		f.peakSend, f.peakReceive = max(f.peakSend, x.kernel.Sending), max(f.peakReceive, x.kernel.Receiving)
		if f.firstDrop == 0 && x.queue.Dropped.Total() > 0 {
			f.firstDrop = x.at
		}
		if f.offering == 0 && x.offered >= o.events {
			f.offering = x.at
		}
	}
	least := max(1, min(s.Queue, int(f.peak))/10) // then workers never wait for events
	busy := slices.DeleteFunc(slices.Clone(o.samples), func(x sample) bool { return x.queue.Events < least })
	if n := len(busy); n > 0 && busy[n-1].at > busy[0].at {
		first, last := &busy[0], &busy[n-1]
		f.window = last.at - first.at
		f.rate = float64(last.worked-first.worked) / f.window
		f.throttled = float64(last.passed-first.passed) / f.window
		f.control = float64(last.control-first.control) * s.Work.Seconds() / f.window
	}
	if n := len(o.samples); n > 0 && f.offering > 0 {
		end := n - 1 // the first sample at which nothing more happened
		for end > 0 && o.samples[end-1].stored == o.samples[n-1].stored && o.samples[end-1].queue.Events == 0 {
			end--
		}
		f.recover = max(0, o.samples[end].at-f.offering)
	}
	return f
}

// measure adds the figures of a case to the report.
func (o *observation) measure(c lab.Case, f figures) {
	for _, m := range []struct {
		name  string
		value float64
		unit  string
		known bool
	}{
		{"offered", float64(o.offered()), "events", true},
		{"stored", float64(o.stored), "events", true},
		{"dropped", float64(o.finalQueue.Dropped.Total()), "events", true},
		{"throughput", f.rate, "events/s", f.rate > 0},
		{"latency p50", kit.Quantile(o.latency, 0.50), "ms", len(o.latency) > 0},
		{"latency p90", kit.Quantile(o.latency, 0.90), "ms", len(o.latency) > 0},
		{"latency p99", kit.Quantile(o.latency, 0.99), "ms", len(o.latency) > 0},
		{"peak queue", float64(f.peak), "events", true},
		{"peak queue in bytes", float64(f.peakBytes), "bytes", true},
		{"peak upstream", float64(f.peakUpstream), "events", true},
		{"peak lag in Kafka", float64(f.peakLag), "events", true},
		{"peak on disk", float64(f.onDisk), "bytes", true},
		{"peak send queue", float64(f.peakSend), "bytes", true},
		{"peak receive queue", float64(f.peakReceive), "bytes", true},
		{"first drop after", f.firstDrop, "s", f.firstDrop > 0},
		{"peak memory", float64(f.peakRSS), "bytes", true},
		{"time to recover", f.recover, "s", true},
		{"reader blocked", f.blocked, "s", true},
		{"socket stopped", o.socketBlocked.Seconds(), "s", true},
		{"longest hole", float64(o.Hole()), "events", true},
	} {
		if m.known {
			c.Measure(m.name, m.value, m.unit)
		}
	}
}

// judge adds the figures and the checks of a case. Where its conditions are not met, nothing
// else of it is judged.
func (s *Settings) judge(r *lab.Report, o *observation) {
	f, c := o.figures(s), r.Of(o.name())
	o.measure(c, f)
	exact, loaded := s.conditions(c, o, f)
	if !exact {
		return
	}
	s.judgeLoss(c, o, f)
	switch {
	case o.touched() || !loaded: // what follows is about settings that stay, and a load that was reached
	case !s.Slow.BeforeKafka():
		dropped := o.finalQueue.Dropped.Total()
		c.Check("no stage before Kafka is affected: the log is the buffer", "0 dropped, reader never waits, queue not full",
			fmt.Sprintf("%d, %.2f s, %d of %d", dropped, f.blocked, f.peak, s.Queue),
			dropped == 0 && f.blocked < notWaiting && int(f.peak) < s.Queue-batchEvents)
	default:
		s.judgePolicy(c, o, f)
	}
	bound, grown := memoryMultiple*f.peakBytes+memoryBeyond, f.peakRSS-o.rssBefore
	c.Check("memory stays bounded",
		fmt.Sprintf("queue <= %d events and %d KiB, process grows by <= %d MiB", s.Queue, (s.QueueBytes+spillBlur)>>10, bound>>20),
		fmt.Sprintf("queue %d and %d KiB, process %d MiB", f.peak, f.peakBytes>>10, grown>>20),
		int(f.peak) <= s.Queue && f.peakBytes <= s.QueueBytes+spillBlur && grown <= bound)
}

// conditions adds what a case needs to show anything, where it is not met. exact reports
// whether loss, counts and order can be judged, loaded whether the load was reached: a live
// load may be too small, and what is exact holds whatever it was.
func (s *Settings) conditions(c lab.Case, o *observation, f figures) (exact, loaded bool) {
	steady := !o.touched()
	q, spill := o.finalQueue, o.policy == overflow.Spill && s.Slow.BeforeKafka()
	least, leastBytes := s.Queue-batchEvents, s.QueueBytes-batchBytes
	if o.policy == overflow.Sample { // it never fills: it settles where what is admitted is what goes
		least, leastBytes = s.Queue*6/10, s.QueueBytes*6/10
	}
	leastLag := int64(s.surplus() / 4)
	if s.Live != nil {
		leastLag = batchEvents
	}
	exact, loaded = true, true
	for _, x := range []struct {
		unmet, load          bool
		condition, want, got string
	}{
		{!o.early, false, "the source listens before the first event", "connected before it", "not connected"},
		{!o.finished, false, "every stage becomes empty", "at rest in time", "still moving"},
		// What was dropped meanwhile is delivered again.
		{o.restarts > 0, false, "the ingester is not started again", "0 restarts", fmt.Sprint(o.restarts)},
		{spill && q.Spilled.Total == 0 && steady, true, "the load reaches the disk", "at least 1 event spilled", "0"},
		{q.Spilled.Err != "", false, "the disk accepts spilled events", "no error", q.Spilled.Err},
		{s.Slow.BeforeKafka() && int(f.peak) < least && f.peakBytes < leastBytes && steady, true, "the load fills the queue",
			fmt.Sprintf("at least %d events in it", least), fmt.Sprint(f.peak)},
		{s.Break != "" && o.fired == 0, false, "the fault fires", "at least once", "never"},
		{s.Slow == kit.SlowConsumer && f.peakLag < leastLag && steady, true, "the consumer is behind",
			fmt.Sprintf("by at least %d events", leastLag), fmt.Sprint(f.peakLag)},
		{s.Slow != kit.SlowWork && o.slowed == 0, false, "the stage is slow", "at least one request or record had to wait", "none"},
	} {
		if !c.Needs(!x.unmet, x.condition, x.want, "%s", x.got) {
			loaded = loaded && !x.load
			exact = exact && x.load && s.Live != nil
		}
	}
	return exact, loaded
}

// judgePolicy adds what only some policies do, and the speed.
func (s *Settings) judgePolicy(c lab.Case, o *observation, f figures) {
	switch o.policy {
	case overflow.Block:
		s.judgeBlock(c, o, f)
	case overflow.Spill:
		c.Check("the disk is the buffer: the reader never waits, and the disk limit is kept", fmt.Sprintf("0 s, <= %d KiB", (s.Spill+spillBlur)>>10),
			fmt.Sprintf("%.2f s, %d events and %d KiB at most", f.blocked, o.finalQueue.Spilled.Total, f.onDisk>>10),
			f.blocked < notWaiting && f.onDisk <= s.Spill+spillBlur)
		c.Same("nothing is left on disk", "0 events", "%d events", o.finalQueue.Spilled.Events)
	}
	capacity := s.capacity()
	if limit := capacity * bytesPerEvent; s.Slow == kit.SlowBroker {
		c.Check("the brokers get no more bytes than the connection carries", fmt.Sprintf("<= %.0f KiB/s (+%.0f%%)", limit/1024, 100*capacityAbove),
			fmt.Sprintf("%.1f KiB/s over %.1f s", f.throttled/1024, f.window), f.throttled > 0 && f.throttled <= limit*(1+capacityAbove))
		return
	}
	const claim = "throughput is workers / time of the work"
	want := fmt.Sprintf("%.0f/s (-%.0f%%, +%.0f%%)", capacity, 100*capacityBelow, 100*capacityAbove)
	got := fmt.Sprintf("%.1f/s over %.1f s", f.rate, f.window)
	least, most := capacity*(1-capacityBelow), capacity*(1+capacityAbove)
	if c.Needs(f.rate >= least || f.control >= controlLeast, claim+", on a machine that keeps time", // or no worker can be that fast
		want, "%s, while a worker without a pipeline reached %.0f%%", got, 100*f.control) {
		c.Check(claim, want, got, f.rate >= least && f.rate <= most)
	}
}

// held is how many events the full queue had: fewer than it may have where bytes bound it.
func (s *Settings) held(f figures) float64 {
	if int(f.peak) < s.Queue*6/10 {
		return float64(f.peak)
	}
	return float64(s.Queue)
}

// judgeLoss adds what is exact: loss, counts, order.
func (s *Settings) judgeLoss(c lab.Case, o *observation, f figures) {
	dropped := o.finalQueue.Dropped
	missing := o.offered() - (o.stored - o.Twice - o.Foreign)
	want := missing
	switch {
	case o.touched() || !s.Slow.BeforeKafka():
	case o.policy == overflow.Block || o.policy == overflow.Spill && dropped.Total() == 0:
		c.Check("nothing is lost", fmt.Sprintf("%d stored", o.offered()), fmt.Sprintf("%d stored, %d missing", o.stored, missing), missing == 0)
		want = 0
	case o.policy != overflow.Spill && s.Slow == kit.SlowWork && s.Live == nil: // a live load comes in waves
		s.judgeAmount(c, o, f, missing)
	}
	others, names := dropped.Total(), []string{}
	for p, n := range dropped {
		if slices.Contains(o.policies(), overflow.Policy(p)) {
			names = append(names, overflow.Policy(p).String())
			others -= n
		}
	}
	loss := func(n, others int64) string {
		return fmt.Sprintf("%d dropped by %s, %d by others", n, strings.Join(names, ", "), others)
	}
	c.Same("every loss is counted with a policy that was set", loss(want, 0), "%s", loss(dropped.Total()-others, others))
	c.Same("no event is duplicated, invented or out of order", "0, 0, 0", "%d, %d, %d", o.Twice, o.Foreign, o.Late)
	c.Same("Redis counts what Kafka holds", fmt.Sprint(o.stored), "%d", o.counted)
}

// judgeAmount adds how much a policy that drops must drop: what has come and not
// gone, at the measured throughput, when the offer ends, less what waits then. Sample
// lets less wait.
func (s *Settings) judgeAmount(c lab.Case, o *observation, f figures, missing int64) {
	least := (s.Rate-f.rate)*s.Offer.Seconds() - s.held(f)
	most := least
	if o.policy == overflow.Sample {
		most += s.held(f) / 2
	}
	blur := capacityBelow*s.capacity()*s.Offer.Seconds() + batchEvents
	least, most = max(1, least-blur), most+blur
	const claim = "the events that do not fit are dropped, and no others"
	want, ok := fmt.Sprintf("%.0f to %.0f missing", least, most), float64(missing) >= least && float64(missing) <= most
	if c.Needs(ok || f.control >= controlLeast, claim+", on a machine that keeps time", want,
		"%d, while a worker without a pipeline reached %.0f%%", missing, 100*f.control) {
		c.Check(claim, want, fmt.Sprint(missing), ok)
	}
}

// judgeBlock adds what only blocking does.
func (s *Settings) judgeBlock(c lab.Case, o *observation, f figures) {
	if s.Live != nil { // how long the server waits is its own knowledge
		c.Check("the socket stops: weir does not read it while the queue is full", "over 0.1 s", fmt.Sprintf("%.1f s", f.blocked), f.blocked > 0.1)
		return
	}
	// What was offered and neither worked on nor in the queue can only be upstream,
	// or on its way in the sockets' buffers and one batch.
	surplus := float64(o.offered()) - s.capacity()*f.offering - s.held(f)
	c.Check("the socket stops: upstream cannot write", "over 0.1 s",
		fmt.Sprintf("%.1f s in all, %.2f s at once", o.socketBlocked.Seconds(), o.socketLongest.Seconds()), o.socketBlocked.Seconds() > 0.1 && f.blocked > 0)
	c.Check("upstream is the buffer of the events that do not fit into the queue", fmt.Sprintf("at least %.0f events wait there", surplus/2),
		fmt.Sprint(f.peakUpstream), surplus > 0 && float64(f.peakUpstream) >= surplus/2)
}
