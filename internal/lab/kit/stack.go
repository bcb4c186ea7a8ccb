package kit

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/tally"
)

// lead is how long after the source has dialled upstream begins, so that it is
// connected when event 0 happens.
const lead = 2 * time.Second

// AccountGroup counts the account events of Bluesky.
const AccountGroup = kafka.GroupBluesky + ".accounts"

// counted are the topics of a stack, and the group that counts each.
var counted = map[string]string{kafka.TopicBluesky: kafka.GroupBluesky, kafka.TopicBlueskyAccounts: AccountGroup}

// StackConfig says what differs between pipelines.
type StackConfig struct {
	// Live is where events come from for the time Offer; nil for Seed, Rate and Events
	// of the simulated stream.
	Live   *Upstream
	Offer  time.Duration
	Seed   int64
	Rate   float64
	Events int64
	Queue  int
	// Overflow, where it is not nil, is put between source and ingester; Queue is not
	// used then.
	Overflow *overflow.Config
	// Slow makes another stage than work slow: by PerSecond bytes between producer
	// and brokers, or by Delay for each record that is consumed or each request to Redis.
	Slow      Stage
	PerSecond int64
	Delay     func() time.Duration
	// Tap, where it is not nil, gets each batch of the source before it waits in any queue, and may
	// change it.
	Tap func(context.Context, *event.Batch)
	// Pace is the ingester's; 0 for the usual one.
	Pace time.Duration
	// Producing and Counting are for the Kafka clients of the ingester and of the counters.
	Producing, Counting []kgo.Opt
	// Counted is count.Config's, for the data topic.
	Counted func(partition int32, next int64)
}

// Stack is a whole pipeline in its own directory: a simulated upstream behind a real
// socket, source, queue, ingester, brokers, counters, Redis.
type Stack struct {
	*Engine
	Store    *tally.Store
	Server   *simulate.BlueskyServer
	Timeline *simulate.Timeline // of Server
	Sockets  *sockets
	Source   *bluesky.Source
	Noted    *Noted           // with a live upstream, instead of Server
	Overflow *overflow.Source // nil unless asked for
	Ingest   *ingest.Ingester
	Start    time.Time // when event 0 happens
	// Slowed counts what the slow stage let wait: bytes, records or pieces of requests.
	Slowed atomic.Int64

	StopIngest func() error // stops it and returns why it ended; may be called twice
	redis      string       // URL
	consumers  consumers
	counters   []*count.Counter
}

// OpenStack opens and starts everything. It ends with the bench.
func OpenStack(ctx context.Context, b *lab.Bench, cfg StackConfig) (_ *Stack, err error) {
	g := &Stack{Sockets: &sockets{dialled: make(chan struct{})}}
	if g.Engine, err = OpenEngine(ctx, b, nil); err != nil {
		return nil, err
	}
	if g.Store, g.redis, err = OpenRedis(ctx, b); err != nil {
		return nil, err
	}
	if err := kafka.EnsureTopics(ctx, g.Client, kafka.Topics()...); err != nil {
		return nil, err
	}
	if cfg.Live == nil {
		if g.Sockets.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		b.Cleanup(func() error { _ = g.Sockets.Close(); return nil }) // again, where it was served
	}
	side := context.WithoutCancel(ctx)
	if err := g.count(side, b, cfg); err != nil {
		return nil, err
	}
	if err := g.ingest(side, b, cfg); err != nil {
		return nil, err
	}
	if cfg.Live == nil {
		return g, g.upstream(ctx, b, cfg)
	}
	select {
	case <-g.Noted.begun:
		g.Start = g.Noted.first
		return g, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(Patience):
		return nil, g.Noted.silent()
	}
}

// upstream opens the simulated Jetstream once the source has dialled, however long
// brokers take until then: its time begins shortly after.
func (g *Stack) upstream(ctx context.Context, b *lab.Bench, cfg StackConfig) error {
	waiting, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case <-g.Sockets.dialled:
	case <-waiting.Done():
		return fmt.Errorf("wait for the source: %w", waiting.Err())
	}
	timeline, err := simulate.OpenTimeline(simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", cfg.Seed), Rate: cfg.Rate,
		Variant: simulate.MixOf(Collections), History: -lead, Limit: cfg.Events, Log: b.Log})
	if err != nil {
		return fmt.Errorf("open timeline: %w", err)
	}
	g.Timeline = timeline
	b.Cleanup(timeline.Close)
	g.Start = time.UnixMicro(timeline.Now().Segments.Time(0))
	if g.Server, err = simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(cfg.Seed), Timeline: timeline, Log: b.Log}); err != nil {
		return fmt.Errorf("open upstream: %w", err)
	}
	b.Cleanup(g.Server.Close)
	stop := Background(context.WithoutCancel(ctx), func(ctx context.Context) { _ = g.Server.Serve(ctx, g.Sockets) }) // ends with its context
	b.Cleanup(func() error { stop(); return nil })
	return nil
}

// Collections are the Bluesky collections that labs simulate.
var Collections = []string{"app.bsky.feed.post"}

// count starts a counter for each topic.
func (g *Stack) count(ctx context.Context, b *lab.Bench, cfg StackConfig) (err error) {
	store, counting := g.Store, g.Kafka
	counting.Opts = slices.Concat(counting.Opts, []kgo.Opt{kgo.WithHooks(&g.consumers)}, cfg.Counting)
	switch cfg.Slow {
	case SlowConsumer:
		g.consumers.work, g.consumers.done = cfg.Delay, &g.Slowed
	case SlowRedis:
		if store, err = tally.Open(ctx, g.redis, stalled(cfg.Delay, &g.Slowed)); err != nil {
			return err
		}
		b.Cleanup(store.Close)
	}
	for topic, group := range counted {
		own := count.Config{Kafka: counting, Store: store, Topic: topic, Group: group, Classify: bluesky.Classify, Log: b.Log}
		if topic == kafka.TopicBluesky {
			own.Counted = cfg.Counted
		}
		c, _, err := StartCounter(ctx, b, own)
		if err != nil {
			return err
		}
		g.counters = append(g.counters, c)
	}
	return nil
}

// StartCounter counts until stop is called, or ctx or the bench ends.
func StartCounter(ctx context.Context, b *lab.Bench, cfg count.Config) (c *count.Counter, stop func(), err error) {
	if c, err = count.New(cfg); err != nil {
		return nil, nil, err
	}
	stop = Background(ctx, func(ctx context.Context) {
		if err := c.Run(ctx); err != nil {
			b.Log.Error("counter ended", "topic", cfg.Topic, "group", cfg.Group, "error", err)
		}
	})
	b.Cleanup(func() error { stop(); return nil })
	return c, stop, nil
}

const (
	// workedEvents bounds what waits between an overflow and its ingester: little, because the
	// overflow is what is bounded on purpose.
	workedEvents = 512
	// throttledEvents is how many events a transaction has at most that goes through a
	// slow connection: it must fit into its timeout.
	throttledEvents = 256
)

// ingest starts source and ingester.
func (g *Stack) ingest(ctx context.Context, b *lab.Bench, cfg StackConfig) (err error) {
	from, origin := cfg.Live, "" // a live server says so itself when it is connected
	if from == nil {
		from = &Upstream{URLs: []string{"ws://" + g.Sockets.Addr().String() + "/subscribe"}, Collections: Collections}
		origin = fmt.Sprintf("%s:%d", event.OriginSimulated, cfg.Seed)
	}
	if g.Source, err = from.Source(bluesky.Config{Dial: g.Sockets.dial, Log: b.Log}); err != nil {
		return err
	}
	var src overflow.Upstream = g.Source // as which it knows how many events it can deliver again
	if cfg.Live != nil {
		g.Noted = newNoted(src, cfg.Offer)
		src = g.Noted
	}
	if cfg.Tap != nil {
		src = &tapped{src, cfg.Tap}
	}
	if cfg.Overflow != nil {
		over := *cfg.Overflow
		over.Dir = b.Dir
		g.Overflow = overflow.NewSource(src, over)
		src, cfg.Queue = g.Overflow, workedEvents
	}
	producing, small := g.Kafka, 0
	producing.Opts = slices.Concat(producing.Opts, cfg.Producing)
	if cfg.Slow == SlowBroker {
		producing.Opts = append(producing.Opts, throttled(cfg.PerSecond, &g.Slowed))
		small = throttledEvents
	}
	g.Ingest, err = ingest.New(ingest.Config{Kafka: producing, Source: src, MaxEvents: small, Origin: origin,
		Topics:      ingest.Topics{Data: kafka.TopicBluesky, Account: kafka.TopicBlueskyAccounts, DeadLetter: kafka.TopicDeadLetters},
		QueueEvents: cfg.Queue, QueueBytes: 1 << 30, Pace: cfg.Pace, Log: b.Log})
	if err != nil {
		return err
	}
	var ended error
	stop := Background(ctx, func(ctx context.Context) { ended = g.Ingest.Run(ctx) })
	g.StopIngest = func() error {
		stop()
		return ended
	}
	b.Cleanup(g.StopIngest)
	return nil
}

// tapped is a source whose batches are looked at on their way.
type tapped struct {
	overflow.Upstream
	tap func(context.Context, *event.Batch)
}

// Stream implements ingest.Source.
func (t *tapped) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	return t.Upstream.Stream(ctx, from, func(b *event.Batch) error {
		t.tap(ctx, b)
		return emit(b)
	})
}

// Tip is how many events upstream has offered, and whether that was all.
func (g *Stack) Tip(of int64) (events int64, over bool) {
	if g.Noted != nil {
		return g.Noted.Tip()
	}
	n := g.Server.Tip()
	return n, n >= of
}

// ReadBack reads every event that is in the topics, and the counts that Redis has.
func (g *Stack) ReadBack(ctx context.Context, fn func(topic string, value []byte)) (n int64, err error) {
	if err := ReadBack(ctx, g.Kafka, g.Client, func(r *kgo.Record) { fn(r.Topic, r.Value) }, slices.Collect(maps.Keys(counted))...); err != nil {
		return 0, err
	}
	return Total(ctx, g.Store, counted)
}

// Total is the number of events that are counted in topics, by the group that counts each.
func Total(ctx context.Context, store *tally.Store, groups map[string]string) (n int64, err error) {
	for topic, group := range groups {
		kinds, err := store.Totals(ctx, group, topic)
		if err != nil {
			return 0, err
		}
		n += Sum(kinds)
	}
	return n, nil
}

// Counted is how many events the counters have applied.
func (g *Stack) Counted() (n int64) {
	for _, c := range g.counters {
		n += c.Stats().Events
	}
	return n
}

// Fetched is how many records the counters have from the brokers.
func (g *Stack) Fetched() int64 { return g.consumers.fetched.Load() }
