package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
)

// The default addresses, which programs have that ignore their environment.
var (
	defaultBrokers = []string{"127.0.0.1:19092", "127.0.0.1:29092", "127.0.0.1:39092"}
	defaultRedis   = "127.0.0.1:6379"
)

// OutputTopic is the topic that programs write to, where the exercise has no other one.
const OutputTopic = "exercise-output"

// partitions is how many partitions every topic of a check has.
const partitions = 6

// Bench is a private cluster and Redis, and what is seen of a program there. It serves one check.
type Bench struct {
	// Topic is what the program reads, Group its consumer group, Output the topic that it writes
	// to. A trial may change them, and set Stream, before it starts the program.
	Topic, Group, Output string
	// Stream is the URL of the simulated stream; empty for none.
	Stream string

	Brokers *embedded.Cluster
	Kafka   kafka.Config
	Client  *kgo.Client
	Admin   *kadm.Client
	// Redis is a client of database 0 that the program's faults do not reach.
	Redis *redis.Client
	// Proxy is the Redis that the program sees.
	Proxy *Proxy
	// Truth has what was written to Topic.
	Truth *Ledger

	cfg      Config
	started  time.Time
	defaults bool // the default ports are this check's
	passed   string
	closers  []func() error

	mu     sync.Mutex
	copies []*Copy
	checks []exercise.Check
	marks  []exercise.Mark
	series []*exercise.Series

	watching sync.Mutex // held while a sample is taken; guards the rest
	last     *Sample
	moved    map[int32]time.Time // when a committed offset was first seen, by partition
}

// open starts the private cluster and Redis.
func open(ctx context.Context, cfg Config) (_ *Bench, err error) {
	b := &Bench{cfg: cfg, started: time.Now(), Topic: kafka.TopicBluesky, Group: "exercise-" + cfg.Exercise, Output: OutputTopic,
		Truth: newLedger(), moved: map[int32]time.Time{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := b.openBrokers(ctx); err != nil {
		return nil, err
	}
	if err := b.openRedis(); err != nil {
		return nil, err
	}
	if b.Client, err = b.Kafka.NewClient(kgo.RequiredAcks(kgo.AllISRAcks())); err != nil {
		return nil, err
	}
	b.closing(func() error { b.Client.Close(); return nil })
	b.Admin = kadm.NewClient(b.Client)
	if err := kafka.EnsureTopics(ctx, b.Client, kafka.TopicSpec{Name: b.Topic, Partitions: partitions},
		kafka.TopicSpec{Name: b.Output, Partitions: partitions}); err != nil {
		return nil, err
	}
	b.started = time.Now()
	return b, nil
}

// openBrokers starts the brokers, on the default ports where nobody has them.
func (b *Bench) openBrokers(ctx context.Context) error {
	config := embedded.Config{Addrs: defaultBrokers, Log: b.cfg.Log}
	if b.cfg.FreePorts {
		config.Addrs = nil
	}
	b.defaults = config.Addrs != nil
	k, err := embedded.Open(ctx, config)
	if err != nil && b.defaults { // another program has one of them
		config.Addrs, b.defaults = nil, false
		k, err = embedded.Open(ctx, config)
	}
	if err != nil {
		return fmt.Errorf("start the private cluster: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() { _ = k.Run(running) }) // it logs its errors
	b.closing(func() error {
		stop()
		ended.Wait()
		return k.Close()
	})
	b.Brokers = k
	b.Kafka = kafka.Config{Brokers: k.Addrs(), ClientID: "weir-exercise", Log: b.cfg.Log}
	return nil
}

// openRedis starts a Redis, and the proxy that the program sees.
func (b *Bench) openRedis() (err error) {
	s, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Log: b.cfg.Log})
	if err != nil {
		return fmt.Errorf("start the private Redis: %w", err)
	}
	b.closing(s.Close)
	const free = "127.0.0.1:0"
	addr := defaultRedis
	if b.cfg.FreePorts {
		addr, b.defaults = free, false
	}
	b.Proxy, err = openProxy(addr, s.Addr())
	if err != nil && addr != free { // another program has the default port
		b.defaults = false
		b.Proxy, err = openProxy(free, s.Addr())
	}
	if err != nil {
		return err
	}
	b.closing(b.Proxy.Close)
	b.Redis = redis.NewClient(&redis.Options{Addr: s.Addr(), DisableIdentity: true})
	b.closing(b.Redis.Close)
	return nil
}

// closing adds what close calls, the last one first.
func (b *Bench) closing(end func() error) { b.closers = append(b.closers, end) }

func (b *Bench) close() error {
	b.closeCopies()
	var errs []error
	for _, end := range slices.Backward(b.closers) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// now is the time of the check in seconds.
func (b *Bench) now() float64 { return time.Since(b.started).Seconds() }

// Mark notes something that happened. It also shows it to the learner.
func (b *Bench) Mark(what, format string, args ...any) {
	m := exercise.Mark{T: b.now(), What: what, Detail: fmt.Sprintf(format, args...)}
	b.mu.Lock()
	b.marks = append(b.marks, m)
	b.mu.Unlock()
	b.cfg.Progress(what + ": " + m.Detail)
}

// pointEvery is how many seconds are between two points of a series.
const pointEvery = 0.2

// Point adds a point to a series. It replaces the last one where that was added a moment ago.
func (b *Bench) Point(name, unit string, v float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.series, func(s *exercise.Series) bool { return s.Name == name })
	if i < 0 {
		i = len(b.series)
		b.series = append(b.series, &exercise.Series{Name: name, Unit: unit})
	}
	s, point := b.series[i], [2]float64{b.now(), v}
	if n := len(s.Points); n > 1 && point[0]-s.Points[n-2][0] < pointEvery {
		s.Points[n-1] = point
		return
	}
	s.Points = append(s.Points, point)
}

// Check notes whether something holds, and returns that.
func (b *Bench) Check(ok bool, claim, want, got string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checks = append(b.checks, exercise.Check{Claim: claim, Want: want, Got: got, OK: ok})
	return ok
}

// Pass sets the headline of a program that passes.
func (b *Bench) Pass(format string, args ...any) { b.passed = fmt.Sprintf(format, args...) }

// course returns what was noted.
func (b *Bench) course() ([]exercise.Check, exercise.Timeline) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := exercise.Timeline{Seconds: b.now(), Series: []exercise.Series{}, Marks: append([]exercise.Mark{}, b.marks...)}
	for _, s := range b.series {
		t.Series = append(t.Series, *s)
	}
	return append([]exercise.Check{}, b.checks...), t
}

// environ is the environment of the program.
func (b *Bench) environ() []string {
	env := slices.DeleteFunc(slices.Clone(b.cfg.Environ), func(kv string) bool { return strings.HasPrefix(kv, "WEIR_") })
	env = append(env, "KAFKA_BROKER="+strings.Join(b.Kafka.Brokers, ","), "REDIS_URL=redis://"+b.Proxy.Addr()+"/0",
		"TOPIC="+b.Topic, "GROUP="+b.Group, "OUTPUT_TOPIC="+b.Output, "PYTHONUNBUFFERED=1")
	if b.Stream != "" {
		env = append(env, "STREAM_URL="+b.Stream)
	}
	return env
}

// Moment is a time as a report shows it.
func Moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
