// Package groups is the lab of consumer groups: that they are independent of each other, and
// what a group's members see when others join, leave and are killed.
package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// Protocol is how the members of a consumer group agree on the assignment of partitions.
type Protocol string

// The protocols.
const (
	// Eager is the first one: every rebalance revokes every partition.
	Eager Protocol = "eager"
	// Cooperative moves, in two steps, only the partitions that have to move (KIP-429).
	Cooperative Protocol = "cooperative"
	// NextGen lets the broker decide on the assignment (KIP-848).
	NextGen Protocol = "kip-848"
)

// Protocols lists them.
func Protocols() []Protocol { return []Protocol{Eager, Cooperative, NextGen} }

// options are a member's.
func (p Protocol) options() []kgo.Opt {
	switch p {
	case Eager:
		return []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())} // Kafka's own default
	case NextGen:
		return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.ServerSideBalancer()}
	}
	return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
}

// Ways to break the experiment on purpose, beside kit.BreakIdle: the killed member leaves
// cleanly.
const (
	// BreakSkip lets a new owner leave out its first record.
	BreakSkip = "skip"
	// BreakForget lets no member commit its revoked partitions.
	BreakForget = "forget"
	// BreakEager lets every group use the eager protocol.
	BreakEager = "eager"
)

// Breaks lists the ways to break it.
func Breaks() []string { return []string{BreakSkip, BreakForget, BreakEager, kit.BreakIdle} }

// Limits of the settings, and what does not change.
const (
	MinRate    = 200
	MaxRate    = 5000
	MinHold    = time.Second
	MaxHold    = time.Minute
	partitions = 6
	// session is the shortest that brokers allow by default.
	session   = 6 * time.Second
	heartbeat = 500 * time.Millisecond
	// commitEvery is how often members commit: what one has done since is done again
	// when it dies.
	commitEvery = 500 * time.Millisecond
)

// Lab is the experiment of consumer groups: that they are independent of each
// other, and what their members see when others join, leave and are killed.
type Lab struct {
	Protocols []Protocol `json:"protocols"`
	// Rate is the events per second that are written.
	Rate float64 `json:"rate"`
	// Hold is for how long one group is paused.
	Hold time.Duration `json:"-"`
	// Play is how long, after all that, the groups stay under the reader's hand: through
	// the settings that it offers while it runs.
	Play time.Duration `json:"-"`
	Seed int64         `json:"seed"`
	// Live is where the events are from that are written at the Rate, recorded first; nil
	// for simulated ones.
	Live *kit.Upstream `json:"live,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// Default has pauses that can be watched.
func Default() Lab {
	return Lab{Protocols: Protocols(), Rate: 1000, Hold: 8 * time.Second, Seed: 1}
}

// Short is the same claim in the least time.
func Short() Lab {
	s := Default()
	s.Rate, s.Hold = 600, 2*time.Second
	return s
}

// Name implements Experiment.
func (s *Lab) Name() string { return "groups" }

// Source implements Sourced.
func (s *Lab) Source() string { return s.Live.Name() }

// Claim implements Experiment.
func (s *Lab) Claim() string {
	return "Groups are independent: when one is paused it falls behind and catches up, and the other one keeps its pace. " +
		"When members join and leave, no record is lost or read twice. The group notices a killed member after its session timeout, and only records that this member had not committed are read again; weir's counts never show it. " +
		"The eager protocol stops every partition at every rebalance, the cooperative one and KIP-848 only those that move. With seven members on six partitions, one is idle."
}

// Settings implements Experiment.
func (s *Lab) Settings() any {
	return struct {
		*Lab
		HoldSeconds float64 `json:"hold_s"`
		PlaySeconds float64 `json:"play_s"`
	}{s, s.Hold.Seconds(), s.Play.Seconds()}
}

// Check implements Experiment.
func (s *Lab) Check() error {
	if err := kit.Choose("protocol", s.Protocols, Protocols()); err != nil {
		return err
	}
	switch {
	case !(s.Rate >= MinRate && s.Rate <= MaxRate):
		return fmt.Errorf("a rate of %v is not between %d and %d events a second", s.Rate, MinRate, MaxRate)
	case s.Hold < MinHold || s.Hold > MaxHold:
		return fmt.Errorf("a pause of %v is not between %v and %v", s.Hold, MinHold, MaxHold)
	case s.Play < 0 || s.Play > MaxPlay:
		return fmt.Errorf("a time of %v to play is not between 0 and %v", s.Play, MaxPlay)
	case s.Break != "" && !slices.Contains(Breaks(), s.Break):
		return kit.NoSuch("way to break", s.Break, Breaks())
	}
	return s.Live.Check()
}

// MaxPlay bounds what is kept in memory of every record.
const MaxPlay = 10 * time.Minute

// properties make brokers as quick to notice a dead member of a KIP-848 group,
// where they decide, as its own settings make them with one of the others. Apache Kafka
// has lower bounds for it, of 45 s and 5 s.
var properties = map[string]string{
	"group.consumer.min.session.timeout.ms":    "1000",
	"group.consumer.min.heartbeat.interval.ms": "100",
	sessionProperty:   strconv.FormatInt(session.Milliseconds(), 10),
	heartbeatProperty: strconv.FormatInt(heartbeat.Milliseconds(), 10),
}

const (
	sessionProperty   = "group.consumer.session.timeout.ms"
	heartbeatProperty = "group.consumer.heartbeat.interval.ms"
)

// quicken is properties for the embedded engine, while it runs.
func quicken(ctx context.Context, admin *kadm.Client) error {
	var configs []kadm.AlterConfig
	for _, name := range []string{sessionProperty, heartbeatProperty} {
		configs = append(configs, kadm.AlterConfig{Name: name, Value: kadm.StringPtr(properties[name])})
	}
	resp, err := admin.AlterBrokerConfigs(ctx, configs)
	for _, r := range resp {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		return fmt.Errorf("set the brokers' times for groups: %w", err)
	}
	return nil
}

// Run implements Experiment.
func (s *Lab) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	b.Progress("starting three brokers")
	e, err := kit.OpenEngine(ctx, b, properties)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	o, err := s.observe(ctx, b, e)
	if err != nil {
		return err
	}
	s.measure(r, o)
	s.judge(r, o)
	r.Notes = s.notes(o)
	return ctx.Err()
}
