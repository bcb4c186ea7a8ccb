// Package parallel is the lab of work that takes long, done by more than one worker: threads
// of one consumer, members of a consumer group, members of a share group.
package parallel

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// Way is a way to work on one topic's records with more than one worker.
type Way string

// The ways. One worker alone is always measured, to compare with.
const (
	// WayThreads is one consumer that hands records to workers of its own.
	WayThreads Way = "threads"
	// WayMembers is a consumer group of several members with one worker each.
	WayMembers Way = "members"
	// WayShare is a share group of more members than there are partitions.
	WayShare Way = "share"
)

// Ways to break the experiment on purpose.
const (
	// BreakScatter hands records to workers in turn where it should go by key.
	BreakScatter = "scatter"
	// BreakAgain works on one record in fifty a second time.
	BreakAgain = "again"
	// BreakForgive acknowledges the poison record when it comes for the third time.
	BreakForgive = "forgive"
	// BreakAlone lets no more members join than there are partitions.
	BreakAlone = "alone"
)

// partitions is how many partitions the topic of Bluesky's posts has.
const partitions = 6

//go:embed help.md
var help string

// Lab is the experiment of work that takes long, done by more than one worker.
var Lab = lab.Define[Settings]("parallel", help)

// Settings is its settings.
type Settings struct {
	Ways []Way `flag:"ways" json:"ways" default:"threads,members,share" choices:"threads,members,share"`
	// Events is how many the simulated Bluesky offers, most of which are posts.
	Events int64 `flag:"events" json:"events" default:"2000" short:"600" min:"300" max:"20000"`
	// Work is how long a worker is busy with one record.
	Work time.Duration `flag:"work" json:"work_ms" default:"10ms" min:"2ms" max:"1s"`
	// Workers is how many threads the one consumer has.
	Workers int `flag:"workers" json:"workers" default:"8" min:"2" max:"64"`
	// Members are the sizes of the consumer group, one after the other.
	Members []int `flag:"members" json:"members" default:"2,3,6,7" short:"3,7" min:"2" max:"24"`
	// Sharers is how many members the share group has: more than there are partitions.
	Sharers int `flag:"sharers" json:"sharers" default:"12" min:"7" max:"24"`
	// Keys is how many accounts the posts come from: few, so that there are several
	// posts of one account at hand.
	Keys int   `flag:"keys" json:"keys" default:"300" min:"20" max:"10000"`
	Seed int64 `flag:"seed" json:"seed" default:"1"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"scatter,again,forgive,alone"`
}

// Check refuses work that takes too long, and breaking a way that is not tried.
func (s *Settings) Check() error {
	if t := time.Duration(s.Events) * s.Work; t > kit.MaxCase {
		return fmt.Errorf("%d events of %v each take one worker %v, longer than a lab may take (%v): use fewer events, or less work", s.Events, s.Work, t, kit.MaxCase)
	}
	way, ok := map[string]Way{BreakScatter: WayThreads, BreakForgive: WayShare, BreakAlone: WayMembers}[s.Break]
	if ok && !slices.Contains(s.Ways, way) {
		return fmt.Errorf("breaking by %q needs the way %q, which is not among %q", s.Break, way, s.Ways)
	}
	if s.Break == BreakAlone && slices.Max(s.Members) <= partitions {
		return fmt.Errorf("breaking by %q needs more members than the topic's %d partitions", s.Break, partitions)
	}
	return nil
}

// offerRate is the events per second that upstream offers while the topic fills.
const offerRate = 2000

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	b.Progress("opening brokers, Redis and upstream")
	g, err := kit.OpenStack(ctx, b, kit.StackConfig{Seed: s.Seed, Rate: offerRate, Events: s.Events, Queue: 10_000,
		Tap: func(_ context.Context, b *event.Batch) { fold(b, s.Keys) }})
	if err != nil {
		return err
	}
	p := &run{Settings: s, b: b, g: g}
	if p.log, err = p.fill(ctx); err != nil {
		return err
	}
	if !p.log.judge(r) {
		return ctx.Err()
	}
	var base *seen
	cases := s.cases()
	for i, c := range cases {
		p.show = func(text string) { b.Progress(fmt.Sprintf("%d of %d  %-18s  %s", i+1, len(cases), c.name, text)) }
		p.group = fmt.Sprintf("weir-lab-parallel-%d", i+1)
		o, err := c.how(p, ctx, c)
		p.leave()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if base == nil {
			base = o
		}
		o.measure(r, base)
		o.judge(r, base, s.Work)
	}
	r.Notes = s.notes(p.log, b.Engine)
	return ctx.Err()
}

// way is one way with one number of workers.
type way struct {
	name    string
	workers int
	how     func(*run, context.Context, way) (*seen, error)
	promise promise
}

// promise is what a way promises of order.
type promise int

const (
	keepsOrder promise = iota
	losesOrder         // threads that take whatever comes next
	sharesOut          // a share group
)

// cases begin with the one that others are compared with.
func (s *Settings) cases() []way {
	out := []way{{"1 worker", 1, (*run).threads, keepsOrder}}
	if slices.Contains(s.Ways, WayThreads) {
		out = append(out, way{fmt.Sprintf("%d threads by key", s.Workers), s.Workers, (*run).threads, keepsOrder},
			way{fmt.Sprintf("%d threads, any", s.Workers), s.Workers, (*run).threads, losesOrder})
	}
	if slices.Contains(s.Ways, WayMembers) {
		for _, n := range s.Members {
			out = append(out, way{fmt.Sprintf("%d members", n), n, (*run).members, keepsOrder})
		}
	}
	if slices.Contains(s.Ways, WayShare) {
		out = append(out, way{fmt.Sprintf("%d share", s.Sharers), s.Sharers, (*run).share, sharesOut})
	}
	return out
}

// notes say what follows.
func (s *Settings) notes(log *backlog, engine string) []string {
	keys, most := map[string]bool{}, int64(0)
	for _, r := range log.records {
		keys[r.key] = true
	}
	for _, n := range log.partitions {
		most = max(most, n)
	}
	notes := []string{
		fmt.Sprintf("%d records of %d keys lie in %d partitions, the fullest of which has %d: a consumer group of any size is at most %.1f times as fast as one worker",
			len(log.records), len(keys), len(log.partitions), most, float64(len(log.records))/float64(most)),
		fmt.Sprintf("one worker of %v processes %.0f records/s; R records/s need R × %v workers, rounded up, and more where keys are uneven", s.Work, 1/s.Work.Seconds(), s.Work),
	}
	if slices.Contains(s.Ways, WayShare) {
		where := "Apache Kafka writes every state to an internal topic with three replicas"
		if engine != cluster.Apache {
			where = "the embedded engine keeps that state in memory; --engine apache pays for it in an internal topic with three replicas"
		}
		notes = append(notes, fmt.Sprintf("the brokers of a share group store the state of every record in progress, and members ask for %d at a time: %s", shareAtOnce, where))
	}
	return notes
}

// speed is how many times as fast as the base a case was.
func speed(base, o *seen) float64 {
	b, e := base.elapsed(), o.elapsed()
	if b == 0 || e == 0 {
		return math.NaN()
	}
	return b / e
}
