package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

const groupMemberLong = `Starts one more counter of a group in the running weir up, or stops one. Shows
which partitions moved to another member, how long they stood still, and how long
it took until every partition was counted again.

weir consume SOURCE does the same in a process of its own.`

// newGroupMember is the command join or leave.
func newGroupMember(a *app, verb string) *cobra.Command {
	short := map[string]string{"join": "Add a member to a group: one more counter in the running weir", "leave": "Take a member away: one counter less in the running weir"}
	cmd := &cobra.Command{
		Use:               verb + " GROUP",
		Short:             short[verb],
		Long:              groupMemberLong,
		Example:           "  weir groups " + verb + " weir-bluesky-counter",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(groupNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.runningActions()
			if err != nil {
				return err
			}
			operation := map[string]string{"join": "members/add", "leave": "members/remove"}[verb]
			var answer web.RebalanceAnswer
			if err := c.post(cmd.Context(), groupPath(args[0], operation), nil, &answer); err != nil {
				return fmt.Errorf("%s %s: %w", verb, visible.Text(args[0]), err)
			}
			result := answer.Rebalance
			return a.write(result, []any{result}, func() *cli.Table {
				tb := cli.NewTable(">MEMBERS", ">HERE", ">PARTITIONS", ">MOVED", "MOVED PARTITIONS", ">STOOD STILL", ">SETTLED AFTER")
				tb.Add(result.Members, result.Own, result.Partitions, result.Moved, cli.IDs(result.MovedPartitions), fmt.Sprintf("%d ms", result.StoppedMS), fmt.Sprintf("%d ms", result.SettledMS))
				return tb
			})
		},
	}
	a.dataFlag(cmd)
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	return cmd
}
