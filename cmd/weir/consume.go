package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const consumeLong = `Counts the events of one stream by type, each exactly once, as a member of a
consumer group. Start it several times to share the partitions among processes;
give --group to count everything once more under another name.

Ctrl-C prints the counts.`

func newConsume(a *app) *cobra.Command {
	var group string
	cmd := sourceArgs(&cobra.Command{
		Use:   "consume bluesky|wikipedia",
		Short: "Only the counter of one stream, from a running cluster",
		Long:  consumeLong,
		Example: `  weir consume bluesky
  weir consume bluesky                    # again, in another terminal: they share
  weir consume wikipedia --group mine     # counts from the beginning, as mine`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := node.SourceNamed(args[0])
			if err != nil {
				return err
			}
			t, err := a.find()
			if err != nil {
				return err
			}
			cfg, err := a.nodeConfig(t, nil, nil)
			if err != nil {
				return err
			}
			cfg.Count, cfg.Group = []node.Source{s}, group
			return a.runNode(cmd.Context(), cfg, func(*node.Node) {
				a.sayWhy(t.Mode, "")
				a.stderr.Linef("%s as group %s; Ctrl-C stops and prints the counts", s.Topic, visible.Text(cmp.Or(group, s.Group)))
			}, a.printCounted)
		},
	})
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` (default: the source's counter, such as weir-bluesky-counter)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completing(groupNames))
	a.logFlag(cmd)
	return cmd
}
