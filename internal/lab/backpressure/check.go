package backpressure

import (
	"fmt"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
)

const (
	// batchEvents is how many events the source hands over at once at most: how far
	// below its bound a full queue can be.
	batchEvents = 256
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
)

// figures are what is derived from the samples.
type figures struct {
	peak            int      // events in the queue
	peakBytes       int64    // in the queue
	peakUpstream    int64    // events that upstream kept
	peakRSS         int64    // bytes
	peakKernel      [2]int64 // bytes in send and receive queue
	peakDisk        int64    // bytes
	peakLag         int64    // events stored and not yet counted
	firstDrop       float64  // seconds after event 0; 0 for never
	throttled       float64  // bytes/s through the throttle
	rate            float64  // events/s through the workers while the queue was not empty
	window          float64  // seconds that rate was measured over
	control         float64  // share of its work that the control has done meanwhile
	recover         float64  // seconds from the last event offered to the last one settled
	blocked         float64  // seconds that the reader waited
	offeringSeconds float64
}

// figures derives.
func (o *observation) figures(s *Settings) figures {
	var f figures
	var first, last *sample
	var offered float64
	for i := range o.samples {
		f.peak = max(f.peak, o.samples[i].queue.Events)
	}
	busy := max(1, min(s.Queue, f.peak)/10)
	for i := range o.samples {
		x := &o.samples[i]
		f.peak, f.peakBytes = max(f.peak, x.queue.Events), max(f.peakBytes, x.queue.Bytes)
		f.peakUpstream, f.peakRSS = max(f.peakUpstream, x.upstream), max(f.peakRSS, x.rss)
		f.peakKernel[0], f.peakKernel[1] = max(f.peakKernel[0], x.kernel.Sending), max(f.peakKernel[1], x.kernel.Receiving)
		f.peakDisk, f.peakLag = max(f.peakDisk, x.queue.Spilled.Bytes), max(f.peakLag, x.stored-x.counted)
		if f.firstDrop == 0 && x.queue.Dropped.Total() > 0 {
			f.firstDrop = x.at
		}
		if x.queue.Events >= busy {
			if first == nil {
				first = x
			}
			last = x
		}
		if offered == 0 && x.offered >= o.events {
			offered = x.at
		}
	}
	if first != nil && last.at > first.at {
		f.window = last.at - first.at
		f.rate = float64(last.worked-first.worked) / f.window
		f.throttled = float64(last.passed-first.passed) / f.window
		f.control = float64(last.control-first.control) * s.Work.Seconds() / f.window
	}
	f.offeringSeconds = offered
	if n := len(o.samples); n > 0 && offered > 0 {
		end := n - 1 // the first sample at which nothing more happened
		for end > 0 && o.samples[end-1].stored == o.samples[n-1].stored && o.samples[end-1].queue.Events == 0 {
			end--
		}
		f.recover = max(0, o.samples[end].at-offered)
	}
	f.blocked = o.finalQueue.Blocked.Seconds()
	return f
}

// measure adds the figures of a case to the report.
func (s *Settings) measure(r *lab.Report, o *observation) {
	f, of := o.figures(s), o.name()
	r.Measure(of, "offered", float64(o.offered()), "events")
	r.Measure(of, "stored", float64(o.stored), "events")
	r.Measure(of, "dropped", float64(o.finalQueue.Dropped.Total()), "events")
	if f.rate > 0 {
		r.Measure(of, "throughput", f.rate, "events/s")
	}
	if len(o.latency) > 0 {
		r.Measure(of, "latency p50", kit.Quantile(o.latency, 0.50), "ms")
		r.Measure(of, "latency p90", kit.Quantile(o.latency, 0.90), "ms")
		r.Measure(of, "latency p99", kit.Quantile(o.latency, 0.99), "ms")
	}
	r.Measure(of, "peak queue", float64(f.peak), "events")
	r.Measure(of, "peak queue in bytes", float64(f.peakBytes), "bytes")
	r.Measure(of, "peak upstream", float64(f.peakUpstream), "events")
	r.Measure(of, "peak lag in Kafka", float64(f.peakLag), "events")
	r.Measure(of, "peak on disk", float64(f.peakDisk), "bytes")
	r.Measure(of, "peak send queue", float64(f.peakKernel[0]), "bytes")
	r.Measure(of, "peak receive queue", float64(f.peakKernel[1]), "bytes")
	if f.firstDrop > 0 {
		r.Measure(of, "first drop after", f.firstDrop, "s")
	}
	r.Measure(of, "peak memory", float64(f.peakRSS), "bytes")
	r.Measure(of, "time to recover", f.recover, "s")
	r.Measure(of, "reader blocked", f.blocked, "s")
	r.Measure(of, "socket stopped", o.socketBlocked.Seconds(), "s")
	r.Measure(of, "longest hole", float64(o.hole), "events")
}

// judge adds the checks of a case. Where its conditions are not met, nothing else
// of it is judged.
func (s *Settings) judge(r *lab.Report, o *observation) {
	f, of := o.figures(s), o.name()
	conditions := len(r.Checks)
	loaded := true // a live load may be too small: what is exact holds whatever it was
	load := func(condition, want, got string) {
		r.Unknown(of, condition, want, got)
		if loaded = false; s.Live != nil {
			conditions++
		}
	}
	if !o.early {
		r.Unknown(of, "the source listens before the first event", "connected before it", "not connected")
	}
	if !o.finished {
		r.Unknown(of, "every stage becomes empty", "at rest in time", "still moving")
	}
	if o.restarts > 0 { // what was dropped meanwhile is delivered again
		r.Unknown(of, "the ingester is not started again", "0 restarts", fmt.Sprint(o.restarts))
	}
	if s.Slow.BeforeKafka() && o.policy == overflow.Spill && o.finalQueue.Spilled.Total == 0 && !o.touched() {
		load("the load reaches the disk", "at least 1 event spilled", "0")
	}
	if o.finalQueue.Spilled.Err != "" {
		r.Unknown(of, "the disk accepts spilled events", "no error", o.finalQueue.Spilled.Err)
	}
	if least := s.leastPeak(o.policy); s.Slow.BeforeKafka() && f.peak < least && f.peakBytes < s.leastPeakBytes(o.policy) && !o.touched() {
		load("the load fills the queue", fmt.Sprintf("at least %d events in it", least), fmt.Sprint(f.peak))
	}
	if s.Break != "" && o.fired == 0 {
		r.Unknown(of, "the fault fires", "at least once", "never")
	}
	if least := s.leastLag(); s.Slow == kit.SlowConsumer && f.peakLag < least && !o.touched() {
		load("the consumer is behind", fmt.Sprintf("by at least %d events", least), fmt.Sprint(f.peakLag))
	}
	if s.Slow != kit.SlowWork && o.slowed == 0 {
		r.Unknown(of, "the stage is slow", "at least one request or record had to wait", "none")
	}
	if len(r.Checks) > conditions {
		return
	}
	s.judgeLoss(r, o, f)
	switch {
	case o.touched() || !loaded: // what follows is about settings that stay, and a load that was reached
	case !s.Slow.BeforeKafka():
		r.Check(of, "no stage before Kafka is affected: the log is the buffer", "0 dropped, reader never waits, queue not full", fmt.Sprintf("%d, %.2f s, %d of %d",
			o.finalQueue.Dropped.Total(), f.blocked, f.peak, s.Queue), o.finalQueue.Dropped.Total() == 0 && f.blocked < notWaiting && f.peak < s.Queue-batchEvents)
	default:
		s.judgePolicy(r, o, f)
	}
	bound := memoryMultiple*f.peakBytes + memoryBeyond
	grown := f.peakRSS - o.rssBefore
	r.Check(of, "memory stays bounded", fmt.Sprintf("queue <= %d events and %d KiB, process grows by <= %d MiB", s.Queue, (s.QueueBytes+spillBlur)>>10, bound>>20),
		fmt.Sprintf("queue %d and %d KiB, process %d MiB", f.peak, f.peakBytes>>10, grown>>20), f.peak <= s.Queue && f.peakBytes <= s.QueueBytes+spillBlur && grown <= bound)
}

// notWaiting is for how many seconds a reader may wait for a queue that never fills.
const notWaiting = 0.01

// judgePolicy adds what only some policies do, and the speed.
func (s *Settings) judgePolicy(r *lab.Report, o *observation, f figures) {
	of := o.name()
	switch o.policy {
	case overflow.Block:
		s.judgeBlock(r, o, f)
	case overflow.Spill:
		r.Check(of, "the disk is the buffer: the reader never waits, and the disk limit is kept", fmt.Sprintf("0 s, <= %d KiB", (s.Spill+spillBlur)>>10),
			fmt.Sprintf("%.2f s, %d events and %d KiB at most", f.blocked, o.finalQueue.Spilled.Total, f.peakDisk>>10), f.blocked < notWaiting && f.peakDisk <= s.Spill+spillBlur)
		r.Check(of, "nothing is left on disk", "0 events", fmt.Sprint(o.finalQueue.Spilled.Events), o.finalQueue.Spilled.Events == 0)
	}
	if s.Slow == kit.SlowBroker {
		limit := s.capacity() * bytesPerEvent
		r.Check(of, "the brokers get no more bytes than the connection carries", fmt.Sprintf("<= %.0f KiB/s (+%.0f%%)", limit/1024, 100*capacityAbove),
			fmt.Sprintf("%.1f KiB/s over %.1f s", f.throttled/1024, f.window), f.throttled > 0 && f.throttled <= limit*(1+capacityAbove))
		return
	}
	s.judgeThroughput(r, of, f)
}

// spillBlur is a batch, by which the disk's share can be exceeded, in bytes.
const spillBlur = 256 << 10

// judgeThroughput adds what theory says of the speed, unless the machine was too busy
// for any worker to be that fast.
func (s *Settings) judgeThroughput(r *lab.Report, of string, f figures) {
	const claim = "throughput is workers / time of the work"
	c := s.capacity()
	want, got := fmt.Sprintf("%.0f/s (-%.0f%%, +%.0f%%)", c, 100*capacityBelow, 100*capacityAbove), fmt.Sprintf("%.1f/s over %.1f s", f.rate, f.window)
	if f.rate < c*(1-capacityBelow) && f.control < controlLeast {
		r.Unknown(of, claim+", on a machine that keeps time", want, fmt.Sprintf("%s, while a worker without a pipeline reached %.0f%%", got, 100*f.control))
		return
	}
	r.Check(of, claim, want, got, f.rate >= c*(1-capacityBelow) && f.rate <= c*(1+capacityAbove))
}

// leastLag is how far behind a slow consumer must have been, in events.
func (s *Settings) leastLag() int64 {
	if s.Live != nil {
		return batchEvents
	}
	return int64(s.surplus() / 4)
}

// leastPeak is how full the queue must have been for a case to show anything.
func (s *Settings) leastPeak(p overflow.Policy) int {
	if p == overflow.Sample { // it never fills: it settles where what is admitted is what goes
		return s.Queue * 6 / 10
	}
	return s.Queue - batchEvents
}

// leastPeakBytes is the same in bytes: either bound fills it.
func (s *Settings) leastPeakBytes(p overflow.Policy) int64 {
	if p == overflow.Sample {
		return s.QueueBytes * 6 / 10
	}
	return s.QueueBytes - batchBytes
}

// batchBytes is what a source hands over at once at most, of simulated posts.
const batchBytes = batchEvents * 2 << 10

// held is how many events the full queue had: fewer than it may have where bytes bound it.
func (s *Settings) held(f figures) float64 {
	if f.peak < s.Queue*6/10 {
		return float64(f.peak)
	}
	return float64(s.Queue)
}

// judgeLoss adds what is exact: loss, counts, order.
func (s *Settings) judgeLoss(r *lab.Report, o *observation, f figures) {
	of := o.name()
	dropped := o.finalQueue.Dropped
	missing := o.offered() - (o.stored - o.twice - o.foreign)
	want := missing
	if o.touched() || !s.Slow.BeforeKafka() {
		others := dropped.Total()
		for _, p := range o.policies() {
			others -= dropped[p]
		}
		r.Check(of, "every loss is counted with a policy that was set", fmt.Sprintf("%d dropped, 0 by others", missing),
			fmt.Sprintf("%s, %d by others", byPolicy(dropped, o.policies()), others), dropped.Total() == missing && others == 0)
		s.judgeContents(r, o)
		return
	}
	if o.policy == overflow.Block || o.policy == overflow.Spill && dropped.Total() == 0 {
		r.Check(of, "nothing is lost", fmt.Sprintf("%d stored", o.offered()), fmt.Sprintf("%d stored, %d missing", o.stored, missing), missing == 0)
		want = 0
	} else if o.policy != overflow.Spill && s.Slow == kit.SlowWork && s.Live == nil { // a live load comes in waves
		s.judgeAmount(r, o, f, missing)
	}
	r.Check(of, "every loss is counted with the policy that dropped it", fmt.Sprintf("%d dropped by %s, 0 by others", want, o.policy),
		fmt.Sprintf("%d by %s, %d by others", dropped[o.policy], o.policy, dropped.Total()-dropped[o.policy]),
		dropped[o.policy] == want && dropped.Total() == want)
	s.judgeContents(r, o)
}

// judgeContents adds the checks of the stored events.
func (s *Settings) judgeContents(r *lab.Report, o *observation) {
	of := o.name()
	r.Check(of, "no event is duplicated, invented or out of order", "0, 0, 0", fmt.Sprintf("%d, %d, %d", o.twice, o.foreign, o.late),
		o.twice == 0 && o.foreign == 0 && o.late == 0)
	r.Check(of, "Redis counts what Kafka holds", fmt.Sprint(o.stored), fmt.Sprint(o.counted), o.counted == o.stored)
}

// judgeAmount adds how much a policy that drops must drop: what has come and not
// gone, at the measured throughput, when the offer ends, less what waits then. Sample
// lets less wait.
func (s *Settings) judgeAmount(r *lab.Report, o *observation, f figures, missing int64) {
	least := (s.Rate-f.rate)*s.Offer.Seconds() - s.held(f)
	most := least
	if o.policy == overflow.Sample {
		most += s.held(f) / 2
	}
	blur := capacityBelow*s.capacity()*s.Offer.Seconds() + batchEvents
	r.Check(o.name(), "the events that do not fit are dropped, and no others", fmt.Sprintf("%.0f to %.0f missing", max(1, least-blur), most+blur),
		fmt.Sprint(missing), float64(missing) >= max(1, least-blur) && float64(missing) <= most+blur)
}

// judgeBlock adds what only blocking does.
func (s *Settings) judgeBlock(r *lab.Report, o *observation, f figures) {
	of := o.name()
	if s.Live != nil { // how long the server waits is its own knowledge
		r.Check(of, "the socket stops: weir does not read it while the queue is full", "over 0.1 s", fmt.Sprintf("%.1f s", f.blocked), f.blocked > 0.1)
		return
	}
	// What was offered and neither worked on nor in the queue can only be upstream,
	// or on its way in the sockets' buffers and one batch.
	surplus := float64(o.offered()) - s.capacity()*f.offeringSeconds - s.held(f)
	r.Check(of, "the socket stops: upstream cannot write", "over 0.1 s", fmt.Sprintf("%.1f s in all, %.2f s at once", o.socketBlocked.Seconds(), o.socketLongest.Seconds()),
		o.socketBlocked.Seconds() > 0.1 && f.blocked > 0)
	r.Check(of, "upstream is the buffer of the events that do not fit into the queue", fmt.Sprintf("at least %.0f events wait there", surplus/2),
		fmt.Sprint(f.peakUpstream), surplus > 0 && float64(f.peakUpstream) >= surplus/2)
}
