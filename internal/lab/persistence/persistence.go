// Package persistence is the lab of killing everything at once, brokers, Redis, producers and
// consumers, without warning, and starting it again; and of the log's retention, which alone
// may remove records.
package persistence

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// Ways to break the persistence experiment on purpose.
const (
	// breakForget removes the first file of the log while everything is down.
	breakForget = "forget"
	// breakSpare kills nothing.
	breakSpare = "spare"
)

// Breaks lists the ways to break it.
func Breaks() []string { return []string{breakForget, breakSpare} }

// Limits of Persistence's settings.
const (
	MinRate    = 20
	MaxRate    = 5000
	MaxKills   = 20
	MinBetween = 500 * time.Millisecond
	MaxBetween = time.Minute
)

// Lab is the experiment of killing everything at once, brokers, Redis,
// producers and consumers, without warning, and starting it again; and of the log's
// retention, which is the only thing that may remove what was written.
type Lab struct {
	// Program is what runs weir: its path, and arguments that come first.
	Program []string `json:"-"`
	// Rate is the events per second of the simulated Bluesky.
	Rate float64 `json:"rate"`
	// Kills is how often everything is killed, Between how long it runs before.
	Kills   int           `json:"kills"`
	Between time.Duration `json:"-"`
	// Live is where weir's Bluesky comes from, whatever the Rate; nil for the simulated
	// streams. WikipediaURL is its Wikipedia's, empty for the public one.
	Live         *kit.Upstream `json:"live,omitempty"`
	WikipediaURL string        `json:"wikipedia_url,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// Default kills everything five times.
func Default() Lab {
	return Lab{Rate: 500, Kills: 5, Between: 4 * time.Second}
}

// Short is the same claim in the least time.
func Short() Lab {
	s := Default()
	s.Kills, s.Between = 2, time.Second
	return s
}

// Name implements Experiment.
func (s *Lab) Name() string { return "persistence" }

// Source implements Sourced.
func (s *Lab) Source() string { return s.Live.Name() }

// Claim implements Experiment.
func (s *Lab) Claim() string {
	return "What was committed stays: after everything was killed at once and started again, every record is at its offset with its bytes, " +
		"no group's committed offset went back, the counts are those of the log, and streams go on where they were. " +
		"Only retention removes records: whole segments, the oldest first, and no offset is used twice."
}

// Settings implements Experiment.
func (s *Lab) Settings() any {
	return struct {
		*Lab
		BetweenSeconds float64 `json:"between_s"`
	}{s, s.Between.Seconds()}
}

// Check implements Experiment.
func (s *Lab) Check() error {
	switch {
	case !(s.Rate >= MinRate && s.Rate <= MaxRate):
		return fmt.Errorf("a rate of %v is not between %d and %d events a second", s.Rate, MinRate, MaxRate)
	case s.Kills < 1 || s.Kills > MaxKills:
		return fmt.Errorf("%d kills are not between 1 and %d", s.Kills, MaxKills)
	case s.Between < MinBetween || s.Between > MaxBetween:
		return fmt.Errorf("a time of %v between kills is not between %v and %v", s.Between, MinBetween, MaxBetween)
	case s.Break != "" && !slices.Contains(Breaks(), s.Break):
		return kit.NoSuch("way to break", s.Break, Breaks())
	case len(s.Program) == 0:
		return errors.New("no program to kill")
	}
	return s.Live.Check()
}

// Cases of the experiment.
const (
	caseKill      = "kill everything"
	caseRetention = "retention"
)

// Run implements Experiment.
func (s *Lab) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
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
	s.measure(r, o)
	s.judge(r, o)
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
	verify           string // what weir verify said, empty for nothing to say
	verified         bool
	orderly          bool // the last process ended by itself when it was asked to
	finished         bool
}

// measure adds figures.
func (s *Lab) measure(r *lab.Report, o *seen) {
	var slowest float64
	l := record.Line{Case: caseKill, Panel: "from start to the first new count (s)"}
	for i, x := range o.rounds {
		slowest = max(slowest, x.first)
		l.X, l.Y = append(l.X, float64(i+1)), append(l.Y, x.first)
	}
	r.Measure(caseKill, "killed", float64(len(o.rounds)), "times")
	r.Measure(caseKill, "records kept", float64(o.records), "events")
	r.Measure(caseKill, "counted", float64(o.counted), "events")
	r.Measure(caseKill, "slowest first count", 1000*slowest, "ms")
	r.Lines = append(r.Lines, l)
}

// judge adds the checks.
func (s *Lab) judge(r *lab.Report, o *seen) {
	conditions := len(r.Checks)
	var gone, changed, back int64
	for i, x := range o.rounds {
		if !x.killed {
			r.Unknown(caseKill, fmt.Sprintf("kill %d of %d", i+1, s.Kills), "ended by SIGKILL, nothing answers", "something went on")
		}
		if x.records == 0 {
			r.Unknown(caseKill, fmt.Sprintf("kill %d of %d has something to destroy", i+1, s.Kills), "at least 1 record", "0")
		}
		gone, changed, back = gone+x.gone, changed+x.changed, back+x.back
	}
	if !o.finished || len(o.rounds) < s.Kills {
		r.Unknown(caseKill, "it starts again and counts", fmt.Sprintf("%d times, each within a minute", s.Kills), fmt.Sprintf("%d times", len(o.rounds)))
	}
	// What is gone is gone, whether or not it went on afterwards.
	if gone+changed == 0 && len(r.Checks) > conditions {
		return
	}
	r.Check(caseKill, "every committed record is where it was, with its bytes", "0 gone, 0 changed", fmt.Sprintf("%d gone, %d changed", gone, changed), gone+changed == 0)
	r.Check(caseKill, "no group's committed offset went back", "0 partitions", fmt.Sprintf("%d partitions", back), back == 0)
	if !o.finished {
		return
	}
	r.Check(caseKill, "no event is duplicated", fmt.Sprintf("%d different", o.records), fmt.Sprintf("%d duplicated", o.doubled), o.doubled == 0)
	r.Check(caseKill, "Redis counts what the log holds", "0 differences", fmt.Sprintf("%d, of %d events", o.miscounted, o.counted), o.miscounted == 0 && o.counted > 0)
	r.Check(caseKill, "weir verify finds nothing lost, duplicated or miscounted", "ok", o.verify, o.verified)
	r.Check(caseKill, "weir shuts down cleanly when asked", "exit code 0", fmt.Sprintf("cleanly: %v", o.orderly), o.orderly)
}
