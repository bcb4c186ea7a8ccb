// Package batching is the lab about what it costs to send records one way or another: linger,
// batch size, compression and acknowledgements, and commits that adapt to the load.
package batching

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// Ways to break the experiment on purpose, beside idle, which cuts no connection.
const (
	// BreakHurry lets no producer linger.
	BreakHurry = "hurry"
	// BreakTwice writes some records a second time.
	BreakTwice = "twice"
)

// maxSettings bounds how many producers are measured.
const maxSettings = 32

// topicPartitions is how many partitions each topic has that producers write to.
const topicPartitions = 6

//go:embed help.md
var help string

// Lab is about what it costs to send records one way or another, in latency, CPU
// and bytes, and about commits that adapt to the load.
var Lab = lab.Define[Settings]("batching", help)

// Settings is its settings. The usual producers differ in one thing at a time.
type Settings struct {
	Producers ProducerSettings `flag:"setting" json:"producers" default:"usual" short:"few" list:"repeat"`
	// Rate is how many events per second each is measured at, for the time Offer.
	Rate  float64       `flag:"rate" json:"rate" default:"2000" short:"1000" min:"200" max:"20000"`
	Offer time.Duration `flag:"time" json:"offer_s" default:"3s" short:"1s" min:"1s" max:"1m"`
	// Flood is how many more events are written as fast as possible.
	Flood int `flag:"flood" json:"flood" default:"20000" short:"5000" min:"1000" max:"1000000"`
	// Rounds is how often everything is measured, in turns.
	Rounds int `flag:"rounds" json:"rounds" default:"2" short:"1" min:"1" max:"9"`
	// Within is the latency that a setting may have to be chosen.
	Within time.Duration `flag:"within" json:"within_ms" default:"100ms" min:"1ms" max:"5s"`
	Seed   int64         `flag:"seed" json:"seed" default:"1"`
	// FromLive is where the records are from, recorded first; From is a topic that they are
	// read from. Where both are nil they are simulated.
	kit.FromLive
	From *FromTopic `json:"from,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"twice,hurry,idle"`
}

// SetTopic takes records from a topic.
func (s *Settings) SetTopic(cfg kafka.Config, topic string) {
	s.From = &FromTopic{Kafka: cfg, Topic: topic}
}

// Source is what a report says of the records.
func (s *Settings) Source() string {
	if s.From != nil {
		return "records of the topic " + s.From.Topic
	}
	return s.FromLive.Source()
}

// Derived are what the report says beside the settings: what each producer is called.
func (s *Settings) Derived() map[string]any {
	names := make([]string, len(s.Producers))
	for i, p := range s.Producers {
		names[i] = p.String()
	}
	return map[string]any{"names": names}
}

// Check says what is wrong with the producers and the source of the records.
func (s *Settings) Check() error {
	if len(s.Producers) > maxSettings {
		return fmt.Errorf("%d settings to try are more than %d", len(s.Producers), maxSettings)
	}
	for _, p := range s.Producers {
		if err := p.check(); err != nil {
			return err
		}
	}
	if s.Live != nil && s.From != nil {
		return errors.New("records of a topic and of a live stream contradict each other: leave out one of them")
	}
	return s.FromLive.Check()
}

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	return s.run(ctx, b, r, committings())
}

// run carries it out, with some ways of committing.
func (s *Settings) run(ctx context.Context, b *lab.Bench, r *lab.Report, ways []committing) error {
	own, err := s.own(ctx, b) // where there are none, nothing has to be started
	if err != nil {
		return err
	}
	b.Progress("starting three brokers")
	e, err := kit.OpenEngine(ctx, b, nil)
	if err != nil {
		return err
	}
	run, err := s.open(b, e, own)
	if err != nil {
		return err
	}
	seen, err := run.producers(ctx)
	if err != nil {
		return err
	}
	s.judgeProducers(r, seen)
	for _, c := range []delivery{deliverSafe, deliverOnce, deliverNever} {
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
