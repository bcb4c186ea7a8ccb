// Package replay is the lab about a consumer group that goes back to the beginning of the log
// while events keep coming in and another group keeps counting them.
package replay

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
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
	kit.FromLive
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"skip,stay"`
}

// Derived are figures that follow from the settings.
func (s *Settings) Derived() map[string]any { return map[string]any{"events": s.events()} }

func (s *Settings) events() int64 { return int64(s.Rate * s.Offer.Seconds()) }

// seen is what was seen.
type seen struct {
	truth map[string]int64 // by event type, of the data topic
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
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	b.Progress("opening brokers, Redis and upstream")
	g, err := kit.OpenStack(ctx, b, kit.StackConfig{Live: s.Live, Offer: s.Offer, Seed: s.Seed, Rate: s.Rate, Events: s.events(), Queue: 10_000})
	if err != nil {
		return err
	}
	w := &watch{g: g, b: b}
	if err := s.observe(ctx, w); err != nil && !errors.Is(err, errStill) {
		return err
	}
	s.judge(r, &w.seen)
	return ctx.Err()
}

// startAgain starts the group that counts a second time.
func (w *watch) startAgain(ctx context.Context) (stop func(), err error) {
	_, stop, err = kit.StartCounter(ctx, w.b, count.Config{Kafka: w.g.Kafka, Store: w.g.Store, Topic: kafka.TopicBluesky, Group: replayGroup,
		Classify: bluesky.Classify, Log: w.b.Log})
	return stop, err
}

// observe lets the second group begin when half of the events have come, rewinds it
// when it has caught up, and waits until both groups have counted everything.
func (s *Settings) observe(ctx context.Context, w *watch) error {
	b := w.b
	if s.Live == nil {
		w.truth = simulate.Count(w.g.Server.Items(0, s.events())).Data
	}
	half := kit.Sum(w.truth) / 2
	b.Begin(caseAgain, w.g.Start)
	b.Begin(caseLive, w.g.Start)
	begun := func() bool { return w.nLive >= half }
	if s.Live != nil { // how many there will be is not known
		begun = func() bool { return time.Since(w.g.Start) >= s.Offer/2 && w.nLive > 0 }
	}
	if err := w.until(ctx, begun); err != nil {
		return err
	}
	if s.Live != nil {
		half = w.nLive
	}
	b.Mark(caseAgain, "a second group begins at offset 0")
	stop, err := w.startAgain(ctx)
	if err != nil {
		return err
	}
	err = w.until(ctx, func() bool { return w.nAgain >= half })
	stop()
	if err != nil {
		return err
	}
	if err := s.rewind(ctx, w); err != nil {
		return err
	}
	b.Mark(caseAgain, "it is rewound to offset 0")
	from, began := w.nLive, time.Now() // what there was when it began
	if _, err = w.startAgain(ctx); err != nil {
		return err
	}
	if err := w.until(ctx, func() bool { return w.nAgain >= from }); err != nil {
		return err
	}
	b.Mark(caseAgain, "it has caught up")
	w.refill, w.refilled = time.Since(began).Seconds(), w.nAgain-w.after
	err = w.until(ctx, func() bool { return w.all() && w.nLive >= kit.Sum(w.truth) })
	if w.during = w.nLive - from; err != nil {
		return err
	}
	// What would be too much comes with a commit that is under way.
	return cmp.Or(w.g.StopIngest(), w.ending(ctx))
}

// rewind sets the second group back to the beginning of the log.
func (s *Settings) rewind(ctx context.Context, w *watch) error {
	before, err := w.g.Store.Partitions(ctx, replayGroup, kafka.TopicBluesky)
	if err != nil {
		return err
	}
	for p, t := range before {
		w.before += kit.Sum(t.Counts)
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
	w.after = kit.Sum(after)
	return err
}

// ending reads what the topic holds, and what both groups have counted once they
// are past its last records.
func (w *watch) ending(ctx context.Context) error {
	last := map[int32]int64{} // offset of each partition
	err := kit.ReadBack(ctx, w.g.Kafka, w.g.Client, func(r *kgo.Record) {
		w.records++
		last[r.Partition] = r.Offset
	}, kafka.TopicBluesky)
	if err != nil {
		return err
	}
	var broken error
	err = w.until(ctx, func() bool {
		for group, counts := range map[string]*map[string]int64{kafka.GroupBluesky: &w.live, replayGroup: &w.again} {
			all, err := w.g.Store.Partitions(ctx, group, kafka.TopicBluesky)
			if broken = err; err != nil {
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
	w.finished = err == nil
	return cmp.Or(err, broken)
}

// errStill means that no count has changed for as long as the lab waits.
var errStill = errors.New("no count changes any more")

// watch reads the counts of both groups again and again.
type watch struct {
	seen
	g               *kit.Stack
	b               *lab.Bench
	nLive, nAgain   int64 // counted so far
	shown, reported kit.Throttle
}

// all reports whether upstream has offered everything; what a live one did is the truth.
func (w *watch) all() bool {
	if w.g.Noted == nil {
		return true
	}
	_, over := w.g.Noted.Tip()
	if over {
		w.truth = w.g.Noted.Kinds()
	}
	return over
}

// until notes the counts until ok returns true. It returns errStill when no count has changed
// for as long as the lab waits.
func (w *watch) until(ctx context.Context, ok func() bool) error {
	for moved := time.Now(); ; {
		live, err := w.g.Store.Totals(ctx, kafka.GroupBluesky, kafka.TopicBluesky)
		if err != nil {
			return err
		}
		again, err := w.g.Store.Totals(ctx, replayGroup, kafka.TopicBluesky)
		if err != nil {
			return err
		}
		l, a := kit.Sum(live), kit.Sum(again)
		w.shrunk = w.shrunk || l < w.nLive
		if l != w.nLive || a != w.nAgain {
			moved = time.Now()
		}
		w.nLive, w.nAgain = l, a
		if w.reported.Due(kit.TellEvery) {
			w.b.Point(caseLive, "counted (events)", float64(l))
			w.b.Point(caseAgain, "counted (events)", float64(a))
		}
		if w.shown.Due(200 * time.Millisecond) {
			of := ""
			if w.g.Noted == nil {
				of = fmt.Sprintf(", of %d", kit.Sum(w.truth))
			}
			w.b.Progress(fmt.Sprintf("live %d, counted again %d%s", l, a, of))
		}
		switch {
		case ok():
			return nil
		case time.Since(moved) > kit.Patience/2:
			return errStill
		}
		if err := kit.Wait(ctx, kit.SampleEvery); err != nil {
			return err
		}
	}
}

const (
	caseLive  = "live"
	caseAgain = "again"
)

// judge adds figures and checks.
func (s *Settings) judge(r *lab.Report, o *seen) {
	live, again := r.Of(caseLive), r.Of(caseAgain)
	live.Measure("counted", float64(kit.Sum(o.live)), "events")
	again.Measure("counted", float64(kit.Sum(o.again)), "events")
	again.Measure("counted before the rewind", float64(o.before), "events")
	again.Measure("refilled", float64(o.refilled), "events")
	if o.refill > 0 {
		again.Measure("refilled in", o.refill, "s")
		again.Measure("speed", float64(o.refilled)/o.refill, "events/s")
		live.Measure("counted after the rewind", float64(o.during), "events")
	}
	truth := kit.Sum(o.truth)
	counted := live.Needs(o.finished, "every event is counted in time", fmt.Sprintf("%d, twice", truth), "no more came for half a minute")
	rewound := again.Needs(o.before > 0 && o.after == 0, "the group is rewound", "some counted before, 0 thereafter", "%d, %d", o.before, o.after)
	goesOn := live.Needs(o.during > 0, "events keep coming in after the other group was rewound", "at least 1 counted", "0")
	if !counted || !rewound || !goesOn {
		return
	}
	const once = "%v, once less: %v"
	live.Same("the live group is unaffected: its counts never fall, and end at the expected counts",
		fmt.Sprintf(once, kit.Sorted(o.truth), false), once, kit.Sorted(o.live), o.shrunk)
	again.Same("the rewound group has the same counts of every event type", fmt.Sprint(kit.Sorted(o.live)), "%v", kit.Sorted(o.again))
	again.Same("reading adds and removes no records", fmt.Sprintf("%d records", truth), "%d records", o.records)
}
