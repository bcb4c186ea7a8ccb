package backpressure

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/simulate"
)

// settled is how long nothing may have moved before what is still missing is lost.
const settled = 2 * time.Second

// sample is the state at one moment.
type sample struct {
	at                                          float64 // seconds since event 0
	offered, received, worked, stored, upstream int64
	control                                     int64 // what an undisturbed worker has done
	queue                                       overflow.Stats
	rss                                         int64
	kernel                                      kit.Kernel
	counted                                     int64
	fetched                                     int64 // by the counters, from the brokers
	over                                        bool  // offered is all that there will be
	passed                                      int64 // bytes through the throttle, or records that the slow consumer has seen
}

// moved reports whether something has happened since another sample.
func (x *sample) moved(y *sample) bool {
	return x.received != y.received || x.worked != y.worked || x.stored != y.stored || x.queue.Events != y.queue.Events ||
		x.counted != y.counted || x.passed != y.passed
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
	restarts                     int64
	rssBefore                    int64
	finalQueue                   overflow.Stats
	slowed                       int64 // bytes, records or requests that a slow stage other than work let wait
	byHand

	kit.Contents
	stored  int64 // records in the topics
	counted int64 // by Redis
}

// observe runs the pipeline under one policy from the first event until everything
// has come to rest.
func (s *Settings) observe(ctx context.Context, b *lab.Bench, p overflow.Policy, show func(string)) (_ *observation, err error) {
	show("opening brokers, Redis and upstream")
	runtime.GC() // what the case before has left is not this one's memory
	o := &observation{policy: p, events: s.events()}
	w := kit.NewWorkers(s.Workers, s.Work)
	cfg := s.rig(p, w)
	f := s.sabotage(p, w, &cfg)
	g, err := kit.OpenStack(ctx, b, cfg)
	if err != nil {
		return nil, err
	}
	f.queue.Store(g.Overflow)
	if g.Noted == nil {
		o.truth = simulate.Count(g.Server.Items(0, o.events))
	}
	o.rssBefore = kit.ResidentBytes()
	reader := g.Kafka
	reader.Opts = append(slices.Clone(reader.Opts), kgo.FetchMaxWait(100*time.Millisecond))
	stopTail, err := kit.Tail(ctx, reader, func(now time.Time, r *kgo.Record) {
		o.latency = append(o.latency, kit.Milliseconds(now.Sub(r.Timestamp)))
	}, kafka.TopicBluesky, kafka.TopicBlueskyAccounts)
	if err != nil {
		return nil, err
	}
	control, stopControl := kit.StartControl(ctx, s.Work)
	o.shown = p.String()
	b.Begin(o.shown, g.Start)
	o.offer(b, s, g, w)
	err = o.watch(ctx, s, b, g, w, control, show)
	b.Withdraw()
	o.rename(b)
	stopControl()
	stopTail()
	slices.Sort(o.latency)
	if err != nil {
		return nil, err
	}
	show("reading the stored events")
	if err := g.StopIngest(); err != nil {
		return nil, err
	}
	o.ending(g)
	if o.fired, err = s.fired(ctx, f, g, w); err != nil {
		return nil, err
	}
	return o, cmp.Or(o.read(ctx, g), ctx.Err())
}

// watch notes the state until nothing moves any more.
func (o *observation) watch(ctx context.Context, s *Settings, b *lab.Bench, g *kit.Stack, w, control *kit.Workers, show func(string)) error {
	moved := time.Now()
	var shown, reported kit.Throttle
	var last sample
	for {
		if err := kit.Wait(ctx, kit.SampleEvery); err != nil {
			return err
		}
		now := time.Now()
		if since := now.Sub(g.Start); since < 0 {
			st := g.Source.Status()
			o.early = st.Connected && st.Since.Before(g.Start)
			o.rssBefore = max(o.rssBefore, kit.ResidentBytes())
			show(fmt.Sprintf("upstream begins in %.1f s", -since.Seconds()))
			continue
		}
		x := o.sample(s, g, w, now)
		x.control = control.Done.Load()
		o.samples = append(o.samples, x)
		if x.moved(&last) || w.Paused.Load() { // paused workers stand still on purpose
			moved = now
		}
		last = x
		if reported.Due(kit.TellEvery) {
			o.rename(b)
			o.report(b, s, w, &x)
		}
		if shown.Due(200 * time.Millisecond) {
			show(fmt.Sprintf("%4.0f s  offered %d  upstream %d  queue %d/%d  stored %d  dropped %d", x.at, x.offered, x.upstream,
				x.queue.Events, x.queue.MaxEvents, x.stored, x.queue.Dropped.Total()))
		}
		if g.Noted != nil {
			o.events, o.early = x.offered, true
		}
		settledAll := x.stored+x.queue.Dropped.Total() >= o.events && g.Counted() >= x.stored
		if o.finished = x.over && (settledAll || now.Sub(moved) > settled); o.finished {
			return nil
		}
		longest := time.Duration(1.6*float64(o.events)/s.capacity()*float64(time.Second)) + s.Offer + 20*time.Second
		if o.touched() {
			longest = kit.MaxCase
		}
		if now.Sub(g.Start) > longest {
			return nil
		}
	}
}

// report adds a sample to the course of its case.
func (o *observation) report(b *lab.Bench, s *Settings, w *kit.Workers, x *sample) {
	b.Tanks(o.tanks(s, w, x))
	b.Points(o.shown,
		record.Point{Panel: "queue (events)", Y: float64(x.queue.Events)},
		record.Point{Panel: "waiting upstream (events)", Y: float64(x.upstream)},
		record.Point{Panel: "dropped (events)", Y: float64(x.queue.Dropped.Total())},
		record.Point{Panel: "stored (events)", Y: float64(x.stored)},
		record.Point{Panel: "waiting in Kafka (events)", Y: float64(x.stored - x.counted)},
		record.Point{Panel: "in the kernel (KiB)", Y: float64(x.kernel.Sending+x.kernel.Receiving) / (1 << 10)},
		record.Point{Panel: "memory of the process (MiB)", Y: float64(x.rss) / (1 << 20)})
}

// rateOver is how far back in seconds a tank's rates look.
const rateOver = 1.0

// tanks are the stages as they are at a sample, which is the last one.
func (o *observation) tanks(s *Settings, w *kit.Workers, x *sample) []record.Tank {
	past := x
	for i := len(o.samples) - 1; i >= 0 && x.at-o.samples[i].at <= rateOver; i-- {
		past = &o.samples[i]
	}
	rate := func(of func(*sample) int64) float64 {
		if x.at <= past.at {
			return 0
		}
		return float64(of(x)-of(past)) / (x.at - past.at)
	}
	offered, received := rate(func(x *sample) int64 { return x.offered }), rate(func(x *sample) int64 { return x.received })
	stored, counted := rate(func(x *sample) int64 { return x.stored }), rate(func(x *sample) int64 { return x.counted })
	worked, fetched := stored, rate(func(x *sample) int64 { return x.fetched })
	if s.Slow == kit.SlowWork {
		worked = rate(func(x *sample) int64 { return x.worked })
	}
	q := x.queue
	held := max(0, x.received-int64(q.Events)-int64(q.Spilled.Events)-x.stored-q.Dropped.Total()) // read, and neither in the queue nor stored nor dropped
	socket := record.Tank{Name: "socket", Level: float64(x.kernel.Sending + x.kernel.Receiving), Capacity: 4 * kit.SocketBuffer, Unit: "bytes", In: offered, Out: received}
	if x.kernel.Stopped > 100*time.Millisecond {
		socket.Note = fmt.Sprintf("upstream has been trying to write for %.1f s", x.kernel.Stopped.Seconds())
	}
	queue := record.Tank{Name: "queue", Bytes: float64(q.Bytes), MaxBytes: float64(q.MaxBytes), Level: float64(q.Events), Capacity: float64(q.MaxEvents),
		Unit: "events", In: received, Out: worked, Lost: q.Dropped.Total(), Note: q.Policy.String()}
	producer := record.Tank{Name: "producer", Level: float64(held), Unit: "events", In: worked, Out: stored}
	if s.Slow == kit.SlowWork {
		producer.Note = fmt.Sprintf("%d workers × %.3g ms", w.Number.Load(), kit.Milliseconds(time.Duration(w.Work.Load())))
		if w.Paused.Load() {
			producer.Note = "paused"
		}
	}
	out := []record.Tank{{Name: "upstream", Level: float64(x.upstream), Unit: "events", In: offered, Out: received}, socket, queue}
	if s.Live != nil { // what waits there is not known here
		out = out[1:]
		out[0].Capacity /= 2
	}
	if q.Policy == overflow.Spill || q.Spilled.Total > 0 {
		out = append(out, record.Tank{Name: "disk", Level: float64(q.Spilled.Bytes), Capacity: float64(q.Spilled.MaxBytes), Unit: "bytes",
			Note: fmt.Sprintf("%d events", q.Spilled.Events)})
	}
	return append(out, producer,
		record.Tank{Name: "kafka", Level: float64(x.stored - x.fetched), Unit: "events", In: stored, Out: fetched, Note: fmt.Sprintf("%d stored", x.stored)},
		record.Tank{Name: "consumer", Level: float64(max(0, x.fetched-x.counted)), Unit: "events", In: fetched, Out: counted, Note: "fetched, not yet counted"},
		record.Tank{Name: "redis", Level: float64(x.counted), Unit: "events", In: counted, Note: "counted"})
}

// sample reads the state.
func (o *observation) sample(s *Settings, g *kit.Stack, w *kit.Workers, now time.Time) sample {
	is := g.Ingest.Stats()
	x := sample{at: now.Sub(g.Start).Seconds(), received: is.Source.Frames, worked: w.Done.Load(),
		stored: is.Events, queue: g.Overflow.Stats(), rss: kit.ResidentBytes()}
	x.offered, x.over = g.Tip(o.events)
	if g.Noted == nil {
		x.upstream = max(0, x.offered-x.received)
	} else {
		x.received = x.offered // what waits upstream is not known
	}
	x.kernel, x.counted = g.Sockets.Kernel(), g.Counted()
	x.fetched = min(x.stored, max(x.counted, g.Fetched()))
	switch s.Slow {
	case kit.SlowBroker:
		x.passed, x.worked = g.Slowed.Load(), x.stored
	case kit.SlowConsumer:
		x.passed = g.Slowed.Load()
	}
	return x
}

// ending notes what counters say after the end.
func (o *observation) ending(g *kit.Stack) {
	is := g.Ingest.Stats()
	o.finalQueue, o.restarts, o.slowed = g.Overflow.Stats(), is.Restarts, g.Slowed.Load()
	if g.Noted != nil {
		o.events, _ = g.Noted.Tip()
		o.truth, o.origin = simulate.Truth{Events: o.events}, is.Source.Origin
	}
	k := g.Sockets.Kernel()
	o.socketBlocked, o.socketLongest = k.Blocked, k.Longest
}

// offered is how many events a correct reader that drops nothing stores.
func (o *observation) offered() int64 { return o.truth.Events - o.truth.Skipped - o.truth.Again }

// read compares what the topics hold with the truth.
func (o *observation) read(ctx context.Context, g *kit.Stack) (err error) {
	index, keys := g.Offered(o.events)
	o.Contents = kit.Expect(o.events)
	o.counted, err = g.ReadBack(ctx, func(topic string, value []byte) {
		o.stored++
		if i, ok := index[kit.Parse(value).ID]; ok {
			o.Find(i, topic+" "+keys[i])
		} else {
			o.Foreign++
		}
	})
	return err
}
