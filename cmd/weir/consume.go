package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

func newConsume(a *app) *cobra.Command {
	var group string
	return a.sourceCommand("consume", useCluster|useRedis|useLog, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` (default: the source's counter, such as weir-bluesky-counter)")
	}, func(ctx context.Context, s node.Source) error {
		t, err := a.find()
		if err != nil {
			return err
		}
		return a.runNode(ctx, t, node.Config{Count: []node.Source{s}, Group: group}, func(*node.Node) {
			a.showMode(t.Mode, "")
			a.stderr.Linef("%s as group %s; Ctrl-C stops and prints the counts", s.Topic, visible.Text(cmp.Or(group, s.Group)))
		}, a.printCounted)
	})
}
