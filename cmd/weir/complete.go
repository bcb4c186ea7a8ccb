package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
)

// completeTime bounds how long the Tab key may take.
const completeTime = 700 * time.Millisecond

type completion = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing asks the cluster that the flags so far point to. Where none answers in
// time it suggests nothing and reports no error, which a shell could not show.
func (a *app) completing(ask func(context.Context, *inspect.Inspector) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if err := a.bindEnv(cmd.Flags()); err != nil {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeTime)
		defer cancel()
		var names []string
		err := a.withInspector(ctx, func(i *inspect.Inspector, _ *node.Target) (err error) {
			names, err = ask(ctx, i)
			return err
		})
		if err != nil {
			return nil, nothing
		}
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
		return names, nothing
	}
}

// onlyFirst suggests for the first argument and nothing after it.
func onlyFirst(c completion) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, toComplete)
	}
}

func topicNames(ctx context.Context, i *inspect.Inspector) ([]string, error) {
	meta, err := i.Metadata(ctx)
	return meta.Topics.Names(), err
}

func groupNames(ctx context.Context, i *inspect.Inspector) ([]string, error) {
	return i.GroupNames(ctx)
}

func brokerNames(ctx context.Context, i *inspect.Inspector) (names []string, err error) {
	list, err := i.Brokers(ctx)
	for _, b := range list.Brokers {
		state := "up"
		if !b.Alive {
			state = "killed"
		}
		names = append(names, strconv.Itoa(int(b.ID))+"\t"+b.Address+", "+state)
	}
	return names, err
}
