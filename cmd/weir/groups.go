package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const groupsLong = `Lists the consumer groups, their topics and their lag.

The counter groups of weir keep their offsets in Redis, beside the counts. Then they
commit the same offsets to Kafka, so that every Kafka tool shows their lag.`

func newGroups(a *app) *cobra.Command {
	groups := &cobra.Command{
		Use:   "groups",
		Short: "List the consumer groups and their lag; reset or replay one",
		Long:  groupsLong,
		Example: `  weir groups
  weir groups describe weir-bluesky-counter
  weir groups replay weir-bluesky-counter
  weir groups reset weir-bluesky-counter --to oldest
  weir groups join weir-bluesky-counter     # adds a counter to the running weir; leave removes one`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listGroups(cmd) },
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the groups",
		Example: "  weir groups list -o json",
		Args:    cobra.NoArgs,
		RunE:    groups.RunE,
	}
	describe := &cobra.Command{
		Use:               "describe GROUP",
		Short:             "Describe a group: its members, and its committed offset in every partition",
		Example:           "  weir groups describe weir-wikipedia-counter",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(groupNames)),
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
		return cli.RuntimeError("list the groups with: weir groups", "%w", err)
	case errors.Is(err, inspect.ErrGroupActive):
		return cli.RuntimeError("stop its members first (Ctrl-C in weir up or weir consume): a member would overwrite the new offsets", "%w", err)
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
			a.stderr.Linef("no groups yet; weir consume SOURCE creates one")
			return nil
		}
		tb := cli.NewTable("GROUP", "STATE", ">MEMBERS", ">LAG", "TOPICS", "PROTOCOL")
		return writeRows(a, list.Groups, list.Groups, tb, func(tb *cli.Table, g inspect.Group) {
			tb.Add(g.Name, cmp.Or(g.Error, g.State), g.MemberCount, cli.NumberOrUnknown(g.Lag), strings.Join(g.Topics, ", "), g.Protocol)
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
