package kit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/simulate"
)

// sampleEvery is how often the state is noted.
const sampleEvery = 20 * time.Millisecond

// tellEvery is how often it is told.
const tellEvery = 100 * time.Millisecond

// settled is how long nothing may have moved before what is still missing is lost.
const settled = 2 * time.Second

// sample is the state at one moment.
type sample struct {
	at                                          float64 // seconds since event 0
	offered, received, worked, stored, upstream int64
	control                                     int64 // what an undisturbed worker has done
	queue                                       overflow.Stats
	rss                                         int64
	kernel                                      kernel
	counted                                     int64
	fetched                                     int64 // by the counters, from the brokers
	over                                        bool  // offered is all that there will be
	passed                                      int64 // bytes through the throttle, or records that the slow consumer has seen
}

// observation is what was seen of one policy.
type observation struct {
	policy   overflow.Policy
	events   int64 // that were offered
	truth    simulate.Truth
	origin   string // of a live source's events, as it says
	early    bool   // the source was connected before event 0
	finished bool   // everything came to rest in time
	fired    int64
	samples  []sample
	latency  []float64 // ms from happening to readable in Kafka, sorted

	socketBlocked, socketLongest time.Duration
	reconnects, duplicates       int64
	restarts, rejects, gaps      int64
	rssBefore                    int64
	finalQueue                   overflow.Stats
	slowed                       int64 // bytes, records or requests that a slow stage other than work let wait
	byHand

	contents
	counted int64 // by Redis
}

// contents is what the topics hold, compared with the truth by identity.
type contents struct {
	stored  int64 // records
	twice   int64 // records whose event is there already
	foreign int64 // records that are no event of this world
	late    int64 // records after a later one of the same key
	hole    int64 // the most consecutive events that are missing
}

// observe runs the pipeline under one policy from the first event until everything
// has come to rest.
func (s *Backpressure) observe(ctx context.Context, b *lab.Bench, p overflow.Policy, show func(string)) (_ *observation, err error) {
	show("opening brokers, Redis and upstream")
	runtime.GC() // what the case before has left is not this one's memory
	o := &observation{policy: p, events: s.events()}
	work := s.Work
	switch s.Break {
	case BreakSlow:
		work = work * 3 / 2
	case BreakIdle:
		work = 0
	}
	w := newWorkers(s.Workers, work)
	cfg := s.rig(p, w)
	var disk *forgetful
	if s.Break == BreakForget && p == overflow.Spill {
		disk = &forgetful{work: cfg.overflow.Work}
		cfg.overflow.Work = disk.do
	}
	g, err := openRig(ctx, b, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if g.noted == nil {
		o.truth = simulate.Count(g.server.Items(0, o.events))
	}
	o.rssBefore = residentBytes()
	if disk != nil {
		disk.spilled = func() bool { return g.overflow.Stats().Spilled.Events > 0 }
	}
	tail := startTail(ctx, g.kafka)
	control, stopControl := startControl(ctx, s.Work)
	o.shown = p.String()
	b.Begin(o.shown, g.start)
	withdraw := o.offer(b, s, g, w)
	err = o.watch(ctx, s, b, g, w, control, show)
	withdraw()
	o.rename(b)
	stopControl()
	o.latency = tail.stop()
	if err != nil {
		return nil, err
	}
	show("reading back what was stored")
	if err := g.stopIngest(); err != nil {
		return nil, err
	}
	o.ending(g)
	if s.Break == BreakMiscount {
		if o.fired, err = g.miscount(ctx); err != nil {
			return nil, err
		}
	}
	if err := o.read(ctx, g); err != nil {
		return nil, err
	}
	switch s.Break {
	case BreakLose:
		o.fired = g.lossy.lost.Load()
	case BreakSlow:
		o.fired = w.done.Load()
	case BreakIdle:
		o.fired = 1
	case BreakForget:
		if disk != nil {
			o.fired = disk.lost.Load()
		}
	}
	return o, ctx.Err()
}

// watch notes the state until nothing moves any more.
func (o *observation) watch(ctx context.Context, s *Backpressure, b *lab.Bench, g *rig, w, control *workers, show func(string)) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	moved, shown, told := time.Now(), time.Time{}, time.Time{}
	var last sample
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := time.Now()
		if since := now.Sub(g.start); since < 0 {
			st := g.source.Status()
			o.early = st.Connected && st.Since.Before(g.start)
			o.rssBefore = max(o.rssBefore, residentBytes())
			show(fmt.Sprintf("upstream begins in %.1f s", -since.Seconds()))
			continue
		}
		x := o.sample(g, w, now)
		x.control = control.done.Load()
		o.samples = append(o.samples, x)
		if x.received != last.received || x.worked != last.worked || x.stored != last.stored || x.queue.Events != last.queue.Events || x.counted != last.counted || x.passed != last.passed {
			moved = now
		}
		last = x
		if now.Sub(told) >= tellEvery {
			told = now
			o.rename(b)
			o.tell(b, s, w, &x)
		}
		if now.Sub(shown) > 200*time.Millisecond {
			shown = now
			show(fmt.Sprintf("%4.0f s  offered %d  upstream %d  queue %d/%d  stored %d  dropped %d", x.at, x.offered, x.upstream,
				x.queue.Events, x.queue.MaxEvents, x.stored, x.queue.Dropped.Total()))
		}
		over := x.over
		if g.noted != nil {
			o.events, o.early = x.offered, true
		}
		longest := time.Duration(1.6*float64(o.events)/s.capacity()*float64(time.Second)) + s.Offer + 20*time.Second
		if over && x.stored+x.queue.Dropped.Total() >= o.events && g.counted() >= x.stored || over && now.Sub(moved) > settled {
			o.finished = true
			return nil
		}
		if o.touched() {
			longest = MaxCase
			if w.paused.Load() {
				moved = now // it stands still because it shall
			}
		}
		if now.Sub(g.start) > longest {
			return nil
		}
	}
}

// tell adds a sample to the course of its case.
func (o *observation) tell(b *lab.Bench, s *Backpressure, w *workers, x *sample) {
	b.Tanks(o.tanks(s, w, x))
	b.Points(o.shown,
		record.Point{Panel: "queue (events)", Y: float64(x.queue.Events)},
		record.Point{Panel: "waiting upstream (events)", Y: float64(x.upstream)},
		record.Point{Panel: "dropped (events)", Y: float64(x.queue.Dropped.Total())},
		record.Point{Panel: "stored (events)", Y: float64(x.stored)},
		record.Point{Panel: "waiting in Kafka (events)", Y: float64(x.stored - x.counted)},
		record.Point{Panel: "in the kernel (KiB)", Y: float64(x.kernel.sending+x.kernel.receiving) / (1 << 10)},
		record.Point{Panel: "memory of the process (MiB)", Y: float64(x.rss) / (1 << 20)})
}

// sample reads the state.
func (o *observation) sample(g *rig, w *workers, now time.Time) sample {
	is := g.ingest.Stats()
	x := sample{at: now.Sub(g.start).Seconds(), received: is.Source.Frames, worked: w.done.Load(),
		stored: is.Events, queue: g.overflow.Stats(), rss: residentBytes()}
	x.offered, x.over = g.tip(o.events)
	if g.noted == nil {
		x.upstream = max(0, x.offered-x.received)
	} else {
		x.received = x.offered // what waits upstream is not known
	}
	x.kernel, x.counted = g.sockets.kernel(), g.counted()
	x.fetched = min(x.stored, max(x.counted, g.fetched.records.Load()))
	if g.throttle != nil {
		x.passed, x.worked = g.throttle.passed.Load(), x.stored
	}
	if g.busy != nil {
		x.passed = g.busy.done.Load()
	}
	return x
}

// ending notes what counters say after the end.
func (o *observation) ending(g *rig) {
	is := g.ingest.Stats()
	o.finalQueue = g.overflow.Stats()
	if g.noted != nil {
		o.events, _ = g.noted.tip()
		o.truth, o.origin = simulate.Truth{Events: o.events}, is.Source.Origin
	}
	o.reconnects, o.duplicates, o.restarts = is.Source.Reconnects, is.Duplicates, is.Restarts
	o.rejects, o.gaps = is.Rejects, is.Gaps
	o.socketBlocked, o.socketLongest = g.sockets.times()
	switch {
	case g.throttle != nil:
		o.slowed = g.throttle.passed.Load()
	case g.busy != nil:
		o.slowed = g.busy.done.Load()
	case g.proxy != nil:
		o.slowed = g.proxy.passed.Load()
	}
}

// offered is how many events a correct reader that drops nothing stores.
func (o *observation) offered() int64 { return o.truth.Events - o.truth.Skipped - o.truth.Again }

// read compares what the topics hold with the truth.
func (o *observation) read(ctx context.Context, g *rig) (err error) {
	index, keys := g.offered(o.events)
	there := make([]bool, o.events)
	newest := make(map[string]int64) // by topic and key
	o.counted, err = g.stored(ctx, func(topic string, value []byte) {
		o.stored++
		i, ok := index[parse(value).id]
		switch {
		case !ok:
			o.foreign++
			return
		case there[i]:
			o.twice++
		}
		there[i] = true
		k := topic + " " + keys[i]
		if n, ok := newest[k]; ok && n > i {
			o.late++
		}
		newest[k] = i
	})
	run := int64(0)
	for _, ok := range there {
		if run++; ok {
			run = 0
		}
		o.hole = max(o.hole, run)
	}
	return err
}

// offered is every event by its identity, numbered, and the key of each number.
func (g *rig) offered(events int64) (index map[string]int64, keys []string) {
	if g.noted != nil { // nothing is noted any more
		return g.noted.index, g.noted.keys
	}
	index, keys = make(map[string]int64, events), make([]string, events)
	for it := range g.server.Items(0, events) {
		index[it.Identity], keys[it.Index] = it.Index, it.Key
	}
	return index, keys
}

// eachRecord adapts fn to records.
func eachRecord(fn func(topic string, value []byte)) func(*kgo.Record) error {
	return func(r *kgo.Record) error {
		fn(r.Topic, r.Value)
		return nil
	}
}

// tail is a reader of its own, as any consumer: it notes how old events are when
// they can be read.
type tail struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ms     []float64
}

func startTail(ctx context.Context, cfg kafka.Config) *tail {
	t := &tail{}
	ctx, t.cancel = context.WithCancel(ctx)
	cl, err := cfg.NewClient(kgo.ConsumeTopics(kafka.TopicBluesky, kafka.TopicBlueskyAccounts), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return t // no latencies: the report shows none
	}
	t.wg.Go(func() {
		defer cl.Close()
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) {
				t.ms = append(t.ms, milliseconds(now.Sub(r.Timestamp)))
			})
		}
	})
	return t
}

// stop returns the latencies, sorted.
func (t *tail) stop() []float64 {
	t.cancel()
	t.wg.Wait()
	slices.Sort(t.ms)
	return t.ms
}

// quantile of sorted values: the smallest that at least the share q does not exceed.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// residentBytes is how much memory of this process is in RAM; where the system does
// not tell, what the runtime has of it.
func residentBytes() int64 {
	if body, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(body)); len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}
