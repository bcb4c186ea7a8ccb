// Package parallel is the lab of work that takes long, done by more than one worker: threads
// of one consumer, members of a consumer group, members of a share group.
package parallel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
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

// Ways lists them.
func Ways() []Way { return []Way{WayThreads, WayMembers, WayShare} }

// Ways to break the parallel experiment on purpose.
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

// Breaks lists the ways to break it.
func Breaks() []string {
	return []string{BreakScatter, BreakAgain, BreakForgive, BreakAlone}
}

// Limits of Parallel's settings.
const (
	MinEvents  = 300
	MaxEvents  = 20_000
	MinThreads = 2
	MinSharers = partitions + 1 // more than there are partitions
	MaxMembers = 24
	MinKeys    = 20
	MaxKeys    = 10_000
)

// Lab is the experiment of work that takes long, done by more than one worker:
// threads of one consumer, members of a consumer group, members of a share group.
type Lab struct {
	Ways []Way `json:"ways"`
	// Events is how many the simulated Bluesky offers, most of which are posts.
	Events int64 `json:"events"`
	// Work is how long a worker is busy with one record.
	Work time.Duration `json:"-"`
	// Workers is how many threads the one consumer has.
	Workers int `json:"workers"`
	// Members are the sizes of the consumer group, one after the other.
	Members []int `json:"members"`
	// Sharers is how many members the share group has.
	Sharers int `json:"sharers"`
	// Keys is how many accounts the posts come from: few, so that there are several
	// posts of one account at hand.
	Keys int   `json:"keys"`
	Seed int64 `json:"seed"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// Default takes a minute and a half.
func Default() Lab {
	return Lab{Ways: Ways(), Events: 2000, Work: 10 * time.Millisecond, Workers: 8, Members: []int{2, 3, 6, 7}, Sharers: 12, Keys: 300, Seed: 1}
}

// Short is the same claim in half a minute.
func Short() Lab {
	s := Default()
	s.Events, s.Members = 600, []int{3, 7}
	return s
}

// Name implements Experiment.
func (s *Lab) Name() string { return "parallel" }

// Claim implements Experiment.
func (s *Lab) Claim() string {
	return "The busiest worker decides how long the job takes. Threads that get records by key keep the order of every key; a pool that takes any record loses it. " +
		"A consumer group cannot use more members than partitions: the others are idle. A share group can: it acknowledges record by record, delivers released records again, " +
		"gives a poison record up after its limit, and does not keep order."
}

// Settings implements Experiment.
func (s *Lab) Settings() any {
	return struct {
		*Lab
		WorkMS float64 `json:"work_ms"`
	}{s, kit.Milliseconds(s.Work)}
}

// Check implements Experiment.
func (s *Lab) Check() error {
	if err := kit.Choose("way", s.Ways, Ways()); err != nil {
		return err
	}
	if err := s.checkMembers(); err != nil {
		return err
	}
	switch {
	case s.Events < MinEvents || s.Events > MaxEvents:
		return fmt.Errorf("%d events are not between %d and %d", s.Events, MinEvents, MaxEvents)
	case s.Work < 2*time.Millisecond || s.Work > kit.MaxWork:
		return fmt.Errorf("work of %v is not between 2ms and %v", s.Work, kit.MaxWork)
	case s.Workers < MinThreads || s.Workers > kit.MaxWorkers:
		return fmt.Errorf("%d workers are not between %d and %d", s.Workers, MinThreads, kit.MaxWorkers)
	case s.Sharers < MinSharers || s.Sharers > MaxMembers:
		return fmt.Errorf("a share group of %d is not between %d, one more than there are partitions, and %d", s.Sharers, MinSharers, MaxMembers)
	case s.Keys < MinKeys || s.Keys > MaxKeys:
		return fmt.Errorf("%d keys are not between %d and %d", s.Keys, MinKeys, MaxKeys)
	case s.Break != "" && !slices.Contains(Breaks(), s.Break):
		return kit.NoSuch("way to break", s.Break, Breaks())
	}
	if t := time.Duration(s.Events) * s.Work; t > kit.MaxCase {
		return fmt.Errorf("%d events of %v each take one worker %v, longer than a lab may take (%v): use fewer events, or less work", s.Events, s.Work, t, kit.MaxCase)
	}
	return s.checkBreak()
}

func (s *Lab) checkMembers() error {
	if len(s.Members) == 0 && slices.Contains(s.Ways, WayMembers) {
		return errors.New("no size of the consumer group is given: name some, such as 3,6,7")
	}
	for i, n := range s.Members {
		if n < 2 || n > MaxMembers {
			return fmt.Errorf("a group of %d members is not between 2 and %d: one worker alone is always measured", n, MaxMembers)
		}
		if slices.Contains(s.Members[:i], n) {
			return fmt.Errorf("a group of %d members is named twice", n)
		}
	}
	return nil
}

// checkBreak refuses to break what is not tried.
func (s *Lab) checkBreak() error {
	way, ok := map[string]Way{BreakScatter: WayThreads, BreakForgive: WayShare, BreakAlone: WayMembers}[s.Break]
	if ok && !slices.Contains(s.Ways, way) {
		return fmt.Errorf("breaking by %q needs the way %q, which is not among %q", s.Break, way, s.Ways)
	}
	if s.Break == BreakAlone && slices.Max(s.Members) <= partitions {
		return fmt.Errorf("breaking by %q needs more members than the topic's %d partitions", s.Break, partitions)
	}
	return nil
}

// partitions is how many partitions the topic of Bluesky's posts has.
const partitions = 6

// Run implements Experiment.
func (s *Lab) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	p, err := s.open(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if !p.log.judge(r) {
		return ctx.Err()
	}
	var base *seen
	cases := s.cases()
	for i, c := range cases {
		p.show = func(text string) { b.Progress(fmt.Sprintf("%d of %d  %-18s  %s", i+1, len(cases), c.name, text)) }
		o, err := c.how(p, ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if base == nil {
			base = o
		}
		s.measure(r, base, o)
		s.judge(r, base, o)
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

// caseOne is the case that others are compared with.
const caseOne = "1 worker"

func (s *Lab) cases() []way {
	out := []way{{caseOne, 1, (*run).threads, keepsOrder}}
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
func (s *Lab) notes(log *backlog, engine string) []string {
	most := int64(0)
	for _, n := range log.partitions {
		most = max(most, n)
	}
	notes := []string{
		fmt.Sprintf("%d records of %d keys lie in %d partitions, the fullest of which has %d: a consumer group of any size is at most %.1f times as fast as one worker",
			len(log.records), log.keys(), len(log.partitions), most, float64(len(log.records))/float64(most)),
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
