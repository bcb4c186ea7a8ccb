// Package kit is what labs share: a whole pipeline with brokers, Redis and upstream of its
// own, clients that write and read, faults, and what is read back.
package kit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

const (
	// Patience is how long a cluster may take to do what it will do: elect, shrink and grow
	// the in-sync replicas, acknowledge again. Beyond that a case is inconclusive.
	Patience = 60 * time.Second
	// SampleEvery is how often a lab looks at the state.
	SampleEvery = 20 * time.Millisecond
	// TellEvery is how often a lab shows what it has seen.
	TellEvery = 100 * time.Millisecond
)

// BreakIdle is a way to break several labs on purpose: it leaves out what the lab is about.
const BreakIdle = "idle"

// Wait waits for a time, or until ctx ends, whose error it returns.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until waits until ok returns true; false when Patience is over first.
func Until(ctx context.Context, ok func() bool) (bool, error) {
	return Poll(ctx, Patience, SampleEvery, func() (bool, error) { return ok(), nil })
}

// Poll calls ok now and then every so often, until it returns true or an error; false when a time
// is over first.
func Poll(ctx context.Context, within, every time.Duration, ok func() (bool, error)) (bool, error) {
	for end := time.Now().Add(within); ; {
		done, err := ok()
		if done || err != nil || time.Now().After(end) {
			return done, cmp.Or(err, ctx.Err())
		}
		if err := Wait(ctx, every); err != nil {
			return false, err
		}
	}
}

// Throttle lets something be shown only so often.
type Throttle struct{ last time.Time }

// Due reports whether a time has passed since it was last true.
func (t *Throttle) Due(every time.Duration) bool {
	if time.Since(t.last) < every {
		return false
	}
	t.last = time.Now()
	return true
}

// Engine is three brokers that belong to one experiment, with their background work.
type Engine struct {
	cluster.Engine
	Kafka  kafka.Config // how clients reach them
	Client *kgo.Client  // for requests, and for what is not measured
	Admin  *kadm.Client // the same
	stop   func()
}

// OpenEngine starts the brokers that the bench asks for, with their data in the bench's directory,
// on free ports. Properties are for Apache Kafka alone.
func OpenEngine(ctx context.Context, b *lab.Bench, properties map[string]string) (*Engine, error) {
	c, err := cluster.Open(ctx, b.Engine, cluster.Config{Dir: b.Dir, Log: b.Log, CheckEvery: time.Second,
		Cache: b.KafkaCache, Home: b.KafkaHome, Bound: true, Properties: properties, Progress: b.Progress})
	if err != nil {
		return nil, err
	}
	e := &Engine{Engine: c, Kafka: kafka.Config{Brokers: c.Addrs(), ClientID: "weir-lab", Log: b.Log}}
	e.stop = Background(context.WithoutCancel(ctx), func(ctx context.Context) { _ = c.Run(ctx) }) // it logs its errors
	b.Cleanup(e.Close)
	// Leaders and in-sync replicas are asked for again and again: the answer must not be an old one.
	if e.Client, err = e.Kafka.NewClient(kgo.MetadataMinAge(50 * time.Millisecond)); err != nil {
		return nil, err
	}
	e.Admin = kadm.NewClient(e.Client)
	return e, nil
}

// Alive reports whether a broker runs.
func (e *Engine) Alive(ctx context.Context, id int32) bool {
	all, err := e.Brokers(ctx)
	return err == nil && slices.ContainsFunc(all, func(b cluster.Broker) bool { return b.ID == id && b.Alive })
}

// Real reports whether brokers are processes, each with a disk of its own.
func (e *Engine) Real() bool { return e.Name() == cluster.Apache }

// Close stops them, which the bench does, too.
func (e *Engine) Close() error {
	if e.Client != nil {
		e.Client.Close()
	}
	e.stop()
	return e.Engine.Close()
}

// ErrorName is the name of a broker's error, such as NOT_ENOUGH_REPLICAS, or an error's text.
func ErrorName(err error) string {
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// Load writes records at a rate.
type Load struct {
	Client *kgo.Client
	Rate   float64 // records per second
	// Drop gives records up rather than wait while the client's buffer is full.
	Drop bool
	// Record makes record n, from 0. Sent, where it is not nil, is called with the number of
	// records that are due, before they are written. Acked is called for each with its error.
	Record func(n int64) *kgo.Record
	Sent   func(n int64)
	Acked  func(n int64, r *kgo.Record, err error)
}

// Run writes as many records as are due until ctx ends, waits for the writes in progress,
// and closes the client.
func (l Load) Run(ctx context.Context) error {
	defer l.Client.Close()
	produce, under := l.Client.Produce, context.WithoutCancel(ctx) // writes in progress must be settled
	if l.Drop {
		produce = l.Client.TryProduce
	}
	n := int64(0)
	for due := range Due(ctx, 10*time.Millisecond, time.Now(), l.Rate) {
		if l.Sent != nil {
			l.Sent(due)
		}
		for ; n < due; n++ {
			i := n
			produce(under, l.Record(i), func(r *kgo.Record, err error) { l.Acked(i, r, err) })
		}
	}
	flush, cancel := context.WithTimeout(under, Patience)
	defer cancel()
	return l.Client.Flush(flush)
}

// Due yields, once every tick until ctx ends, how many events are due at a rate since start.
func Due(ctx context.Context, every time.Duration, start time.Time, rate float64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !yield(int64(time.Since(start).Seconds() * rate)) {
				return
			}
		}
	}
}

// Background runs fn until stop is called or ctx ends. stop returns when fn has.
func Background(ctx context.Context, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { fn(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// Tail calls fn, from one goroutine, with every committed record of topics and with the time
// at which the record could be read, until stop is called.
func Tail(ctx context.Context, cfg kafka.Config, fn func(now time.Time, r *kgo.Record), topics ...string) (stop func(), err error) {
	cl, err := cfg.NewClient(kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	return Background(ctx, func(ctx context.Context) {
		defer cl.Close()
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) { fn(now, r) })
		}
	}), nil
}

// dialer connects.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// wrapped connects, and returns connections as wrap returns them.
func wrapped(wrap func(net.Conn) (net.Conn, error)) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrap(c)
	}
}

// Header returns the value of a record's header, nil where it has none.
func Header(r *kgo.Record, key string) []byte {
	i := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == key })
	if i < 0 {
		return nil
	}
	return r.Headers[i].Value
}

// ReadBack reads all committed records below the high watermark of topics. Transactions
// that are open there are waited for: Apache Kafka answers a commit before it has written
// the markers into the partitions, and one that was left open ends when its time is up.
func ReadBack(ctx context.Context, cfg kafka.Config, cl *kgo.Client, fn func(*kgo.Record), topics ...string) error {
	bounds, err := kafka.Bounds(ctx, cl, topics...)
	if err != nil {
		return err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	err = kafka.Scan(ctx, cfg, ranges, func(r *kgo.Record) error {
		fn(r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the stored records: %w", err)
	}
	return nil
}

// OpenRedis starts an embedded Redis in the bench's directory, and returns its counts and its URL.
func OpenRedis(ctx context.Context, b *lab.Bench) (store *tally.Store, url string, err error) {
	s, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: filepath.Join(b.Dir, "redis"), Log: b.Log})
	if err != nil {
		return nil, "", fmt.Errorf("open Redis: %w", err)
	}
	stop := Background(context.WithoutCancel(ctx), func(ctx context.Context) { _ = s.Run(ctx) }) // it logs its errors
	b.Cleanup(func() error { stop(); return s.Close() })
	if store, err = tally.Open(ctx, s.URL()); err == nil {
		b.Cleanup(store.Close)
	}
	return store, s.URL(), err
}
