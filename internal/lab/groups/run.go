package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/tally"
)

const (
	topic = "lab-groups"
	// steadyGroup and slowGroup count, as weir's own groups do.
	steadyGroup = "lab-steady"
	slowGroup   = "lab-slow"
)

// run is the experiment while it runs.
type run struct {
	*seen
	s     *Settings
	b     *lab.Bench
	begin time.Time
	e     *kit.Engine
	store *tally.Store

	mu           sync.Mutex // guards what the producer notes: ends, sent and truth of seen, and failed
	failed       error
	stopProducer func() error
	counters     map[string][]counter // by group
	groups       []*group
}

func (g *run) now() float64 { return time.Since(g.begin).Seconds() }

// observe carries it out.
func (s *Settings) observe(ctx context.Context, b *lab.Bench, e *kit.Engine) (*seen, error) {
	g := &run{s: s, b: b, begin: time.Now(), counters: map[string][]counter{}, e: e,
		seen: &seen{rate: s.Rate, hold: s.Hold.Seconds(), ends: map[int32]int64{}, truth: map[string]int64{}}}
	b.Begin(steadyGroup, g.begin)
	b.Begin(slowGroup, g.begin)
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{g.independence, g.membership, g.play, g.ending} {
		err := step(ctx)
		if errors.Is(err, errStuck) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return g.seen, ctx.Err()
}

// open makes the topic, Redis and the producer.
func (g *run) open(ctx context.Context) error {
	if !g.e.Real() {
		if err := quicken(ctx, g.e.Admin); err != nil {
			return err
		}
	}
	if err := kafka.EnsureTopics(ctx, g.e.Client, kafka.TopicSpec{Name: topic, Partitions: partitions}); err != nil {
		return err
	}
	var err error
	if g.store, _, err = kit.OpenRedis(ctx, g.b); err != nil {
		return err
	}
	return g.produce(ctx)
}

// The events are written again and again; a live stream is recorded for a while.
const (
	eventsWritten = 4096
	recordTime    = 10 * time.Second
)

// produce writes events until stopProducer is called. Acknowledged records are the truth.
func (g *run) produce(ctx context.Context) error {
	events, err := g.s.Payloads(ctx, g.b, g.s.Seed, eventsWritten, recordTime)
	if err != nil {
		return err
	}
	cl, err := g.e.Kafka.NewClient(kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		return err
	}
	of := func(n int64) *kit.Payload { return &events[n%int64(len(events))] }
	load := kit.Load{Client: cl, Rate: g.s.Rate,
		Record: func(n int64) *kgo.Record { return &kgo.Record{Key: of(n).Key, Value: of(n).Value} },
		Acked: func(n int64, r *kgo.Record, err error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if err != nil {
				g.failed = errors.Join(g.failed, err)
				return
			}
			g.sent++
			g.truth[of(n).Kind]++
			g.ends[r.Partition] = max(g.ends[r.Partition], r.Offset+1)
		}}
	stop := kit.Background(context.WithoutCancel(ctx), func(ctx context.Context) { err = load.Run(ctx) })
	g.stopProducer = func() error {
		if stop(); err != nil || g.failed != nil {
			return fmt.Errorf("write events: %w", errors.Join(err, g.failed))
		}
		return nil
	}
	g.b.Cleanup(func() error { _ = g.stopProducer(); return nil }) // its error is known where it matters
	return nil
}

// counter is one member of a group that counts. It ends with cancel; stop waits for that.
type counter struct {
	net          *kit.Network
	cancel, stop func()
}

// count adds a member to a counting group.
func (g *run) count(group string) error {
	cfg, net := g.e.Kafka, kit.NewNetwork()
	cfg.Opts = []kgo.Opt{net.Option()}
	ctx, cancel := context.WithCancel(context.Background())
	// It has no log: one is cut off on purpose.
	_, stop, err := kit.StartCounter(ctx, g.b, count.Config{Kafka: cfg, Store: g.store, Topic: topic, Group: group, Classify: bluesky.Classify})
	if err != nil {
		cancel()
		return err
	}
	g.counters[group] = append(g.counters[group], counter{net, cancel, stop})
	return nil
}

// standing is where a counting group stands: all partitions together.
type standing struct{ lag, next, written int64 }

// standing reads it. The acknowledged records are read last, so that no lag is too small.
func (g *run) standing(ctx context.Context, group string) (s standing, err error) {
	parts, err := g.store.Partitions(ctx, group, topic)
	if err != nil {
		return s, err
	}
	for _, t := range parts {
		s.next += t.Next
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, end := range g.ends {
		s.lag += end
	}
	s.lag -= s.next
	s.written = g.sent
	return s, nil
}

// errStuck ends the run where something did not happen in time: seen.stuck says what.
var errStuck = errors.New("something did not happen in time")

// until waits until ok returns true, and shows the lags meanwhile. Where that does not happen
// in time it keeps the reason and returns errStuck.
func (g *run) until(ctx context.Context, what string, ok func(steady, slow int64) bool) error {
	var shown kit.Throttle
	done, err := kit.Poll(ctx, kit.Patience+g.s.Hold+g.s.Play, kit.SampleEvery, func() (bool, error) {
		steady, err := g.standing(ctx, steadyGroup)
		if err != nil {
			return false, err
		}
		slow, err := g.standing(ctx, slowGroup)
		if err != nil {
			return false, err
		}
		done := ok(steady.lag, slow.lag)
		if shown.Due(kit.TellEvery) || done {
			g.show(what, max(0, steady.lag), max(0, slow.lag)) // below 0 is what was counted before its acknowledgement
		}
		return done, nil
	})
	if err == nil && !done {
		g.stuck, err = what, errStuck
	}
	return err
}

// show shows the lags. Those of the protocols' groups are shown once they were small for the
// first time: beside the backlog that they begin with, nothing else would be visible.
func (g *run) show(what string, steady, slow int64) {
	const lagPanel, unreadPanel = "lag (records)", "not yet read, by protocol (records)"
	g.b.Point(steadyGroup, lagPanel, float64(steady))
	g.b.Point(slowGroup, lagPanel, float64(slow))
	g.b.Progress(fmt.Sprintf("%s: lags are steady %d, slow %d", what, steady, slow))
	g.mu.Lock()
	ends := maps.Clone(g.ends)
	g.mu.Unlock()
	for _, x := range g.groups {
		unread := float64(x.unread(ends))
		if x.caughtUp = x.caughtUp || unread < g.rate/4; x.caughtUp {
			g.b.Point(string(x.protocol), unreadPanel, unread)
		}
	}
}

// independence pauses one of two groups, and lets it go on.
func (g *run) independence(ctx context.Context) error {
	if err := errors.Join(g.count(steadyGroup), g.count(slowGroup)); err != nil {
		return err
	}
	enough := int64(g.s.Rate / 2)
	if err := g.until(ctx, "both groups count", func(steady, slow int64) bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.sent > 2*enough && steady < enough && slow < enough
	}); err != nil {
		return err
	}
	err := g.pauseSlow(true)
	g.pausedAt = g.now()
	g.b.Mark(slowGroup, paused)
	if err != nil {
		return err
	}
	if g.atPause, err = g.standing(ctx, slowGroup); err != nil {
		return err
	}
	resume := g.pausedAt + g.s.Hold.Seconds()
	if err := g.until(ctx, "slow is paused", func(steady, slow int64) bool {
		g.steadyPeak, g.slowPeak = max(g.steadyPeak, steady), max(g.slowPeak, slow)
		return g.now() >= resume && float64(g.slowPeak) >= g.s.Rate*g.s.Hold.Seconds()
	}); err != nil {
		return err
	}
	if g.atResume, err = g.standing(ctx, slowGroup); err != nil {
		return err
	}
	g.resumedAt = g.now()
	g.b.Mark(slowGroup, goesOn)
	if err := g.pauseSlow(false); err != nil {
		return err
	}
	err = g.until(ctx, "slow catches up", func(steady, slow int64) bool {
		g.steadyPeak = max(g.steadyPeak, steady)
		return slow <= enough
	})
	g.drainedAt = g.now()
	g.b.Mark(slowGroup, "has caught up")
	return err
}

// membership lets members join, leave and be killed in a group of each protocol at the same
// time, and one of the steady group's counters, too.
func (g *run) membership(ctx context.Context) error {
	for _, p := range g.s.Protocols {
		x := &group{used: p, name: "lab-" + string(p), kafka: g.e.Kafka, now: g.now, broken: g.s.Break,
			protocolSeen: protocolSeen{protocol: p}, newest: map[int32]int64{}}
		if g.s.Break == BreakEager {
			x.used = Eager
		}
		g.groups = append(g.groups, x)
		g.b.Cleanup(func() error { x.close(); return nil })
		g.b.Begin(string(p), g.begin)
	}
	size := func(n int) func(*group) error { return func(x *group) error { return x.resize(ctx, n) } }
	for _, step := range []struct {
		kind, says string
		do         func(*group) error
		also       func() error // of the counters
	}{
		{stepStart, "two members begin", size(2), nil},
		{stepJoin, "a third member joins", size(3), func() error { return g.count(steadyGroup) }},
		{stepLeave, "a member leaves", size(2), nil},
		{stepSeven, "five more join: seven on six partitions", size(7), nil},
		{stepDie, "a member is killed", func(x *group) error { return g.killOne(ctx, x) }, g.killCounter},
	} {
		if err := g.step(ctx, step.kind, step.says, step.do, step.also); err != nil {
			return err
		}
	}
	return nil
}

// step does something to every group and waits until all have settled.
func (g *run) step(ctx context.Context, kind, says string, do func(*group) error, also func() error) error {
	steps := make([]stepSeen, len(g.groups))
	var all errgroup.Group
	for i, x := range g.groups {
		steps[i] = stepSeen{protocol: x.protocol, kind: kind, began: g.now(), before: x.owners()}
		g.b.Mark(string(x.protocol), says)
		all.Go(func() error { return do(x) })
	}
	if also != nil {
		all.Go(also)
	}
	if err := all.Wait(); err != nil {
		return err
	}
	err := g.until(ctx, says, func(int64, int64) bool {
		all := true
		for i, x := range g.groups {
			if steps[i].settled == 0 && x.settled() {
				steps[i].settled = g.now()
				g.b.Mark(string(x.protocol), "settled")
			}
			all = all && steps[i].settled > 0
		}
		return all
	})
	if err != nil {
		return err
	}
	for i, x := range g.groups {
		steps[i].after, steps[i].members = x.owners(), len(x.alive())
	}
	g.steps = append(g.steps, steps...)
	return nil
}

// killOne kills the member of a group that has the most uncommitted records. Where none has
// any it kills none, which the checks find.
func (g *run) killOne(ctx context.Context, x *group) error {
	_, err := kit.Poll(ctx, kit.Patience, time.Millisecond, func() (bool, error) {
		m := x.uncommitted()
		if m != nil {
			x.kill(m)
		}
		return m != nil, nil
	})
	return err
}

// killCounter cuts off the first counter of the steady group; the second one goes on.
func (g *run) killCounter() error {
	c := g.counters[steadyGroup][0]
	c.net.Cut()
	g.counterLeaves = c.net.State().Leaves
	g.counterDied = true
	g.b.Mark(steadyGroup, "a counter is killed")
	c.cancel() // it gives up on brokers that it cannot reach
	return nil
}

// ending stops writing, lets all groups read to the end, and takes stock.
func (g *run) ending(ctx context.Context) error {
	if err := g.until(ctx, "members settle", func(int64, int64) bool {
		return !slices.ContainsFunc(g.groups, func(x *group) bool { return !x.settled() })
	}); err != nil {
		return err
	}
	if err := g.stopProducer(); err != nil {
		return err
	}
	if err := g.until(ctx, "reading to the end", func(steady, slow int64) bool {
		return steady <= 0 && slow <= 0 && !slices.ContainsFunc(g.groups, func(x *group) bool { return x.unread(g.ends) > 0 })
	}); err != nil {
		return err
	}
	g.b.Progress("reading what groups have committed and counted")
	for _, x := range g.groups {
		x.close()
		committed, err := g.e.Admin.FetchOffsets(ctx, x.name)
		if err != nil {
			return fmt.Errorf("read what %s has committed: %w", x.name, err)
		}
		x.committed = map[int32]int64{}
		for id := range g.ends {
			if o, ok := committed.Lookup(topic, id); ok {
				x.committed[id] = o.At
			}
		}
		g.protocols = append(g.protocols, x.protocolSeen)
	}
	var err error
	if g.steady, err = g.store.Totals(ctx, steadyGroup, topic); err != nil {
		return err
	}
	g.slow, err = g.store.Totals(ctx, slowGroup, topic)
	return err
}
