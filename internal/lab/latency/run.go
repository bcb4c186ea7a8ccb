package latency

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/simulate"
)

const (
	// idleRate is the upstream's between two steps: an event now, and the next one long after.
	idleRate = simulate.MinRate
	// warmRate and warmTime are of the events that go through before anything is measured.
	warmRate = 500
	warmTime = 1500 * time.Millisecond
	// After the last rate the load rises by floodFactor, for floodTime each, until the last event is
	// counted later than 99 % at the lowest rate, by behind or more.
	floodTime   = time.Second
	floodFactor = 4
	behind      = 500 * time.Millisecond
	// controlEvery is how often a goroutine without any work should be woken up.
	controlEvery = 5 * time.Millisecond
	// shownOver is over which time the figures are that are shown while the lab runs.
	shownOver = 500 * time.Millisecond
)

// step is what was seen at one load.
type step struct {
	rate      float64
	events    int           // of the data topic
	whole     []float64     // ms from when an event was due to its count, sorted
	parts     [stages]spent // of it
	cpu       float64       // share of one core
	late      float64       // ms: how late a goroutine without any work is woken up, on average
	drained   float64       // s from the last event to when all were counted
	finished  bool
	saturated bool // meant to be more than the pipeline can do
}

// others is the mean time in all stages but the queue.
func (st *step) others() (ms float64) {
	for i, part := range st.parts {
		if stage(i) != queue {
			ms += part.mean()
		}
	}
	return ms
}

// spent is the time in one stage, in ms, sorted.
type spent []float64

func (s spent) mean() (sum float64) {
	for _, x := range s {
		sum += x
	}
	return sum / float64(max(1, len(s)))
}

// observation is what was seen with one pace.
type observation struct {
	pace          time.Duration
	warm          *step // before anything is measured, and before a stage is broken
	steps         []*step
	rising        []*step          // between the last rate and what is too much, for the chart
	truth, counts map[string]int64 // of the data topic, by event type
	missing       int64            // events that were not seen to be counted
	unknown       int64            // records that stand for no event
	restarts      int64
}

// rig is a running pipeline with the probe.
type rig struct {
	*kit.Stack
	*observation
	s     *Settings
	b     *lab.Bench
	probe *probe
	stall stalls
}

// observe measures one pace.
func (s *Settings) observe(ctx context.Context, b *lab.Bench, pace time.Duration) (_ *observation, err error) {
	b.Progress(caseOf(pace) + ": opening brokers, Redis and upstream")
	p := newProbe()
	x := &rig{observation: &observation{pace: pace}, s: s, b: b, probe: p}
	cfg := kit.StackConfig{Seed: s.Seed, Rate: idleRate, Queue: ingest.DefaultQueueEvents, Pace: pace, Counted: p.count,
		Producing: []kgo.Opt{kgo.WithHooks(producing{p})}, Counting: []kgo.Opt{kgo.WithHooks(fetching{p})},
		Tap: p.tap(x.stall.of(socket))}
	if s.Break == breakQueue {
		cfg.Pace += 2 * stalled
	}
	if s.Break != "" || s.Play > 0 { // without that nothing is between the clients and their servers
		cfg.Producing = append(cfg.Producing, kit.Stalled(x.stall.of(transaction)))
		cfg.Counting = append(cfg.Counting, kit.Stalled(x.stall.of(fetch)))
		cfg.Slow, cfg.Delay = kit.SlowRedis, x.stall.of(redis)
	}
	if x.Stack, err = kit.OpenStack(ctx, b, cfg); err != nil {
		return nil, err
	}
	if err := x.steps(ctx); err != nil {
		return nil, err
	}
	return x.observation, x.ending(ctx)
}

// steps offers one load after the other.
func (x *rig) steps(ctx context.Context) error {
	b := x.b
	if ok, err := kit.Until(ctx, func() bool { return x.probe.all(1) }); err != nil || !ok {
		return cmp.Or(err, fmt.Errorf("the first event is not counted within %v", kit.Patience))
	}
	b.Begin(caseOf(x.pace), time.Now())
	err := kit.WarmUp(func() (committed []float64, err error) {
		if x.warm, err = x.step(ctx, warmRate, warmTime, "warming up"); err == nil {
			committed = x.warm.parts[transaction]
		}
		return committed, err
	})
	if err != nil {
		return err
	}
	x.stall.set(x.s.Break)
	rate := 0.0
	for _, rate = range x.s.Rates {
		if err := x.add(ctx, rate, x.s.Offer, false); err != nil {
			return err
		}
	}
	if err := x.play(ctx, rate); err != nil {
		return err
	}
	if x.s.Break == kit.BreakIdle { // never more than it can do
		return nil
	}
	for rate *= 2; ; rate = min(rate*floodFactor, simulate.MaxRate) {
		if err := x.add(ctx, rate, floodTime, true); err != nil {
			return err
		}
		last := x.observation.steps[len(x.observation.steps)-1]
		if !last.finished || x.tooMuch(last) || rate == simulate.MaxRate {
			return nil
		}
		x.observation.steps = x.observation.steps[:len(x.observation.steps)-1] // it was not too much
		x.rising = append(x.rising, last)
	}
}

// add measures a step.
func (x *rig) add(ctx context.Context, rate float64, during time.Duration, flood bool) error {
	st, err := x.step(ctx, rate, during, fmt.Sprintf("%.0f events/s", rate))
	if err == nil {
		st.saturated = flood
		x.observation.steps = append(x.observation.steps, st)
	}
	return err
}

// step offers a load for a time, and waits until all of it is counted.
func (x *rig) step(ctx context.Context, rate float64, during time.Duration, name string) (*step, error) {
	st := &step{rate: rate}
	x.b.Progress(fmt.Sprintf("%s: %s", caseOf(x.pace), name))
	x.b.Mark(caseOf(x.pace), name)
	stopControl := control(ctx, st)
	defer stopControl()
	if err := x.Timeline.Change(rate, ""); err != nil {
		return nil, fmt.Errorf("set the load: %w", err)
	}
	segments := x.Timeline.Now().Segments
	from := segments[len(segments)-1].Index
	x.probe.watch(from, segments.Time)
	defer x.probe.watch(0, nil)
	cpu, began := x.CPU(), time.Now()
	if err := x.show(ctx, began.Add(during)); err != nil {
		return nil, err
	}
	st.cpu = float64(x.CPU()-cpu) / float64(time.Since(began))
	stopControl()
	if err := x.Timeline.Change(idleRate, ""); err != nil {
		return nil, fmt.Errorf("set the load: %w", err)
	}
	whole := x.Timeline.Now().Segments // the watch still reads the other one
	until := whole[len(whole)-1].Index
	ok, err := kit.Until(ctx, func() bool { return x.probe.all(until) })
	if err != nil {
		return nil, err
	}
	st.finished = ok
	x.probe.fill(st, whole, from, until)
	return st, nil
}

// show draws the latest figures until a time.
func (x *rig) show(ctx context.Context, until time.Time) error {
	for time.Now().Before(until) {
		if err := kit.Wait(ctx, min(shownOver, time.Until(until))); err != nil {
			return err
		}
		ms := x.probe.latest()
		x.b.Points(caseOf(x.pace), // NaN, where there are none, is left out
			record.Point{Panel: "latency p50 (ms), of half a second", Y: kit.Quantile(ms, 0.5)},
			record.Point{Panel: "latency p99 (ms), of half a second", Y: kit.Quantile(ms, 0.99)})
	}
	return nil
}

// control measures how late the machine wakes up a goroutine that has nothing to do with the
// pipeline. stop may be called twice.
func control(ctx context.Context, st *step) (stop func()) {
	end := kit.Background(ctx, func(ctx context.Context) {
		var late spent
		for {
			due := time.Now().Add(controlEvery)
			if kit.Wait(ctx, controlEvery) != nil {
				break
			}
			late = append(late, kit.Milliseconds(time.Since(due)))
		}
		st.late = late.mean()
	})
	return sync.OnceFunc(end)
}

// fill fills in the times of the events from one number to another.
func (p *probe) fill(st *step, segments simulate.Segments, from, until int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := int64(0)
	for seq, n := range p.numbers {
		if n < from || n >= until || p.passed[seq][redis] == 0 {
			continue
		}
		st.events++
		due := segments.Time(n)
		st.whole = append(st.whole, float64(p.passed[seq][redis]-due)/1000)
		last = max(last, p.passed[seq][redis])
		for i, us := range p.passed[seq].times(due) {
			st.parts[i] = append(st.parts[i], float64(us)/1000)
		}
	}
	slices.Sort(st.whole)
	for i := range st.parts {
		slices.Sort(st.parts[i])
	}
	st.drained = max(0, float64(last-segments.Time(until))/1e6)
}

// times are the microseconds in each stage of an event that was due at a time. Counters can have
// a record before the ingester has the response to its commit: the fetch took no time then.
func (m moments) times(due int64) (out [stages]int64) {
	m[transaction] = min(m[transaction], m[fetch])
	for i, at := range m {
		out[i] = at - due
		due = at
	}
	return out
}

// play lets the user change the load and let a stage stall, for a while.
func (x *rig) play(ctx context.Context, rate float64) error {
	if x.s.Play <= 0 {
		return nil
	}
	x.b.Offer(record.Control{Name: "rate", Label: "load", Min: 10, Max: 20_000, Unit: "events/s", Value: strconv.FormatFloat(rate, 'f', 0, 64)},
		func(v string) error {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return err
			}
			return x.Timeline.Change(n, "")
		})
	x.b.Offer(record.Control{Name: "stall", Label: "stage that stalls", Values: []string{"none", "socket", "transaction", "fetch", "redis"}, Value: "none"},
		func(v string) error {
			x.stall.set(v)
			return nil
		})
	defer x.b.Withdraw()
	_, err := x.step(ctx, rate, x.s.Play, "change the load and the stages by hand")
	x.stall.set(x.s.Break)
	return err
}

// ending compares the counts with what upstream has offered.
func (x *rig) ending(ctx context.Context) error {
	if err := x.StopIngest(); err != nil {
		return err
	}
	// No event is due now for long. What the counters have not counted yet, they will.
	tip := x.Server.Tip()
	if _, err := kit.Until(ctx, func() bool { return x.probe.all(tip) }); err != nil {
		return err
	}
	var err error
	x.truth = simulate.Count(x.Server.Items(0, tip)).Data
	if x.counts, err = x.Store.Totals(ctx, kafka.GroupBluesky, kafka.TopicBluesky); err != nil {
		return err
	}
	x.restarts = x.Ingest.Stats().Restarts
	x.probe.mu.Lock()
	defer x.probe.mu.Unlock()
	x.missing, x.unknown = kit.Sum(x.truth)-x.probe.counted, x.probe.unknown
	return nil
}
