package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/lab"
)

// Ways to break the batching experiment on purpose, beside twice (some records are
// written again) and idle (no connection is cut).
const (
	// BreakHurry lets no producer linger.
	BreakHurry = "hurry"
)

// BatchingBreaks lists the ways to break it.
func BatchingBreaks() []string { return []string{BreakTwice, BreakHurry, BreakIdle} }

// Limits of Batching's settings.
const (
	MinBatchingRate   = 200
	MaxBatchingRate   = 20_000
	MinBatchingTime   = time.Second
	MaxBatchingTime   = time.Minute
	MaxBatchingRounds = 9
	MinFlood          = 1000
	MaxFlood          = 1_000_000
	maxSettings       = 32
)

// Batching is the experiment of what it costs to send records one way or another, in
// latency, CPU and bytes, and of commits that adapt to the load.
type Batching struct {
	Producers []ProducerSetting `json:"producers"`
	// Rate is the events per second at which each is measured, for the time Offer.
	Rate  float64       `json:"rate"`
	Offer time.Duration `json:"-"`
	// Flood is how many more events are written as fast as possible.
	Flood int `json:"flood"`
	// Rounds is how often everything is measured, in turns.
	Rounds int `json:"rounds"`
	// Within is the latency that a setting may have to be chosen.
	Within time.Duration `json:"-"`
	Seed   int64         `json:"seed"`
	// Live is where the records are from, recorded first; From is a topic that they are
	// read from. Where both are nil they are simulated.
	Live *Upstream  `json:"live,omitempty"`
	From *FromTopic `json:"from,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// DefaultBatching varies one thing at a time.
func DefaultBatching() Batching {
	s := Batching{Rate: 2000, Offer: 3 * time.Second, Flood: 20_000, Rounds: 2, Within: 100 * time.Millisecond, Seed: 1}
	for _, text := range []string{"base", "linger=0", "linger=2ms", "linger=5ms", "linger=50ms", "linger=200ms", "batch=4k", "compression=none", "compression=lz4", "compression=gzip",
		"compression=zstd", "idempotence=off", "acks=1", "acks=0"} {
		p, _ := ParseProducerSetting(text) // known to be right
		s.Producers = append(s.Producers, p)
	}
	return s
}

// ShortBatching is the same claim in the least time.
func ShortBatching() Batching {
	s := DefaultBatching()
	s.Rate, s.Offer, s.Flood, s.Rounds = 1000, MinBatchingTime, 5000, 1
	s.Producers = slices.DeleteFunc(s.Producers, func(p ProducerSetting) bool {
		return p.Linger > 0 && p.Linger < 10*time.Millisecond || p.Linger == 50*time.Millisecond || p.Compression == "lz4" || p.Compression == "gzip" || p.String() == "idempotence=off"
	})
	return s
}

// Name implements Experiment.
func (s *Batching) Name() string { return "batching" }

// Source implements Sourced.
func (s *Batching) Source() string {
	if s.From != nil {
		return "records of the topic " + s.From.Topic
	}
	return s.Live.Name()
}

// Claim implements Experiment.
func (s *Batching) Claim() string {
	return "Batches trade latency for CPU, requests and bytes: the longer one waits, the fewer requests there are, and no setting is best at everything. " +
		"With acks=all and idempotence every record arrives once and in its key's order, even through connections that are cut; acks=1 doubles what was answered into the void, and acks=0 loses in silence. " +
		"Commits that adapt to the load are as quick as short ones when little comes, and cheaper than those when much does."
}

// Settings implements Experiment.
func (s *Batching) Settings() any {
	var names []string
	for _, p := range s.Producers {
		names = append(names, p.String())
	}
	return struct {
		*Batching
		Names        []string `json:"names"`
		OfferSeconds float64  `json:"offer_s"`
		WithinMS     float64  `json:"within_ms"`
	}{s, names, s.Offer.Seconds(), Milliseconds(s.Within)}
}

// Check implements Experiment.
func (s *Batching) Check() error {
	if len(s.Producers) == 0 || len(s.Producers) > maxSettings {
		return fmt.Errorf("%d settings to try are not between 1 and %d", len(s.Producers), maxSettings)
	}
	for i, p := range s.Producers {
		if err := p.check(); err != nil {
			return err
		}
		if slices.Contains(s.Producers[:i], p) {
			return fmt.Errorf("setting %q is named twice", p)
		}
	}
	switch {
	case !(s.Rate >= MinBatchingRate && s.Rate <= MaxBatchingRate):
		return fmt.Errorf("a rate of %v is not between %d and %d events a second", s.Rate, MinBatchingRate, MaxBatchingRate)
	case s.Offer < MinBatchingTime || s.Offer > MaxBatchingTime:
		return fmt.Errorf("a time of %v is not between %v and %v", s.Offer, MinBatchingTime, MaxBatchingTime)
	case s.Flood < MinFlood || s.Flood > MaxFlood:
		return fmt.Errorf("a flood of %d events is not between %d and %d", s.Flood, MinFlood, MaxFlood)
	case s.Rounds < 1 || s.Rounds > MaxBatchingRounds:
		return fmt.Errorf("%d rounds are not between 1 and %d", s.Rounds, MaxBatchingRounds)
	case s.Within < time.Millisecond || s.Within > MaxLinger:
		return fmt.Errorf("a latency of %v to be within is not between 1ms and %v", s.Within, MaxLinger)
	case s.Break != "" && !slices.Contains(BatchingBreaks(), s.Break):
		return NoSuch("way to break", s.Break, BatchingBreaks())
	case s.Live != nil && s.From != nil:
		return errors.New("records of a topic and of a live stream contradict each other: leave out one of them")
	}
	return s.Live.Check()
}

// Run implements Experiment.
func (s *Batching) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	return s.run(ctx, b, r, committings())
}

// run carries it out, with some ways of committing.
func (s *Batching) run(ctx context.Context, b *lab.Bench, r *lab.Report, ways []committing) (err error) {
	own, err := s.own(ctx, b) // where there are none, nothing has to be started
	if err != nil {
		return err
	}
	b.Progress("starting three brokers")
	e, err := OpenEngine(ctx, b, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	run, err := s.open(ctx, b, e, own)
	if err != nil {
		return err
	}
	defer run.close()
	seen, err := run.producers(ctx)
	if err != nil {
		return err
	}
	s.judgeProducers(r, seen)
	for _, c := range deliveries() {
		o, err := run.deliver(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		o.judge(r)
	}
	if len(ways) > 0 {
		commits, err := run.commits(ctx, ways)
		if err != nil {
			return err
		}
		judgeCommits(r, commits)
	}
	s.choose(r, seen)
	for _, t := range r.Tradeoffs {
		b.Tradeoff(t)
	}
	r.Notes = append(r.Notes, run.ownNotes()...)
	return ctx.Err()
}
