// Package replay is the lab about a consumer group that goes back to the beginning of the log
// while events keep coming in and another group keeps counting them.
package replay

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/simulate"
)

// Ways to break the replay experiment on purpose.
const (
	// BreakSkip rewinds to a little after the beginning.
	BreakSkip = "skip"
	// BreakStay does not rewind.
	BreakStay = "stay"
)

// skipped is how many offsets BreakSkip leaves out of each partition.
const skipped = 5

// replayGroup counts again what the live group counts.
const replayGroup = kafka.GroupBluesky + ".replay"

//go:embed help.md
var help string

// Lab lets a consumer group go back to the beginning while events go on coming in,
// and while another group goes on counting them.
var Lab = lab.Define[Settings]("replay", help)

// Settings is its settings.
type Settings struct {
	// Rate is how many events per second the upstream offers, for the time Offer.
	Rate  float64       `flag:"rate" json:"rate" default:"2000" short:"1000" min:"50" max:"20000" simulated:"only"`
	Offer time.Duration `flag:"time" json:"offer_s" default:"20s" short:"4s" min:"2s" max:"15m"`
	Seed  int64         `flag:"seed" json:"seed" default:"1" simulated:"only"`
	// Live is where events come from for the time Offer, at their own rate; nil for the
	// simulated stream.
	Live *kit.Upstream `json:"live,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"skip,stay"`
}

// SetLive takes events from a live stream.
func (s *Settings) SetLive(u *kit.Upstream) { s.Live = u }

// Source implements lab.Sourced.
func (s *Settings) Source() string { return s.Live.Name() }

// Derived are figures that follow from the settings.
func (s *Settings) Derived() map[string]any { return map[string]any{"events": s.events()} }

func (s *Settings) events() int64 { return int64(s.Rate * s.Offer.Seconds()) }

// Check says what is wrong with the live stream.
func (s *Settings) Check() error { return s.Live.Check() }

// seen is what was seen.
type seen struct {
	truth map[string]int64 // by kind, of the data topic
	// live and again are what the two groups have counted at the end, records what
	// the topic holds.
	live, again map[string]int64
	records     int64
	// before is how much had been counted again when it was rewound, after right
	// thereafter; during is how much the live group counted from then on.
	before, after, during int64
	shrunk                bool // the live group's counts once became less
	finished              bool
	refill                float64 // seconds
	refilled              int64   // events

}

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	b.Progress("opening brokers, Redis and upstream")
	g, err := kit.OpenStack(ctx, b, kit.StackConfig{Live: s.Live, Offer: s.Offer, Seed: s.Seed, Rate: s.Rate, Events: s.events(), Queue: 10_000})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	o, err := s.observe(ctx, b, g)
	if err != nil {
		return err
	}
	s.measure(r, o)
	s.judge(r, o)
	return ctx.Err()
}

// again is the group that counts a second time, while it runs.
type again struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func startAgain(ctx context.Context, b *lab.Bench, g *kit.Stack) (*again, error) {
	c, err := count.New(count.Config{Kafka: g.Kafka, Store: g.Store, Topic: kafka.TopicBluesky, Group: replayGroup, Classify: bluesky.Classify, Log: b.Log})
	if err != nil {
		return nil, err
	}
	a := &again{}
	ctx, a.stop = context.WithCancel(ctx)
	a.wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			b.Log.Error("counter ended", "group", replayGroup, "error", err)
		}
	})
	return a, nil
}

func (a *again) end() {
	a.stop()
	a.wg.Wait()
}

// observe lets the second group begin when half of the events have come, rewinds it
// when it has caught up, and waits until both groups have counted everything.
func (s *Settings) observe(ctx context.Context, b *lab.Bench, g *kit.Stack) (*seen, error) {
	o := &seen{}
	w := &watch{o: o, g: g, b: b}
	if s.Live == nil {
		o.truth = simulate.Count(g.Server.Items(0, s.events())).Data
	}
	half := kit.Sum(o.truth) / 2
	b.Begin(caseAgain, g.Start)
	b.Begin(caseLive, g.Start)
	begun := func() bool { return w.live >= half }
	if s.Live != nil { // how many there will be nobody knows
		begun = func() bool { return time.Since(g.Start) >= s.Offer/2 && w.live > 0 }
	}
	if ok, err := w.until(ctx, begun); err != nil || !ok {
		return o, err
	}
	if s.Live != nil {
		half = w.live
	}
	b.Mark(caseAgain, "a second group begins at offset 0")
	a, err := startAgain(ctx, b, g)
	if err != nil {
		return nil, err
	}
	ok, err := w.until(ctx, func() bool { return w.again >= half })
	a.end()
	if err != nil || !ok {
		return o, err
	}
	if err := s.rewind(ctx, w); err != nil {
		return nil, err
	}
	b.Mark(caseAgain, "it is rewound to offset 0")
	from, began := w.live, time.Now()
	if a, err = startAgain(ctx, b, g); err != nil {
		return nil, err
	}
	defer a.end()
	target := w.live // what there was when it began
	if ok, err = w.until(ctx, func() bool { return w.again >= target }); err != nil || !ok {
		return o, err
	}
	b.Mark(caseAgain, "it has caught up")
	o.refill, o.refilled = time.Since(began).Seconds(), w.again-o.after
	ok, err = w.until(ctx, func() bool { return w.all() && w.live >= kit.Sum(o.truth) })
	if o.during = w.live - from; err != nil || !ok {
		return o, err
	}
	// What would be too much comes with a commit that is under way.
	if err := g.StopIngest(); err != nil {
		return nil, err
	}
	return o, o.ending(ctx, w)
}

// rewind sets the second group back to the beginning of the log.
func (s *Settings) rewind(ctx context.Context, w *watch) error {
	before, err := w.g.Store.Partitions(ctx, replayGroup, kafka.TopicBluesky)
	if err != nil {
		return err
	}
	for p, t := range before {
		w.o.before += kit.Sum(t.Counts)
		to := t.Start
		switch s.Break {
		case BreakSkip:
			to += skipped
		case BreakStay:
			continue
		}
		if err := w.g.Store.Reset(ctx, replayGroup, kafka.TopicBluesky, p, t.TopicID, to); err != nil {
			return fmt.Errorf("rewind: %w", err)
		}
	}
	after, err := w.g.Store.Totals(ctx, replayGroup, kafka.TopicBluesky)
	if err != nil {
		return err
	}
	w.o.after = kit.Sum(after)
	return nil
}

// ending reads what the topic holds, and what both groups have counted once they
// are past its last records.
func (o *seen) ending(ctx context.Context, w *watch) error {
	last, err := o.read(ctx, w.g)
	if err != nil {
		return err
	}
	var broken error
	o.finished, err = w.until(ctx, func() bool {
		for group, counts := range map[string]*map[string]int64{kafka.GroupBluesky: &o.live, replayGroup: &o.again} {
			all, err := w.g.Store.Partitions(ctx, group, kafka.TopicBluesky)
			if err != nil {
				broken = err
				return true
			}
			*counts = map[string]int64{}
			for p, offset := range last {
				t := all[p]
				if t.Next <= offset {
					return false
				}
				for k, n := range t.Counts {
					(*counts)[k] += n
				}
			}
		}
		return true
	})
	return errors.Join(err, broken)
}

// read counts the topic's records and returns the last offset of each partition.
func (o *seen) read(ctx context.Context, g *kit.Stack) (last map[int32]int64, err error) {
	cl, err := g.Kafka.NewClient()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	bounds, err := kafka.Bounds(ctx, cl, kafka.TopicBluesky)
	if err != nil {
		return nil, err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	last = map[int32]int64{}
	err = kafka.Scan(ctx, g.Kafka, ranges, func(r *kgo.Record) error {
		o.records++
		last[r.Partition] = r.Offset
		return nil
	})
	return last, err
}

// watch reads the counts of both groups again and again.
type watch struct {
	o           *seen
	g           *kit.Stack
	b           *lab.Bench
	live, again int64
	shown, told time.Time
}

// all reports whether upstream has offered everything; what a live one did is the truth.
func (w *watch) all() bool {
	if w.g.Noted == nil {
		return true
	}
	_, over := w.g.Noted.Tip()
	if over {
		w.o.truth = w.g.Noted.Kinds()
	}
	return over
}

// until notes the counts until ok says so. It reports false when nothing has moved
// for as long as anybody waits.
func (w *watch) until(ctx context.Context, ok func() bool) (bool, error) {
	tick := time.NewTicker(kit.SampleEvery)
	defer tick.Stop()
	for moved := time.Now(); ; {
		live, err := w.g.Store.Totals(ctx, kafka.GroupBluesky, kafka.TopicBluesky)
		if err != nil {
			return false, err
		}
		again, err := w.g.Store.Totals(ctx, replayGroup, kafka.TopicBluesky)
		if err != nil {
			return false, err
		}
		l, a := kit.Sum(live), kit.Sum(again)
		w.o.shrunk = w.o.shrunk || l < w.live
		if l != w.live || a != w.again {
			moved = time.Now()
		}
		w.live, w.again = l, a
		if time.Since(w.told) >= kit.TellEvery {
			w.told = time.Now()
			w.b.Point(caseLive, "counted (events)", float64(l))
			w.b.Point(caseAgain, "counted (events)", float64(a))
		}
		if time.Since(w.shown) > 200*time.Millisecond {
			w.shown = time.Now()
			of := ""
			if w.g.Noted == nil {
				of = fmt.Sprintf(", of %d", kit.Sum(w.o.truth))
			}
			w.b.Progress(fmt.Sprintf("live %d, counted again %d%s", l, a, of))
		}
		if ok() {
			return true, nil
		}
		if time.Since(moved) > kit.Patience/2 {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}

const (
	caseLive  = "live"
	caseAgain = "again"
)

// measure adds figures.
func (s *Settings) measure(r *lab.Report, o *seen) {
	r.Measure(caseLive, "counted", float64(kit.Sum(o.live)), "events")
	r.Measure(caseAgain, "counted", float64(kit.Sum(o.again)), "events")
	r.Measure(caseAgain, "counted before the rewind", float64(o.before), "events")
	r.Measure(caseAgain, "refilled", float64(o.refilled), "events")
	if o.refill > 0 {
		r.Measure(caseAgain, "refilled in", o.refill, "s")
		r.Measure(caseAgain, "speed", float64(o.refilled)/o.refill, "events/s")
		r.Measure(caseLive, "counted after the rewind", float64(o.during), "events")
	}
}

// judge adds the checks.
func (s *Settings) judge(r *lab.Report, o *seen) {
	conditions := len(r.Checks)
	if !o.finished {
		r.Unknown(caseLive, "every event is counted in time", fmt.Sprintf("%d, twice", kit.Sum(o.truth)), "no more came for half a minute")
	}
	if o.before == 0 || o.after > 0 {
		r.Unknown(caseAgain, "the group is rewound", "some counted before, 0 thereafter", fmt.Sprintf("%d, %d", o.before, o.after))
	}
	if o.during == 0 {
		r.Unknown(caseLive, "events keep coming in after the other group was rewound", "at least 1 counted", "0")
	}
	if len(r.Checks) > conditions {
		return
	}
	r.Check(caseLive, "the live group is unaffected: its counts never fall, and end at the expected counts", fmt.Sprint(kit.Sorted(o.truth)),
		fmt.Sprintf("%v, once less: %v", kit.Sorted(o.live), o.shrunk), maps.Equal(o.live, o.truth) && !o.shrunk)
	r.Check(caseAgain, "the rewound group has the same counts of every event type", fmt.Sprint(kit.Sorted(o.live)), fmt.Sprint(kit.Sorted(o.again)), maps.Equal(o.again, o.live))
	r.Check(caseAgain, "reading adds and removes no records", fmt.Sprintf("%d records", kit.Sum(o.truth)), fmt.Sprintf("%d records", o.records), o.records == kit.Sum(o.truth))
}
