package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const groupsLong = `Lists the consumer groups: who reads which topics, and how far behind.

The groups that weir counts with keep their position in Redis beside the counts;
what they commit to Kafka follows it, so that every Kafka tool shows their lag.`

func newGroups(a *app) *cobra.Command {
	groups := &cobra.Command{
		Use:   "groups",
		Short: "The consumer groups and their lag; reset or replay one",
		Long:  groupsLong,
		Example: `  weir groups
  weir groups describe weir-bluesky-counter
  weir groups replay weir-bluesky-counter
  weir groups reset weir-bluesky-counter --to oldest
  weir groups join weir-bluesky-counter     # one more counter in the running weir; leave takes one away`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listGroups(cmd) },
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the groups",
		Example: "  weir groups list -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listGroups(cmd) },
	}
	describe := &cobra.Command{
		Use:               "describe GROUP",
		Short:             "Describe a group: members, and its position in every partition",
		Example:           "  weir groups describe weir-wikipedia-counter",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completeGroups),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withInspector(cmd.Context(), func(i *inspect.Inspector, _ *node.Target) error {
				d, err := i.Group(cmd.Context(), args[0])
				if err != nil {
					return groupError(err)
				}
				return a.printGroup(d)
			})
		},
	}
	for _, c := range []*cobra.Command{groups, list, describe} {
		a.clusterFlags(c, useKafka)
		a.outputFlag(c, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	}
	groups.AddCommand(list, describe, newGroupReset(a), newGroupReplay(a), newGroupMember(a, "join"), newGroupMember(a, "leave"))
	return groups
}

// groupError adds the way out to what can be wrong with a group.
func groupError(err error) error {
	switch {
	case errors.Is(err, inspect.ErrNoGroup):
		return cli.RuntimeError("weir groups lists what there is", "%w", err)
	case errors.Is(err, inspect.ErrGroupActive):
		return cli.RuntimeError("stop its members first (Ctrl-C in weir up or weir consume), so that none goes on from where it was", "%w", err)
	}
	return topicError(err)
}

func (a *app) listGroups(cmd *cobra.Command) error {
	ctx := cmd.Context()
	return a.withInspector(ctx, func(i *inspect.Inspector, _ *node.Target) error {
		list, err := i.Groups(ctx)
		if err != nil {
			return err
		}
		a.notes("", list.Warnings)
		if len(list.Groups) == 0 && a.output == cli.FormatTable {
			a.stderr.Linef("no groups yet; weir consume SOURCE makes one")
			return nil
		}
		lines := make([]any, len(list.Groups))
		for i, g := range list.Groups {
			lines[i] = g
		}
		return a.write(list.Groups, lines, func() *cli.Table {
			tb := cli.NewTable("GROUP", "STATE", ">MEMBERS", ">LAG", "TOPICS", "PROTOCOL")
			for _, g := range list.Groups {
				state := g.State
				if g.Error != "" {
					state = g.Error
				}
				tb.Add(g.Name, state, g.MemberCount, cli.NumberOrUnknown(g.Lag), strings.Join(g.Topics, ", "), g.Protocol)
			}
			return tb
		})
	})
}

func (a *app) printGroup(d inspect.GroupDetail) error {
	if a.output != cli.FormatTable {
		return a.write(d, []any{d}, nil)
	}
	fmt.Fprintf(a.stdout, "%s: %s, %s, %d members, lag %s\n", visible.Text(d.Name), d.Type, d.State, d.MemberCount, cli.NumberOrUnknown(d.Lag))
	if d.Error != "" {
		a.stderr.Linef("warning: %s", visible.Text(d.Error))
	}
	if len(d.Members) > 0 {
		members := cli.NewTable("MEMBER", "CLIENT", "HOST", "PARTITIONS")
		for _, m := range d.Members {
			var assigned []string
			for _, topic := range sortedKeys(m.Assigned) {
				assigned = append(assigned, topic+" "+cli.IDs(m.Assigned[topic]))
			}
			members.Add(m.ID, m.ClientID, m.Host, strings.Join(assigned, "; "))
		}
		fmt.Fprintln(a.stdout)
		if err := members.Write(a.stdout); err != nil {
			return err
		}
	}
	parts := cli.NewTable("TOPIC", ">PARTITION", ">POSITION", ">END", ">LAG", "BEHIND", "MEMBER", "")
	for _, p := range d.Partitions {
		behind := ""
		if p.LagTime > 0 {
			behind = cli.DurationText(p.LagTime)
		}
		parts.Add(p.Topic, p.Partition, cli.NumberOrUnknown(p.Committed), cli.NumberOrUnknown(p.End), cli.NumberOrUnknown(p.Lag), behind, p.Member, p.Error)
	}
	fmt.Fprintln(a.stdout)
	return parts.Write(a.stdout)
}
