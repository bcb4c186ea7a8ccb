package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

func newGroups(a *app) *cobra.Command {
	list := func(ctx context.Context, _ []string) error {
		return show(ctx, a, (*inspect.Inspector).Groups, a.printGroups)
	}
	groups := a.command("groups", useCluster|useOutput, nil, list)
	groups.AddCommand(a.command("groups list", useCluster|useOutput, nil, list),
		a.command("groups describe", useCluster|useOutput, nil, func(ctx context.Context, args []string) error {
			return show(ctx, a, func(i *inspect.Inspector, ctx context.Context) (inspect.GroupDetail, error) {
				return i.Group(ctx, args[0])
			}, a.printGroup)
		}),
		newGroupReset(a), newGroupExport(a), newGroupImport(a), newGroupDeleteOffsets(a), newGroupDelete(a), newGroupReplay(a), newGroupMember(a, "join", "members/add"), newGroupMember(a, "leave", "members/remove"))
	return groups
}

func (a *app) printGroups(list inspect.GroupList) error {
	a.notes("", list.Warnings)
	if len(list.Groups) == 0 && a.output == cli.FormatTable {
		a.stderr.Linef("no groups yet; weir consume SOURCE creates one")
		return nil
	}
	return writeRows(a, list.Groups, list.Groups, func(g inspect.Group) []any {
		return []any{g.Name, g.Type, cmp.Or(g.Error, g.State), g.MemberCount, cli.NumberOrUnknown(g.Lag), strings.Join(g.Topics, ", "), g.Protocol}
	}, "GROUP", "TYPE", "STATE", ">MEMBERS", ">LAG", "TOPICS", "PROTOCOL")
}

func (a *app) printGroup(d inspect.GroupDetail) error {
	if d.Error != "" && a.output == cli.FormatTable {
		a.stderr.Linef("warning: %s", visible.Text(d.Error))
	}
	members := cli.TableOf(d.Members, func(m inspect.Member) []any {
		var assigned []string
		for _, topic := range sortedKeys(m.Assigned) {
			assigned = append(assigned, topic+" "+cli.IDs(m.Assigned[topic]))
		}
		return []any{m.ID, m.ClientID, m.Host, strings.Join(assigned, "; ")}
	}, "MEMBER", "CLIENT", "HOST", "PARTITIONS")
	partitions := cli.TableOf(d.Partitions, func(p inspect.GroupPartition) []any {
		behind := ""
		if p.LagTime > 0 {
			behind = cli.DurationText(p.LagTime)
		}
		return []any{p.Topic, p.Partition, cli.NumberOrUnknown(p.Committed), cli.NumberOrUnknown(p.End), cli.NumberOrUnknown(p.Lag), behind, p.Member, p.Error}
	}, "TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "BEHIND", "MEMBER", "")
	topology, tasks := streamsTables(d)
	return a.writeOne(d, func() string {
		return fmt.Sprintf("%s: %s, %s, %s, lag %s", visible.Text(d.Name), d.Type, d.State, watch.Plural(d.MemberCount, "member"), cli.NumberOrUnknown(d.Lag))
	}, members, topology, tasks, partitions)
}

// streamsTables are the topology of a streams group and the tasks of its members; empty for
// other groups.
func streamsTables(d inspect.GroupDetail) (topology, tasks *cli.Table) {
	topology = cli.NewTable("SUBTOPOLOGY", "READS", "WRITES", "STATE")
	tasks = cli.NewTable("MEMBER", "PROCESS", "SUBTOPOLOGY", "ACTIVE TASKS", "STANDBY", "WARM-UP")
	if d.Streams == nil {
		return topology, tasks
	}
	for _, s := range d.Streams.Subtopologies {
		reads := slices.Concat(s.Sources, s.RepartitionSources)
		topology.Add(s.ID, strings.Join(reads, ", "), strings.Join(s.RepartitionSinks, ", "), strings.Join(s.Changelogs, ", "))
	}
	for _, m := range d.Members {
		if m.Tasks == nil {
			continue
		}
		for _, s := range d.Streams.Subtopologies {
			active, standby, warmup := m.Tasks.Active[s.ID], m.Tasks.Standby[s.ID], m.Tasks.Warmup[s.ID]
			if len(active)+len(standby)+len(warmup) > 0 {
				tasks.Add(m.ID, m.ProcessID, s.ID, cli.IDs(active), cli.IDs(standby), cli.IDs(warmup))
			}
		}
	}
	return topology, tasks
}

// newGroupMember is the command join or leave.
func newGroupMember(a *app, verb, operation string) *cobra.Command {
	return a.command("groups "+verb, useData|useOutput, nil, func(ctx context.Context, args []string) error {
		c, err := a.runningActions()
		if err != nil {
			return err
		}
		var answer web.RebalanceAnswer
		if err := c.post(ctx, groupPath(args[0], operation), nil, &answer); err != nil {
			return fmt.Errorf("%s %s: %w", verb, visible.Text(args[0]), err)
		}
		return writeRows(a, answer.Rebalance, []web.Rebalance{answer.Rebalance}, func(r web.Rebalance) []any {
			return []any{r.Members, r.Own, r.Partitions, r.Moved, cli.IDs(r.MovedPartitions), fmt.Sprintf("%d ms", r.StoppedMS), fmt.Sprintf("%d ms", r.SettledMS)}
		}, ">MEMBERS", ">HERE", ">PARTITIONS", ">MOVED", "MOVED PARTITIONS", ">STOOD STILL", ">SETTLED AFTER")
	})
}
