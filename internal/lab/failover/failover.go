// Package failover is the lab of a broker that is killed while records are written to the
// partition that it leads: what each way to acknowledge loses, and how long producers and
// consumers stand still.
package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// A Case is how a producer asks for acknowledgement, and what the topic
// requires for one.
type Case string

// The cases, by what they are worth.
const (
	// AcksNone does not wait for the broker.
	AcksNone Case = "acks=0"
	// AcksLeader waits for the leader alone.
	AcksLeader Case = "acks=1"
	// AcksAll waits for all replicas in sync, which must be two of the three.
	AcksAll Case = "acks=all, min 2"
	// AcksEvery waits likewise, and all three must be in sync.
	AcksEvery Case = "acks=all, min 3"
)

// Cases lists them.
func Cases() []Case {
	return []Case{AcksNone, AcksLeader, AcksAll, AcksEvery}
}

// Ways to break the failover experiment on purpose.
const (
	// breakTrim deletes the first acknowledged records of the topic.
	breakTrim = "trim"
	// breakTwice writes some records a second time.
	breakTwice = "twice"
	// breakIdle kills no broker.
	breakIdle = "idle"
)

// Breaks lists the ways to break it.
func Breaks() []string { return []string{breakTrim, breakTwice, breakIdle} }

// Limits of Failover's settings.
const (
	MinRate = 20
	MaxRate = 5000
	minTime = time.Second
	maxTime = time.Minute
)

// Lab kills the leader of a partition while records are written to it. It measures what each
// acknowledgement setting loses, and how long the producer and the consumer are paused.
type Lab struct {
	Cases []Case `json:"cases"`
	// Rate is the records per second that are written in each case.
	Rate float64 `json:"rate"`
	// Before is how long records are written before the leader is killed. After is the least
	// time for which they are written once they are acknowledged again.
	Before time.Duration `json:"-"`
	After  time.Duration `json:"-"`
	// Hold is how long the followers are paused before the leader is killed, when they are
	// processes. It simulates a network that breaks before the machine does.
	Hold time.Duration `json:"-"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// Default kills a leader under each way to acknowledge.
func Default() Lab {
	return Lab{Cases: Cases(), Rate: 500, Before: 4 * time.Second, After: 4 * time.Second, Hold: 2 * time.Second}
}

// Short is the same claim in the least time.
func Short() Lab {
	s := Default()
	s.Rate, s.Before, s.After = 200, time.Second, time.Second
	return s
}

// Name implements Experiment.
func (s *Lab) Name() string { return "failover" }

// Source implements Sourced.
func (s *Lab) Source() string { return "numbered records" }

// Claim implements Experiment.
func (s *Lab) Claim() string {
	return "When the broker that leads a partition is killed, acks=all with min.insync.replicas loses and duplicates no acknowledged record; " +
		"acks=1 and acks=0 can lose what they reported as written, without an error; a topic that requires every replica cannot be written while one is missing; " +
		"and producers and consumers go on by themselves."
}

// embeddedClaim is the part of the claim that one shared copy of the log can
// show. A verdict under the whole claim would say that acks=1 loses nothing.
const embeddedClaim = "When the broker that leads a partition is killed, another broker takes over, and producers and consumers go on by themselves; " +
	"no record that a broker acknowledged is lost or duplicated. The embedded brokers share one copy of the log, so this run cannot show what acks=0 and acks=1 lose, " +
	"or that min.insync.replicas=3 stops writing: weir lab failover --engine apache shows both."

// Settings implements Experiment.
func (s *Lab) Settings() any {
	return struct {
		*Lab
		BeforeSeconds float64 `json:"before_s"`
		AfterSeconds  float64 `json:"after_s"`
		HoldSeconds   float64 `json:"hold_s"`
	}{s, s.Before.Seconds(), s.After.Seconds(), s.Hold.Seconds()}
}

// Check implements Experiment.
func (s *Lab) Check() error {
	if len(s.Cases) == 0 {
		return fmt.Errorf("no case to try: choose some of %q", Cases())
	}
	for i, c := range s.Cases {
		if !slices.Contains(Cases(), c) {
			return fmt.Errorf("unknown case %q: choose some of %q", c, Cases())
		}
		if slices.Contains(s.Cases[:i], c) {
			return fmt.Errorf("%q is named twice", c)
		}
	}
	switch {
	case !(s.Rate >= MinRate && s.Rate <= MaxRate):
		return fmt.Errorf("a rate of %v is not between %d and %d records a second", s.Rate, MinRate, MaxRate)
	case s.Before < minTime || s.Before > maxTime:
		return fmt.Errorf("a time of %v before the death is not between %v and %v", s.Before, minTime, maxTime)
	case s.After < minTime || s.After > maxTime:
		return fmt.Errorf("a time of %v after it is not between %v and %v", s.After, minTime, maxTime)
	case s.Hold < time.Second || s.Hold > 4*time.Second:
		// Brokers that are held for longer lose their own session, and leadership.
		return fmt.Errorf("followers can be held for 1s to 4s, not for %v", s.Hold)
	case s.Break != "" && !slices.Contains(Breaks(), s.Break):
		return kit.NoSuch("way to break", s.Break, Breaks())
	}
	return nil
}

// Run implements Experiment.
func (s *Lab) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	b.Progress("starting three brokers")
	e, err := kit.OpenEngine(ctx, b, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if !e.Real() {
		r.Claim = embeddedClaim
	}
	for i, c := range s.Cases {
		show := func(text string) { b.Progress(fmt.Sprintf("%d of %d  %-15s  %s", i+1, len(s.Cases), c, text)) }
		o, err := s.observe(ctx, b, e, c, i, show)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		s.measure(r, o)
		s.judge(r, o)
		if o.probe != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("with one of three replicas missing, a producer with acks=all got this answer from a topic with min.insync.replicas=3: %s%s", o.probe, simulated(e)))
		}
	}
	r.Notes = append(notes(e.Real()), r.Notes...)
	return ctx.Err()
}

// simulated says that an engine cannot really refuse.
func simulated(e *kit.Engine) string {
	if e.Real() {
		return ""
	}
	return " (simulated: Apache Kafka answers " + notEnoughReplicas + ")"
}

// notes say what the engine can and cannot show.
func notes(real bool) []string {
	if real {
		return []string{
			"before the leader was killed its followers were paused (SIGSTOP), as by a network that fails before the machine does: records that acks=1 acknowledged in that time were on one disk only",
			"the pause is as long as the broker's session (broker.session.timeout.ms, 6 s here) and the election; an orderly stop moves the leaders first and takes milliseconds",
		}
	}
	d, _ := cluster.DifferenceOf(cluster.DiffReplication)
	return []string{
		"the embedded cluster differs from Apache Kafka: " + strings.ReplaceAll(d.Embedded+". "+d.Learner, "`", ""),
	}
}
