package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/node"
)

func newHealth(a *app) *cobra.Command {
	var addr string
	return a.command("health", 0, func(cmd *cobra.Command) { listenFlag(cmd.Flags(), &addr) },
		func(ctx context.Context, _ []string) error { return node.Health(ctx, addr) })
}
