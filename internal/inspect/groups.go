package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Types of a group.
const (
	TypeClassic  = "classic"  // the members elect who assigns the partitions
	TypeConsumer = "consumer" // the coordinator assigns them (KIP-848)
	TypeShare    = "share"    // members share partitions record by record (KIP-932)
	TypeStreams  = "streams"  // the coordinator assigns the tasks of a Kafka Streams application (KIP-1071)
)

// Group is a group in a list.
type Group struct {
	Name  string `json:"group"`
	Type  string `json:"type"`
	State string `json:"state"`
	// Protocol is how partitions are assigned: range, cooperative-sticky, uniform ...
	Protocol    string   `json:"protocol,omitempty"`
	Coordinator int32    `json:"coordinator"`
	MemberCount int      `json:"member_count"`
	Topics      []string `json:"topics"`
	// Lag is the number of messages not consumed, over all partitions; Unknown
	// where that of one is.
	Lag int64 `json:"lag"`
	// Error says why the rest could not be found out.
	Error string `json:"error,omitempty"`
}

// GroupList is the answer to Groups.
type GroupList struct {
	Groups   []Group  `json:"groups"`
	Warnings []string `json:"warnings,omitempty"`
}

// GroupDetail is the answer to Group.
type GroupDetail struct {
	Group
	Members    []Member         `json:"members"`
	Partitions []GroupPartition `json:"partitions"`
	// Streams is set for a streams group.
	Streams *StreamsGroup `json:"streams,omitempty"`
}

// Member is a member of a group.
type Member struct {
	ID         string `json:"id"`
	InstanceID string `json:"instance_id,omitempty"`
	ClientID   string `json:"client_id"`
	Host       string `json:"host"`
	// Assigned are the partitions by topic.
	Assigned map[string][]int32 `json:"assigned"`
	// ProcessID and Tasks are of a member of a streams group. Several members can be
	// threads of one process.
	ProcessID string `json:"process_id,omitempty"`
	Tasks     *Tasks `json:"tasks,omitempty"`
}

// GroupPartition is where a group stands in a partition.
type GroupPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Committed is the offset that is consumed next, or Unknown where none was
	// committed. Low and End bound what the partition offers (End is the high
	// watermark).
	Committed int64 `json:"committed"`
	Low       int64 `json:"low"`
	End       int64 `json:"end"`
	// Lag is how many messages are not consumed. Offsets that hold none (the
	// markers of transactions) are left out where there are few offsets to look
	// at, so that a group that has consumed everything shows 0. Unknown where an
	// offset is.
	Lag int64 `json:"lag"`
	// LagTime is how long ago the oldest message that is not consumed was
	// written, by its own timestamp; 0 where nothing is left, Unknown where it was
	// not looked up.
	LagTime time.Duration `json:"lag_ns"`
	// Member is the id of the member that has the partition, or empty.
	Member string `json:"member,omitempty"`
	Error  string `json:"error,omitempty"`

	// share is set for a share group. The coordinator knows its lag: what such a group
	// has not consumed is not one range of offsets.
	share bool
}

// Groups lists all groups with their lag, ordered by name.
func (i *Inspector) Groups(ctx context.Context) (list GroupList, err error) {
	defer wrap(&err, "list groups")
	all, warnings, err := i.groups(ctx, nil, nil)
	list = GroupList{Groups: make([]Group, len(all)), Warnings: warnings}
	for k := range all {
		list.Groups[k] = all[k].Group
	}
	return list, err
}

// GroupNames lists the names of all groups, in order, without asking for anything else.
func (i *Inspector) GroupNames(ctx context.Context) (names []string, err error) {
	defer wrap(&err, "list groups")
	listed, _, err := i.listGroups(ctx)
	return slices.Sorted(maps.Keys(listed)), err
}

// Group describes one group. An unknown name is ErrNoGroup.
func (i *Inspector) Group(ctx context.Context, name string) (d GroupDetail, err error) {
	defer wrap(&err, "describe group")
	all, warnings, err := i.groups(ctx, &name, func([]string) map[string]bool { return map[string]bool{name: true} })
	switch {
	case err != nil:
		return d, err
	case len(all) > 0:
		return all[0], nil
	case len(warnings) > 0: // its coordinator may be what did not answer
		return d, fmt.Errorf("%q: %w (%s)", name, ErrNoGroup, strings.Join(warnings, "; "))
	}
	return d, fmt.Errorf("%q: %w", name, ErrNoGroup)
}

// chooseGroups chooses some groups by their names.
type chooseGroups = func(names []string) map[string]bool

// Details describes all groups at once, ordered by name, and says in warnings which
// brokers did not answer. Of those that aged chooses by their names, the age of the
// oldest message that is not consumed is looked up.
func (i *Inspector) Details(ctx context.Context, aged chooseGroups) (all []GroupDetail, warnings []string, err error) {
	defer wrap(&err, "describe groups")
	return i.groups(ctx, nil, aged)
}

// groups loads all groups, or the one that is named. aged chooses those of which the
// age of the first message that is not consumed is looked up; nil for none.
func (i *Inspector) groups(ctx context.Context, only *string, aged chooseGroups) (all []GroupDetail, warnings []string, err error) {
	listed, warnings, err := i.listGroups(ctx)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if only == nil || name == *only {
			names = append(names, name)
			all = append(all, GroupDetail{Group: listed[name], Members: []Member{}, Partitions: []GroupPartition{}})
		}
	}
	if len(all) == 0 {
		return nil, warnings, nil
	}
	warnings = append(warnings, i.describe(ctx, all)...)
	var times map[string]bool
	if aged != nil {
		times = aged(names)
	}
	more, err := i.positions(ctx, all, times)
	for k := range all {
		all[k].sum()
	}
	return all, append(warnings, more...), err
}

// sum derives a group's totals from its partitions and members.
func (d *GroupDetail) sum() {
	d.MemberCount = len(d.Members)
	slices.SortFunc(d.Members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) }) // the same order every time
	slices.SortFunc(d.Partitions, func(a, b GroupPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	d.Topics = []string{}
	for _, p := range d.Partitions {
		d.Topics = append(d.Topics, p.Topic)
		d.Lag = addLag(d.Lag, p.Lag)
	}
	d.Topics = slices.Compact(d.Topics)
}

// addLag adds two lags of which either may be Unknown.
func addLag(a, b int64) int64 {
	if a == Unknown || b == Unknown {
		return Unknown
	}
	return a + b
}

// listGroups asks every broker for the groups that it coordinates. They are by name.
func (i *Inspector) listGroups(ctx context.Context) (map[string]Group, []string, error) {
	asking, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	brokers, err := i.admin.ListBrokers(asking)
	cancel()
	if err != nil {
		return nil, nil, fmt.Errorf("list brokers: %w", err)
	}
	byName := map[string]Group{}
	request := func() kmsg.Request { return kmsg.NewPtrListGroupsRequest() }
	warnings := eachBroker(ctx, i, brokers, "list groups", request, func(id int32, resp *kmsg.ListGroupsResponse) error {
		for _, g := range resp.Groups {
			typ := strings.ToLower(g.GroupType)
			if typ == "" || typ == "unknown" { // brokers before 3.8 do not say
				typ = TypeClassic
			}
			byName[g.Group] = Group{Name: g.Group, Type: typ, State: g.GroupState, Coordinator: id}
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
	if len(brokers) > 0 && len(warnings) == len(brokers) {
		return nil, nil, errors.New(strings.Join(warnings, "; "))
	}
	return byName, warnings, nil
}

// describe fills in state, protocol and members. It returns warnings.
func (i *Inspector) describe(ctx context.Context, all []GroupDetail) (warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	groups, names := map[string]*GroupDetail{}, map[string][]string{}
	for k := range all {
		d := &all[k]
		groups[d.Name] = d
		names[d.Type] = append(names[d.Type], d.Name)
	}
	for _, ask := range []struct {
		groupType string
		describe  func(context.Context, map[string]*GroupDetail, []string) error
	}{{TypeClassic, i.describeClassic}, {TypeConsumer, i.describeConsumer}, {TypeShare, i.describeShare}, {TypeStreams, i.describeStreams}} {
		if names := names[ask.groupType]; len(names) > 0 {
			if err := ask.describe(ctx, groups, names); err != nil {
				warnings = append(warnings, fmt.Sprintf("describe groups: %v", err))
			}
		}
	}
	return warnings
}

// described takes the state of a group over. It returns false for a group that was not
// asked for (nil), or whose description failed.
func (d *GroupDetail) described(err error, state, protocol string) bool {
	if d == nil || d.failed(err) {
		return false
	}
	d.State, d.Protocol = state, protocol
	return true
}

func (d *GroupDetail) failed(err error) bool {
	if err != nil {
		d.Error = err.Error()
	}
	return err != nil
}

// joined adds a member and returns its partitions by topic, to fill in.
func (d *GroupDetail) joined(id string, instance *string, client, host string) map[string][]int32 {
	m := Member{ID: id, ClientID: client, Host: strings.TrimPrefix(host, "/"), Assigned: map[string][]int32{}} // Kafka puts a slash there
	if instance != nil {
		m.InstanceID = *instance
	}
	d.Members = append(d.Members, m)
	return m.Assigned
}

func (i *Inspector) describeClassic(ctx context.Context, groups map[string]*GroupDetail, names []string) error {
	described, err := i.admin.DescribeGroups(ctx, names...)
	for _, g := range described {
		d := groups[g.Group]
		if !d.described(g.Err, g.State, g.Protocol) {
			continue
		}
		for _, m := range g.Members {
			assigned := d.joined(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost)
			if a, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range a.Topics {
					assigned[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
				}
			}
		}
	}
	return err
}

// describeConsumer describes groups of the newer protocol. A broker may name an
// assigned topic by its id alone, which kadm drops, so this asks by itself.
func (i *Inspector) describeConsumer(ctx context.Context, groups map[string]*GroupDetail, names []string) error {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = names
	topics := sync.OnceValues(func() (map[kadm.TopicID]string, error) {
		meta, err := i.Metadata(ctx)
		byID := map[kadm.TopicID]string{}
		for _, d := range meta.Topics {
			byID[d.ID] = d.Topic
		}
		return byID, err
	})
	var errs []error
	var unnamed error
	for _, shard := range i.cfg.Client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			errs = append(errs, shard.Err)
			continue
		}
		for _, g := range shard.Resp.(*kmsg.ConsumerGroupDescribeResponse).Groups {
			d := groups[g.Group]
			if !d.described(kerr.ErrorForCode(g.ErrorCode), g.State, g.AssignorName) {
				continue
			}
			for _, m := range g.Members {
				assigned := d.joined(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost)
				for _, t := range m.Assignment.TopicPartitions {
					if t.Topic == "" {
						var byID map[kadm.TopicID]string
						byID, unnamed = topics()
						if t.Topic = byID[t.TopicID]; t.Topic == "" && unnamed == nil {
							t.Topic, t.Partitions = "(deleted)", nil
						}
					}
					assigned[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
				}
			}
		}
	}
	return errors.Join(append(errs, unnamed)...)
}

func (i *Inspector) describeShare(ctx context.Context, groups map[string]*GroupDetail, names []string) error {
	described, err := i.admin.DescribeShareGroups(ctx, names...)
	for _, g := range described {
		d := groups[g.GroupID]
		if !d.described(g.Err, g.GroupState, g.Assignor) {
			continue
		}
		for _, m := range g.Members {
			assigned := d.joined(m.MemberID, nil, m.ClientID, m.ClientHost)
			m.Assignment.EachPartitions(func(t string, ps []int32) { assigned[t] = slices.Sorted(slices.Values(ps)) })
		}
	}
	return err
}
