package kit

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
)

// A Protocol is how the members of a consumer group agree on who reads what.
type Protocol string

// The protocols.
const (
	// Eager is the first one: at every change everybody gives up everything.
	Eager Protocol = "eager"
	// Cooperative moves in two steps only what has to move (KIP-429).
	Cooperative Protocol = "cooperative"
	// NextGen lets the broker decide and tell each member by itself (KIP-848).
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

// Ways to break the groups experiment on purpose, beside those of others: skip (a new
// owner leaves out its first record), forget (nobody commits what it gives up) and
// idle (the member that shall die says goodbye).
const (
	// BreakEager lets every group use the eager protocol.
	BreakEager = "eager"
)

// GroupsBreaks lists the ways to break it.
func GroupsBreaks() []string { return []string{BreakSkip, BreakForget, BreakEager, BreakIdle} }

// Limits of Groups' settings, and what does not change.
const (
	MinGroupsRate   = 200
	MaxGroupsRate   = 5000
	MinGroupsHold   = time.Second
	MaxGroupsHold   = time.Minute
	groupPartitions = 6
	// groupSession is the shortest that brokers allow by default.
	groupSession   = 6 * time.Second
	groupHeartbeat = 500 * time.Millisecond
	// groupCommit is how often members commit: what one has done since is done again
	// when it dies.
	groupCommit = 500 * time.Millisecond
)

// Groups is the experiment of consumer groups: that they are independent of each
// other, and what their members feel when others come, go and die.
type Groups struct {
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
	Live *Upstream `json:"live,omitempty"`
	// Break is empty, or a way to break the experiment on purpose.
	Break string `json:"break,omitempty"`
}

// DefaultGroups has pauses that can be watched.
func DefaultGroups() Groups {
	return Groups{Protocols: Protocols(), Rate: 1000, Hold: 8 * time.Second, Seed: 1}
}

// ShortGroups is the same claim in the least time.
func ShortGroups() Groups {
	s := DefaultGroups()
	s.Rate, s.Hold = 600, 2*time.Second
	return s
}

// Name implements Experiment.
func (s *Groups) Name() string { return "groups" }

// Source implements Sourced.
func (s *Groups) Source() string { return s.Live.name() }

// Claim implements Experiment.
func (s *Groups) Claim() string {
	return "Groups do not feel each other: one that is paused falls behind and catches up, and the other one does not notice. " +
		"When members come and go nothing is lost or read twice; when one dies it is noticed after its session, and only what it had not committed is read again, which weir's counts never show. " +
		"The eager protocol stops every partition at every change, the cooperative one and KIP-848 only those that move; and of seven members on six partitions one has nothing to do."
}

// Settings implements Experiment.
func (s *Groups) Settings() any {
	return struct {
		*Groups
		HoldSeconds float64 `json:"hold_s"`
		PlaySeconds float64 `json:"play_s"`
	}{s, s.Hold.Seconds(), s.Play.Seconds()}
}

// Check implements Experiment.
func (s *Groups) Check() error {
	if len(s.Protocols) == 0 {
		return fmt.Errorf("no protocol to try: choose some of %s", listed(Protocols()))
	}
	for i, p := range s.Protocols {
		if !slices.Contains(Protocols(), p) {
			return fmt.Errorf("there is no protocol called %q: choose some of %s", p, listed(Protocols()))
		}
		if slices.Contains(s.Protocols[:i], p) {
			return fmt.Errorf("protocol %q is named twice", p)
		}
	}
	switch {
	case !(s.Rate >= MinGroupsRate && s.Rate <= MaxGroupsRate):
		return fmt.Errorf("a rate of %v is not between %d and %d events a second", s.Rate, MinGroupsRate, MaxGroupsRate)
	case s.Hold < MinGroupsHold || s.Hold > MaxGroupsHold:
		return fmt.Errorf("a pause of %v is not between %v and %v", s.Hold, MinGroupsHold, MaxGroupsHold)
	case s.Play < 0 || s.Play > MaxGroupsPlay:
		return fmt.Errorf("a time of %v to play is not between 0 and %v", s.Play, MaxGroupsPlay)
	case s.Break != "" && !slices.Contains(GroupsBreaks(), s.Break):
		return noSuch("way to break", s.Break, GroupsBreaks())
	}
	return s.Live.check()
}

// MaxGroupsPlay bounds what is kept in memory of every record.
const MaxGroupsPlay = 10 * time.Minute

// groupsProperties make brokers as quick to notice a dead member of a KIP-848 group,
// where they decide, as its own settings make them with one of the others. Apache Kafka
// has lower bounds for it, of 45 s and 5 s.
var groupsProperties = map[string]string{
	"group.consumer.min.session.timeout.ms":    "1000",
	"group.consumer.min.heartbeat.interval.ms": "100",
	groupSessionProperty:                       strconv.FormatInt(groupSession.Milliseconds(), 10),
	groupHeartbeatProperty:                     strconv.FormatInt(groupHeartbeat.Milliseconds(), 10),
}

const (
	groupSessionProperty   = "group.consumer.session.timeout.ms"
	groupHeartbeatProperty = "group.consumer.heartbeat.interval.ms"
)

// quicken is groupsProperties for the embedded engine, while it runs.
func quicken(ctx context.Context, admin *kadm.Client) error {
	var configs []kadm.AlterConfig
	for _, name := range []string{groupSessionProperty, groupHeartbeatProperty} {
		configs = append(configs, kadm.AlterConfig{Name: name, Value: kadm.StringPtr(groupsProperties[name])})
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
func (s *Groups) Run(ctx context.Context, b *lab.Bench, r *lab.Report) (err error) {
	b.Progress("starting three brokers")
	e, err := openEngine(ctx, b, groupsProperties)
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
