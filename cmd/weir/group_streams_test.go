package main

import (
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
)

// TestStreamsGroupIsPrinted: a group of Kafka Streams shows its subtopologies and tasks; other
// groups have no such tables.
func TestStreamsGroupIsPrinted(t *testing.T) {
	out := newOutput()
	a := &app{stdout: out, stderr: cli.NewScreen(newOutput(), true, ""), output: cli.FormatTable}
	err := a.printGroup(inspect.GroupDetail{
		Group: inspect.Group{Name: "app", Type: inspect.TypeStreams, State: "Stable", MemberCount: 1},
		Streams: &inspect.StreamsGroup{Subtopologies: []inspect.Subtopology{
			{ID: "0", Sources: []string{"orders"}, RepartitionSinks: []string{"app-by-customer"}},
			{ID: "1", RepartitionSources: []string{"app-by-customer"}, Changelogs: []string{"app-counts"}},
		}},
		Members: []inspect.Member{{ID: "m1", ClientID: "thread-1", ProcessID: "p1", Assigned: map[string][]int32{"orders": {0, 1}},
			Tasks: &inspect.Tasks{Active: map[string][]int32{"0": {0, 1}}, Standby: map[string][]int32{"1": {2}}}}},
	})
	want := `app: streams, Stable, 1 member, lag 0

MEMBER  CLIENT    HOST  PARTITIONS
m1      thread-1        orders 0,1

SUBTOPOLOGY  READS            WRITES           STATE
0            orders           app-by-customer
1            app-by-customer                   app-counts

MEMBER  PROCESS  SUBTOPOLOGY  ACTIVE TASKS  STANDBY  WARM-UP
m1      p1       0            0,1
m1      p1       1                          2
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if err != nil || got.String() != want {
		t.Errorf("%v: printed\n%s\nwant\n%s", err, got.String(), want)
	}
	topology, tasks := streamsTables(inspect.GroupDetail{Members: []inspect.Member{{ID: "m"}}})
	if !topology.Empty() || !tasks.Empty() {
		t.Error("a group without a topology has tables of one")
	}
}
