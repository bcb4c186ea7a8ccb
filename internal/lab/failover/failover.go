// Package failover is the lab of a broker that is killed while records are written to the
// partition that it leads: what each acknowledgement setting loses, and how long producers
// and consumers are paused.
package failover

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// A Case is how a producer asks for acknowledgement and what the topic requires for one, as
// the flag writes it.
type Case string

// The cases, by what they are worth.
const (
	// AcksNone does not wait for the broker.
	AcksNone Case = "0"
	// AcksLeader waits for the leader alone.
	AcksLeader Case = "1"
	// AcksAll waits for all replicas in sync, which must be two of the three.
	AcksAll Case = "all"
	// AcksEvery waits likewise, and all three must be in sync.
	AcksEvery Case = "every"
)

// details are what differs between cases: what a report calls them, min.insync.replicas of the
// topic, and what its producer waits for.
var details = map[Case]struct {
	title, least string
	acks         kgo.Acks
}{
	AcksNone:   {"acks=0", "1", kgo.NoAck()},
	AcksLeader: {"acks=1", "1", kgo.LeaderAck()},
	AcksAll:    {"acks=all, min 2", "2", kgo.AllISRAcks()},
	AcksEvery:  {"acks=all, min 3", "3", kgo.AllISRAcks()},
}

// title is what a report calls the case.
func (c Case) title() string { return details[c].title }

// MarshalText implements encoding.TextMarshaler: the settings in a report have titles.
func (c Case) MarshalText() ([]byte, error) { return []byte(c.title()), nil }

// Ways to break the experiment on purpose, beside kit.BreakIdle: no broker is killed.
const (
	// breakTrim deletes the first acknowledged records of the topic.
	breakTrim = "trim"
	// breakTwice writes some records a second time.
	breakTwice = "twice"
)

//go:embed help.md
var help string

// Lab kills the leader of a partition while records are written to it.
var Lab = lab.Define[Settings]("failover", help)

// Settings is its settings.
type Settings struct {
	Cases []Case `flag:"cases" json:"cases" default:"0,1,all,every" choices:"0,1,all,every"`
	// Rate is the records per second that are written in each case.
	Rate float64 `flag:"rate" json:"rate" default:"500" short:"200" min:"20" max:"5000"`
	// Before is how long records are written before the leader is killed. After is the least
	// time for which they are written once they are acknowledged again.
	Before time.Duration `flag:"before" json:"before_s" default:"4s" short:"1s" min:"1s" max:"1m"`
	After  time.Duration `flag:"after" json:"after_s" default:"4s" short:"1s" min:"1s" max:"1m"`
	// Hold is how long the followers are paused before the leader is killed, when they are
	// processes. It simulates a network that breaks before the machine does. Brokers that are
	// paused for longer lose their own session, and leadership.
	Hold time.Duration `flag:"hold" json:"hold_s" default:"2s" min:"1s" max:"4s"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"trim,twice,idle"`
}

// Source is what a report says of the records.
func (s *Settings) Source() string { return "numbered records" }

// embeddedClaim is the part of the claim that one shared copy of the log can
// show. A verdict under the whole claim would say that acks=1 loses nothing.
const embeddedClaim = "When the broker that leads a partition is killed, another broker takes over, and producers and consumers go on by themselves; " +
	"no record that a broker acknowledged is lost or duplicated. The embedded brokers share one copy of the log, so this run cannot show what acks=0 and acks=1 lose, " +
	"or that min.insync.replicas=3 stops writing: weir lab failover --engine apache shows both."

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	b.Progress("starting three brokers")
	e, err := kit.OpenEngine(ctx, b, nil)
	if err != nil {
		return err
	}
	simulated := ""
	if r.Notes = notes(e.Real()); !e.Real() {
		r.Claim = embeddedClaim
		simulated = " (simulated: Apache Kafka answers " + notEnoughReplicas + ")"
	}
	for i, c := range s.Cases {
		show := func(text string) { b.Progress(fmt.Sprintf("%d of %d  %-15s  %s", i+1, len(s.Cases), c.title(), text)) }
		o, err := s.observe(ctx, b, e, c, i, show)
		if err != nil {
			return fmt.Errorf("%s: %w", c.title(), err)
		}
		s.measure(r, o)
		s.judge(r, o)
		if o.probe != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("with one of three replicas missing, a producer with acks=all got this answer from a topic with min.insync.replicas=3: %s%s", o.probe, simulated))
		}
	}
	return ctx.Err()
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
	return []string{"the embedded cluster differs from Apache Kafka: " + strings.ReplaceAll(d.Embedded+". "+d.Learner, "`", "")}
}
