package kit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
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

// StackConfig says what differs between pipelines.
type StackConfig struct {
	// live is where events come from for the time offer; nil for seed, rate and events
	// of the simulated stream.
	Live   *Upstream
	Offer  time.Duration
	Seed   int64
	Rate   float64
	Events int64
	Queue  int
	// overflow, where it is not nil, is put between source and ingester; queue is not
	// used then.
	Overflow *overflow.Config
	Lossy    bool
	// slow makes another stage than work slow: by perSecond bytes between producer
	// and brokers, or by delay for each record that is consumed or each request to Redis.
	Slow      Stage
	PerSecond int64
	Delay     time.Duration
	// wrap, where it is not nil, is put around the source.
	Wrap func(ingest.Source) ingest.Source
}

// Stack is a whole pipeline in its own directory: a simulated upstream behind a real
// socket, source, queue, ingester, brokers, counters, Redis.
type Stack struct {
	Brokers  *Engine
	redis    string // URL
	Store    *tally.Store
	Throttle *throttle     // with SlowBroker
	Busy     *busyConsumer // with SlowConsumer
	Fetched  fetchMeter
	Proxy    *proxy // with SlowRedis
	dir      string
	Kafka    kafka.Config
	Server   *simulate.BlueskyServer
	timeline *simulate.Timeline
	Sockets  *sockets
	Source   *bluesky.Source
	Noted    *Noted           // with a live upstream, instead of server and timeline
	Lossy    *lossy           // nil unless asked for
	Overflow *overflow.Source // nil unless asked for
	Ingest   *ingest.Ingester
	Counters []*count.Counter
	Start    time.Time // when event 0 happens

	StopIngest func() error // stops it and returns why it ended; may be called twice
	wg         sync.WaitGroup
	cancel     context.CancelFunc
	closers    []func() error
}

// OpenStack opens and starts everything. Close must be called unless there is an error.
func OpenStack(ctx context.Context, b *lab.Bench, cfg StackConfig) (_ *Stack, err error) {
	g := &Stack{}
	side, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.cancel = cancel
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	dir, err := os.MkdirTemp(b.Dir, "case-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	g.dir = dir
	g.closers = append(g.closers, func() error { return os.RemoveAll(dir) })
	if err := g.engine(ctx, b, dir); err != nil {
		return nil, err
	}
	g.Sockets = &sockets{}
	if cfg.Live == nil {
		if g.Sockets.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		g.closers = append(g.closers, g.Sockets.end)
	}
	if err := g.pipeline(side, b, cfg); err != nil {
		return nil, err
	}
	if cfg.Live != nil {
		if err := g.Noted.await(ctx); err != nil {
			return nil, err
		}
		g.Start = g.Noted.first
		return g, nil
	}
	if err := g.upstream(ctx, side, b, cfg); err != nil {
		return nil, err
	}
	return g, nil
}

// engine opens brokers and Redis.
func (g *Stack) engine(ctx context.Context, b *lab.Bench, dir string) (err error) {
	own := *b
	own.Dir = dir
	if g.Brokers, err = OpenEngine(ctx, &own, nil); err != nil {
		return err
	}
	g.closers = append(g.closers, g.Brokers.Close)
	redis, err := OpenRedis(ctx, dir, b.Log)
	if err != nil {
		return err
	}
	g.closers = append(g.closers, redis.Close)
	g.Store, g.redis = redis.Store, redis.URL
	g.Kafka = Kafka(b, g.Brokers)
	cl, err := g.Kafka.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	return kafka.EnsureTopics(ctx, cl, kafka.Topics()...)
}

// upstream opens the simulated Jetstream once the source has dialled, however long
// brokers take until then: its time begins shortly after.
func (g *Stack) upstream(ctx, side context.Context, b *lab.Bench, cfg StackConfig) (err error) {
	if err := g.Sockets.await(ctx); err != nil {
		return fmt.Errorf("wait for the source: %w", err)
	}
	g.timeline, err = simulate.OpenTimeline(simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", cfg.Seed), Rate: cfg.Rate,
		Variant: simulate.MixOf(Collections), History: -lead, Limit: cfg.Events, Log: b.Log})
	if err != nil {
		return fmt.Errorf("open timeline: %w", err)
	}
	g.closers = append(g.closers, g.timeline.Close)
	v := g.timeline.Now()
	g.Start = time.UnixMicro(v.Segments.Time(0))
	if g.Server, err = simulate.NewBluesky(simulate.BlueskyConfig{World: simulate.NewWorld(cfg.Seed), Timeline: g.timeline, Log: b.Log}); err != nil {
		return fmt.Errorf("open upstream: %w", err)
	}
	g.closers = append(g.closers, g.Server.Close)
	g.wg.Go(func() { _ = g.Server.Serve(side, g.Sockets) }) // ends with side
	return nil
}

// Collections are the Bluesky collections that labs simulate.
var Collections = []string{"app.bsky.feed.post"}

// pipeline starts what is under test.
func (g *Stack) pipeline(side context.Context, b *lab.Bench, cfg StackConfig) (err error) {
	counting, store, err := g.slowed(side, cfg)
	if err != nil {
		return err
	}
	for topic, group := range map[string]string{kafka.TopicBluesky: kafka.GroupBluesky, kafka.TopicBlueskyAccounts: AccountGroup} {
		c, err := count.New(count.Config{Kafka: counting, Store: store, Topic: topic, Group: group, Classify: bluesky.Classify, Log: b.Log})
		if err != nil {
			return err
		}
		g.Counters = append(g.Counters, c)
		g.wg.Go(func() {
			if err := c.Run(side); err != nil {
				b.Log.Error("counter ended", "topic", topic, "error", err)
			}
		})
	}
	from, origin := cfg.Live, "" // a live server says so itself when it is connected
	if from == nil {
		from = &Upstream{URLs: []string{"ws://" + g.Sockets.Addr().String() + "/subscribe"}, Collections: Collections}
		origin = fmt.Sprintf("%s:%d", event.OriginSimulated, cfg.Seed)
	}
	if g.Source, err = from.Source(bluesky.Config{Dial: g.Sockets.dial, Log: b.Log}); err != nil {
		return err
	}
	var src ingest.Source = g.Source
	if cfg.Live != nil {
		g.Noted = newNoted(src, cfg.Offer)
		src = g.Noted
	}
	if cfg.Wrap != nil {
		src = cfg.Wrap(src)
	}
	if cfg.Lossy {
		g.Lossy = &lossy{Source: src}
		src = g.Lossy
	}
	if cfg.Overflow != nil {
		over := *cfg.Overflow
		over.Dir = g.dir
		g.Overflow = overflow.NewSource(src, over)
		src, cfg.Queue = g.Overflow, workedEvents
	}
	producing, small := g.Kafka, 0
	if cfg.Slow == SlowBroker {
		g.Throttle = &throttle{perSecond: cfg.PerSecond}
		producing.Opts = append(slices.Clone(producing.Opts), g.Throttle.dialer())
		small = throttledEvents // a transaction must fit into its timeout
	}
	g.Ingest, err = ingest.New(ingest.Config{Kafka: producing, Source: src, MaxEvents: small, Origin: origin,
		Topics:      ingest.Topics{Data: kafka.TopicBluesky, Account: kafka.TopicBlueskyAccounts, DeadLetter: kafka.TopicDeadLetters},
		QueueEvents: cfg.Queue, QueueBytes: 1 << 30, Log: b.Log})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(side)
	ended := make(chan struct{})
	var ingestErr error
	go func() {
		defer close(ended)
		ingestErr = g.Ingest.Run(ctx)
	}()
	g.StopIngest = func() error {
		stop()
		<-ended
		return ingestErr
	}
	return nil
}

// workedEvents bounds what waits between an overflow and its ingester: little, because the
// overflow is what is bounded on purpose.
const workedEvents = 512

// throttledEvents is how many events a transaction has at most that goes through a
// slow connection.
const throttledEvents = 256

// slowed returns how counters reach Kafka and Redis.
func (g *Stack) slowed(ctx context.Context, cfg StackConfig) (kafka.Config, *tally.Store, error) {
	counting := g.Kafka
	counting.Opts = append(slices.Clone(counting.Opts), kgo.WithHooks(&g.Fetched))
	switch cfg.Slow {
	case SlowConsumer:
		g.Busy = &busyConsumer{work: cfg.Delay}
		counting.Opts = append(slices.Clone(counting.Opts), kgo.WithHooks(g.Busy))
	case SlowRedis:
		p, url, err := openProxy(g.redis, cfg.Delay)
		if err != nil {
			return counting, nil, err
		}
		g.Proxy = p
		g.closers = append(g.closers, p.Close)
		store, err := tally.Open(ctx, url)
		if err != nil {
			return counting, nil, err
		}
		g.closers = append(g.closers, store.Close)
		return counting, store, nil
	}
	return counting, g.Store, nil
}

// Close stops and removes everything.
func (g *Stack) Close() error {
	var errs []error
	if g.StopIngest != nil {
		errs = append(errs, g.StopIngest())
	}
	g.cancel()
	g.wg.Wait()
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	return errors.Join(errs...)
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
func (g *Stack) ReadBack(ctx context.Context, fn func(topic string, value []byte)) (counted int64, err error) {
	cl, err := g.Kafka.NewClient()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	if err := ReadBack(ctx, g.Kafka, cl, func(r *kgo.Record) { fn(r.Topic, r.Value) }, kafka.TopicBluesky, kafka.TopicBlueskyAccounts); err != nil {
		return 0, err
	}
	for topic, group := range map[string]string{kafka.TopicBluesky: kafka.GroupBluesky, kafka.TopicBlueskyAccounts: AccountGroup} {
		kinds, err := g.Store.Totals(ctx, group, topic)
		if err != nil {
			return 0, err
		}
		counted += Sum(kinds)
	}
	return counted, nil
}

// Counted is how many events the counters have applied.
func (g *Stack) Counted() (n int64) {
	for _, c := range g.Counters {
		n += c.Stats().Events
	}
	return n
}
