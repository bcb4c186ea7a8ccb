package batching

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

// commitEvery is the time between two commits; 0 where weir decides by the load.
var commitEvery = map[committing]time.Duration{commitOften: 10 * time.Millisecond, commitRarely: time.Second}

// The two loads, in events per second, and for how long each.
const (
	commitLowRate  = 4
	commitHighRate = 4000
	commitTime     = 3 * time.Second
)

// commitPace is the pace of the adaptive way: ten times weir's default, so that what commits cost
// can be told from what events cost.
const commitPace = 200 * time.Millisecond

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
}

// String names the way.
func (o *commitSeen) String() string { return string(o.of) }

// load names the load.
func (o *commitSeen) load() string { return fmt.Sprintf("%.0f/s", o.rate) }

func (o *commitSeen) cpuPerEvent() float64 { return perEvent(o.cpu, o.events) }

// mostCommits bounds the commits of the adaptive way: they are a pace apart, unless
// enough events wait. Nothing says how long a busy machine takes for all, so that
// time is what was measured: from the first event to the last that could be read.
func (o *commitSeen) mostCommits() int64 {
	return int64(o.running/commitPace) + o.events/ingest.DefaultEagerEvents + 2*max(1, int64(o.seconds/commitTime.Seconds()))
}

// commits measures the ways in turns, under a low and a high load.
func (x *run) commits(ctx context.Context, ways []committing) (all []*commitSeen, err error) {
	for _, rate := range []float64{commitLowRate, commitHighRate} {
		var seen []*commitSeen
		for _, c := range ways {
			seen = append(seen, &commitSeen{of: c, rate: rate, finished: true})
		}
		err := turns(x.s.Rounds, seen, func(round, _ int, o *commitSeen) error {
			x.b.Progress(fmt.Sprintf("%s, %.0f events/s", o, rate))
			return x.commit(ctx, o, round == 0)
		})
		if err != nil {
			return nil, err
		}
		for _, o := range seen {
			slices.Sort(o.latency)
		}
		all = append(all, seen...)
	}
	return all, nil
}

// commit ingests events at the rate once, with weir's own ingester, on new topics, and draws
// how old they were where the course is to be shown.
func (x *run) commit(ctx context.Context, o *commitSeen, show bool) (err error) {
	topic, err := x.topic(ctx)
	if err != nil {
		return err
	}
	letters, err := x.topic(ctx)
	if err != nil {
		return err
	}
	if err := kafka.EnsureTopics(ctx, x.e.Client, kafka.Topics()...); err != nil { // for the cursor
		return err
	}
	src := &pacedSource{events: x.made[:int(o.rate*commitTime.Seconds())], rate: o.rate, every: commitEvery[o.of], lead: time.Second, cpu: x.e.CPU}
	cfg := ingest.Config{Kafka: x.e.Kafka, Source: src, Topics: ingest.Topics{Data: topic, DeadLetter: letters}, Pace: commitPace, Log: x.b.Log}
	if src.every > 0 { // what is handed over is committed at once: the source keeps the time
		cfg.Pace, cfg.EagerEvents = time.Microsecond, 1
	}
	ing, err := ingest.New(cfg)
	if err != nil {
		return err
	}
	x.b.Begin(o.String(), time.Now().Add(src.lead))
	t := &committed{seen: map[string]bool{}}
	if show {
		panel := fmt.Sprintf("oldest event when it can be read (ms), at %s", o.load())
		t.show = func(ms float64) { x.b.Point(o.String(), panel, ms) }
	}
	stopTail, err := kit.Tail(ctx, x.e.Kafka, t.add, topic)
	if err != nil {
		return err
	}
	var ended error
	stopIngest := kit.Background(ctx, func(ctx context.Context) { ended = ing.Run(ctx) })
	total := int64(len(src.events))
	all, err := kit.Poll(ctx, kit.Patience, 2*time.Millisecond, func() (bool, error) { return t.stored.Load() >= total, nil })
	if first := src.first.Load(); first != nil {
		o.cpu, o.running = o.cpu+x.e.CPU()-first.cpu, o.running+time.Since(first.at)
	}
	o.finished = o.finished && all
	stopIngest()
	stopTail()
	if err := cmp.Or(err, ended); err != nil {
		return err
	}
	st := ing.Stats()
	o.events += total
	o.seconds += commitTime.Seconds()
	o.commits += st.Commits - 1 // the first one claims the cursor and has no events
	o.restarts += st.Restarts
	o.stored += t.stored.Load()
	o.foreign += t.twice
	o.latency = append(o.latency, t.ms...)
	return nil
}

// committed notes the records that can be read, and how old each is then.
type committed struct {
	stored atomic.Int64
	ms     []float64
	seen   map[string]bool
	twice  int64
	// show, where it is not nil, gets the age in ms of the oldest record since it was called
	// last.
	show   func(oldest float64)
	oldest float64
	shown  kit.Throttle
}

func (t *committed) add(now time.Time, r *kgo.Record) {
	age := max(0, kit.Milliseconds(now.Sub(r.Timestamp))) // a timestamp has whole milliseconds
	t.ms, t.oldest = append(t.ms, age), max(t.oldest, age)
	if t.seen[string(r.Value)] {
		t.twice++
	}
	t.seen[string(r.Value)] = true
	t.stored.Add(1)
	if t.show != nil && t.oldest > 0 && t.shown.Due(kit.TellEvery) {
		t.show(t.oldest)
		t.oldest = 0
	}
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
	start, next := time.Now(), 0
	for n := range kit.Due(ctx, max(p.every, time.Millisecond), start, p.rate) {
		due := min(len(p.events), int(n))
		if due == next {
			continue
		}
		b := event.NewBatch()
		b.Received = time.Now()
		for ; next < due; next++ {
			x := &p.events[next]
			at := start.Add(time.Duration(float64(next+1) / p.rate * float64(time.Second)))
			*b.Add() = event.Event{Route: event.Data, Kind: x.Kind, Key: b.Copy(x.Key), Value: b.Copy(x.Value),
				ID: b.CopyString(x.ID), TimeUS: at.UnixMicro()}
		}
		b.Cursor = event.Cursor{Host: "lab:0", Seq: from.Seq + int64(next), TimeUS: time.Now().UnixMicro()}
		if err := emit(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}
