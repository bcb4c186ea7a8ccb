package kit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/tally"
)

// lead is how long after the source has dialled upstream begins, so that it is
// connected when event 0 happens.
const lead = 2 * time.Second

// accountGroup counts the account events of Bluesky.
const accountGroup = kafka.GroupBluesky + ".accounts"

// rigConfig says what differs between pipelines.
type rigConfig struct {
	// live is where events come from for the time offer; nil for seed, rate and events
	// of the simulated stream.
	live   *Upstream
	offer  time.Duration
	seed   int64
	rate   float64
	events int64
	queue  int
	// overflow, where it is not nil, is put between source and ingester; queue is not
	// used then.
	overflow *overflow.Config
	lossy    bool
	// slow makes another stage than work slow: by perSecond bytes between producer
	// and brokers, or by delay for each record that is consumed or each request to Redis.
	slow      Stage
	perSecond int64
	delay     time.Duration
	// wrap, where it is not nil, is put around the source.
	wrap func(ingest.Source) ingest.Source
}

// rig is a whole pipeline in its own directory: a simulated upstream behind a real
// socket, source, queue, ingester, brokers, counters, Redis.
type rig struct {
	brokers  *engine
	redis    *redisd.Server
	store    *tally.Store
	throttle *throttle     // with SlowBroker
	busy     *busyConsumer // with SlowConsumer
	fetched  fetchMeter
	proxy    *proxy // with SlowRedis
	dir      string
	kafka    kafka.Config
	server   *simulate.BlueskyServer
	timeline *simulate.Timeline
	sockets  *sockets
	source   *bluesky.Source
	noted    *noted           // with a live upstream, instead of server and timeline
	lossy    *lossy           // nil unless asked for
	overflow *overflow.Source // nil unless asked for
	ingest   *ingest.Ingester
	counters []*count.Counter
	start    time.Time // when event 0 happens

	stopIngest func() error // stops it and returns why it ended; may be called twice
	wg         sync.WaitGroup
	cancel     context.CancelFunc
	closers    []func() error
}

// openRig opens and starts everything. Close must be called unless there is an error.
func openRig(ctx context.Context, b *lab.Bench, cfg rigConfig) (_ *rig, err error) {
	g := &rig{}
	side, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.cancel = cancel
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
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
	g.sockets = &sockets{}
	if cfg.live == nil {
		if g.sockets.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		g.closers = append(g.closers, g.sockets.end)
	}
	g.wg.Go(func() { _ = g.redis.Run(side) }) // logs what goes wrong
	if err := g.pipeline(side, b, cfg); err != nil {
		return nil, err
	}
	if cfg.live != nil {
		if err := g.noted.await(ctx); err != nil {
			return nil, err
		}
		g.start = g.noted.first
		return g, nil
	}
	if err := g.upstream(ctx, side, b, cfg); err != nil {
		return nil, err
	}
	return g, nil
}

// engine opens brokers and Redis.
func (g *rig) engine(ctx context.Context, b *lab.Bench, dir string) (err error) {
	own := *b
	own.Dir = dir
	if g.brokers, err = openEngine(ctx, &own, nil); err != nil {
		return err
	}
	g.closers = append(g.closers, g.brokers.Close)
	if g.redis, err = redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: filepath.Join(dir, "redis"), Log: b.Log}); err != nil {
		return fmt.Errorf("open Redis: %w", err)
	}
	g.closers = append(g.closers, g.redis.Close)
	g.kafka = kafka.Config{Brokers: g.brokers.Addrs(), ClientID: "weir-lab", Log: b.Log}
	cl, err := g.kafka.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(ctx, cl, kafka.Topics()...); err != nil {
		return err
	}
	if g.store, err = tally.Open(ctx, g.redis.URL()); err != nil {
		return err
	}
	g.closers = append(g.closers, g.store.Close)
	return nil
}

// upstream opens the simulated Jetstream once the source has dialled, however long
// brokers take until then: its time begins shortly after.
func (g *rig) upstream(ctx, side context.Context, b *lab.Bench, cfg rigConfig) (err error) {
	if err := g.sockets.await(ctx); err != nil {
		return fmt.Errorf("wait for the source: %w", err)
	}
	g.timeline, err = simulate.OpenTimeline(simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", cfg.seed), Rate: cfg.rate,
		Variant: simulate.MixOf(collections), History: -lead, Limit: cfg.events, Log: b.Log})
	if err != nil {
		return fmt.Errorf("open timeline: %w", err)
	}
	g.closers = append(g.closers, g.timeline.Close)
	v := g.timeline.Now()
	g.start = time.UnixMicro(v.Segments.Time(0))
	if g.server, err = simulate.NewBluesky(simulate.BlueskyConfig{World: simulate.NewWorld(cfg.seed), Timeline: g.timeline, Log: b.Log}); err != nil {
		return fmt.Errorf("open upstream: %w", err)
	}
	g.closers = append(g.closers, g.server.Close)
	g.wg.Go(func() { _ = g.server.Serve(side, g.sockets) }) // ends with side
	return nil
}

var collections = []string{"app.bsky.feed.post"}

// pipeline starts what is under test.
func (g *rig) pipeline(side context.Context, b *lab.Bench, cfg rigConfig) (err error) {
	counting, store, err := g.slowed(side, cfg)
	if err != nil {
		return err
	}
	for topic, group := range map[string]string{kafka.TopicBluesky: kafka.GroupBluesky, kafka.TopicBlueskyAccounts: accountGroup} {
		c, err := count.New(count.Config{Kafka: counting, Store: store, Topic: topic, Group: group, Classify: bluesky.Classify, Log: b.Log})
		if err != nil {
			return err
		}
		g.counters = append(g.counters, c)
		g.wg.Go(func() {
			if err := c.Run(side); err != nil {
				b.Log.Error("counter ended", "topic", topic, "error", err)
			}
		})
	}
	from, origin := cfg.live, "" // a live server says so itself when it is connected
	if from == nil {
		from = &Upstream{URLs: []string{"ws://" + g.sockets.Addr().String() + "/subscribe"}, Collections: collections}
		origin = fmt.Sprintf("%s:%d", event.OriginSimulated, cfg.seed)
	}
	if g.source, err = from.source(bluesky.Config{Dial: g.sockets.dial, Log: b.Log}); err != nil {
		return err
	}
	var src ingest.Source = g.source
	if cfg.live != nil {
		g.noted = newNoted(src, cfg.offer)
		src = g.noted
	}
	if cfg.wrap != nil {
		src = cfg.wrap(src)
	}
	if cfg.lossy {
		g.lossy = &lossy{Source: src}
		src = g.lossy
	}
	if cfg.overflow != nil {
		over := *cfg.overflow
		over.Dir = g.dir
		g.overflow = overflow.NewSource(src, over)
		src, cfg.queue = g.overflow, workedEvents
	}
	producing, small := g.kafka, 0
	if cfg.slow == SlowBroker {
		g.throttle = &throttle{perSecond: cfg.perSecond}
		producing.Opts = append(slices.Clone(producing.Opts), g.throttle.dialer())
		small = throttledEvents // a transaction must fit into its timeout
	}
	g.ingest, err = ingest.New(ingest.Config{Kafka: producing, Source: src, MaxEvents: small, Origin: origin,
		Topics:      ingest.Topics{Data: kafka.TopicBluesky, Account: kafka.TopicBlueskyAccounts, DeadLetter: kafka.TopicDeadLetters},
		QueueEvents: cfg.queue, QueueBytes: MaxQueueBytes, Log: b.Log})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(side)
	ended := make(chan struct{})
	var ingestErr error
	go func() {
		defer close(ended)
		ingestErr = g.ingest.Run(ctx)
	}()
	g.stopIngest = func() error {
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
func (g *rig) slowed(ctx context.Context, cfg rigConfig) (kafka.Config, *tally.Store, error) {
	counting := g.kafka
	counting.Opts = append(slices.Clone(counting.Opts), kgo.WithHooks(&g.fetched))
	switch cfg.slow {
	case SlowConsumer:
		g.busy = &busyConsumer{work: cfg.delay}
		counting.Opts = append(slices.Clone(counting.Opts), kgo.WithHooks(g.busy))
	case SlowRedis:
		p, url, err := openProxy(g.redis.URL(), cfg.delay)
		if err != nil {
			return counting, nil, err
		}
		g.proxy = p
		g.closers = append(g.closers, p.Close)
		store, err := tally.Open(ctx, url)
		if err != nil {
			return counting, nil, err
		}
		g.closers = append(g.closers, store.Close)
		return counting, store, nil
	}
	return counting, g.store, nil
}

// close stops and removes everything.
func (g *rig) close() error {
	var errs []error
	if g.stopIngest != nil {
		errs = append(errs, g.stopIngest())
	}
	g.cancel()
	g.wg.Wait()
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	return errors.Join(errs...)
}

// tip is how many events upstream has offered, and whether that was all.
func (g *rig) tip(of int64) (events int64, over bool) {
	if g.noted != nil {
		return g.noted.tip()
	}
	n := g.server.Tip()
	return n, n >= of
}

// stored reads every event that is in the topics, and the counts that Redis has.
func (g *rig) stored(ctx context.Context, fn func(topic string, value []byte)) (counted int64, err error) {
	cl, err := g.kafka.NewClient()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	bounds, err := kafka.Bounds(ctx, cl, kafka.TopicBluesky, kafka.TopicBlueskyAccounts)
	if err != nil {
		return 0, err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	if err := kafka.Scan(ctx, g.kafka, ranges, eachRecord(fn)); err != nil {
		return 0, fmt.Errorf("read what was stored: %w", err)
	}
	for topic, group := range map[string]string{kafka.TopicBluesky: kafka.GroupBluesky, kafka.TopicBlueskyAccounts: accountGroup} {
		kinds, err := g.store.Totals(ctx, group, topic)
		if err != nil {
			return 0, err
		}
		for _, n := range kinds {
			counted += n
		}
	}
	return counted, nil
}

// counted is how many events the counters have applied.
func (g *rig) counted() (n int64) {
	for _, c := range g.counters {
		n += c.Stats().Events
	}
	return n
}
