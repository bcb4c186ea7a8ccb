package inspect

import (
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStreamsMembersConsumeTheirTasks: an active task is a partition of each source topic of
// its subtopology that has so many; copies of the state consume nothing.
func TestStreamsMembersConsumeTheirTasks(t *testing.T) {
	instance := "fixed"
	g := &kmsg.StreamsGroupDescribeResponseGroup{
		Group: "app", Epoch: 7, AssignmentEpoch: 6,
		Topology: &kmsg.StreamsGroupDescribeResponseGroupTopology{Epoch: 2, Subtopologies: []kmsg.StreamsGroupDescribeResponseGroupTopologySubtopology{
			{SubtopologyID: "0", SourceTopics: []string{"orders", "small"}, RepartitionSinkTopics: []string{"app-by-customer"}},
			{SubtopologyID: "1", RepartitionSourceTopics: []kmsg.TopicInfo{{Topic: "app-by-customer"}}, StateChangelogTopics: []kmsg.TopicInfo{{Topic: "app-counts"}}},
		}},
		Members: []kmsg.StreamsGroupDescribeResponseGroupMember{{
			MemberID: "m1", InstanceID: &instance, ClientID: "c", ClientHost: "/10.0.0.1", ProcessID: "p",
			Assignment: kmsg.StreamsAssignment{
				ActiveTasks:  []kmsg.TaskIDs{{SubtopologyID: "0", Partitions: []int32{3, 0}}, {SubtopologyID: "1", Partitions: []int32{1}}},
				StandbyTasks: []kmsg.TaskIDs{{SubtopologyID: "1", Partitions: []int32{2}}},
				WarmupTasks:  []kmsg.TaskIDs{{SubtopologyID: "1", Partitions: []int32{0}}},
			},
		}, {MemberID: "m2"}},
	}
	d := GroupDetail{Members: []Member{}}
	d.topology(g)
	d.streamsMembers(g, map[string]int{"orders": 4, "small": 1, "app-by-customer": 3})
	want := []Member{{ID: "m1", InstanceID: "fixed", ClientID: "c", Host: "10.0.0.1", ProcessID: "p",
		Assigned: map[string][]int32{"orders": {0, 3}, "small": {0}, "app-by-customer": {1}},
		Tasks:    &Tasks{Active: map[string][]int32{"0": {0, 3}, "1": {1}}, Standby: map[string][]int32{"1": {2}}, Warmup: map[string][]int32{"1": {0}}},
	}, {ID: "m2", Assigned: map[string][]int32{}, Tasks: &Tasks{map[string][]int32{}, map[string][]int32{}, map[string][]int32{}}}}
	if !reflect.DeepEqual(d.Members, want) {
		t.Errorf("%+v\nwant %+v", d.Members, want)
	}
	topology := &StreamsGroup{Epoch: 7, AssignmentEpoch: 6, TopologyEpoch: 2, Subtopologies: []Subtopology{
		{ID: "0", Sources: []string{"orders", "small"}, RepartitionSources: []string{}, RepartitionSinks: []string{"app-by-customer"}, Changelogs: []string{}},
		{ID: "1", Sources: []string{}, RepartitionSources: []string{"app-by-customer"}, RepartitionSinks: []string{}, Changelogs: []string{"app-counts"}},
	}}
	if !reflect.DeepEqual(d.Streams, topology) {
		t.Errorf("%+v\nwant %+v", d.Streams, topology)
	}
	if got := d.inputs(); !slices.Equal(got, []string{"orders", "small"}) {
		t.Errorf("a reset moves %v by default", got)
	}
	var fresh GroupDetail
	fresh.topology(&kmsg.StreamsGroupDescribeResponseGroup{Epoch: 1})
	if len(fresh.Streams.Subtopologies) != 0 || fresh.Streams.Epoch != 1 {
		t.Errorf("before the application has started: %+v", fresh.Streams)
	}
}
