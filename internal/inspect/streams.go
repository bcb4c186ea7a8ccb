package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// StreamsGroup is what only a streams group has (KIP-1071): the coordinator knows the
// topology of the application and assigns its tasks.
type StreamsGroup struct {
	// Epoch rises with every change of members or topology. While AssignmentEpoch is
	// lower, the coordinator has not computed the new assignment yet.
	Epoch           int32 `json:"epoch"`
	AssignmentEpoch int32 `json:"assignment_epoch"`
	TopologyEpoch   int32 `json:"topology_epoch"`
	// Subtopologies are the parts that run independently. There are none while the
	// application has not started, or its source topics are missing.
	Subtopologies []Subtopology `json:"subtopologies"`
}

// Subtopology is a part of a Kafka Streams application. Each partition of its source
// topics is one task. All lists are names of topics.
type Subtopology struct {
	ID      string   `json:"id"`
	Sources []string `json:"sources"`
	// RepartitionSources are topics that another subtopology writes by a new key, for this
	// one to read; RepartitionSinks are those that this one writes.
	RepartitionSources []string `json:"repartition_sources"`
	RepartitionSinks   []string `json:"repartition_sinks"`
	// Changelogs keep the state of the tasks.
	Changelogs []string `json:"changelogs"`
}

// Tasks are partitions by subtopology.
type Tasks struct {
	Active map[string][]int32 `json:"active"`
	// Standby tasks keep a copy of the state; Warmup tasks build one, before the active task moves there.
	Standby map[string][]int32 `json:"standby"`
	Warmup  map[string][]int32 `json:"warmup"`
}

// inputs are the topics that a reset moves by default. Of a streams group these are not the
// repartition topics: moved back, the application would process its own results again.
func (d *GroupDetail) inputs() (topics []string) {
	if d.Streams == nil || len(d.Streams.Subtopologies) == 0 {
		return slices.Clone(d.Topics)
	}
	for _, s := range d.Streams.Subtopologies {
		topics = append(topics, s.Sources...)
	}
	return topics
}

// describeStreams describes streams groups. Their coordinators are asked one by one,
// because the client does not know that this request is for coordinators.
func (i *Inspector) describeStreams(ctx context.Context, groups map[string]*GroupDetail, names []string) error {
	byCoordinator := map[int32][]string{}
	for _, name := range names {
		at := groups[name].Coordinator
		byCoordinator[at] = append(byCoordinator[at], name)
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(byCoordinator)) {
		req := kmsg.NewPtrStreamsGroupDescribeRequest()
		req.Groups = byCoordinator[id]
		resp, err := i.cfg.Client.Broker(int(id)).Request(ctx, req)
		if err != nil {
			errs = append(errs, fmt.Errorf("broker %d: %w", id, err))
			continue
		}
		for _, g := range resp.(*kmsg.StreamsGroupDescribeResponse).Groups {
			if err := i.describedStreams(ctx, groups[g.Group], &g); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// describedStreams takes over what a coordinator says about one streams group.
func (i *Inspector) describedStreams(ctx context.Context, d *GroupDetail, g *kmsg.StreamsGroupDescribeResponseGroup) error {
	assignor := ""
	if g.AssignorName != nil {
		assignor = *g.AssignorName
	}
	if !d.described(kerr.ErrorForCode(g.ErrorCode), g.State, assignor) {
		return nil
	}
	d.topology(g)
	var topics []string
	for _, s := range d.Streams.Subtopologies {
		topics = slices.Concat(topics, s.Sources, s.RepartitionSources)
	}
	counts := map[string]int{}
	if len(topics) > 0 && len(g.Members) > 0 {
		meta, err := i.Metadata(ctx, topics...)
		if err != nil {
			return err
		}
		for name, t := range meta.Topics {
			counts[name] = len(t.Partitions)
		}
	}
	d.streamsMembers(g, counts)
	return nil
}

// topology takes over the epochs and the subtopologies.
func (d *GroupDetail) topology(g *kmsg.StreamsGroupDescribeResponseGroup) {
	d.Streams = &StreamsGroup{Epoch: g.Epoch, AssignmentEpoch: g.AssignmentEpoch, Subtopologies: []Subtopology{}}
	if g.Topology == nil {
		return
	}
	named := func(list []kmsg.TopicInfo) []string {
		out := make([]string, len(list))
		for i, t := range list {
			out[i] = t.Topic
		}
		return out
	}
	d.Streams.TopologyEpoch = g.Topology.Epoch
	for _, s := range g.Topology.Subtopologies {
		d.Streams.Subtopologies = append(d.Streams.Subtopologies, Subtopology{
			ID: s.SubtopologyID, Sources: append([]string{}, s.SourceTopics...), RepartitionSinks: append([]string{}, s.RepartitionSinkTopics...),
			RepartitionSources: named(s.RepartitionSourceTopics), Changelogs: named(s.StateChangelogTopics),
		})
	}
}

// streamsMembers adds the members with their tasks. A member consumes the partitions of its
// active tasks; partitions says how many a topic has, because the topics of one subtopology
// may have different numbers of them.
func (d *GroupDetail) streamsMembers(g *kmsg.StreamsGroupDescribeResponseGroup, partitions map[string]int) {
	tasks := func(list []kmsg.TaskIDs) map[string][]int32 {
		out := map[string][]int32{}
		for _, t := range list {
			out[t.SubtopologyID] = slices.Sorted(slices.Values(t.Partitions))
		}
		return out
	}
	for _, m := range g.Members {
		assigned := d.joined(m.MemberID, m.InstanceID, m.ClientID, m.ClientHost)
		member := &d.Members[len(d.Members)-1]
		member.ProcessID = m.ProcessID
		has := m.Assignment
		member.Tasks = &Tasks{Active: tasks(has.ActiveTasks), Standby: tasks(has.StandbyTasks), Warmup: tasks(has.WarmupTasks)}
		for _, s := range d.Streams.Subtopologies {
			for _, topic := range slices.Concat(s.Sources, s.RepartitionSources) {
				for _, p := range member.Tasks.Active[s.ID] {
					if int(p) < partitions[topic] {
						assigned[topic] = append(assigned[topic], p)
					}
				}
			}
		}
	}
}
