package batching

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
)

// committing is a way to decide when a transaction ends.
type committing string

const (
	commitAdaptive committing = "commits: adaptive"
	commitOften    committing = "commits: every 10 ms"
	commitRarely   committing = "commits: every 1 s"
)

func committings() []committing { return []committing{commitAdaptive, commitOften, commitRarely} }

// every is the time between two commits; 0 where weir decides by the load.
func (c committing) every() time.Duration {
	switch c {
	case commitOften:
		return 10 * time.Millisecond
	case commitRarely:
		return time.Second
	}
	return 0
}

// The two loads, in events per second, and for how long each.
const (
	commitLowRate  = 4
	commitHighRate = 4000
	commitTime     = 3 * time.Second
)

// commitSeen is what was seen of one way under one load, all rounds together.
type commitSeen struct {
	of       committing
	rate     float64
	seconds  float64
	events   int64
	commits  int64
	restarts int64
	stored   int64     // records that a reader of committed ones was given
	foreign  int64     // of them those that came before
	latency  []float64 // ms from an event to its being readable, sorted
	cpu      time.Duration
	running  time.Duration // from the first event to the last that could be read
	finished bool
	told     bool // its course is: that of the first round
}

// took is running in seconds.
func (o *commitSeen) took() float64 { return o.running.Seconds() }

// What weir goes by.
const (
	ingestPace  = ingest.DefaultPace
	ingestEager = ingest.DefaultEagerEvents
)

// commits measures the ways in turns, under a low and a high load.
func (x *run) commits(ctx context.Context, ways []committing) ([]*commitSeen, error) {
	var all []*commitSeen
	for _, rate := range []float64{commitLowRate, commitHighRate} {
		seen := map[committing]*commitSeen{}
		for _, c := range ways {
			seen[c] = &commitSeen{of: c, rate: rate, finished: true}
			all = append(all, seen[c])
		}
		order := slices.Clone(ways)
		for round := range x.s.Rounds {
			for _, c := range order {
				seen[c].told = round > 0
				x.b.Progress(fmt.Sprintf("%s, %.0f events/s", c, rate))
				if err := x.commit(ctx, seen[c]); err != nil {
					return nil, fmt.Errorf("%s: %w", c, err)
				}
			}
			slices.Reverse(order)
		}
		for _, o := range seen {
			slices.Sort(o.latency)
		}
	}
	return all, nil
}

// commit ingests events at the rate once, with weir's own ingester, on new topics.
func (x *run) commit(ctx context.Context, o *commitSeen) (err error) {
	topic, err := x.topic(ctx)
	if err != nil {
		return err
	}
	letters, err := x.topic(ctx)
	if err != nil {
		return err
	}
	if err := kafka.EnsureTopics(ctx, x.cl, kafka.Topics()...); err != nil { // for the cursor
		return err
	}
	src := &pacedSource{events: x.made[:int(o.rate*commitTime.Seconds())], rate: o.rate, every: o.of.every(), lead: time.Second, cpu: x.cpu}
	cfg := ingest.Config{Kafka: x.kafka, Source: src, Topics: ingest.Topics{Data: topic, DeadLetter: letters}, Log: x.b.Log}
	if src.every > 0 { // what is handed over is committed at once: the source keeps the time
		cfg.Pace, cfg.EagerEvents = time.Microsecond, 1
	}
	ing, err := ingest.New(cfg)
	if err != nil {
		return err
	}
	x.b.Begin(string(o.of), time.Now().Add(src.lead))
	var tell func(float64)
	if !o.told {
		panel := fmt.Sprintf("oldest event when it can be read (ms), at %s", o.load())
		tell = func(ms float64) { x.b.Point(string(o.of), panel, ms) }
	}
	tail, err := x.tail(ctx, topic, tell)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- ing.Run(run) }()
	total := int64(len(src.events))
	end := time.Now().Add(kit.Patience)
	for time.Now().Before(end) && err == nil && tail.count() < total {
		err = kit.Wait(ctx, 2*time.Millisecond)
	}
	var used, took time.Duration
	if first := src.first.Load(); first != nil {
		used, took = x.cpu()-first.cpu, time.Since(first.at)
	}
	finished := tail.count() >= total
	stop()
	if e := <-ended; e != nil && err == nil {
		err = e
	}
	latency, twice := tail.stop()
	if err != nil {
		return err
	}
	st := ing.Stats()
	o.events += total
	o.seconds += commitTime.Seconds()
	o.commits += st.Commits - 1 // the first one claims the cursor and has no events
	o.restarts += st.Restarts
	o.cpu, o.running = o.cpu+used, o.running+took
	o.finished = o.finished && finished
	o.stored += int64(len(latency))
	o.foreign += twice
	o.latency = append(o.latency, latency...)
	return nil
}

// pacedSource hands over events as they are due, or at fixed times.
type pacedSource struct {
	events []kit.Payload
	rate   float64
	every  time.Duration // 0: at once
	lead   time.Duration // before the first
	cpu    func() time.Duration
	first  atomic.Pointer[moment] // when the first was due
}

// moment is a time, and the CPU time that was used by then.
type moment struct {
	at  time.Time
	cpu time.Duration
}

// Name implements ingest.Source.
func (*pacedSource) Name() string { return "bluesky" }

// Window implements ingest.Source.
func (*pacedSource) Window() time.Duration { return time.Minute }

// Identify implements ingest.Source. Topics are new, so nothing is there to identify.
func (*pacedSource) Identify([]byte, *event.Batch) ([]byte, int64, bool) { return nil, 0, false }

// Status implements ingest.Source.
func (*pacedSource) Status() event.SourceStatus { return event.SourceStatus{} }

// Stream implements ingest.Source.
func (p *pacedSource) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	if err := kit.Wait(ctx, p.lead); err != nil {
		return err
	}
	p.first.CompareAndSwap(nil, &moment{time.Now(), p.cpu()})
	tick := time.NewTicker(max(p.every, time.Millisecond))
	defer tick.Stop()
	start, next := time.Now(), 0
	for next < len(p.events) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		due := min(len(p.events), int(time.Since(start).Seconds()*p.rate))
		if due == next {
			continue
		}
		b := event.NewBatch()
		b.Received = time.Now()
		for ; next < due; next++ {
			x := &p.events[next]
			at := start.Add(time.Duration(float64(next+1) / p.rate * float64(time.Second)))
			*b.Add() = event.Event{Route: event.Data, Kind: x.Kind, Key: b.Copy(x.Key), Value: b.Copy(x.Value), ID: b.CopyString(x.ID), TimeUS: at.UnixMicro()}
		}
		b.Cursor = event.Cursor{Host: "lab:0", Seq: from.Seq + int64(next), TimeUS: time.Now().UnixMicro()}
		if err := emit(b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// committedTail reads what is committed, and notes how old it is.
type committedTail struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	ms     []float64
	seen   map[string]bool
	twice  int64
}

// tail reads a topic, and tells how old the oldest record was that came in a moment, in
// ms; tell may be nil.
func (x *run) tail(ctx context.Context, topic string, tell func(oldest float64)) (*committedTail, error) {
	cl, err := x.kafka.NewClient(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	t := &committedTail{seen: map[string]bool{}}
	ctx, t.cancel = context.WithCancel(ctx)
	t.wg.Go(func() {
		defer cl.Close()
		var oldest float64
		var told time.Time
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			now := time.Now()
			t.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				// The first millisecond is the timestamp's.
				age := math.Max(0, kit.Milliseconds(now.Sub(r.Timestamp)))
				t.ms, oldest = append(t.ms, age), max(oldest, age)
				if t.seen[string(r.Value)] {
					t.twice++
				}
				t.seen[string(r.Value)] = true
			})
			t.mu.Unlock()
			if tell != nil && oldest > 0 && now.Sub(told) >= tailTellEvery {
				tell(oldest)
				oldest, told = 0, now
			}
		}
	})
	return t, nil
}

// tailTellEvery bounds how often a tail tells.
const tailTellEvery = 100 * time.Millisecond

func (t *committedTail) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(len(t.ms))
}

func (t *committedTail) stop() (ms []float64, twice int64) {
	t.cancel()
	t.wg.Wait()
	return t.ms, t.twice
}
