package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
)

// A FailoverCase is how a producer asks for acknowledgement, and what the topic
// requires for one.
type FailoverCase string

// The cases, by what they are worth.
const (
	// AcksNone does not wait for the broker.
	AcksNone FailoverCase = "acks=0"
	// AcksLeader waits for the leader alone.
	AcksLeader FailoverCase = "acks=1"
	// AcksAll waits for all replicas in sync, which must be two of the three.
	AcksAll FailoverCase = "acks=all, min 2"
	// AcksEvery waits likewise, and all three must be in sync.
	AcksEvery FailoverCase = "acks=all, min 3"
)

// FailoverCases lists them.
func FailoverCases() []FailoverCase {
	return []FailoverCase{AcksNone, AcksLeader, AcksAll, AcksEvery}
}

// Ways to break the failover experiment on purpose.
const (
	// BreakTrim deletes the first acknowledged records of the topic.
	BreakTrim = "trim"
	// BreakTwice writes some records a second time.
	BreakTwice = "twice"
	// BreakIdle kills no broker.
	BreakIdle = "idle"
)

// FailoverBreaks lists the ways to break it.
func FailoverBreaks() []string { return []string{BreakTrim, BreakTwice, BreakIdle} }

// Limits of Failover's settings.
const (
	MinFailoverRate = 20
	MaxFailoverRate = 5000
	minFailoverTime = time.Second
	maxFailoverTime = time.Minute
)

// Failover is the experiment of a broker that dies while records are written to the
// partition that it leads: what each way to acknowledge loses, and how long
// producers and consumers stand still.
type Failover struct {
	Cases []FailoverCase `json:"cases"`
	// Rate is the records per second that are written in each case.
	Rate float64 `json:"rate"`
	// Before is how long they are written before the leader dies, After how long
	// at least when they are acknowledged again.
	Before time.Duration `json:"-"`
	After  time.Duration `json:"-"`
	// Hold is how long the followers do not fetch before the leader dies, where
	// they are processes: what a network does that breaks before a machine does.
	Hold time.Duration `json:"-"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// DefaultFailover kills a leader under each way to acknowledge.
func DefaultFailover() Failover {
	return Failover{Cases: FailoverCases(), Rate: 500, Before: 4 * time.Second, After: 4 * time.Second, Hold: 2 * time.Second}
}

// ShortFailover is the same claim in the least time.
func ShortFailover() Failover {
	s := DefaultFailover()
	s.Rate, s.Before, s.After = 200, time.Second, time.Second
	return s
}

// Name implements Experiment.
func (s *Failover) Name() string { return "failover" }

// Source implements Sourced.
func (s *Failover) Source() string { return "numbered records" }

// Claim implements Experiment.
func (s *Failover) Claim() string {
	return "When the broker that leads a partition dies, acks=all with min.insync.replicas loses nothing that was acknowledged and doubles nothing; " +
		"acks=1 and acks=0 can lose what they reported as written, in silence; whoever requires every replica cannot write while one is away; " +
		"and everybody goes on without being told to."
}

// embeddedFailoverClaim is the part of the claim that one shared copy of the log can
// show. A verdict under the whole claim would say that acks=1 loses nothing.
const embeddedFailoverClaim = "When the broker that leads a partition is killed, another broker takes over, and producers and consumers go on by themselves; " +
	"no record that a broker acknowledged is lost or duplicated. The embedded brokers share one copy of the log, so this run cannot show what acks=0 and acks=1 lose, " +
	"or that min.insync.replicas=3 stops writing: weir lab failover --engine apache shows both."

// Settings implements Experiment.
func (s *Failover) Settings() any {
	return struct {
		*Failover
		BeforeSeconds float64 `json:"before_s"`
		AfterSeconds  float64 `json:"after_s"`
		HoldSeconds   float64 `json:"hold_s"`
	}{s, s.Before.Seconds(), s.After.Seconds(), s.Hold.Seconds()}
}

// Check implements Experiment.
func (s *Failover) Check() error {
	if len(s.Cases) == 0 {
		return fmt.Errorf("no case to try: choose some of %q", FailoverCases())
	}
	for i, c := range s.Cases {
		if !slices.Contains(FailoverCases(), c) {
			return fmt.Errorf("there is no case called %q: choose some of %q", c, FailoverCases())
		}
		if slices.Contains(s.Cases[:i], c) {
			return fmt.Errorf("%q is named twice", c)
		}
	}
	switch {
	case !(s.Rate >= MinFailoverRate && s.Rate <= MaxFailoverRate):
		return fmt.Errorf("a rate of %v is not between %d and %d records a second", s.Rate, MinFailoverRate, MaxFailoverRate)
	case s.Before < minFailoverTime || s.Before > maxFailoverTime:
		return fmt.Errorf("a time of %v before the death is not between %v and %v", s.Before, minFailoverTime, maxFailoverTime)
	case s.After < minFailoverTime || s.After > maxFailoverTime:
		return fmt.Errorf("a time of %v after it is not between %v and %v", s.After, minFailoverTime, maxFailoverTime)
	case s.Hold < time.Second || s.Hold > 4*time.Second:
		// Brokers that are held for longer lose their own session, and leadership.
		return fmt.Errorf("followers can be held for 1s to 4s, not for %v", s.Hold)
	case s.Break != "" && !slices.Contains(FailoverBreaks(), s.Break):
		return noSuch("way to break", s.Break, FailoverBreaks())
	}
	return nil
}

// Run implements Experiment.
func (s *Failover) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	b.Progress("starting three brokers")
	e, err := openEngine(ctx, b, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if !e.real() {
		r.Claim = embeddedFailoverClaim
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
			r.Notes = append(r.Notes, fmt.Sprintf("with one of three replicas away, a producer with acks=all to a topic of min.insync.replicas=3 was answered: %s%s", o.probe, simulated(e)))
		}
	}
	r.Notes = append(failoverNotes(e.real()), r.Notes...)
	return ctx.Err()
}

// simulated says that an engine cannot really refuse.
func simulated(e *engine) string {
	if e.real() {
		return ""
	}
	return " (simulated: Apache Kafka answers " + notEnoughReplicas + ")"
}

// failoverNotes say what the *engine can and cannot show.
func failoverNotes(real bool) []string {
	if real {
		return []string{
			"before the leader was killed its followers were held (SIGSTOP), as a network does that breaks before a machine: what acks=1 acknowledged meanwhile was on one disk",
			"the pause is the broker's session (broker.session.timeout.ms, 6 s here) and the election; an orderly stop moves leaders first and costs milliseconds",
		}
	}
	d, _ := cluster.DifferenceOf(cluster.DiffReplication)
	return []string{
		"the embedded cluster differs from Apache Kafka: " + strings.ReplaceAll(d.Embedded+". "+d.Learner, "`", ""),
	}
}
