// Package groups is the lab of consumer groups: that they are independent of each other, and
// what a group's members see when others join, leave and are killed.
package groups

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
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
	// BreakForget lets no member commit its revoked partitions.
	BreakForget = "forget"
	// BreakSkip lets a new owner leave out its first record.
	BreakSkip = "skip"
	// BreakEager lets every group use the eager protocol.
	BreakEager = "eager"
)

const (
	partitions = 6
	// session is the shortest that brokers allow by default.
	session   = 6 * time.Second
	heartbeat = 500 * time.Millisecond
	// commitEvery is how often members commit. The records that a killed member has read
	// since are read again.
	commitEvery = 500 * time.Millisecond
)

//go:embed help.md
var help string

// Lab shows that consumer groups are independent of each other, and what their members see
// when others join, leave and are killed.
var Lab = lab.Define[Settings]("groups", help)

// Settings is its settings.
type Settings struct {
	Protocols []Protocol `flag:"protocols" json:"protocols" default:"eager,cooperative,kip-848" choices:"eager,cooperative,kip-848"`
	// Rate is the events per second that are written.
	Rate float64 `flag:"rate" json:"rate" default:"1000" short:"600" min:"200" max:"5000"`
	// Hold is for how long one group is paused.
	Hold time.Duration `flag:"pause" json:"hold_s" default:"8s" short:"2s" min:"1s" max:"1m"`
	// Play is how long, after all that, the user can change the groups through the settings
	// that the lab offers while it runs. Its bound limits what is kept of every record.
	Play time.Duration `flag:"play" json:"play_s" default:"0s" min:"0s" max:"10m"`
	Seed int64         `flag:"seed" json:"seed" default:"1" simulated:"only"`
	// FromLive is where the events are from that are written at the Rate, recorded first.
	kit.FromLive
	// Break is empty, or a way to break the experiment on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"skip,forget,eager,idle"`
}

// properties make brokers as quick to notice a killed member of a KIP-848 group,
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

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	b.Progress("starting three brokers")
	e, err := kit.OpenEngine(ctx, b, properties)
	if err != nil {
		return err
	}
	o, err := s.observe(ctx, b, e)
	if err != nil {
		return err
	}
	o.measure(r)
	o.judge(r)
	r.Notes = o.notes()
	return ctx.Err()
}
