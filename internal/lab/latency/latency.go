// Package latency is the lab about the time from the socket to the count: in which stage it is
// spent, at which load, and what a shorter pace of commits changes.
package latency

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/lab"
)

// maxSteps bounds how many loads and paces are measured.
const maxSteps = 8

//go:embed help.md
var help string

// Lab is about the time from the socket to the count, by stage and by load.
var Lab = lab.Define[Settings]("latency", help)

// Settings is its settings.
type Settings struct {
	// Paces are the ingester's, one after the other.
	Paces []time.Duration `flag:"paces" json:"paces" default:"20ms,200ms" min:"1ms" max:"5s"`
	// Rates are the loads in events per second, each offered for the time Offer. After the last
	// one the load rises until the pipeline falls behind.
	Rates []float64     `flag:"rates" json:"rates" default:"100,1000,10000" min:"10" max:"50000"`
	Offer time.Duration `flag:"time" json:"offer_s" default:"10s" short:"1500ms" min:"1s" max:"5m"`
	// Play is how long, after the last of the rates, the user can change rate and stages by hand.
	Play time.Duration `flag:"play" json:"play_s" default:"0s" min:"0s" max:"10m"`
	Seed int64         `flag:"seed" json:"seed" default:"1" simulated:"only"`
	// Break is empty, or the stage that stalls.
	Break string `flag:"break" json:"break,omitempty" choices:"socket,queue,transaction,fetch,redis,idle"`
}

// Check says what is wrong with the settings, beyond their bounds.
func (s *Settings) Check() error {
	if len(s.Paces) > maxSteps || len(s.Rates) > maxSteps {
		return fmt.Errorf("%d paces and %d rates: at most %d of each can be measured", len(s.Paces), len(s.Rates), maxSteps)
	}
	if !slices.IsSorted(s.Paces) || !slices.IsSorted(s.Rates) {
		return fmt.Errorf("--paces %v, --rates %v: begin with the smallest", s.Paces, s.Rates)
	}
	return nil
}

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	var all []*observation
	for _, pace := range s.Paces {
		o, err := lab.Part(b, func(b *lab.Bench) (*observation, error) { return s.observe(ctx, b, pace) })
		if err != nil {
			return fmt.Errorf("%s: %w", caseOf(pace), err)
		}
		o.measure(r)
		all = append(all, o)
	}
	s.judge(r, all)
	r.Charts = charts(all)
	for _, o := range all {
		r.Notes = append(r.Notes, o.note())
	}
	return ctx.Err()
}

func caseOf(pace time.Duration) string { return fmt.Sprintf("pace %v", pace) }

// stalled is for how long a stage that stalls keeps each request or batch, or how much longer the
// pace is: longer than the longest usual pace, so that it shows.
const stalled = 500 * time.Millisecond

// stalling names the stages that can stall at any time. For the queue the pace is longer, from
// the start on: that is what events wait for there.
var stalling = map[string]stage{"socket": socket, "transaction": transaction, "fetch": fetch, "redis": redis}

// breakQueue is the way to break the queue.
const breakQueue = "queue"

// stalls says for how long each stage stalls.
type stalls [stages]atomic.Int64

// of returns a function that says how long a stage stalls.
func (s *stalls) of(i stage) func() time.Duration {
	return func() time.Duration { return time.Duration(s[i].Load()) }
}

// set lets one stage stall, and no other.
func (s *stalls) set(name string) {
	broken, ok := stalling[name]
	for i := range stages {
		s[i].Store(0)
		if ok && i == broken {
			s[i].Store(int64(stalled))
		}
	}
}
