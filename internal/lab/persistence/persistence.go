// Package persistence is the lab of killing everything at once, brokers, Redis, producers and
// consumers, without warning, and starting it again; and of the log's retention, which alone
// may remove records.
package persistence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// Ways to break the experiment on purpose.
const (
	// breakForget removes the first file of the log while everything is down.
	breakForget = "forget"
	// breakSpare kills nothing.
	breakSpare = "spare"
)

//go:embed help.md
var help string

// Lab kills everything at once, brokers, Redis, producers and consumers, without warning, and
// starts it again. Then it watches retention, which alone may remove records.
var Lab = lab.Define[Settings]("persistence", help)

// Settings is its settings.
type Settings struct {
	// Kills is how often everything is killed, Between how long it runs before.
	Kills   int           `flag:"kills" json:"kills" default:"5" short:"2" min:"1" max:"20"`
	Between time.Duration `flag:"between" json:"between_s" default:"4s" short:"1s" min:"500ms" max:"1m"`
	// Rate is the events per second of the simulated Bluesky.
	Rate float64 `flag:"rate" json:"rate" default:"500" min:"20" max:"5000" simulated:"only"`
	// FromLive is where weir's Bluesky comes from, whatever the Rate. WikipediaURL is its
	// Wikipedia's, empty for the public one.
	kit.FromLive
	WikipediaURL string `json:"wikipedia_url,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"forget,spare"`

	program string
}

// SetWikipedia takes Wikipedia's events, where Bluesky's are live, from a server.
func (s *Settings) SetWikipedia(url string) { s.WikipediaURL = url }

// SetProgram names the program that runs weir, by its path.
func (s *Settings) SetProgram(path string) { s.program = path }

// Check says what is wrong with the live stream and the program.
func (s *Settings) Check() error {
	if s.program == "" {
		return errors.New("no program to kill")
	}
	return s.FromLive.Check()
}

// Cases of the experiment.
const (
	caseKill      = "kill everything"
	caseRetention = "retention"
)

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	if runtime.GOOS == "windows" {
		return errors.New("the lab persistence kills and signals processes, which needs Linux or macOS")
	}
	if s.Break == breakForget && b.Engine == cluster.Apache {
		return fmt.Errorf("breaking by %q is for the embedded engine: a file that one broker loses is also on two others", s.Break)
	}
	o, err := s.observe(ctx, b)
	if err != nil {
		return fmt.Errorf("%s: %w", caseKill, err)
	}
	o.measure(r)
	o.judge(r, s.Kills)
	if s.Break == "" {
		t, err := observeRetention(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", caseRetention, err)
		}
		t.measure(r)
		t.judge(r)
	}
	return ctx.Err()
}

// round is one kill and what came of it.
type round struct {
	records int64 // committed when it was killed
	killed  bool  // the process ended by SIGKILL, and nobody answered thereafter
	// gone and changed are records that were there before and are not, or are
	// different; back counts partitions of which a group's committed offset went back.
	gone, changed, back int64
	// first is how long after the start the first new event was counted, in seconds.
	first float64
}

// seen is what was seen of all rounds.
type seen struct {
	rounds []round
	// records is how many the topics held at the end, doubled how many of them were
	// there already; miscounted how many counts in Redis differ from the log.
	records, doubled int64
	counted          int64
	miscounted       int64
	verify           string // what weir verify found: "ok", or what is wrong
	orderly          bool   // the last process ended by itself when it was asked to
	finished         bool
}

// measure adds figures.
func (o *seen) measure(r *lab.Report) {
	var slowest float64
	l := record.Line{Case: caseKill, Panel: "from start to the first new count (s)"}
	for i, x := range o.rounds {
		slowest = max(slowest, x.first)
		l.X, l.Y = append(l.X, float64(i+1)), append(l.Y, x.first)
	}
	c := r.Of(caseKill)
	c.Measure("killed", float64(len(o.rounds)), "times")
	c.Measure("records kept", float64(o.records), "events")
	c.Measure("counted", float64(o.counted), "events")
	c.Measure("slowest first count", 1000*slowest, "ms")
	r.Lines = append(r.Lines, l)
}

// judge adds the checks.
func (o *seen) judge(r *lab.Report, kills int) {
	c, conditions := r.Of(caseKill), len(r.Checks)
	var gone, changed, back int64
	for i, x := range o.rounds {
		kill := fmt.Sprintf("kill %d of %d", i+1, kills)
		c.Needs(x.killed, kill, "ended by SIGKILL, nothing answers", "something went on")
		c.Needs(x.records > 0, kill+" has something to destroy", "at least 1 record", "0")
		gone, changed, back = gone+x.gone, changed+x.changed, back+x.back
	}
	c.Needs(o.finished && len(o.rounds) == kills, "it starts again and counts", fmt.Sprintf("%d times, each within a minute", kills), "%d times", len(o.rounds))
	// What is gone is gone, whether or not it went on afterwards.
	if gone+changed == 0 && len(r.Checks) > conditions {
		return
	}
	c.Same("every committed record is where it was, with its bytes", "0 gone, 0 changed", "%d gone, %d changed", gone, changed)
	c.Same("no group's committed offset went back", "0 partitions", "%d partitions", back)
	if !o.finished {
		return
	}
	c.Check("no event is duplicated", fmt.Sprintf("%d different", o.records), fmt.Sprintf("%d duplicated", o.doubled), o.doubled == 0)
	c.Check("Redis counts what the log holds", "0 differences", fmt.Sprintf("%d, of %d events", o.miscounted, o.counted), o.miscounted == 0 && o.counted > 0)
	c.Same("weir verify finds nothing lost, duplicated or miscounted", "ok", "%s", o.verify)
	c.Check("weir shuts down cleanly when asked", "exit code 0", fmt.Sprintf("cleanly: %v", o.orderly), o.orderly)
}
