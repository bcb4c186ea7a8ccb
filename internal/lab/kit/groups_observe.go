package kit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

const (
	groupsTopic = "lab-groups"
	// steadyGroup and slowGroup count, as weir's own groups do.
	steadyGroup = "lab-steady"
	slowGroup   = "lab-slow"
)

// groupsRun is the experiment while it runs.
type groupsRun struct {
	*groupsSeen
	s     *Groups
	b     *lab.Bench
	begin time.Time
	kafka kafka.Config
	real  bool
	admin *kadm.Client
	store *tally.Store

	mu       sync.Mutex // guards what the producer notes: ends, sent and truth of groupsSeen
	producer *producer
	counters map[string][]*counter // by group
	groups   []*groupRun
	closers  []func()
}

func (g *groupsRun) now() float64 { return time.Since(g.begin).Seconds() }

// observe carries it out.
func (s *Groups) observe(ctx context.Context, b *lab.Bench, e *engine) (_ *groupsSeen, err error) {
	g := &groupsRun{s: s, b: b, real: e.real(), begin: time.Now(), counters: map[string][]*counter{},
		groupsSeen: &groupsSeen{rate: s.Rate, hold: s.Hold.Seconds(), ends: map[int32]int64{}, truth: map[string]int64{}},
		kafka:      kafka.Config{Brokers: e.Addrs(), ClientID: "weir-lab", Log: b.Log}}
	defer func() {
		for _, c := range slices.Backward(g.closers) {
			c()
		}
	}()
	b.Begin(steadyGroup, g.begin)
	b.Begin(slowGroup, g.begin)
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{g.independence, g.membership, g.play, g.ending} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if g.stuck != "" {
			return g.groupsSeen, ctx.Err()
		}
	}
	return g.groupsSeen, ctx.Err()
}

// open makes the topic, Redis and the producer.
func (g *groupsRun) open(ctx context.Context) error {
	cl, err := g.kafka.NewClient()
	if err != nil {
		return err
	}
	g.closers = append(g.closers, cl.Close)
	g.admin = kadm.NewClient(cl)
	if !g.real {
		if err := quicken(ctx, g.admin); err != nil {
			return err
		}
	}
	if err := kafka.EnsureTopics(ctx, cl, kafka.TopicSpec{Name: groupsTopic, Partitions: groupPartitions}); err != nil {
		return err
	}
	redis, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: filepath.Join(g.b.Dir, "redis"), Log: g.b.Log})
	if err != nil {
		return fmt.Errorf("open Redis: %w", err)
	}
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = redis.Run(side) }) // logs what goes wrong
	g.closers = append(g.closers, func() {
		stop()
		wg.Wait()
		_ = redis.Close() // its data is of no more use
	})
	if g.store, err = tally.Open(ctx, redis.URL()); err != nil {
		return err
	}
	g.closers = append(g.closers, func() { _ = g.store.Close() })
	events, err := g.s.events(ctx, g.b)
	if err != nil {
		return err
	}
	if g.producer, err = g.produce(side, events); err != nil {
		return err
	}
	g.closers = append(g.closers, func() { _ = g.producer.stop() })
	return nil
}

// The events of Groups are written again and again; of a live stream those of a while.
const (
	groupsEvents = 4096
	groupsRecord = 10 * time.Second
)

func (s *Groups) events(ctx context.Context, b *lab.Bench) ([]payload, error) {
	if s.Live != nil {
		return s.Live.record(ctx, b, groupsEvents, groupsRecord)
	}
	return payloads(s.Seed, groupsEvents)
}

// counter is one member of a group that counts.
type counter struct {
	net   *mortal
	stop  context.CancelFunc
	ended chan struct{}
}

// count adds a member to a counting group.
func (g *groupsRun) count(group string) error {
	net := newMortal()
	cfg := g.kafka
	cfg.Opts = []kgo.Opt{net.option()}
	c, err := count.New(count.Config{Kafka: cfg, Store: g.store, Topic: groupsTopic, Group: group, Classify: bluesky.Classify}) // what a dying one complains of is wanted
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &counter{net: net, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		if err := c.Run(ctx); err != nil {
			g.b.Log.Error("counter ended", "group", group, "error", err)
		}
	}()
	g.counters[group] = append(g.counters[group], m)
	g.closers = append(g.closers, m.end)
	return nil
}

func (c *counter) end() {
	c.stop()
	<-c.ended
}

// standing is where a counting group stands: all partitions together.
type standing struct{ lag, next, written int64 }

// standing reads it. What is acknowledged is read last, so that no lag is too small.
func (g *groupsRun) standing(ctx context.Context, group string) (s standing, err error) {
	parts, err := g.store.Partitions(ctx, group, groupsTopic)
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

// until waits until ok says so, and notes the lags meanwhile. Where nothing comes of
// it within patience the run is stuck there: the reason is kept.
func (g *groupsRun) until(ctx context.Context, what string, ok func(steady, slow int64) bool) error {
	end, shown := time.Now().Add(patience+g.s.Hold+g.s.Play), time.Time{}
	for {
		steady, err := g.standing(ctx, steadyGroup)
		if err != nil {
			return err
		}
		slow, err := g.standing(ctx, slowGroup)
		if err != nil {
			return err
		}
		done := ok(steady.lag, slow.lag)
		if done || time.Since(shown) >= tellEvery {
			shown = time.Now()
			// Below 0 is what was counted before its acknowledgement had come.
			g.b.Point(steadyGroup, lagPanel, float64(max(0, steady.lag)))
			g.b.Point(slowGroup, lagPanel, float64(max(0, slow.lag)))
			g.tell()
			g.b.Progress(fmt.Sprintf("%s: behind are steady %d, slow %d", what, max(0, steady.lag), max(0, slow.lag)))
		}
		switch {
		case done:
			return nil
		case time.Now().After(end):
			g.stuck = what
			return nil
		}
		if err := wait(ctx, sampleEvery); err != nil {
			return err
		}
	}
}

// lagPanel and unreadPanel are the diagrams.
const (
	lagPanel    = "lag (records)"
	unreadPanel = "not yet read, by protocol (records)"
)

// tell shows how far the protocols' groups are behind, from when they were not for the first
// time: beside all that they find when they begin nothing else would be seen.
func (g *groupsRun) tell() {
	g.mu.Lock()
	ends := maps.Clone(g.ends)
	g.mu.Unlock()
	for _, x := range g.groups {
		x.mu.Lock()
		unread := int64(0)
		for p, end := range ends {
			unread += max(0, end-x.newest[p])
		}
		x.caughtUp = x.caughtUp || float64(unread) < g.rate/4
		tell := x.caughtUp
		x.mu.Unlock()
		if tell {
			g.b.Point(string(x.protocol), unreadPanel, float64(unread))
		}
	}
}

// independence pauses one of two groups, and lets it go on.
func (g *groupsRun) independence(ctx context.Context) error {
	for _, group := range []string{steadyGroup, slowGroup} {
		if err := g.count(group); err != nil {
			return err
		}
	}
	enough := int64(g.s.Rate / 2)
	err := g.until(ctx, "both groups count", func(steady, slow int64) bool {
		return g.written() > 2*enough && steady < enough && slow < enough
	})
	if err != nil || g.stuck != "" {
		return err
	}
	g.counters[slowGroup][0].end()
	g.counters[slowGroup] = nil
	g.pausedAt = g.now()
	g.b.Mark(slowGroup, "paused")
	if g.atPause, err = g.standing(ctx, slowGroup); err != nil {
		return err
	}
	resume := g.pausedAt + g.s.Hold.Seconds()
	err = g.until(ctx, "slow is paused", func(steady, slow int64) bool {
		g.steadyPeak, g.slowPeak = max(g.steadyPeak, steady), max(g.slowPeak, slow)
		return g.now() >= resume && float64(g.slowPeak) >= g.s.Rate*g.s.Hold.Seconds()
	})
	if err != nil || g.stuck != "" {
		return err
	}
	if g.atResume, err = g.standing(ctx, slowGroup); err != nil {
		return err
	}
	g.resumedAt = g.now()
	g.b.Mark(slowGroup, "goes on")
	if err := g.count(slowGroup); err != nil {
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

// written is how many records are acknowledged.
func (g *groupsRun) written() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent
}

// membership lets members come, go and die in a group of each protocol at the same
// time, and one of the steady group's counters, too.
func (g *groupsRun) membership(ctx context.Context) error {
	for _, p := range g.s.Protocols {
		x := &groupRun{protocol: p, used: p, name: "lab-" + string(p), kafka: g.kafka, now: g.now, breakage: g.s.Break, newest: map[int32]int64{}}
		if g.s.Break == BreakEager {
			x.used = Eager
		}
		g.groups = append(g.groups, x)
		g.closers = append(g.closers, x.close)
		g.b.Begin(string(p), g.begin)
	}
	join := func(n int) func(*groupRun) error {
		return func(x *groupRun) error {
			for range n {
				if err := x.join(context.WithoutCancel(ctx)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	leave := func(x *groupRun) error {
		x.leave(x.alive()[0])
		return nil
	}
	for _, step := range []struct {
		kind, says string
		do         func(*groupRun) error
		counters   func() error
	}{
		{stepStart, "two members begin", join(2), nil},
		{stepJoin, "a third member comes", join(1), func() error { return g.count(steadyGroup) }},
		{stepLeave, "a member leaves", leave, nil},
		{stepSeven, "five more come: seven on six partitions", join(5), nil},
		{stepDie, "a member dies", func(x *groupRun) error { return g.die(ctx, x) }, g.counterDies},
	} {
		if err := g.step(ctx, step.kind, step.says, step.do, step.counters); err != nil || g.stuck != "" {
			return err
		}
	}
	return nil
}

// step does something to every group and waits until all have settled.
func (g *groupsRun) step(ctx context.Context, kind, says string, do func(*groupRun) error, counters func() error) error {
	began := g.now()
	before := make([]map[int32]int, len(g.groups))
	errs := make([]error, len(g.groups))
	var wg sync.WaitGroup
	for i, x := range g.groups {
		before[i] = x.owners()
		g.b.Mark(string(x.protocol), says)
		wg.Go(func() { errs[i] = do(x) })
	}
	var counted error
	if counters != nil {
		counted = counters()
	}
	wg.Wait()
	if err := errors.Join(append(errs, counted)...); err != nil {
		return err
	}
	settled := make([]float64, len(g.groups))
	err := g.until(ctx, says, func(int64, int64) bool {
		all := true
		for i, x := range g.groups {
			if settled[i] == 0 && x.settled() {
				settled[i] = g.now()
				g.b.Mark(string(x.protocol), "settled")
			}
			all = all && settled[i] > 0
		}
		return all
	})
	if err != nil || g.stuck != "" {
		return err
	}
	for i, x := range g.groups {
		x.mu.Lock()
		members := len(x.members)
		x.mu.Unlock()
		g.steps = append(g.steps, stepSeen{protocol: x.protocol, kind: kind, began: began, settled: settled[i],
			before: before[i], after: x.owners(), members: members})
	}
	return nil
}

// die kills the member of a group that has most to lose.
func (g *groupsRun) die(ctx context.Context, x *groupRun) error {
	for end := time.Now().Add(patience); ; {
		if m := x.uncommitted(); m != nil {
			x.kill(m)
			return nil
		}
		if time.Now().After(end) {
			return nil // judged by what was seen: nobody died
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// counterDies cuts off the first counter of the steady group; the second one goes on.
func (g *groupsRun) counterDies() error {
	c := g.counters[steadyGroup][0]
	c.net.kill()
	_, g.counterLeaves = c.net.saw()
	g.counterDied = true
	g.b.Mark(steadyGroup, "a counter dies")
	c.stop() // it gives up on brokers that it cannot reach
	return nil
}

// ending stops writing, lets everybody read to the end, and takes stock.
func (g *groupsRun) ending(ctx context.Context) error {
	err := g.until(ctx, "members settle", func(int64, int64) bool {
		return !slices.ContainsFunc(g.groups, func(x *groupRun) bool { return !x.settled() })
	})
	if err != nil || g.stuck != "" {
		return err
	}
	if err := g.producer.stop(); err != nil {
		return err
	}
	err = g.until(ctx, "reading to the end", func(steady, slow int64) bool {
		if steady > 0 || slow > 0 {
			return false
		}
		for _, x := range g.groups {
			if !x.readAll(g.ends) {
				return false
			}
		}
		return true
	})
	if err != nil || g.stuck != "" {
		return err
	}
	g.b.Progress("taking stock")
	for _, x := range g.groups {
		x.close()
		committed, err := g.admin.FetchOffsets(ctx, x.name)
		if err != nil {
			return fmt.Errorf("read what %s has committed: %w", x.name, err)
		}
		seen := protocolSeen{protocol: x.protocol, void: x.void, reads: x.reads, moves: x.moves, deaths: x.deaths, left: x.left, committed: map[int32]int64{}}
		for p := range g.ends {
			if o, ok := committed.Lookup(groupsTopic, p); ok {
				seen.committed[p] = o.At
			}
		}
		g.protocols = append(g.protocols, seen)
	}
	for group, into := range map[string]*map[string]int64{steadyGroup: &g.steady, slowGroup: &g.slow} {
		if *into, err = g.store.Totals(ctx, group, groupsTopic); err != nil {
			return err
		}
	}
	return nil
}

// readAll reports whether the group has been given the last record of each partition.
func (g *groupRun) readAll(ends map[int32]int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	done := map[int32]int64{}
	for _, m := range g.members {
		for p, n := range m.done {
			done[p] = max(done[p], n)
		}
	}
	for p, end := range ends {
		if done[p] < end {
			return false
		}
	}
	return true
}
